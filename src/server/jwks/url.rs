//! The URL of a JWK set.

use std::fmt;

use axum::http::Uri;
use axum::http::uri::Scheme;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::server::auth::Authority;

/// The URL of a JWK set: `https`, or `http` on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl {
    uri: Uri,
    /// The host, which the certificate must name.
    name: ServerName<'static>,
}

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
        let uri: Uri = text.parse().map_err(|_| JwksUrlError)?;
        let authority = uri.authority().ok_or(JwksUrlError)?;
        // A user name or an invalid port is not an authority by this parser.
        let host = Authority::parse(authority.as_str()).ok_or(JwksUrlError)?;
        let is_allowed = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => host.is_loopback(),
            _ => false,
        };
        if !is_allowed {
            return Err(JwksUrlError);
        }

        let name = authority.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| JwksUrlError)?;
        Ok(Self { uri, name })
    }

    /// Returns true for `https`.
    pub(super) fn is_secure(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// Returns the host, which the certificate must name.
    pub(super) const fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Returns the value of the `Host` header.
    pub(super) fn host(&self) -> &str {
        self.uri.authority().map_or("", |one| one.as_str())
    }

    /// Returns host and port to connect to.
    pub(super) fn socket_address(&self) -> String {
        match self.uri.port_u16() {
            Some(_) => self.host().to_owned(),
            None => format!(
                "{}:{}",
                self.host(),
                if self.is_secure() { 443 } else { 80 }
            ),
        }
    }

    /// Returns the target of a request: the path with the query.
    pub(super) fn target(&self) -> Uri {
        let target = self.uri.path_and_query().cloned();
        target.map_or_else(Uri::default, Uri::from)
    }
}

impl fmt::Display for JwksUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
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
            assert_eq!(url.socket_address(), address);
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
