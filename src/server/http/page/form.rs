//! `POST /r/{*room}`: the page's form, for readers without JavaScript. The message is stored, and the response redirects to
//! the page, so that a reload does not post again.
//!
//! A message that cannot be stored is shown in the form again with the reason, so no text is lost. Clients without the
//! right to write get the reason only; their body is not read.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};

use crate::app::{MessageForm, Reason};
use crate::protocol::{Key, RoomName, UserId};
use crate::server::http::AppState;
use crate::server::http::api::{self, RequestBody};
use crate::server::http::error::ApiError;
use crate::server::http::extract::InRoom;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::http::page::reader::{ReaderPreferences, name_cookie};
use crate::server::http::page::{PageView, new_key, render};
use crate::server::http::shares::AddressShare;
use crate::server::room::Draft;
use crate::server::store::StoreError;

/// The bytes in a form for one byte of text, like `%0A`.
const FORM_EXPANSION: usize = 3;
/// The bytes allowed for the other fields of the form.
const OTHER_FIELDS_BYTES: usize = 2048;

/// The media type of the form.
const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// The fields of the form.
#[derive(Debug, Default)]
struct PublishForm {
    text: String,
    from: String,
    key: String,
}

/// Publishes the message in the page's form.
pub(in crate::server::http) async fn publish_form(
    Shared(state): Shared<AppState>,
    Extension(share): Extension<Arc<AddressShare>>,
    client: AuthenticatedClient,
    InRoom(room): InRoom,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !media_type.starts_with(MEDIA_TYPE) {
        return Err(ApiError::Body(format!(
            "the page's form is {MEDIA_TYPE}; programs post to /api/v1"
        )));
    }

    let reader = ReaderPreferences::of(share, &headers);
    let max_message = state.rules(&room).max_message;
    let limit = max_message
        .saturating_mul(FORM_EXPANSION)
        .saturating_add(OTHER_FIELDS_BYTES);

    // The body is read only if the client may write.
    let form = match client.check_write(&state, &room) {
        Ok(()) => body.read(limit, |body| Ok(PublishForm::parse(body))).await,
        Err(error) => Err(error),
    };
    let form = match form {
        Ok(form) => form,
        Err(error) => {
            let empty = PublishForm::default();
            return refuse(&state, &client, room, &reader, empty, error).await;
        }
    };
    if form.text.trim().is_empty() {
        return Ok(redirect_to_page(&state, &room).into_response());
    }

    let from = match form.from.trim() {
        "" => None,
        name => Some(UserId::parse(name)?),
    };
    let stored = match client.principal.user_id(from) {
        Err(error) => Err(ApiError::from(error)),
        Ok(_) if form.text.len() > max_message => Err(ApiError::TooBig {
            what: "message",
            limit: max_message,
        }),
        Ok(from) => {
            let from = from.unwrap_or_else(UserId::anonymous);
            // Forms of this page have a valid key; others are stored without one.
            let draft = Draft::text(from.clone(), Key::parse(&form.key).ok(), &form.text);
            api::store(&state, &client, &room, vec![draft])
                .await
                .map(|_| from)
        }
    };

    match stored {
        Ok(from) => {
            let cookie = AppendHeaders(name_cookie(&from, &state.site.base));
            Ok((cookie, redirect_to_page(&state, &room)).into_response())
        }
        Err(error) => refuse(&state, &client, room, &reader, form, error).await,
    }
}

/// Renders the page with the fields of `posted` in its form, and the reason for the refusal.
///
/// # Errors
/// Returns `error` if the page has no text for it.
async fn refuse(
    state: &AppState,
    client: &AuthenticatedClient,
    room: RoomName,
    reader: &ReaderPreferences,
    posted: PublishForm,
    error: ApiError,
) -> Result<Response, ApiError> {
    let (reason, status) = refusal(&error, posted.text.len()).ok_or(error)?;
    let form = MessageForm {
        key: new_key(),
        name: posted.from,
        text: posted.text,
        refused: Some(reason),
    };

    let view = PageView::new(state, client, room, None, form);
    render(state, view, reader, status).await
}

/// Returns the redirect to the page of `room`.
fn redirect_to_page(state: &AppState, room: &RoomName) -> Redirect {
    Redirect::to(&state.site.base.join(&format!("/r/{room}")))
}

/// Returns the reason that the page shows for `error` about a text of `size` bytes, and its status; `None` if the page has no
/// text for it.
const fn refusal(error: &ApiError, size: usize) -> Option<(Reason, StatusCode)> {
    match error {
        ApiError::TooFast(_) => Some((Reason::TooFast, StatusCode::TOO_MANY_REQUESTS)),
        ApiError::Auth(_) => Some((Reason::NotAllowed, StatusCode::FORBIDDEN)),
        ApiError::TooBig { limit, .. } => {
            let limit = *limit;
            Some((
                Reason::TooLong { size, limit },
                StatusCode::PAYLOAD_TOO_LARGE,
            ))
        }
        ApiError::Store(StoreError::RoomClosed) => Some((Reason::Ended, StatusCode::CONFLICT)),
        ApiError::Store(_) | ApiError::Refused(_) => {
            Some((Reason::Unavailable, StatusCode::SERVICE_UNAVAILABLE))
        }
        _ => None,
    }
}

impl PublishForm {
    /// Parses a form. Missing fields are empty, unknown ones are ignored.
    fn parse(body: &[u8]) -> Self {
        let mut form = Self::default();

        for (name, value) in form_urlencoded::parse(body) {
            match name.as_ref() {
                // Browsers send line ends as CRLF.
                "text" => form.text = value.replace("\r\n", "\n"),
                "from" => form.from = value.into_owned(),
                "key" => form.key = value.into_owned(),
                _ => {}
            }
        }

        form
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_of_a_browser_is_parsed() {
        let form =
            PublishForm::parse(b"key=k&from=%E6%9D%8E%E9%9B%B7&text=one+%2B%0D%0Atwo&other=x");

        assert_eq!(form.key, "k");
        assert_eq!(form.from, "李雷");
        assert_eq!(form.text, "one +\ntwo");
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            // Any fields are right.
            let _ = PublishForm::parse(&body);
        }
    }
}
