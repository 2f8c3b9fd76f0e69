//! The page, rendered on the server for one room: in the reader's language and colours, with what was said
//! last, so that it can be read before any script has come, and without one.

mod form;
mod reader;

pub(super) use form::publish_form;
pub(super) use reader::{Choice, ReaderPreferences};

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use leptos::context::use_context;
use leptos::nonce::use_nonce;
use leptos_axum::ResponseOptions;
use tokio::runtime::Handle;
use tracing::warn;

use crate::app::Form;
use crate::app::InitialHistory;
use crate::app::Snapshot;
use crate::app::shell;
use crate::protocol::RoomName;
use crate::server::auth::{Embedding, Principal, Right};
use crate::server::http::AppState;
use crate::server::http::caller::Caller;
use crate::server::http::client::ClientAddress;
use crate::server::http::error::ApiError;
use crate::server::http::extract::{InRoom, Query};
use crate::server::http::headers;
use crate::server::http::shares::AddressShare;
use crate::server::moderation::AccessRequest;
use crate::server::store::Span;

/// Messages that a page begins with; it asks for older ones when someone reads back.
const NEWEST: usize = 50;

pub(super) async fn lobby(
    Shared(state): Shared<AppState>,
    Extension(client): Extension<ClientAddress>,
    Extension(share): Extension<Arc<AddressShare>>,
    Caller(principal): Caller,
    Query(choice): Query<Choice>,
    request: Request,
) -> Result<Response, ApiError> {
    if let Some(room) = &choice.room {
        // What someone types into a form may begin or end with a space.
        let room = RoomName::parse(room.trim())?;
        let address = state.site.base.join(&format!("/r/{room}"));
        return Ok(Redirect::to(&address).into_response());
    }
    let reader = ReaderPreferences::of(share, request.headers());
    let lobby = RoomName::lobby();
    page(&state, &principal, client, lobby, &choice, &reader, request).await
}

pub(super) async fn room(
    Shared(state): Shared<AppState>,
    Extension(client): Extension<ClientAddress>,
    Extension(share): Extension<Arc<AddressShare>>,
    Caller(principal): Caller,
    InRoom(room): InRoom,
    Query(choice): Query<Choice>,
    request: Request,
) -> Result<Response, ApiError> {
    let reader = ReaderPreferences::of(share, request.headers());
    page(&state, &principal, client, room, &choice, &reader, request).await
}

async fn page(
    state: &AppState,
    principal: &Principal,
    client: ClientAddress,
    room: RoomName,
    choice: &Choice,
    reader: &ReaderPreferences,
    request: Request,
) -> Result<Response, ApiError> {
    if let Some(cookies) = choice.cookies(&state.site.base) {
        // The choice is remembered; the address need not say it again.
        let address = state.site.base.join(request.uri().path());
        let back = Redirect::to(&address).into_response();
        return Ok((cookies, back).into_response());
    }

    let form = Form {
        key: new_key(),
        name: reader.name.clone(),
        ..Form::default()
    };
    let may_read = may_read(state, principal, client, &room);
    render(state, may_read, room, reader, form, StatusCode::OK).await
}

/// A key for the form, so that a message that is posted twice is stored once.
fn new_key() -> String {
    format!("form-{:032x}", fastrand::u128(..))
}

/// Whether `client` may read what was said in `room`, and `principal` has the right to.
fn may_read(
    state: &AppState,
    principal: &Principal,
    client: ClientAddress,
    room: &RoomName,
) -> bool {
    let guest = AccessRequest::new(principal.proven(), client.0, room);
    principal.may(Right::Read, room) && state.moderation.admit_reader(&guest).is_ok()
}

async fn render(
    state: &AppState,
    may_read: bool,
    room: RoomName,
    reader: &ReaderPreferences,
    form: Form,
    status: StatusCode,
) -> Result<Response, ApiError> {
    // Before the messages are read, so that they are in memory for few requests at once.
    let turn = state.renderer.turn(&reader.share).await?;

    // The page itself is for everyone: it is where a token is brought to.
    let past = if may_read {
        past(state, &room).await
    } else {
        None
    };
    let snapshot = Snapshot {
        base: state.site.base.clone(),
        room,
        locale: reader.locale,
        theme: reader.theme,
        is_open: state.verifier.is_open(),
        past,
        form,
    };
    let options = state.site.leptos.clone();
    let (reload, web) = (state.site.reload.clone(), state.web.clone());
    let render = leptos_axum::render_app_to_stream_with_context(
        move || set_policy(reload.as_deref(), &web.embedding),
        move || shell(options.clone(), snapshot.clone()),
    );

    // Nothing in the page depends on the request: all that it needs is in the snapshot.
    let whole = async move {
        let (parts, body) = render(Request::new(Body::empty())).await.into_parts();
        // Fails only where a stream of the page does, and it has none.
        let html = to_bytes(body, usize::MAX).await.unwrap_or_default();
        Response::from_parts(parts, Body::from(html))
    };
    let runtime = Handle::current();
    let mut response = turn.render(move || runtime.block_on(whole)).await?;

    *response.status_mut() = status;
    headers::permit(&mut response);
    let headers = response.headers_mut();
    // Each answer holds its own nonce, language and messages: none may be kept for another reader.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(
        header::VARY,
        HeaderValue::from_static("Accept-Language, Cookie"),
    );
    Ok(response)
}

/// The end of the room's log. A page without it still comes alive, and is told by its own connection.
async fn past(state: &AppState, room: &RoomName) -> Option<InitialHistory> {
    let found = async {
        let room = state
            .hub
            .room(room)
            .await
            .map_err(|refusal| refusal.to_string())?;
        // Asked for before the messages: what comes in between is then read twice, not never.
        let head = room.head();
        let page = state
            .hub
            .history(&room, Span::Newest, NEWEST)
            .await
            .map_err(|error| error.to_string())?;
        let head = page.frames.last().map_or(head, |newest| newest.offset());
        let messages = page
            .frames
            .iter()
            .map(|frame| frame.publication())
            .collect();
        Ok::<InitialHistory, String>(InitialHistory {
            epoch: room.epoch().clone(),
            head,
            messages,
            more: page.more,
        })
    };
    found
        .await
        .inspect_err(|error| warn!(%room, error, "the page is rendered without its messages"))
        .ok()
}

/// Sets the page's Content-Security-Policy, which names the nonce that its scripts carry.
fn set_policy(reload: Option<&str>, embedding: &Embedding) {
    let (Some(nonce), Some(response)) = (use_nonce(), use_context::<ResponseOptions>()) else {
        return;
    };
    if let Ok(policy) = HeaderValue::try_from(headers::page_policy(&nonce, reload, embedding)) {
        response.insert_header(header::CONTENT_SECURITY_POLICY, policy);
    }
}
