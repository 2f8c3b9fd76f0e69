//! `GET …/messages`: the messages of a room, in pages.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::protocol::{Epoch, Offset, Publication};
use crate::server::http::AppState;
use crate::server::http::api::search::{MAX_SEARCHES, SearchWords};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{self, InRoom, Query};
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::hub::Room;
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
    /// The message at this offset, with half of the page before it and half after it. Not with `after`, `before` or `q`.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u64>)]
    around: Option<String>,
    /// Only messages whose text contains all of these words, in any case, the newest first. With `after` and `before`, only
    /// those between them. Not with NATS.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<String>, max_length = 200)]
    q: Option<String>,
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
    /// The messages, oldest first; with `q`, newest first.
    #[schema(value_type = Vec<MessageDescription>)]
    messages: Vec<Publication>,
    /// True if there are more such messages: after the last one if the query has `after`, with `around` on either side, else
    /// before the oldest one.
    more: bool,
}

/// A message of the log, as in `message` frames and streams. Only described here, because the page shares
/// [`Publication`] and does not depend on utoipa.
#[derive(ToSchema)]
#[schema(as = Message)]
#[expect(dead_code, reason = "only its description is used")]
struct MessageDescription {
    /// The position in the one sequence of all rooms
    offset: u64,
    /// The offset of the previous message of the room: if you do not have it, you have a gap
    prev: u64,
    /// The time of storage, in milliseconds since 1970 UTC
    at: u64,
    /// The sender
    from: String,
    /// The text of a text message
    #[schema(value_type = String, required = false)]
    text: Option<String>,
    /// The bytes of a binary message, in base64
    #[schema(value_type = String, required = false)]
    data: Option<String>,
    /// The sender's key, if it gave one
    #[schema(value_type = String, required = false)]
    key: Option<String>,
}

/// Read a page of messages.
///
/// With `after`, the oldest messages after it; with `before`, the newest before it; with both, the oldest between them;
/// with neither, the newest. With `around`, those around an offset; with `q`, a search.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/messages",
    params(InRoom, HistoryParams),
    responses(
        (status = 200, description = "A page", body = History),
        (status = 400, description = "`bad_name`, `bad_parameter`, with its name", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`", body = ErrorBody),
        (status = 501, description = "`no_search`: the server stores messages in NATS", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`, `busy` (too many searches)", body = ErrorBody),
    ),
)]
pub(super) async fn history(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    InRoom(room): InRoom,
    Query(params): Query<HistoryParams>,
) -> Result<Json<History>, ApiError> {
    client.check_read(&state, &room)?;

    let query = HistoryQuery::parse(params)?;
    let _permit = match query.range {
        HistoryRange::Search(..) if !state.hub.store().is_searchable() => {
            return Err(ApiError::NoSearch);
        }
        HistoryRange::Search(..) => {
            let permit = state.searches.try_acquire();
            Some(permit.map_err(|_| ApiError::TooManySearches {
                limit: MAX_SEARCHES,
            })?)
        }
        _ => None,
    };

    let room = state.hub.room(&room).await?;
    let (messages, more) = query.read(&room).await?;

    // Read after the page, so that no message in it is newer than the head.
    let Bounds {
        epoch, first, head, ..
    } = state.hub.store().bounds(room.name())?;

    Ok(Json(History {
        epoch,
        first,
        head,
        messages,
        more,
    }))
}

/// The messages to read, and the most of them.
struct HistoryQuery {
    range: HistoryRange,
    limit: usize,
}

/// The messages that a query selects.
enum HistoryRange {
    /// The oldest or the newest of those in the span.
    Span(Span),
    /// The oldest of those after the first offset and before the second.
    Between(Offset, Offset),
    /// The message at this offset, with those before and after it.
    Around(Offset),
    /// The newest of those that contain the words, after the first offset and before the second.
    Search(SearchWords, Option<Offset>, Option<Offset>),
}

impl HistoryQuery {
    /// Parses the query parameters.
    ///
    /// # Errors
    /// The parameter that is invalid, or that cannot be combined with another.
    fn parse(params: HistoryParams) -> Result<Self, ApiError> {
        let offset =
            |name, text: Option<String>| text.map(|text| extract::offset(name, &text)).transpose();
        let after = offset("after", params.after)?;
        let before = offset("before", params.before)?;
        let around = offset("around", params.around)?;
        let words = params.q.as_deref().map(SearchWords::parse).transpose()?;
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

        let range = match (words, around, after, before) {
            (None, Some(around), None, None) => HistoryRange::Around(around),
            (_, Some(_), ..) => {
                return Err(ApiError::Parameter {
                    name: "around",
                    allowed: "an offset, without after, before and q",
                });
            }
            (Some(words), None, after, before) => HistoryRange::Search(words, after, before),
            (None, None, Some(after), Some(before)) => HistoryRange::Between(after, before),
            (None, None, Some(after), None) => HistoryRange::Span(Span::After(after)),
            (None, None, None, Some(before)) => HistoryRange::Span(Span::Before(before)),
            (None, None, None, None) => HistoryRange::Span(Span::Newest),
        };
        Ok(Self { range, limit })
    }

    /// Reads the messages. Returns true with them if there are more.
    ///
    /// # Errors
    /// If the store cannot be read now.
    async fn read(self, room: &Room) -> Result<(Vec<Publication>, bool), ApiError> {
        let limit = self.limit;
        let page = match self.range {
            HistoryRange::Span(span) => room.history(span, limit).await?,
            HistoryRange::Between(after, before) => {
                // One more message is read, to detect whether there are more before the second offset.
                let mut page = room.history(Span::After(after), limit + 1).await?;
                let in_range = page.frames.partition_point(|frame| frame.offset() < before);
                page.more = in_range > limit || (page.more && in_range == page.frames.len());
                page.frames.truncate(in_range.min(limit));
                page
            }
            HistoryRange::Around(offset) => {
                let earlier = Offset(offset.0.saturating_sub(1));
                let later = room
                    .history(Span::After(earlier), limit.div_ceil(2))
                    .await?;
                if limit == 1 {
                    later
                } else {
                    let mut page = room.history(Span::Before(offset), limit / 2).await?;
                    page.more |= later.more;
                    page.frames.extend(later.frames);
                    page
                }
            }
            HistoryRange::Search(words, after, before) => {
                let result = words.search(room, after, before, limit).await?;
                return Ok((result.messages, result.more));
            }
        };

        let messages = page.frames.iter().map(|frame| frame.publication());
        Ok((messages.collect(), page.more))
    }
}
