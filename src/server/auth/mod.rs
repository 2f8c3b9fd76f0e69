//! Who may come in, and what for: under which names, from which pages, whom a proxy asks for, whose token is good,
//! what it grants.
//!
//! Pure: works on header values, key texts and tokens, with the time as a number; names neither axum nor a
//! socket, reads no file and no clock.
//!
//! # Invariants
//!
//! - A key fixes its algorithm. What a token's header says only chooses among the keys (RFC 8725 section 3.1).
//! - No error and no `Debug` here repeats a token or a secret.
//! - Without a key everyone may read and write under any name, and nobody is an admin.

mod authority;
mod host;
mod origin;
mod proxy;
mod web;
mod grants;
mod keys;
mod claims;
mod principal;
mod verifier;
mod signing;

pub use authority::{Authority, Scheme};
pub use claims::TokenError;
pub use grants::{Access, GrantError, Grants, Right};
pub use host::{HostPolicy, PublicHost, ServedHost};
pub use keys::{KeyFileError, KeySet};
pub use origin::{Origin, OriginError, OriginPolicy, RequestOrigin};
pub use principal::{AuthError, Principal};
pub use proxy::{Proxies, ProxyHeader};
pub use signing::{SigningKey, SigningKeyError};
pub use verifier::{Anonymous, Verifier};
pub use web::{Embedding, WebPolicy, WebSettings};
