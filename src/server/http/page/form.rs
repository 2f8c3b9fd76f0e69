//! `POST /r/{room}`: the page's form where JavaScript is off, or has not come yet. What it says is stored as by
//! any other way in, and the answer is the way back to the page, so that reloading it says nothing twice.
//!
//! A message that cannot be stored now comes back in the form, with the reason, and no text is lost. Clients that may not
//! write get the reason only: their body is not read.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};

use crate::app::Form;
use crate::app::Reason;
use crate::protocol::Key;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::auth::{Principal, Right};
use crate::server::http::AppState;
use crate::server::http::api::{self, RequestBody};
use crate::server::http::caller::Caller;
use crate::server::http::client::ClientAddress;
use crate::server::http::error::ApiError;
use crate::server::http::extract::InRoom;
use crate::server::http::page::reader::{ReaderPreferences, name_cookie};
use crate::server::http::page::{may_read, new_key, render};
use crate::server::http::shares::AddressShare;
use crate::server::moderation::AccessRequest;
use crate::server::room::Draft;

/// A form writes one byte of a text as three, like `%0A`.
const FORM_EXPANSION: usize = 3;
/// Room for everything in a form that is not its text.
const FORM_AROUND_TEXT: usize = 2048;

/// The form's type.
const KIND: &str = "application/x-www-form-urlencoded";

/// The form's fields.
#[derive(Debug, Default)]
struct PublishForm {
    text: String,
    from: String,
    key: String,
}

pub(in crate::server::http) async fn publish_form(
    Shared(state): Shared<AppState>,
    Extension(client): Extension<ClientAddress>,
    Extension(share): Extension<Arc<AddressShare>>,
    Caller(principal): Caller,
    InRoom(room): InRoom,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    if !kind.starts_with(KIND) {
        return Err(ApiError::Body(format!(
            "the page's form is {KIND}; programs post to /api/v1"
        )));
    }
    let reader = ReaderPreferences::of(share, &headers);
    let max_message = state.connection.max_message;
    let limit = max_message
        .saturating_mul(FORM_EXPANSION)
        .saturating_add(FORM_AROUND_TEXT);

    // Before the body: nothing is read from those who may not write, or of what is too long.
    let said = match may_write(&state, &principal, client, &room) {
        Ok(()) => body.read(limit, |body| Ok(PublishForm::read(body))).await,
        Err(error) => Err(error),
    };
    let said = match said {
        Ok(said) => said,
        Err(error) => {
            let nothing = PublishForm::default();
            return refuse(&state, &principal, client, room, &reader, nothing, error).await;
        }
    };

    if said.text.trim().is_empty() {
        return Ok(back(&state, &room).into_response());
    }
    let from = match said.from.trim() {
        "" => None,
        name => Some(UserId::parse(name)?),
    };
    let stored = match principal.user_id(from) {
        Err(error) => Err(ApiError::from(error)),
        Ok(_) if said.text.len() > max_message => Err(ApiError::TooBig {
            what: "message",
            limit: max_message,
        }),
        Ok(from) => {
            let from = from.unwrap_or_else(UserId::anonymous);
            // A form without a key is one that nobody here rendered.
            let draft = Draft::text(from.clone(), Key::parse(&said.key).ok(), &said.text);
            api::store(&state, &principal, client.0, &room, vec![draft])
                .await
                .map(|_| from)
        }
    };
    match stored {
        Ok(from) => {
            let cookie = AppendHeaders(name_cookie(&from, &state.site.base));
            Ok((cookie, back(&state, &room)).into_response())
        }
        Err(error) => refuse(&state, &principal, client, room, &reader, said, error).await,
    }
}

/// Renders the page with `said` in its form again, and the reason why it was refused.
///
/// # Errors
/// The errors that the page does not explain.
async fn refuse(
    state: &AppState,
    principal: &Principal,
    client: ClientAddress,
    room: RoomName,
    reader: &ReaderPreferences,
    said: PublishForm,
    error: ApiError,
) -> Result<Response, ApiError> {
    let (reason, status) = refusal(&error).ok_or(error)?;
    let form = Form {
        key: new_key(),
        name: said.from,
        text: said.text,
        refused: Some(reason),
    };

    let may_read = may_read(state, principal, client, &room);
    render(state, may_read, room, reader, form, status).await
}

/// Checks that `principal` may write in `room`, as far as that is known without its message.
fn may_write(
    state: &AppState,
    principal: &Principal,
    client: ClientAddress,
    room: &RoomName,
) -> Result<(), ApiError> {
    principal.check(Right::Write, room)?;
    state
        .moderation
        .admit(&AccessRequest::new(principal.proven(), client.0, room))?;
    Ok(())
}

/// Returns the way back to the page of `room`.
fn back(state: &AppState, room: &RoomName) -> Redirect {
    Redirect::to(&state.site.base.join(&format!("/r/{room}")))
}

/// What the page says of `error`, if it is one that the same text may meet again or not.
const fn refusal(error: &ApiError) -> Option<(Reason, StatusCode)> {
    match error {
        ApiError::TooFast(_) => Some((Reason::TooFast, StatusCode::TOO_MANY_REQUESTS)),
        ApiError::Auth(_) => Some((Reason::NotAllowed, StatusCode::FORBIDDEN)),
        ApiError::TooBig { .. } => Some((Reason::TooLong, StatusCode::PAYLOAD_TOO_LARGE)),
        ApiError::Store(_) | ApiError::Refused(_) => {
            Some((Reason::Unavailable, StatusCode::SERVICE_UNAVAILABLE))
        }
        _ => None,
    }
}

impl PublishForm {
    fn read(body: &[u8]) -> Self {
        let mut said = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            match name.as_ref() {
                // A form ends lines as the network did in 1971; a message does as its writer.
                "text" => said.text = value.replace("\r\n", "\n"),
                "from" => said.from = value.into_owned(),
                "key" => said.key = value.into_owned(),
                _ => {}
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_is_read_as_a_browser_writes_it() {
        let said =
            PublishForm::read(b"key=k&from=%E6%9D%8E%E9%9B%B7&text=one+%2B%0D%0Atwo&other=x");
        assert_eq!(
            (said.key.as_str(), said.from.as_str(), said.text.as_str()),
            ("k", "李雷", "one +\ntwo")
        );
    }

    proptest! {
        #[test]
        fn no_body_upsets_the_reader(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _said = PublishForm::read(&body);
        }
    }
}
