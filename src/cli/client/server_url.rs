//! The URL of a server.

use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::uri::{Authority, Scheme};

use crate::protocol::BasePath;

/// The URL of a server: host, port if it is not the default, and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ServerUrl {
    authority: Authority,
    base: BasePath,
    /// The host, which the certificate must name.
    name: ServerName<'static>,
    /// True for `https`.
    is_secure: bool,
}

/// The error for a text that is not a [`ServerUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum UrlError {
    #[error("a server is http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:12345")]
    NotHttp,
    #[error(
        "the host may be followed by a port and the server's --base-path only: http://HOST:PORT, https://HOST:PORT or \
         https://HOST/PATH"
    )]
    Path,
    #[error("{0:?} is neither a host name nor an address")]
    Host(String),
}

impl ServerUrl {
    /// Parses `http://HOST:PORT` or `https://HOST:PORT`, with a path if the server has a `--base-path`.
    ///
    /// # Errors
    /// If `url` has another format.
    pub(in crate::cli) fn parse(url: &str) -> Result<Self, UrlError> {
        let uri: Uri = url.parse().map_err(|_| UrlError::NotHttp)?;
        let is_secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(UrlError::NotHttp),
        };

        let authority = uri.authority().ok_or(UrlError::NotHttp)?;
        let host_and_port = match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        // They differ if there is a user name or an invalid port.
        if authority.host().is_empty() || host_and_port != authority.as_str() {
            return Err(UrlError::NotHttp);
        }

        let base = BasePath::parse(uri.path()).map_err(|_| UrlError::Path)?;
        // The URL of the WebSocket is not the URL of the server.
        if base.as_str().ends_with("/ws") || uri.query().is_some() {
            return Err(UrlError::Path);
        }

        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| UrlError::Host(host.to_owned()))?;
        Ok(Self {
            authority: authority.clone(),
            base,
            name,
            is_secure,
        })
    }

    /// Returns true if the server uses TLS.
    pub(in crate::cli) const fn is_secure(&self) -> bool {
        self.is_secure
    }

    const fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }

    const fn default_port(&self) -> u16 {
        if self.is_secure { 443 } else { 80 }
    }

    /// Returns the origin of the server's pages as browsers send it (RFC 6454 section 6.2).
    pub(in crate::cli) fn origin(&self) -> String {
        let (scheme, host) = (self.scheme(), self.authority.host());
        match self.authority.port_u16() {
            Some(port) if port != self.default_port() => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        }
    }

    /// Returns the host, which the certificate must name.
    pub(in crate::cli) const fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Returns host and port for the `Host` header.
    pub(in crate::cli) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Returns `path`, which begins with a slash, under the base path of the server.
    pub(in crate::cli) fn path(&self, path: &str) -> String {
        self.base.join(path)
    }

    /// Returns host and port to connect to.
    pub(in crate::cli) fn socket_address(&self) -> String {
        let port = self.authority.port_u16().unwrap_or(self.default_port());
        format!("{}:{port}", self.authority.host())
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_origin_and_path_are_those_of_the_url() {
        for (url, name, address, origin, socket) in [
            ("http://a.org", "a.org", "a.org:80", "http://a.org", "/ws"),
            (
                "https://a.org",
                "a.org",
                "a.org:443",
                "https://a.org",
                "/ws",
            ),
            (
                "https://a.org:443/",
                "a.org",
                "a.org:443",
                "https://a.org",
                "/ws",
            ),
            (
                "https://a.org:80/b",
                "a.org",
                "a.org:80",
                "https://a.org:80",
                "/b/ws",
            ),
            ("https://[::1]", "::1", "[::1]:443", "https://[::1]", "/ws"),
            (
                "http://[::1]:81/a/b/",
                "::1",
                "[::1]:81",
                "http://[::1]:81",
                "/a/b/ws",
            ),
        ] {
            let parsed = ServerUrl::parse(url).expect("a URL");

            assert_eq!(parsed.name().to_str(), name, "{url}");
            assert_eq!(parsed.socket_address(), address, "{url}");
            assert_eq!(parsed.origin(), origin, "{url}");
            assert_eq!(parsed.path("/ws"), socket, "{url}");
        }
    }

    #[test]
    fn a_url_is_http_or_https_with_a_host_and_an_optional_port() {
        for (url, error) in [
            ("127.0.0.1:12345", UrlError::NotHttp),
            ("ws://127.0.0.1:12345", UrlError::NotHttp),
            ("http://", UrlError::NotHttp),
            ("http://:80", UrlError::NotHttp),
            ("http://host:99999", UrlError::NotHttp),
            ("http://ann@host:80", UrlError::NotHttp),
            ("http://a b", UrlError::NotHttp),
            ("http://host:80/ws", UrlError::Path),
            ("http://host:80/?room=a", UrlError::Path),
            ("http://host:80/chat/ws", UrlError::Path),
            ("http://host:80/a//b", UrlError::Path),
            ("http://host:80/a%20b", UrlError::Path),
        ] {
            assert_eq!(ServerUrl::parse(url), Err(error), "{url}");
        }
    }
}
