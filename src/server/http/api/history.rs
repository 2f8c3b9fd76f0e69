//! `GET …/messages`: the messages of a room, in pages.

use axum::extract::State as Shared;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::protocol::{Epoch, Offset, Publication};
use crate::server::auth::Right;
use crate::server::http::AppState;
use crate::server::http::client::ClientAddress;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{self, InRoom, Query};
use crate::server::http::middleware::authenticated::Authenticated;
use crate::server::moderation::AccessRequest;
use crate::server::store::{Bounds, Span};

/// The messages in a page if the query has no `limit`.
const DEFAULT_LIMIT: usize = 100;
/// The most messages in a page.
const MAX_LIMIT: usize = 1000;

/// The query parameters of a page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParams {
    /// Only messages after this offset, the oldest of them first.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// Only messages before this offset. Without `after`, the newest of them.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u64>)]
    before: Option<String>,
    /// The most messages in the page, 1 to 1000 (default 100). Pages with large messages may have fewer.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// A page of a room's log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    /// The epoch of the log, to which the offsets belong.
    #[schema(value_type = String)]
    epoch: Epoch,
    /// The oldest offset that is kept; 0 if there is none.
    #[schema(value_type = u64)]
    first: Offset,
    /// The newest offset; 0 if there is none.
    #[schema(value_type = u64)]
    head: Offset,
    /// The messages, oldest first.
    messages: Vec<HistoryEntry>,
    /// True if there are more such messages: after the last one if the query has `after`, else before the first one.
    more: bool,
}

/// A message of the log, as in `message` frames and streams.
#[derive(Debug, Serialize)]
struct HistoryEntry(Publication);

/// Read a page of messages.
///
/// With `after`, the oldest messages after it; with `before`, the newest before it; with both, the oldest between them;
/// with neither, the newest.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/messages",
    params(("room" = String, Path, description = "1 to 128 of `A-Z a-z 0-9 - _ . : @ ~ /`, with `/` as `%2F`"), HistoryParams),
    responses(
        (status = 200, description = "A page", body = History),
        (status = 400, description = "`bad_name`, `bad_parameter`, with its name", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn history(
    Shared(state): Shared<AppState>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    Authenticated(principal): Authenticated,
    InRoom(room): InRoom,
    Query(params): Query<HistoryParams>,
) -> Result<Json<History>, ApiError> {
    principal.check(Right::Read, &room)?;
    state
        .moderation
        .admit_reader(&AccessRequest::new(principal.proven(), address, &room))?;

    let after = params
        .after
        .map(|after| extract::offset("after", &after))
        .transpose()?;
    let before = params
        .before
        .map(|before| extract::offset("before", &before))
        .transpose()?;
    let limit = params.limit.map_or(Ok(DEFAULT_LIMIT), |limit| {
        limit
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or(ApiError::Parameter {
                name: "limit",
                allowed: "a number from 1 to 1000",
            })
    })?;

    let room = state.hub.room(&room).await?;
    let span = after
        .map(Span::After)
        .or(before.map(Span::Before))
        .unwrap_or(Span::Newest);
    // Between two offsets, one more message is read, to detect whether there are more before the second.
    let read_limit = if after.is_some() && before.is_some() {
        limit + 1
    } else {
        limit
    };
    let mut page = room.history(span, read_limit).await?;
    if let (Some(_), Some(before)) = (after, before) {
        let in_range = page.frames.partition_point(|frame| frame.offset() < before);
        page.more = in_range > limit || (page.more && in_range == page.frames.len());
        page.frames.truncate(in_range.min(limit));
    }

    // Read after the page, so that no message in it is newer than the head.
    let Bounds {
        epoch, first, head, ..
    } = state.hub.store().bounds(room.name())?;
    let messages = page
        .frames
        .iter()
        .map(|frame| HistoryEntry(frame.publication()))
        .collect();

    Ok(Json(History {
        epoch,
        first,
        head,
        messages,
        more: page.more,
    }))
}

impl PartialSchema for HistoryEntry {
    /// Returns the schema, written by hand because the page shares [`Publication`] and does not depend on utoipa.
    fn schema() -> RefOr<Schema> {
        let number = |description| {
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(0))
                .description(Some(description))
        };
        let text = |description| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some(description))
        };

        let entry: Object = ObjectBuilder::new()
            .property("offset", number("The offset in the room"))
            .property(
                "prev",
                number("The offset of the previous message: if you do not have it, you have a gap"),
            )
            .property(
                "at",
                number("The time of storage, in milliseconds since 1970 UTC"),
            )
            .property("from", text("The sender"))
            .property("text", text("The text of a text message"))
            .property("data", text("The bytes of a binary message, in base64"))
            .property("key", text("The sender's key, if it gave one"))
            .required("offset")
            .required("prev")
            .required("at")
            .required("from")
            .build();

        entry.into()
    }
}

impl ToSchema for HistoryEntry {
    fn name() -> std::borrow::Cow<'static, str> {
        "Message".into()
    }
}
