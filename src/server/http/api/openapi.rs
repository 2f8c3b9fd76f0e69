//! `GET /api/v1/openapi.json`: the description of the API. Routes and description come from the same table, so no route is
//! undocumented.

use std::sync::OnceLock;

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa::openapi::Server;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::protocol::BasePath;
use crate::server::http::api::{admin, delete, history, presence, publish, room, signal, stream};
use crate::server::http::streams::StreamsDocument;
use crate::server::http::{AppState, compression};

/// The document as JSON, generated once.
static DOCUMENT: OnceLock<String> = OnceLock::new();

/// Fanfare: the same ordered log of messages per room, for every browser, script and service.
#[derive(OpenApi)]
#[openapi(
    info(title = "Fanfare", version = "v1", license(name = "MIT", identifier = "MIT")),
    // Without keys, no token is needed; otherwise one of the two.
    security((), ("bearer" = []), ("query" = [])),
    modifiers(&SecuritySchemes),
)]
struct Document;

/// Adds the security schemes to the document.
struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let description = "A JSON Web Token, if the server has --auth-key-file: sub, rooms, exp";
        let header = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(description));
        let query =
            ApiKeyValue::with_description("token", "The same, for clients that cannot set headers");

        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(header.build()));
        components.add_security_scheme("query", SecurityScheme::ApiKey(ApiKey::Query(query)));
    }
}

/// Returns all routes of the API with their descriptions.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    let mut document = Document::openapi();
    document.merge(StreamsDocument::openapi());
    OpenApiRouter::with_openapi(document)
        .routes(routes!(publish::publish))
        .routes(routes!(history::history).layer(compression::layer()))
        .routes(routes!(delete::delete))
        .routes(routes!(room::describe))
        .routes(routes!(room::list))
        .routes(routes!(stream::stream))
        .routes(routes!(stream::stream_of_rooms))
        .routes(routes!(presence::presence))
        .routes(routes!(signal::signal))
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

/// Returns the document of a server under `base` as JSON.
fn document(base: &BasePath) -> String {
    let mut document = routes().into_openapi();
    document.servers = (!base.is_root()).then(|| vec![Server::new(base.as_str())]);
    // Cannot fail: all keys in it are strings.
    document.to_json().unwrap_or_default()
}
