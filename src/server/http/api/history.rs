//! `GET …/messages`: the messages of a room, in pages.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::protocol::{Epoch, Kind, Offset, Publication};
use crate::server::http::AppState;
use crate::server::http::api::admin::page_size;
use crate::server::http::api::search::{MAX_SEARCHES, SearchWords};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{self, InRoom, Query};
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::hub::Room;
use crate::server::room::Frame;
use crate::server::store::{Bounds, Page, Span};

/// The messages that are read from the store at once to find those of a kind.
const SCAN_MESSAGES: usize = 1000;
/// The most bytes of a page of one kind, unless one message is larger.
const SCAN_BYTES: usize = 256 * 1024;

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
    /// Only messages whose text, or JSON text, contains all of these words, in any case, the newest first. With `after` and
    /// `before`, only those between them. An edited message is found by its newest content. Not with NATS.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<String>, max_length = 200)]
    q: Option<String>,
    /// Only messages of this kind.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<String>, max_length = 64)]
    kind: Option<String>,
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
    /// The value of a JSON message, as it was written
    #[schema(value_type = serde_json::Value, required = false)]
    json: Option<String>,
    /// The bytes of a binary message, in base64
    #[schema(value_type = String, required = false)]
    data: Option<String>,
    /// The sender's key, if it gave one
    #[schema(value_type = String, required = false)]
    key: Option<String>,
    /// The application's own type of the message, if it has one
    #[schema(value_type = String, required = false)]
    kind: Option<String>,
    /// The offset of the message that this one answers
    #[schema(value_type = u64, required = false)]
    reply_to: Option<u64>,
    /// The offset of the message whose content this one replaces
    #[schema(value_type = u64, required = false)]
    edits: Option<u64>,
}

/// Read a page of messages.
///
/// With `after`, the oldest messages after it; with `before`, the newest before it; with both, the oldest between them;
/// with neither, the newest. With `around`, those around an offset; with `q`, a search. The log is append-only: an edited
/// message is in it as it was, and each edit is a message of its own.
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
        (status = 503, description = "`no_keys` (the keys of `--jwks` are not fetched yet), `store_unavailable`, `too_many_rooms`, `busy` (too many searches)", body = ErrorBody),
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
        _ if query.is_scan() => {
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
    kind: Option<Kind>,
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
        let kind = params.kind.map(|kind| {
            Kind::parse(&kind).map_err(|_| ApiError::Parameter {
                name: "kind",
                allowed: "1 to 64 characters of A-Z a-z 0-9 . _ : -",
            })
        });
        // A limit that is not a number is refused like 0.
        let limit = params.limit.map(|limit| limit.parse().unwrap_or(0));
        let limit = page_size(limit)?;

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
        Ok(Self {
            range,
            kind: kind.transpose()?,
            limit,
        })
    }

    /// Returns true if all messages of the room may have to be read.
    const fn is_scan(&self) -> bool {
        self.kind.is_some() || matches!(self.range, HistoryRange::Search(..))
    }

    /// Reads the messages. Returns true with them if there are more.
    ///
    /// # Errors
    /// If the store cannot be read now.
    async fn read(self, room: &Room) -> Result<(Vec<Publication>, bool), ApiError> {
        let Self { range, kind, limit } = self;
        let kind = kind.as_ref();

        let page = match range {
            HistoryRange::Span(span) => read_page(room, span, limit, kind).await?,
            HistoryRange::Between(after, before) => {
                // One more message is read, to detect whether there are more before the second offset.
                let mut page = read_page(room, Span::After(after), limit + 1, kind).await?;
                let in_range = page.frames.partition_point(|frame| frame.offset() < before);
                page.more = in_range > limit || (page.more && in_range == page.frames.len());
                page.frames.truncate(in_range.min(limit));
                page
            }
            HistoryRange::Around(offset) => {
                let earlier = Offset(offset.0.saturating_sub(1));
                let later = read_page(room, Span::After(earlier), limit.div_ceil(2), kind).await?;
                if limit == 1 {
                    later
                } else {
                    let before = Span::Before(offset);
                    let mut page = read_page(room, before, limit / 2, kind).await?;
                    page.more |= later.more;
                    page.frames.extend(later.frames);
                    page
                }
            }
            HistoryRange::Search(words, after, before) => {
                let result = words.search(room, after, before, kind, limit).await?;
                return Ok((result.messages, result.more));
            }
        };

        let messages = page.frames.iter().map(|frame| frame.publication());
        Ok((messages.collect(), page.more))
    }
}

/// Reads like [`Room::history`]; with a `kind`, only the messages of that kind.
async fn read_page(
    room: &Room,
    mut span: Span,
    limit: usize,
    kind: Option<&Kind>,
) -> Result<Page, ApiError> {
    if kind.is_none() {
        return Ok(room.history(span, limit).await?);
    }

    let is_forward = matches!(span, Span::After(_));
    let mut found = Page::default();
    let mut bytes = 0;
    'pages: loop {
        let mut page = room.history(span, SCAN_MESSAGES).await?;
        if !is_forward {
            page.frames.reverse();
        }
        let Some(last) = page.frames.last().map(|frame| frame.offset()) else {
            break;
        };

        let of_kind = |frame: &Arc<Frame>| frame.fields().kind.as_ref() == kind;
        for frame in page.frames.into_iter().filter(of_kind) {
            bytes += frame.size();
            if found.frames.len() == limit || (bytes > SCAN_BYTES && !found.frames.is_empty()) {
                found.more = true;
                break 'pages;
            }
            found.frames.push(frame);
        }

        if !page.more {
            break;
        }
        span = if is_forward {
            Span::After(last)
        } else {
            Span::Before(last)
        };
    }

    if !is_forward {
        found.frames.reverse();
    }
    Ok(found)
}
