//! One fetch of a JWK set over HTTP/1.1, with limits of time and size.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::warn;

use crate::server::auth::{KeyFileError, KeySet};
use crate::server::jwks::JwksUrl;

/// Time for one fetch, connecting included.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Maximum length of a JWK set. Those of large providers have about 30 KiB.
const MAX_BYTES: usize = 256 * 1024;
/// The only ALPN protocol.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The error of a fetch.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The connection could not be opened, or TLS failed.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The answer was broken off, or was not HTTP.
    #[error("no answer: {0}")]
    Http(hyper::Error),
    /// The answer was not 200.
    #[error("the answer is {0}, not 200; redirects are not followed")]
    Status(StatusCode),
    /// The body was too long, or was broken off.
    #[error("the answer is longer than {MAX_BYTES} bytes, or was broken off")]
    Body,
    /// The answer took too long.
    #[error("no complete answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// The body is not a JWK set with a usable key.
    #[error("the answer is not {0}")]
    Keys(KeyFileError),
}

/// A connection to the provider, with or without TLS.
trait ProviderStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ProviderStream for T {}

/// Returns a TLS client that trusts the certificates of the system.
pub(super) fn tls() -> TlsConnector {
    let mut roots = RootCertStore::empty();
    // Invalid certificates of the system are ignored.
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        warn!(
            "no system CA certificates found, so --jwks with https fails: install ca-certificates"
        );
    }

    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Fetches the keys at `url`.
pub(super) async fn keys(url: &JwksUrl, tls: Option<&TlsConnector>) -> Result<KeySet, FetchError> {
    let body = timeout(TIMEOUT, get(url, tls))
        .await
        .map_err(|_elapsed| FetchError::TimedOut)??;

    KeySet::parse_fetched(&body).map_err(FetchError::Keys)
}

/// Returns the body at `url`.
async fn get(url: &JwksUrl, tls: Option<&TlsConnector>) -> Result<Vec<u8>, FetchError> {
    let stream = TcpStream::connect(url.socket_address()).await;
    let stream = stream.map_err(FetchError::Connect)?;
    let stream: Box<dyn ProviderStream> = match tls {
        Some(tls) => {
            let secured = tls.connect(url.name().clone(), stream).await;
            Box::new(secured.map_err(FetchError::Connect)?)
        }
        None => Box::new(stream),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::Http)?;
    // The task ends with the connection, whose errors the request returns.
    tokio::spawn(connection);

    let mut request = Request::new(Body::empty());
    *request.uri_mut() = url.target();
    if let Ok(host) = HeaderValue::from_str(url.host()) {
        request.headers_mut().insert(header::HOST, host);
    }
    let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
    request.headers_mut().insert(header::ACCEPT, accepted);

    let response = sender.send_request(request).await;
    let response = response.map_err(FetchError::Http)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = to_bytes(Body::new(response.into_body()), MAX_BYTES).await;
    Ok(body.map_err(|_| FetchError::Body)?.into())
}
