//! The URL of a JWK set.

use std::fmt;

use crate::server::auth::Authority;
use crate::server::http_client::HttpUrl;

/// The URL of a JWK set: `https`, or `http` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl(pub(super) HttpUrl);

/// The error of a text that is not a [`JwksUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the URL of a JWK set, like https://id.example.org/jwks, without a user and a password; http:// is allowed for \
     loopback addresses only"
)]
pub struct JwksUrlError;

impl JwksUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// If the text is not a URL, or another machine would be reached without TLS.
    pub fn parse(text: &str) -> Result<Self, JwksUrlError> {
        let url = HttpUrl::parse(text).map_err(|_| JwksUrlError)?;
        let host = Authority::parse(url.authority()).ok_or(JwksUrlError)?;

        if url.is_secure() || host.is_loopback() {
            Ok(Self(url))
        } else {
            Err(JwksUrlError)
        }
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_are_reached_with_tls_only() {
        for (text, address) in [
            ("https://id.example.org/jwks", "id.example.org:443"),
            ("https://id.example.org:8443/a?b=c", "id.example.org:8443"),
            ("http://127.0.0.1:8080/jwks", "127.0.0.1:8080"),
            ("http://localhost/jwks", "localhost:80"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            let url = JwksUrl::parse(text).expect("a URL");
            assert_eq!(url.0.socket_address(), address);
        }

        for text in [
            "",
            "id.example.org/jwks",
            "file:///etc/passwd",
            "https://",
            "https://ann:secret@id.example.org/jwks",
            "https://id.example.org:99999/",
            "http://id.example.org/jwks",
            "http://localhost.evil.example/jwks",
            "http://10.0.0.1/jwks",
        ] {
            assert_eq!(JwksUrl::parse(text), Err(JwksUrlError), "{text}");
        }
    }
}
