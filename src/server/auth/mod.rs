//! Who may come in: which pages may open a socket, and how fast one address may connect.
//!
//! Pure: works on header values, addresses and moments, names neither axum nor a socket.

mod origin;
mod connect;

pub use connect::ConnectLimiter;
pub use origin::{Origin, OriginError, OriginPolicy};
