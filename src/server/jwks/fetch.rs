//! One fetch of a JWK set over HTTP/1.1, with limits of time and size.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::timeout;

use crate::server::auth::{KeyFileError, KeySet};
use crate::server::http_client::{HttpConnection, HttpError, HttpTls};
use crate::server::jwks::JwksUrl;

/// Time for one fetch, connecting included.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Maximum length of a JWK set. Those of large providers have about 30 KiB.
const MAX_BYTES: usize = 256 * 1024;

/// The error of a fetch.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The provider was not reached, or did not answer.
    #[error(transparent)]
    Http(#[from] HttpError),
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

/// Fetches the keys at `url`.
pub(super) async fn keys(url: &JwksUrl, tls: Option<&HttpTls>) -> Result<KeySet, FetchError> {
    let body = timeout(TIMEOUT, get(url, tls))
        .await
        .map_err(|_elapsed| FetchError::TimedOut)??;

    KeySet::parse_fetched(&body).map_err(FetchError::Keys)
}

/// Returns the body at `url`.
async fn get(JwksUrl(url): &JwksUrl, tls: Option<&HttpTls>) -> Result<Vec<u8>, FetchError> {
    let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
    let headers = HeaderMap::from_iter([(header::ACCEPT, accepted)]);
    let mut connection = HttpConnection::open(url, tls).await?;
    let response = connection
        .send(url, Method::GET, headers, Body::empty())
        .await?;

    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let body = to_bytes(Body::new(response.into_body()), MAX_BYTES).await;
    Ok(body.map_err(|_| FetchError::Body)?.into())
}
