//! The span of an HTTP request, and of the handshake that opens a WebSocket.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::server::spans::tracer;

/// The name of unknown methods in the semantic conventions. Clients can send any method, so the number of real names is
/// not bounded.
const OTHER_METHOD: &str = "_OTHER";

/// The span of a request. It ends with the head of the response, or when it is dropped.
#[derive(Debug)]
pub struct RequestSpan(Context);

impl RequestSpan {
    /// Starts the span of a request from `client` for `path`. `route` is the matching route; `None` for files and
    /// unknown paths. A `traceparent` header (W3C Trace Context) becomes the parent and decides about sampling.
    pub fn begin(
        method: &Method,
        route: Option<&str>,
        path: &str,
        client: IpAddr,
        headers: &HeaderMap,
    ) -> Option<Self> {
        let tracer = tracer()?;
        let method = method_name(method);
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

    /// Returns the context in which spans become children of this one.
    pub fn context(&self) -> Context {
        self.0.clone()
    }

    /// Ends the span of a request that was answered with `status`.
    pub fn finish(self, status: StatusCode) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status.as_u16()),
        ));
        // In the semantic conventions, 4xx is not an error of a server span.
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// Returns the name of a known method, or [`OTHER_METHOD`].
fn method_name(method: &Method) -> &'static str {
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
    fn unknown_methods_are_named_other() {
        let brew = Method::from_bytes(b"BREW").expect("a token");

        assert_eq!(method_name(&Method::POST), "POST");
        assert_eq!(method_name(&brew), OTHER_METHOD);
    }
}
