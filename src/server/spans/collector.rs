//! Where spans are brought: OTLP over HTTP/1.1, on a connection of its own for each batch.
//!
//! Deliberately absent: TLS. A collector beside the server takes spans in the clear, and brings them anywhere else.

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

/// Where every collector takes spans, behind what it is called by (OTLP specification, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";
/// Longest answer that is read: it says how many spans were refused, and why.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A collector's address, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// `http://HOST:PORT/…/v1/traces`.
    traces: String,
}

impl Collector {
    /// Reads `http://HOST[:PORT][/PATH]`, to which the path for spans is added.
    ///
    /// # Errors
    /// What is allowed.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const ALLOWED: &str = "an address like http://127.0.0.1:4318, without a user or a query (https: by a collector beside the server)";
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

    /// Where spans are posted.
    pub(super) fn traces(&self) -> &str {
        &self.traces
    }
}

/// Brings batches there. Whoever asks it is no task of the runtime, so the asking itself is made one.
#[derive(Debug)]
pub(super) struct OtlpClient {
    pub(super) runtime: Handle,
    /// An answer that is not whole by then is given up.
    pub(super) patience: Duration,
}

#[async_trait]
impl HttpClient for OtlpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let patience = self.patience;
        let asking = self.runtime.spawn(async move {
            let answered = tokio::time::timeout(patience, send(request)).await;
            answered.unwrap_or_else(|_| {
                Err(format!("no answer within {} s", patience.as_secs()).into())
            })
        });
        asking.await?
    }
}

async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (mut head, body) = request.into_parts();
    let host = head.uri.authority().ok_or("no host")?.as_str();
    let port = head.uri.port_u16().unwrap_or(80);
    let stream =
        TcpStream::connect(format!("{}:{port}", head.uri.host().unwrap_or_default())).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer.
    tokio::spawn(connection);
    // RFC 9112 section 3.2.1: to the server itself, only the path is said.
    let host = HeaderValue::from_str(host)?;
    head.uri = head.uri.path().parse()?;
    head.headers.insert(header::HOST, host);
    let answer = sender
        .send_request(Request::from_parts(head, Body::from(body)))
        .await?;
    let (head, body) = answer.into_parts();
    Ok(Response::from_parts(
        head,
        to_bytes(Body::new(body), MAX_ANSWER_BYTES).await?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_for_spans_is_added_to_an_address() {
        for (text, traces) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector/", "http://collector/v1/traces"),
            ("http://[::1]:4318/otlp", "http://[::1]:4318/otlp/v1/traces"),
        ] {
            assert_eq!(Collector::parse(text).expect("an address").traces(), traces);
        }
    }

    #[test]
    fn what_is_no_address_of_a_collector_is_refused() {
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
