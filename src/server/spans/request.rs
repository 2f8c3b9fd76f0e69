//! The span of an HTTP request, and of the handshake that opens a WebSocket.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::server::spans::tracer;

/// What semantic conventions call every method but those that are known: anybody can make up another.
const OTHER_METHOD: &str = "_OTHER";

/// A request that is being answered. Its span ends with the head of the answer, or when it is dropped.
#[derive(Debug)]
pub struct RequestSpan(Context);

impl RequestSpan {
    /// A request of `client` for `path`, which is one of `route`, unless it is a file or there is none. If it brings
    /// a `traceparent` (W3C Trace Context), that is its parent, and says whether it is traced at all.
    pub fn begin(
        method: &Method,
        route: Option<&str>,
        path: &str,
        client: IpAddr,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let tracer = tracer()?;
        let method = known(method);
        let verb = if method == OTHER_METHOD {
            "HTTP"
        } else {
            method
        };
        let name = route.map_or_else(|| verb.to_owned(), |route| format!("{verb} {route}"));
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("client.address", client.to_canonical().to_string()),
        ];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        let parent = TraceContextPropagator::new()
            .extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let span = tracer
            .span_builder(name)
            .with_kind(SpanKind::Server)
            .with_attributes(attributes)
            .start_with_context(tracer, &parent);
        Some(Self(parent.with_span(span)))
    }

    /// What is done in this is done for the request.
    pub fn context(&self) -> Context {
        self.0.clone()
    }

    /// It was answered with `status`.
    pub fn finish(self, status: StatusCode) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status.as_u16()),
        ));
        // A refusal is the client's error and no failure of ours.
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or(OTHER_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_somebody_made_up_is_none_that_is_known() {
        assert_eq!(known(&Method::POST), "POST");
        assert_eq!(
            known(&Method::from_bytes(b"BREW").expect("a token")),
            OTHER_METHOD
        );
    }
}
