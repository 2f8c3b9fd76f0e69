//! Cross-origin resource sharing: what lets a browser give our answers to a page of another origin (Fetch section
//! 3.2).
//!
//! Who may ask is the guard's to say, and it has when this is reached: an origin that comes so far is answered.
//! Absent: `Access-Control-Allow-Credentials`. No cookie gives anyone a right here, so that a foreign page cannot
//! borrow its reader's; a token travels in a header of its own.

use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::server::auth::WebPolicy;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How long a browser need not ask again whether it may ask; Chromium takes no longer one.
const MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// Returns the layer that answers preflight requests, and names the origin that may read.
///
/// Any header may be sent that a preflight asks for: clients and tracing libraries add their own, like `cache-control`,
/// `x-requested-with` and `traceparent`, and none gives a page a right that a program without a browser lacks.
pub(super) fn layer(web: &WebPolicy) -> CorsLayer {
    let origin = if web.origins.any {
        AllowOrigin::any()
    } else {
        AllowOrigin::mirror_request()
    };
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([header::RETRY_AFTER, LAST_EVENT_ID])
        .max_age(MAX_AGE)
        // What is answered depends on it, whatever is asked for: also whether it is refused.
        .vary([header::ORIGIN])
}
