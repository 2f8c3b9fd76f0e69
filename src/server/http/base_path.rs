//! The path under which the public listener is reached (`--base-path`). It is removed from each request before routing, so
//! that routes do not depend on it.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::response::{IntoResponse, Redirect, Response};
use tower::ServiceExt;

use crate::protocol::BasePath;
use crate::server::http::error::ApiError;
use crate::server::http::headers;

/// Returns a router that serves `router` under `base` only.
pub(super) fn under(base: BasePath, router: Router) -> Router {
    if base.is_root() {
        return router;
    }

    Router::new().fallback(async move |request: Request| respond(&base, router, request).await)
}

async fn respond(base: &BasePath, router: Router, mut request: Request) -> Response {
    if let Some(target) = strip(base, request.uri()) {
        *request.uri_mut() = target;
        return match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
    }

    let response = if request.uri().path() == base.as_str() {
        let query = request.uri().query().map(|query| format!("?{query}"));
        let address = base.join(&format!("/{}", query.unwrap_or_default()));
        Redirect::permanent(&address).into_response()
    } else {
        let base = base.to_string();
        ApiError::OutsideBase { base }.into_response()
    };

    headers::complete(response, headers::OWN_ONLY)
}

/// Returns `target` without `base`; `None` if it is not under `base`.
fn strip(base: &BasePath, target: &Uri) -> Option<Uri> {
    let path = base.strip(target.path())?;
    let path_and_query = match target.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };

    let mut parts = target.clone().into_parts();
    parts.path_and_query = Some(path_and_query.ok()?);
    Uri::from_parts(parts).ok()
}
