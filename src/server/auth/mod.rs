//! Who may come in. So far: which pages may open a socket.
//!
//! Pure: works on header values, names neither axum nor a socket.

mod origin;

pub use origin::{Origin, OriginError, OriginPolicy};
