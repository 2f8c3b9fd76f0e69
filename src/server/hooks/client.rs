//! The HTTP client of a hook: signs deliveries, and has one connection to the receiver, which is kept between them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use tokio::time::timeout;

use crate::server::hooks::{HookSettings, SigningSecret};
use crate::server::http_client::{HttpConnection, HttpError, HttpTls, HttpUrl};
use crate::server::version;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The time in which the receiver must have answered, connecting included.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The longest body of an answer after which the connection is kept. Answers are not used, except for their status.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The client of one hook. See the [module docs](self).
pub(super) struct HookClient {
    url: HttpUrl,
    secret: SigningSecret,
    tls: Option<HttpTls>,
    /// The connection of the last delivery, if it can be used again.
    idle: Option<HttpConnection>,
}

/// The reason why a delivery failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// The receiver was not reached, or did not answer.
    #[error("the receiver failed: {0}")]
    Http(HttpError),
    /// The answer did not begin in time.
    #[error("the receiver did not answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// The answer was no success.
    #[error("the receiver answered {0}")]
    Status(StatusCode),
}

impl HookClient {
    /// Creates a client that is not connected. `tls` must be given if the URL is `https`.
    pub(super) fn new(settings: &HookSettings, tls: Option<HttpTls>) -> Self {
        Self {
            url: settings.url.clone(),
            secret: settings.secret.clone(),
            tls,
            idle: None,
        }
    }

    /// Signs and posts the delivery `id` with this `body`.
    ///
    /// # Errors
    /// If the answer is not 2xx, or does not begin within [`TIMEOUT`].
    pub(super) async fn post(&mut self, id: &str, body: Bytes) -> Result<(), PostError> {
        let headers = self.headers(id, &body);
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

    /// Returns the headers of the delivery `id` with this `body`.
    fn headers(&self, id: &str, body: &[u8]) -> HeaderMap {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = now.unwrap_or_default().as_secs();
        let signature = self.secret.sign(id, timestamp, body);
        let agent = format!("fanfare/{}", version::VERSION);

        let mut headers = HeaderMap::new();
        let values = [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::USER_AGENT, agent),
            (WEBHOOK_ID, id.to_owned()),
            (WEBHOOK_TIMESTAMP, timestamp.to_string()),
            (WEBHOOK_SIGNATURE, signature),
        ];
        for (name, value) in values {
            // All of them are ASCII, except for the epoch of a damaged database.
            let value = HeaderValue::from_str(&value);
            headers.extend(value.ok().map(|value| (name, value)));
        }
        headers
    }

    async fn send(&mut self, headers: HeaderMap, body: Bytes) -> Result<StatusCode, PostError> {
        // The receiver may have closed the idle connection: then the request is sent on a new one.
        if let Some(mut idle) = self.idle.take()
            && idle.is_ready().await
            && let Ok(status) = self.exchange(idle, headers.clone(), body.clone()).await
        {
            return Ok(status);
        }

        let connection = HttpConnection::open(&self.url, self.tls.as_ref()).await;
        let connection = connection.map_err(PostError::Http)?;
        self.exchange(connection, headers, body)
            .await
            .map_err(PostError::Http)
    }

    /// Sends a request on `connection`, and keeps it if the answer ends in time.
    async fn exchange(
        &mut self,
        mut connection: HttpConnection,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<StatusCode, HttpError> {
        let response = connection
            .send(&self.url, Method::POST, headers, Body::from(body))
            .await?;
        let status = response.status();
        let answer = to_bytes(Body::new(response.into_body()), MAX_ANSWER_BYTES);
        if matches!(timeout(Duration::from_secs(1), answer).await, Ok(Ok(_))) {
            self.idle = Some(connection);
        }
        Ok(status)
    }
}

impl fmt::Debug for HookClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookClient")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
