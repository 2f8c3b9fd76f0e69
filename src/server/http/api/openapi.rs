//! `GET /api/v1/openapi.json`: the API described by itself. A route that is not described cannot be reached,
//! because the same table makes both.

use std::sync::OnceLock;

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::Server;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::protocol::BasePath;
use crate::server::http::AppState;
use crate::server::http::api::{admin, history, presence, publish, stream};

/// The document as JSON, made once: it never changes while the server runs.
static DOCUMENT: OnceLock<String> = OnceLock::new();

/// Fanfare: the same ordered log of messages per room, for every browser, script and service.
#[derive(OpenApi)]
#[openapi(
    info(title = "Fanfare", version = "v1", license(name = "MIT", identifier = "MIT")),
    // Nothing, where the server is open; else one of the two.
    security((), ("bearer" = []), ("query" = [])),
    modifiers(&Tokens),
)]
struct Document;

/// Where a token may be.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let said = "A JSON Web Token, where the server has --auth-key-file: sub, rooms, exp";
        let header = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(said));
        let query =
            ApiKeyValue::with_description("token", "The same, for clients that can set no header");
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(header.build()));
        components.add_security_scheme("query", SecurityScheme::ApiKey(ApiKey::Query(query)));
    }
}

/// Every route of the API, with its description.
pub(super) fn routes() -> OpenApiRouter<AppState> {
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
async fn openapi(Shared(state): Shared<AppState>) -> impl IntoResponse {
    let document = DOCUMENT.get_or_init(|| document(&state.site.base));
    (
        [(header::CONTENT_TYPE, "application/json")],
        document.as_str(),
    )
}

/// Returns the document of a server that is reached under `base`.
fn document(base: &BasePath) -> String {
    let mut document = routes().into_openapi();
    document.servers = (!base.is_root()).then(|| vec![Server::new(base.as_str())]);
    // It cannot fail: nothing in it has keys that are no text.
    document.to_json().unwrap_or_default()
}
