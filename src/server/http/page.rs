//! The page, rendered on the server for one room in the reader's language.

use axum::body::Body;
use axum::extract::{Path, Request, State as Shared};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use leptos::context::use_context;
use leptos::nonce::use_nonce;
use leptos_axum::ResponseOptions;

use crate::app::Locale;
use crate::app::Snapshot;
use crate::app::shell;
use crate::protocol::RoomName;
use crate::server::http::State;
use crate::server::http::error::ApiError;

pub(super) async fn lobby(Shared(state): Shared<State>, request: Request) -> Response {
    render(state, RoomName::lobby(), request).await
}

pub(super) async fn room(
    Shared(state): Shared<State>,
    Path(room): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let room = RoomName::parse(&room)?;
    Ok(render(state, room, request).await)
}

async fn render(state: State, room: RoomName, request: Request<Body>) -> Response {
    let language = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let snapshot = Snapshot { room, locale: Locale::negotiate(language) };
    let options = state.site.leptos.clone();
    let reload = state.site.reload.clone();
    let render = leptos_axum::render_app_to_stream_with_context(
        move || set_policy(reload.as_deref()),
        move || shell(options.clone(), snapshot.clone()),
    );
    let mut response = render(request).await.into_response();
    let headers = response.headers_mut();
    // Each answer holds its own nonce and language: none may be kept for another reader.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Language"));
    response
}

/// Sets the page's Content-Security-Policy: nothing from elsewhere, no script but those that carry this
/// answer's nonce, no frame around it.
fn set_policy(reload: Option<&str>) {
    let (Some(nonce), Some(response)) = (use_nonce(), use_context::<ResponseOptions>()) else { return };
    let reload = reload.map_or(String::new(), |source| format!(" {source}"));
    let policy = format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'{reload}; manifest-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    if let Ok(policy) = HeaderValue::try_from(policy) {
        response.insert_header(header::CONTENT_SECURITY_POLICY, policy);
    }
}
