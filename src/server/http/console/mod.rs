//! `/admin`: the operator's page, rendered anew for each request. What it shows and does is what the API under
//! `/api/v1/admin` shows and does; this only puts it into a page.
//!
//! # Invariants
//!
//! - Whoever is no operator sees a gate, and nothing of the server.
//! - A form acts only if it says by `Origin` that it stands in a page of ours: the guard has compared it. Without a
//!   token in a header nothing is done on the public listener at all.

mod view;
mod act;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{Extensions, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};

use crate::app::admin::place::PATH;
use crate::app::admin::{Desk, Outcome, Place, Seen, document};
use crate::protocol::BasePath;
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin::operator::{OnOps, Operator};
use crate::server::http::error::{AdminError, ApiError};
use crate::server::http::extract::Query;
use crate::server::http::headers;
use crate::server::http::page::{Choice, ReaderPreferences};
use crate::server::http::shares::AddressShare;

use act::Form;

/// Largest form, in bytes: some names, a reason, and where the operator stood, each character as twelve.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// Its address.
pub(super) fn router() -> Router<AppState> {
    Router::new().route(&format!("/{PATH}"), get(show).post(submit))
}

async fn show(
    Shared(state): Shared<AppState>,
    Extension(share): Extension<Arc<AddressShare>>,
    Query(choice): Query<Choice>,
    request: Request,
) -> Result<Response, ApiError> {
    let base = base_of(&state, request.extensions());
    if let Some(cookies) = choice.cookies(&base) {
        // The choice is remembered; the address need not say it again.
        let address = base.join(&format!("/{PATH}"));
        return Ok((cookies, Redirect::to(&address)).into_response());
    }

    let (parts, _) = request.into_parts();
    let reader = ReaderPreferences::of(share, &parts.headers);
    let mut place = Place::parse(parts.uri.query().unwrap_or_default());
    let operator = match Operator::of(&parts, &state) {
        Ok(operator) => operator,
        Err(error) => {
            let came_with_token = parts.headers.contains_key(header::AUTHORIZATION);
            return gate(&state, &reader, came_with_token, error).await;
        }
    };

    let outcome = place.done.take().map(Outcome::Done);
    let listed = view::listed(&state, &operator, &place, outcome).await;
    let seen = Seen::Inside(Box::new(listed));
    page(StatusCode::OK.into_response(), &state, &reader, place, seen).await
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
    let operator = match Operator::of(&parts, &state) {
        Ok(operator) => operator,
        Err(error) => {
            let came_with_token = parts.headers.contains_key(header::AUTHORIZATION);
            return gate(&state, &reader, came_with_token, error).await;
        }
    };

    let form = RequestBody::new(&parts, body, &state)
        .read(MAX_FORM_BYTES, |body| Ok(Form::read(body)))
        .await?;
    let back = form.back();
    match form.act(&state, &operator).await {
        // The way back to the page, so that reloading it does nothing twice.
        Ok(done) => {
            let href = back.after_doing(done).href();
            Ok(Redirect::to(&base.join(&format!("/{href}"))).into_response())
        }
        Err(error) => {
            let failed = Some(Outcome::Failed(error.to_string()));
            let listed = view::listed(&state, &operator, &back, failed).await;
            let seen = Seen::Inside(Box::new(listed));
            page(error.into_response(), &state, &reader, back, seen).await
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

/// What is seen by whoever is no operator, because of `error`.
async fn gate(
    state: &AppState,
    reader: &ReaderPreferences,
    came_with_token: bool,
    error: ApiError,
) -> Result<Response, ApiError> {
    let has_keys = !state.verifier.is_open();
    let refused = (has_keys && came_with_token).then(|| error.to_string());
    // Where a token is brought to is a page like any other.
    let is_fine = has_keys && refused.is_none();
    let response = if is_fine {
        StatusCode::OK.into_response()
    } else {
        error.into_response()
    };
    let seen = Seen::Gate { refused, has_keys };
    page(response, state, reader, Place::default(), seen).await
}

/// `response`, with a page in it.
async fn page(
    mut response: Response,
    state: &AppState,
    reader: &ReaderPreferences,
    place: Place,
    seen: Seen,
) -> Result<Response, ApiError> {
    let site = &state.site.leptos;
    let desk = Desk {
        locale: reader.locale,
        theme: reader.theme,
        // From the page's own address, as all others in it: the ops listener has no base path.
        styles: format!("{}/{}.css", site.site_pkg_dir, site.output_name),
        place,
        seen,
    };
    let turn = state.renderer.turn(&reader.share).await?;
    *response.body_mut() = Body::from(turn.render(move || document(desk)).await?);

    headers::permit(&mut response);
    headers::permit_own_files(&mut response);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    // Nothing of it may be kept, least of all for somebody else.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(
        header::VARY,
        HeaderValue::from_static("Accept-Language, Authorization, Cookie"),
    );
    Ok(response)
}
