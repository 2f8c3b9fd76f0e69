//! The HTTP client for OTLP: each batch of spans is posted to the collector over a new HTTP/1.1 connection.
//!
//! Deliberately absent: TLS. A local collector receives plain HTTP and forwards over TLS.

use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Uri, header, uri};
use bytes::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// The path for spans, appended to the collector's address (OTLP specification, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";
/// The longest response that is read.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// A valid address of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// `http://HOST:PORT/…/v1/traces`.
    traces: String,
}

impl Collector {
    /// Parses `http://HOST[:PORT][/PATH]`, and appends the path for spans.
    ///
    /// # Errors
    /// Returns a description of the allowed values.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const ALLOWED: &str = "an address like http://127.0.0.1:4318, without a user or a query (for https, run a collector locally)";

        let address: Uri = text.parse().map_err(|_| ALLOWED)?;
        let has_user = address
            .authority()
            .is_none_or(|authority| authority.as_str().contains('@'));
        if address.scheme() != Some(&uri::Scheme::HTTP) || has_user || address.query().is_some() {
            return Err(ALLOWED);
        }

        let traces = format!("{}{TRACES}", text.trim_end_matches('/'));
        traces
            .parse::<Uri>()
            .map(|_| Self { traces })
            .map_err(|_| ALLOWED)
    }

    /// Returns the URL to which spans are posted.
    pub(super) fn traces(&self) -> &str {
        &self.traces
    }
}

/// Posts batches to the collector. The exporter calls it from a thread outside the runtime, so each request is spawned
/// as a task.
#[derive(Debug)]
pub(super) struct OtlpClient {
    pub(super) runtime: Handle,
    /// The time limit for a request and its response.
    pub(super) timeout: Duration,
}

#[async_trait]
impl HttpClient for OtlpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let timeout = self.timeout;

        let task = self.runtime.spawn(async move {
            let response = tokio::time::timeout(timeout, send(request)).await;
            response.unwrap_or_else(|_| {
                Err(format!("no response within {} s", timeout.as_secs()).into())
            })
        });
        task.await?
    }
}

async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (mut head, body) = request.into_parts();
    let host = HeaderValue::from_str(head.uri.authority().ok_or("no host")?.as_str())?;
    let address = format!(
        "{}:{}",
        head.uri.host().unwrap_or_default(),
        head.uri.port_u16().unwrap_or(80)
    );

    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The task ends with the response.
    tokio::spawn(connection);

    // Requests to the origin server have a path only (RFC 9112 section 3.2.1).
    head.uri = head.uri.path().parse()?;
    head.headers.insert(header::HOST, host);
    let response = sender
        .send_request(Request::from_parts(head, Body::from(body)))
        .await?;

    let (head, body) = response.into_parts();
    let body = to_bytes(Body::new(body), MAX_RESPONSE_BYTES).await?;
    Ok(Response::from_parts(head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_for_spans_is_appended_to_the_address() {
        for (text, traces) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector/", "http://collector/v1/traces"),
            ("http://[::1]:4318/otlp", "http://[::1]:4318/otlp/v1/traces"),
        ] {
            assert_eq!(Collector::parse(text).expect("an address").traces(), traces);
        }
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for text in [
            "",
            "127.0.0.1:4318",
            "https://collector",
            "grpc://collector:4317",
            "http://",
            "http://a@collector",
            "http://collector/?x=1",
            "http://col lector",
        ] {
            assert!(Collector::parse(text).is_err(), "{text}");
        }
    }
}
