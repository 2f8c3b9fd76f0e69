//! The page of a room, rendered on the server in the reader's language and theme. It contains the newest messages, so it
//! can be read without JavaScript.

mod form;
mod reader;

pub(super) use form::publish_form;
pub(super) use reader::{PageQuery, ReaderPreferences};

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

use crate::app::{HistoryPage, MessageForm, RoomAccess, SignIn, Snapshot, shell};
use crate::protocol::{Offset, RoomName, UserId};
use crate::server::auth::WebPolicy;
use crate::server::http::error::ApiError;
use crate::server::http::extract::{InRoom, Query};
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::http::shares::AddressShare;
use crate::server::http::{AppState, headers};
use crate::server::hub::Room;
use crate::server::store::{Page, Span, StoreError};

/// The number of messages in a page. Its scripts load older ones on demand.
const MAX_MESSAGES: usize = 50;

/// Renders the page of the lobby, or redirects to the room in the query.
pub(super) async fn lobby(
    Shared(state): Shared<AppState>,
    Extension(share): Extension<Arc<AddressShare>>,
    client: AuthenticatedClient,
    Query(choice): Query<PageQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    if let Some(room) = &choice.room {
        // Text typed into a form may have spaces around it.
        let room = RoomName::parse(room.trim())?;
        let url = state.site.base.join(&format!("/r/{room}"));
        return Ok(Redirect::to(&url).into_response());
    }

    let reader = ReaderPreferences::of(share, request.headers());
    let lobby = RoomName::lobby();
    page(&state, &client, lobby, &choice, &reader, request).await
}

/// Renders the page of the room in the path.
pub(super) async fn room(
    Shared(state): Shared<AppState>,
    Extension(share): Extension<Arc<AddressShare>>,
    client: AuthenticatedClient,
    InRoom(room): InRoom,
    Query(choice): Query<PageQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let reader = ReaderPreferences::of(share, request.headers());
    page(&state, &client, room, &choice, &reader, request).await
}

async fn page(
    state: &AppState,
    client: &AuthenticatedClient,
    room: RoomName,
    choice: &PageQuery,
    reader: &ReaderPreferences,
    request: Request,
) -> Result<Response, ApiError> {
    if let Some(cookies) = choice.cookies(&state.site.base) {
        // The cookies replace the choice in the query.
        let url = state.site.base.join(request.uri().path());
        return Ok((cookies, Redirect::to(&url)).into_response());
    }

    let form = MessageForm {
        key: new_key(),
        name: reader.name.clone(),
        ..MessageForm::default()
    };
    let view = PageView::new(state, client, room, choice.offset(), form);
    render(state, view, reader, StatusCode::OK).await
}

/// The page to render.
struct PageView {
    room: RoomName,
    /// The message around which the page begins; `None` for the newest messages.
    at: Option<Offset>,
    /// True if the client may read the room.
    may_read: bool,
    /// True if the client may write in the room.
    may_write: bool,
    /// The user, if the request was authenticated.
    user: Option<UserId>,
    form: MessageForm,
}

impl PageView {
    /// Returns the page of `room` for `client`.
    fn new(
        state: &AppState,
        client: &AuthenticatedClient,
        room: RoomName,
        at: Option<Offset>,
        form: MessageForm,
    ) -> Self {
        Self {
            may_read: client.check_read(state, &room).is_ok(),
            may_write: client.check_write(state, &room).is_ok(),
            user: client.principal.proven().cloned(),
            room,
            at,
            form,
        }
    }

    /// Returns the access with which the page begins.
    fn access(&self, state: &AppState) -> RoomAccess {
        let lifecycle = state.hub.store().lifecycle(&self.room);
        let is_closed =
            lifecycle.is_ok_and(|lifecycle| lifecycle.is_some_and(|lifecycle| lifecycle.is_closed));

        if self.may_read && is_closed {
            RoomAccess::Ended
        } else if self.may_write {
            RoomAccess::Granted
        } else {
            RoomAccess::Unknown
        }
    }
}

/// Returns a deduplication key for a form, so that a message that is posted twice is stored once.
fn new_key() -> String {
    format!("form-{:032x}", fastrand::u128(..))
}

