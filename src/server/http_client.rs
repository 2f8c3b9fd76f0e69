//! A client of HTTP/1.1 for the servers that the settings name: receivers of hooks and identity providers. Redirects are not
//! followed.

use std::fmt;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::warn;

/// The only ALPN protocol.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The URL of a server.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    uri: Uri,
    /// The host, which the certificate must name.
    name: ServerName<'static>,
    is_secure: bool,
}

/// The error for a text that is not an [`HttpUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a URL like https://app.example/hook or http://127.0.0.1:8080/hook, without a user and a password"
)]
pub struct HttpUrlError;

/// The trusted certificates, those of the system.
#[derive(Clone)]
pub struct HttpTls(TlsConnector);

/// A connection to a server, which carries one request after the other.
#[derive(Debug)]
pub struct HttpConnection(SendRequest<Body>);

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection could not be opened, or TLS failed.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The answer was broken off, or was not HTTP.
    #[error("no answer: {0}")]
    Http(hyper::Error),
}

/// A byte stream to a server, with or without TLS.
trait HttpStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> HttpStream for T {}

impl HttpUrl {
    /// Parses an `http` or `https` URL.
    ///
    /// # Errors
    /// If the text is another URL, or none.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        let uri: Uri = text.parse().map_err(|_| HttpUrlError)?;
        let is_secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(HttpUrlError),
        };

        let authority = uri.authority().ok_or(HttpUrlError)?;
        let host_and_port = match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        // They differ if there is a user name or an invalid port.
        if authority.host().is_empty() || host_and_port != authority.as_str() {
            return Err(HttpUrlError);
        }

        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|_| HttpUrlError)?;
        Ok(Self {
            uri,
            name,
            is_secure,
        })
    }

    /// Returns true for `https`.
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Returns the host and, if the URL has one, the port.
    pub fn authority(&self) -> &str {
        self.uri
            .authority()
            .map_or("", |authority| authority.as_str())
    }

    /// Returns host and port to connect to.
    pub fn socket_address(&self) -> String {
        match self.uri.port_u16() {
            Some(_) => self.authority().to_owned(),
            None => format!(
                "{}:{}",
                self.authority(),
                if self.is_secure { 443 } else { 80 }
            ),
        }
    }

    /// Returns a request with this URL.
    fn request(&self, method: Method, headers: HeaderMap, body: Body) -> Request<Body> {
        let target = self.uri.path_and_query();
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target.cloned().map_or_else(Uri::default, Uri::from);
        *request.headers_mut() = headers;
        if let Ok(host) = HeaderValue::from_str(self.authority()) {
            request.headers_mut().insert(header::HOST, host);
        }
        request
    }
}

/// The URL without its query, which may have a secret.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}{}", self.authority(), self.uri.path())?;
        match self.uri.query() {
            Some(_) => f.write_str("?…"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

impl HttpTls {
    /// Trusts the certificates of the system. `user` names the setting that needs them.
    pub fn of_system(user: &str) -> Self {
        let mut roots = RootCertStore::empty();
        // Invalid certificates of the system are ignored.
        let (added, _) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            warn!(
                "no system CA certificates found, so {user} with https fails: install ca-certificates"
            );
        }

        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Self(TlsConnector::from(Arc::new(config)))
    }
}

impl HttpConnection {
    /// Connects to the server of `url`. `tls` must be given if the URL is `https`.
    ///
    /// # Errors
    /// If the connection cannot be opened.
    pub async fn open(url: &HttpUrl, tls: Option<&HttpTls>) -> Result<Self, HttpError> {
        let stream = TcpStream::connect(url.socket_address()).await;
        let stream = stream.map_err(HttpError::Connect)?;
        stream.set_nodelay(true).map_err(HttpError::Connect)?;

        let stream: Box<dyn HttpStream> = match tls {
            Some(HttpTls(connector)) if url.is_secure => {
                let secured = connector.connect(url.name.clone(), stream).await;
                Box::new(secured.map_err(HttpError::Connect)?)
            }
            _ => Box::new(stream),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(HttpError::Http)?;
        // The task ends with the connection, whose errors the request returns.
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    /// Waits until the next request can be sent. Returns false if the server has closed the connection.
    pub async fn is_ready(&mut self) -> bool {
        self.0.ready().await.is_ok()
    }

    /// Sends a request, and returns the answer, whose body is still to be read.
    ///
    /// # Errors
    /// If the answer is broken off, or is not HTTP.
    pub async fn send(
        &mut self,
        url: &HttpUrl,
        method: Method,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response<Incoming>, HttpError> {
        let request = url.request(method, headers, body);
        self.0.send_request(request).await.map_err(HttpError::Http)
    }
}

impl fmt::Debug for HttpTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_and_no_user() {
        for (text, address) in [
            ("https://app.example/hook", "app.example:443"),
            ("http://app.example", "app.example:80"),
            ("http://127.0.0.1:8080/a/b?c=d", "127.0.0.1:8080"),
            ("http://[::1]:8080/", "[::1]:8080"),
            ("https://[::1]/", "[::1]:443"),
        ] {
            let url = HttpUrl::parse(text).expect("a URL");
            assert_eq!(url.socket_address(), address);
        }

        for text in [
            "",
            "app.example/hook",
            "ftp://app.example/hook",
            "https://",
            "https://ann@app.example/",
            "https://ann:secret@app.example/",
            "http://app.example:99999/",
            "http://a b/",
        ] {
            assert_eq!(HttpUrl::parse(text), Err(HttpUrlError), "{text}");
        }
    }

    #[test]
    fn the_query_of_a_url_is_not_printed() {
        let url = HttpUrl::parse("https://app.example/hook?token=secret").expect("a URL");

        assert_eq!(url.to_string(), "https://app.example/hook?…");
    }
}
