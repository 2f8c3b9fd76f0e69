//! `/admin`: the admin page, rendered for each request. It shows and does the same as the API under
//! `/api/v1/admin`.
//!
//! # Invariants
//!
//! - Clients that are not operators see a form for a token, and nothing of the server.
//! - A form acts only if its `Origin` is the page itself, which the origin check has compared. On the public listener, it
//!   also needs a token in a header.

mod view_model;
mod actions;

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{Extensions, StatusCode, header, request};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};

use crate::app::admin::route::PATH;
use crate::app::admin::{ActionOutcome, AdminContent, AdminPageData, AdminRoute, document};
use crate::protocol::BasePath;
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin::operator::{OnOps, Operator};
use crate::server::http::error::{AdminError, ApiError};
use crate::server::http::extract::Query;
use crate::server::http::headers;
use crate::server::http::page::{PageQuery, ReaderPreferences};
use crate::server::http::shares::AddressShare;

use actions::Form;

/// The largest form, in bytes: some names, a reason and a route, with every byte percent-encoded.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Returns the route of the page.
pub(super) fn router() -> Router<AppState> {
    Router::new().route(&format!("/{PATH}"), get(show).post(submit))
}

async fn show(
    Shared(state): Shared<AppState>,
    Extension(share): Extension<Arc<AddressShare>>,
    Query(choice): Query<PageQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let base = base_of(&state, request.extensions());
    if let Some(cookies) = choice.cookies(&base) {
        // A cookie keeps the choice, so the address no longer needs it.
        let address = base.join(&format!("/{PATH}"));
        return Ok((cookies, Redirect::to(&address)).into_response());
    }

    let (parts, _) = request.into_parts();
    let reader = ReaderPreferences::of(share, &parts.headers);
    let operator = match Operator::of(&parts, &state).await {
        Ok(operator) => operator,
        Err(error) => return sign_in(&state, &reader, &parts, error).await,
    };

    let mut route = AdminRoute::parse(parts.uri.query().unwrap_or_default());
    let outcome = route.completed.take().map(ActionOutcome::Completed);
    let dashboard = view_model::dashboard(&state, &operator, &route, outcome).await;
    let content = AdminContent::Dashboard(Box::new(dashboard));
    page(
        StatusCode::OK.into_response(),
        &state,
        &reader,
        route,
        content,
    )
    .await
}

async fn submit(
    Shared(state): Shared<AppState>,
    Extension(share): Extension<Arc<AddressShare>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let base = base_of(&state, &parts.extensions);

    // Browsers send it with every form (Fetch section 3.2), and no page can leave it out.
    if !parts.headers.contains_key(header::ORIGIN) {
        return Err(AdminError::NoOrigin.into());
    }
    let reader = ReaderPreferences::of(share, &parts.headers);
    let operator = match Operator::of(&parts, &state).await {
        Ok(operator) => operator,
        Err(error) => return sign_in(&state, &reader, &parts, error).await,
    };

    let form = RequestBody::new(parts, body, &state)
        .read(MAX_FORM_BYTES, |body| Ok(Form::parse(body)))
        .await?;
    let route = form.back();
    match form.act(&state, &operator).await {
        // A redirect, so a reload of the page does not repeat the action.
        Ok(completed) => {
            let href = route.with_completed(completed).href();
            Ok(Redirect::to(&base.join(&format!("/{href}"))).into_response())
        }
        Err(error) => {
            let failed = Some(ActionOutcome::Failed(error.to_string()));
            let dashboard = view_model::dashboard(&state, &operator, &route, failed).await;
            let content = AdminContent::Dashboard(Box::new(dashboard));
            page(error.into_response(), &state, &reader, route, content).await
        }
    }
}

/// Returns the path under which the listener of a request with `extensions` is reached: the ops listener has none.
fn base_of(state: &AppState, extensions: &Extensions) -> BasePath {
    match extensions.get::<OnOps>() {
        Some(_) => BasePath::default(),
        None => state.site.base.clone(),
    }
}

/// Returns the form for a token. The request in `parts` was rejected with `error`.
async fn sign_in(
    state: &AppState,
    reader: &ReaderPreferences,
    parts: &request::Parts,
    error: ApiError,
) -> Result<Response, ApiError> {
    let has_keys = !state.authenticator.verifier().is_open();
    let has_token = parts.headers.contains_key(header::AUTHORIZATION);
    let refused = (has_keys && has_token).then(|| error.to_string());

    // Without a token, the form is the expected answer.
    let response = if has_keys && !has_token {
        StatusCode::OK.into_response()
    } else {
        error.into_response()
    };
    let content = AdminContent::SignIn { refused, has_keys };
    page(response, state, reader, AdminRoute::default(), content).await
}

/// Returns `response` with the page as its body.
async fn page(
    mut response: Response,
    state: &AppState,
    reader: &ReaderPreferences,
    route: AdminRoute,
    content: AdminContent,
) -> Result<Response, ApiError> {
    let site = &state.site.leptos;
    let data = AdminPageData {
        locale: reader.locale,
        theme: reader.theme,
        // Relative to the page, like all its addresses: the ops listener has no base path.
        styles: format!("{}/{}.css", site.site_pkg_dir, site.output_name),
        route,
        content,
    };

    let permit = state.renderer.acquire(&reader.share).await?;
    let html = permit.render(move || document(data)).await?;

    // The page is for this operator only.
    let vary = "Accept-Language, Authorization, Cookie";
    headers::put_page(&mut response, html, vary);
    Ok(response)
}
