//! Who may come in: which pages may open a socket, and whom a proxy asks for.
//!
//! Pure: works on header values, names neither axum nor a socket.

mod origin;
mod proxy;

pub use origin::{Origin, OriginError, OriginPolicy};
pub use proxy::{Proxies, ProxyHeader};
