//! The HTTP client for OTLP, which posts each batch of spans to the collector.
//!
//! Deliberately absent: TLS. A local collector receives plain HTTP and forwards over TLS.

use async_trait::async_trait;
use axum::http::{Uri, uri};
use bytes::Bytes;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// The path for spans, appended to the collector's address (OTLP specification, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";

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
    pub(super) fn traces_url(&self) -> &str {
        &self.traces
    }
}

/// Posts batches to the collector. The exporter calls it from a thread outside the runtime, so each request is spawned
/// as a task.
#[derive(Debug)]
pub(super) struct OtlpClient {
    pub(super) runtime: Handle,
    pub(super) client: HyperClient,
}

#[async_trait]
impl HttpClient for OtlpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = async move { client.send_bytes(request).await };
        self.runtime.spawn(sending).await?
    }
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
            assert_eq!(
                Collector::parse(text).expect("an address").traces_url(),
                traces
            );
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