async fn render(
    state: &AppState,
    view: PageView,
    reader: &ReaderPreferences,
    status: StatusCode,
) -> Result<Response, ApiError> {
    // The messages are read after this, so that few requests at once hold them in memory.
    let permit = state.renderer.acquire(&reader.share).await?;

    // Read before the messages, so that the page of a room that has ended has its last one.
    let access = view.access(state);
    // The page is shown without the right to read too: there the reader enters a token.
    let PageView {
        room,
        at,
        may_read,
        user,
        form,
        ..
    } = view;
    let past = if may_read {
        messages(state, &room, at).await
    } else {
        None
    };
    let snapshot = Snapshot {
        base: state.site.base.clone(),
        room,
        locale: reader.locale,
        theme: reader.theme,
        is_open: state.authenticator.verifier().is_open(),
        user,
        sign_in: sign_in(state),
        access,
        past,
        at,
        form,
    };

    let options = state.site.leptos.clone();
    let reload = state.site.reload.clone();
    let web = state.web.clone();
    let render = leptos_axum::render_app_to_stream_with_context(
        move || set_policy(reload.as_deref(), &web),
        move || shell(options.clone(), snapshot.clone()),
    );

    // The snapshot has all data of the page, so the request is empty.
    let rendered = async move {
        let (parts, body) = render(Request::new(Body::empty())).await.into_parts();
        // Fails only if a stream in the page does, and there is none.
        let html = to_bytes(body, usize::MAX).await.unwrap_or_default();
        Response::from_parts(parts, Body::from(html))
    };
    let runtime = Handle::current();
    let mut response = permit.render(move || runtime.block_on(rendered)).await?;

    *response.status_mut() = status;
    headers::permit(&mut response);
    let headers = response.headers_mut();
    // Each response has its own nonce, language and messages, so it must not be cached for other readers.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(
        header::VARY,
        HeaderValue::from_static("Accept-Language, Cookie"),
    );

    Ok(response)
}

/// Returns the settings of the sign-in for the page.
fn sign_in(state: &AppState) -> SignIn {
    let urls = &state.web.sign_in;
    let verifier = state.authenticator.verifier();
    SignIn {
        token_url: urls.token.as_ref().map(ToString::to_string),
        page_url: urls.page.as_ref().map(ToString::to_string),
        accepts_tokens: verifier.accepts_tokens(),
        has_rights_in_tokens: verifier.has_rights_in_tokens(),
    }
}

/// Returns the messages of `room` around `at`, or the newest; `None` if they cannot be read. Such a page loads them over its
/// own connection.
async fn messages(state: &AppState, room: &RoomName, at: Option<Offset>) -> Option<HistoryPage> {
    let read = async {
        let room = state
            .hub
            .room(room)
            .await
            .map_err(|refusal| refusal.to_string())?;
        // Read before the messages: a message in between is then received twice, and not missed.
        let head = room.head();
        let page = match at {
            None => room.history(Span::Newest, MAX_MESSAGES).await,
            Some(at) => around(&room, at).await,
        };
        let page = page.map_err(|error| error.to_string())?;

        let newest = page.frames.last().map(|newest| newest.offset());
        let messages = page
            .frames
            .iter()
            .map(|frame| frame.publication())
            .collect();
        Ok::<HistoryPage, String>(HistoryPage {
            epoch: room.epoch().clone(),
            head: match at {
                None => newest.unwrap_or(head),
                Some(_) => newest.map_or(head, |newest| newest.max(head)),
            },
            messages,
            more: page.more,
        })
    };

    read.await
        .inspect_err(|error| warn!(%room, error, "could not read the messages of a page"))
        .ok()
}

/// Returns the message at `at`, with half of the page before it and half after it.
async fn around(room: &Room, at: Offset) -> Result<Page, StoreError> {
    let mut page = room.history(Span::Before(at), MAX_MESSAGES / 2).await?;
    let earlier = Offset(at.0.saturating_sub(1));
    let later = room.history(Span::After(earlier), MAX_MESSAGES / 2).await?;

    page.frames.extend(later.frames);
    Ok(page)
}

/// Sets the page's Content-Security-Policy with the nonce of its scripts.
fn set_policy(reload: Option<&str>, web: &WebPolicy) {
    let (Some(nonce), Some(response)) = (use_nonce(), use_context::<ResponseOptions>()) else {
        return;
    };

    if let Ok(policy) = HeaderValue::try_from(headers::page_policy(&nonce, reload, web)) {
        response.insert_header(header::CONTENT_SECURITY_POLICY, policy);
    }
}
