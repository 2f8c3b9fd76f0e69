//! Where a running server is, as `--url` names it.

use clap::Arg;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::uri::Scheme;

use crate::cli::args::not_empty;
use crate::protocol::BasePath;

/// The flag that names the server.
pub(in crate::cli) fn url_flag() -> Arg {
    url_argument().long("url")
}

/// The argument that names the server, for commands that ask for nothing else.
pub(in crate::cli) fn url_argument() -> Arg {
    Arg::new("url")
        .env("FANFARE_URL")
        .hide_env_values(true)
        .value_name("URL")
        .value_parser(not_empty())
        .default_value("http://127.0.0.1:12345")
        .help("URL of the server [env: FANFARE_URL]")
        .hide_env(true)
}

/// The address of a server: its host, its port if it is not the scheme's own, and the path under which it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ServerUrl {
    authority: String,
    base: BasePath,
    /// Its host: whom its certificate must name.
    name: ServerName<'static>,
    /// By TLS.
    is_safe: bool,
}

/// Why a text is no [`ServerUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum UrlError {
    #[error("allowed is http://HOST:PORT or https://HOST:PORT, like http://127.0.0.1:12345")]
    NotHttp,
    #[error(
        "behind the host may be a port and the server's --base-path; allowed is http://HOST:PORT, https://HOST:PORT or \
         https://HOST/PATH"
    )]
    Path,
    #[error("{0:?} is no name of a host, nor an address")]
    Host(String),
}

impl ServerUrl {
    /// Accepts `http://HOST:PORT` and `https://HOST:PORT`, both with a path if the server has a `--base-path`.
    ///
    /// # Errors
    /// Says what is wrong with `url` and what is allowed.
    pub(in crate::cli) fn parse(url: &str) -> Result<Self, UrlError> {
        let uri: Uri = url.parse().map_err(|_| UrlError::NotHttp)?;
        let is_safe = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(UrlError::NotHttp),
        };
        let authority = uri.authority().ok_or(UrlError::NotHttp)?;
        let host_and_port = match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        // What is left then is a user, or a port that is none.
        if authority.host().is_empty() || host_and_port != authority.as_str() {
            return Err(UrlError::NotHttp);
        }
        let base = BasePath::parse(uri.path()).map_err(|_| UrlError::Path)?;
        // The address of the WebSocket, where that of the server is meant.
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
            authority: host_and_port,
            base,
            name,
            is_safe,
        })
    }

    /// Whether it is reached by TLS.
    pub(in crate::cli) const fn is_safe(&self) -> bool {
        self.is_safe
    }

    /// Its scheme and authority, as a browser writes its pages' origin (RFC 6454 section 6.2).
    pub(in crate::cli) fn origin(&self) -> String {
        let (scheme, own_port) = if self.is_safe {
            ("https", ":443")
        } else {
            ("http", ":80")
        };
        format!(
            "{scheme}://{}",
            self.authority
                .strip_suffix(own_port)
                .unwrap_or(&self.authority)
        )
    }

    /// Its host: whom its certificate must name.
    pub(in crate::cli) const fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// Host and port as a request names them.
    pub(in crate::cli) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns `path`, which begins with a slash, under the path of the server.
    pub(in crate::cli) fn path(&self, path: &str) -> String {
        self.base.join(path)
    }

    /// Host and port to connect to.
    pub(in crate::cli) fn socket_address(&self) -> String {
        // The last colon of a bare IPv6 address stands before its bracket.
        let has_port = self
            .authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if self.is_safe { 443 } else { 80 };
        if has_port {
            self.authority.clone()
        } else {
            format!("{}:{port}", self.authority)
        }
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}://{}{}",
            if self.is_safe { "https" } else { "http" },
            self.authority,
            self.base
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_its_host_its_port_and_its_origin() {
        for (url, name, address, origin) in [
            (
                "http://example.org",
                "example.org",
                "example.org:80",
                "http://example.org",
            ),
            (
                "https://example.org",
                "example.org",
                "example.org:443",
                "https://example.org",
            ),
            (
                "https://example.org:443",
                "example.org",
                "example.org:443",
                "https://example.org",
            ),
            (
                "https://example.org:80",
                "example.org",
                "example.org:80",
                "https://example.org:80",
            ),
            ("https://[::1]", "::1", "[::1]:443", "https://[::1]"),
            ("http://[::1]:81", "::1", "[::1]:81", "http://[::1]:81"),
        ] {
            let url = ServerUrl::parse(url).expect("a URL");
            assert_eq!(url.name().to_str(), name);
            assert_eq!(
                (url.socket_address(), url.origin()),
                (address.to_owned(), origin.to_owned())
            );
        }
    }

    #[test]
    fn a_url_may_have_the_path_under_which_the_server_is_reached() {
        for (url, shown, path) in [
            (
                "https://example.org/chat",
                "https://example.org/chat",
                "/chat/ws",
            ),
            ("http://[::1]:81/a/b/", "http://[::1]:81/a/b", "/a/b/ws"),
            ("http://example.org/", "http://example.org", "/ws"),
        ] {
            let url = ServerUrl::parse(url).expect("a URL");
            assert_eq!(
                (url.to_string().as_str(), url.path("/ws").as_str()),
                (shown, path)
            );
            assert!(!url.origin().contains("/a"), "an origin has no path");
        }
    }

    #[test]
    fn a_url_is_http_or_https_with_a_host_and_perhaps_a_port() {
        for (url, authority) in [
            ("http://127.0.0.1:12345", "127.0.0.1:12345"),
            ("http://example.org/", "example.org"),
            ("http://[::1]:80", "[::1]:80"),
            ("https://example.org", "example.org"),
        ] {
            assert_eq!(
                ServerUrl::parse(url).map(|url| url.authority),
                Ok(authority.to_owned()),
                "{url}"
            );
        }
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
