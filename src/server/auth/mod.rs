//! Who may come in: under which names, from which pages, and whom a proxy asks for.
//!
//! Pure: works on header values, names neither axum nor a socket.

mod authority;
mod host;
mod origin;
mod proxy;
mod web;

pub use authority::{Authority, Scheme};
pub use host::{HostPolicy, OwnHost, PublicHost};
pub use origin::{Origin, OriginError, OriginPolicy, Whence};
pub use proxy::{Proxies, ProxyHeader};
pub use web::{Embedding, WebPolicy, WebSettings};
