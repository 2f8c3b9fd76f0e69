//! `GET …/messages`: what was said in a room, in pages.

use axum::extract::State as Shared;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::Publication;
use crate::server::auth::Right;
use crate::server::http::AppState;
use crate::server::http::caller::Caller;
use crate::server::http::client::ClientAddress;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{self, InRoom, Query};
use crate::server::moderation::AccessRequest;
use crate::server::store::{Bounds, Span};

/// Messages in a page unless the query says how many, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryParams {
    /// Only what came after this offset, oldest first from there.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// Only what came before this offset. Without `after`, the newest of it.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u64>)]
    before: Option<String>,
    /// At most so many messages, 1 to 1000; 100 without it. Large messages make a page shorter.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// A page of a room's log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct History {
    /// Which life of the log the offsets belong to.
    #[schema(value_type = String)]
    epoch: Epoch,
    /// The oldest offset kept; 0 when nothing is.
    #[schema(value_type = u64)]
    first: Offset,
    /// The newest offset; 0 when nothing was said.
    #[schema(value_type = u64)]
    head: Offset,
    /// Oldest first.
    messages: Vec<HistoryEntry>,
    /// Whether there is more of what was asked for: after the last one if the query has `after`, else before
    /// the first one.
    more: bool,
}

/// One entry of the log, as `message` frames and streams have it.
#[derive(Debug, Serialize)]
struct HistoryEntry(Publication);

/// Read a page of what was said.
///
/// With `after`, oldest first from there; with both, only what lies between; else the newest.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/messages",
    params(("room" = String, Path, description = "1 to 64 of `a-z 0-9 - _ .`, but not `.` or `..`"), HistoryParams),
    responses(
        (status = 200, description = "A page", body = History),
        (status = 400, description = "`bad_name`, `bad_parameter`: says which", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn history(
    Shared(state): Shared<AppState>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    Caller(principal): Caller,
    InRoom(room): InRoom,
    Query(asked): Query<HistoryParams>,
) -> Result<Json<History>, ApiError> {
    principal.check(Right::Read, &room)?;
    state
        .moderation
        .admit_reader(&AccessRequest::new(principal.proven(), address, &room))?;
    let after = asked
        .after
        .map(|after| extract::offset("after", &after))
        .transpose()?;
    let before = asked
        .before
        .map(|before| extract::offset("before", &before))
        .transpose()?;
    let limit = asked.limit.map_or(Ok(DEFAULT_LIMIT), |limit| {
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
    // Between two offsets, one more than asked for: it tells whether there is more before the second.
    let looked_at = if after.is_some() && before.is_some() {
        limit + 1
    } else {
        limit
    };
    let mut page = state.hub.history(&room, span, looked_at).await?;
    if let (Some(_), Some(before)) = (after, before) {
        let wanted = page.frames.partition_point(|frame| frame.offset() < before);
        page.more = wanted > limit || (page.more && wanted == page.frames.len());
        page.frames.truncate(wanted.min(limit));
    }
    // After the page: so that no message of it is newer than the head.
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
    /// By hand: what travels between both sides does not know of this document.
    fn schema() -> RefOr<Schema> {
        let number = |said| {
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(0))
                .description(Some(said))
        };
        let text = |said| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some(said))
        };
        let entry: Object = ObjectBuilder::new()
            .property("offset", number("Its number in the room"))
            .property(
                "prev",
                number("The number of the one before it: if you did not see that, you have a gap"),
            )
            .property(
                "at",
                number("When it was stored, in milliseconds since 1970 UTC"),
            )
            .property("from", text("Who said it"))
            .property("text", text("What was said, unless it was binary"))
            .property("data", text("What was said, in base64, if it was binary"))
            .property("key", text("The sender's key, where it gave one"))
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
