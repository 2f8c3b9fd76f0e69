//! Authentication and access: hosts, origins, proxies, keys, tokens and grants.
//!
//! This floor is pure. It works on header values, key files and tokens in memory, with the time as a number; it names
//! neither axum nor a socket, and reads no file and no clock.
//!
//! # Invariants
//!
//! - A key fixes its algorithm, or RS256 and PS256 for RSA. The header of a token only selects one of the keys (RFC 8725 section 3.1).
//! - No error and no `Debug` output contains a token or a secret.
//! - Without keys, all clients may read and write under any user id, and no client is an admin.

mod authority;
mod host;
mod origin;
mod page_url;
mod proxy;
mod proxy_user;
mod web;
mod grants;
mod groups;
mod token_rules;
mod key_file_error;
mod verification_key;
mod jwk;
mod keys;
mod claims;
mod principal;
mod verifier;
mod signing;

pub use authority::{Authority, Scheme};
pub use claims::TokenError;
pub use grants::{Access, GrantError, Grants, Right};
pub use groups::GroupGrants;
pub use host::{HostPolicy, PublicHost, ServedHost};
pub use key_file_error::KeyFileError;
pub use keys::KeySet;
pub use origin::{Origin, OriginError, OriginHeaders, OriginPolicy};
pub use page_url::{PageUrl, PageUrlError};
pub use principal::{AuthError, Principal};
pub use proxy::{Proxies, ProxyHeader};
pub use proxy_user::{ProxyUser, UserHeaders};
pub use signing::{SigningKey, SigningKeyError};
pub use token_rules::{ClaimPath, ClaimPathError, TokenRules};
pub use verifier::Verifier;
pub use web::{Embedding, SignInUrls, WebPolicy, WebSettings};
