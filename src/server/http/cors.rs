//! Cross-origin resource sharing: the headers with which a browser lets pages of other origins read responses (Fetch
//! section 3.2).
//!
//! The origin check runs before this layer, so every origin that reaches it is allowed. Deliberately absent:
//! `Access-Control-Allow-Credentials`. Cookies give no rights here, so a page of another origin cannot use those of its
//! reader; tokens are sent in a header.

use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::server::auth::WebPolicy;
use crate::server::http::streams::EXPOSED_HEADERS;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The lifetime of a preflight response in the browser: the longest that Chromium accepts.
const MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// Returns the layer that answers preflight requests and names the allowed origin.
///
/// All request headers are allowed: libraries add their own, like `cache-control`, `x-requested-with` and `traceparent`,
/// and no header gives a page a right that other programs lack.
pub(super) fn layer(web: &WebPolicy) -> CorsLayer {
    let origin = if web.origins.any {
        AllowOrigin::any()
    } else {
        AllowOrigin::mirror_request()
    };

    let exposed = [header::RETRY_AFTER, LAST_EVENT_ID].into_iter();

    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.chain(EXPOSED_HEADERS).collect::<Vec<_>>())
        .max_age(MAX_AGE)
        // All responses depend on it, because requests of other origins are refused.
        .vary([header::ORIGIN])
}
