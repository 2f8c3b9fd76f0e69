//! The HTTP client of a hook: one connection to the receiver, which is kept between deliveries.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use bytes::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::warn;

/// The time in which the receiver must have answered, connecting included.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The only ALPN protocol.
const HTTP_1_1: &[u8] = b"http/1.1";
/// The longest body of an answer after which the connection is kept. Answers are not used, except for their status.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The URL of a receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl {
    uri: Uri,
    /// The host, which the certificate must name.
    name: ServerName<'static>,
    is_secure: bool,
}

/// The error for a text that is not a [`HookUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a URL like https://app.example/hook or http://127.0.0.1:8080/hook, without a user and a password"
)]
pub struct HookUrlError;

/// The trusted certificates, those of the system.
#[derive(Clone)]
pub(super) struct HookTls(TlsConnector);

/// The client of one hook. See the [module docs](self).
pub(super) struct HookClient {
    url: HookUrl,
    tls: Option<HookTls>,
    /// The connection of the last delivery, if it can be used again.
    idle: Option<SendRequest<Body>>,
}

/// The reason why a delivery failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// The connection could not be opened.
    #[error("cannot connect to the receiver: {0}")]
    Connect(io::Error),
    /// The request was not answered.
    #[error("the receiver did not answer: {0}")]
    Http(hyper::Error),
    /// The answer did not begin in time.
    #[error("the receiver did not answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// The answer was no success.
    #[error("the receiver answered {0}")]
    Status(StatusCode),
}

/// A byte stream to a receiver, with or without TLS.
trait HookStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> HookStream for T {}

impl HookUrl {
    /// Parses an `http` or `https` URL.
    ///
    /// # Errors
    /// If the text is another URL, or none.
    pub fn parse(text: &str) -> Result<Self, HookUrlError> {
        let uri: Uri = text.parse().map_err(|_| HookUrlError)?;
        let is_secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(HookUrlError),
        };

        let authority = uri.authority().ok_or(HookUrlError)?;
        let host_and_port = match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        // They differ if there is a user name or an invalid port.
        if authority.host().is_empty() || host_and_port != authority.as_str() {
            return Err(HookUrlError);
        }

        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|_| HookUrlError)?;
        Ok(Self {
            uri,
            name,
            is_secure,
        })
    }

    /// Returns true if deliveries are encrypted.
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    fn authority(&self) -> &str {
        self.uri
            .authority()
            .map_or("", |authority| authority.as_str())
    }

    /// Returns host and port to connect to.
    fn socket_address(&self) -> String {
        match self.uri.port_u16() {
            Some(_) => self.authority().to_owned(),
            None => format!(
                "{}:{}",
                self.authority(),
                if self.is_secure { 443 } else { 80 }
            ),
        }
    }
}

/// The URL without its query, which may have a secret.
impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}{}", self.authority(), self.uri.path())?;
        match self.uri.query() {
            Some(_) => f.write_str("?…"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookUrl({self})")
    }
}

impl HookTls {
    /// Trusts the certificates of the system.
    pub(super) fn of_system() -> Self {
        let mut roots = RootCertStore::empty();
        // Invalid certificates of the system are ignored.
        let (added, _) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            warn!(
                "no system CA certificates found, so hooks with https fail: install ca-certificates"
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

impl HookClient {
    /// Creates a client that is not connected. `tls` must be given if the URL is `https`.
    pub(super) const fn new(url: HookUrl, tls: Option<HookTls>) -> Self {
        Self {
            url,
            tls,
            idle: None,
        }
    }

    /// Posts `body` with `headers`.
    ///
    /// # Errors
    /// If the answer is not 2xx, or does not begin within [`TIMEOUT`].
    pub(super) async fn post(&mut self, headers: HeaderMap, body: Bytes) -> Result<(), PostError> {
        let posting = self.send(headers, body);
        let status = timeout(TIMEOUT, posting)
            .await
            .map_err(|_elapsed| PostError::TimedOut)??;

        if status.is_success() {
            Ok(())
        } else {
            Err(PostError::Status(status))
        }
    }

    async fn send(&mut self, headers: HeaderMap, body: Bytes) -> Result<StatusCode, PostError> {
        // The receiver may have closed the idle connection: then the request is sent on a new one.
        if let Some(mut idle) = self.idle.take()
            && idle.ready().await.is_ok()
            && let Ok(status) = self.exchange(idle, headers.clone(), body.clone()).await
        {
            return Ok(status);
        }

        let connection = self.connect().await?;
        self.exchange(connection, headers, body)
            .await
            .map_err(PostError::Http)
    }

    /// Sends a request on `connection`, and keeps it if the answer ends in time.
    async fn exchange(
        &mut self,
        mut connection: SendRequest<Body>,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<StatusCode, hyper::Error> {
        let target = self.url.uri.path_and_query();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.cloned().map_or_else(Uri::default, Uri::from);
        *request.headers_mut() = headers;
        if let Ok(host) = HeaderValue::from_str(self.url.authority()) {
            request.headers_mut().insert(header::HOST, host);
        }

        let response = connection.send_request(request).await?;
        let status = response.status();
        let answer = to_bytes(Body::new(response.into_body()), MAX_ANSWER_BYTES);
        if matches!(timeout(Duration::from_secs(1), answer).await, Ok(Ok(_))) {
            self.idle = Some(connection);
        }
        Ok(status)
    }

    async fn connect(&self) -> Result<SendRequest<Body>, PostError> {
        let stream = TcpStream::connect(self.url.socket_address()).await;
        let stream = stream.map_err(PostError::Connect)?;
        stream.set_nodelay(true).map_err(PostError::Connect)?;

        let stream: Box<dyn HookStream> = match &self.tls {
            Some(HookTls(connector)) if self.url.is_secure => {
                let secured = connector.connect(self.url.name.clone(), stream).await;
                Box::new(secured.map_err(PostError::Connect)?)
            }
            _ => Box::new(stream),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(PostError::Http)?;
        // The task ends with the connection, whose errors the request returns.
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl fmt::Debug for HookClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookClient")
            .field("url", &self.url)
            .finish_non_exhaustive()
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
            let url = HookUrl::parse(text).expect("a URL");
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
            assert_eq!(HookUrl::parse(text), Err(HookUrlError), "{text}");
        }
    }

    #[test]
    fn the_query_of_a_url_is_not_printed() {
        let url = HookUrl::parse("https://app.example/hook?token=secret").expect("a URL");

        assert_eq!(url.to_string(), "https://app.example/hook?…");
    }
}
