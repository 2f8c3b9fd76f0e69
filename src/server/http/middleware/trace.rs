//! A span for each request, if spans are exported: see [`spans`].

use axum::Extension;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::trace::FutureExt;

use crate::server::http::client_address::ClientAddress;
use crate::server::spans;

/// Runs `request` within a span.
pub(in crate::server::http) async fn trace(
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let route = route.as_ref().map(MatchedPath::as_str);
    let path = request.uri().path();
    let Some(span) =
        spans::RequestSpan::begin(request.method(), route, path, address, request.headers())
    else {
        return next.run(request).await;
    };

    let response = next.run(request).with_context(span.context()).await;
    span.finish(response.status());
    response
}
