//! `GET /api/v1/openapi.json`: the API described by itself. A route that is not described cannot be reached,
//! because the same table makes both.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::http::State;
use crate::server::http::api::{admin, history, presence, publish, stream};

/// Made once: it never changes while the server runs.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    // It cannot fail: nothing in it has keys that are no text.
    routes().into_openapi().to_json().unwrap_or_default()
});

/// Fanfare: the same ordered log of messages per room, for every browser, script and service.
#[derive(OpenApi)]
#[openapi(info(title = "Fanfare", version = "v1", license(name = "MIT", identifier = "MIT")))]
struct Document;

/// Every route of the API, with its description.
pub(super) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(publish::publish, history::history))
        .routes(routes!(stream::stream))
        .routes(routes!(presence::presence))
        .routes(routes!(openapi))
        .merge(admin::routes())
}

/// Read this document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    responses((status = 200, description = "OpenAPI 3", content_type = "application/json")),
)]
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}
