//! `POST …/messages`: publishes one message or a batch, and responds once it is stored.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::protocol::{Epoch, Key, Offset, RoomName, UserId};
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::message::{BodyFormat, MAX_BATCH_MESSAGES, NewMessage};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::hub::{Room, check_references};
use crate::server::moderation::AccessRequest;
use crate::server::room::Draft;
use crate::server::store::{StoreError, Stored};

/// The header with the deduplication key of a message, like `key` in JSON.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The positions of the published messages.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    /// The room.
    #[schema(value_type = String)]
    room: RoomName,
    /// The epoch of the room's log, to which the offsets belong.
    #[schema(value_type = String)]
    epoch: Epoch,
    #[serde(flatten)]
    positions: StoredPositions,
}

/// The position of one message, or those of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum StoredPositions {
    One(StoredPosition),
    Many {
        /// The positions, in the order of the lines.
        messages: Vec<StoredPosition>,
    },
}

/// The position of a message.
#[derive(Debug, Serialize, ToSchema)]
struct StoredPosition {
    /// The position in the one sequence of all rooms.
    #[schema(value_type = u64)]
    offset: Offset,
    /// The time of storage, in milliseconds since 1970 UTC.
    at: u64,
    /// True if an earlier publish with the same key stored the message.
    duplicate: bool,
}

impl From<Stored> for StoredPosition {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::New(frame) => Self {
                offset: frame.offset(),
                at: frame.at(),
                duplicate: false,
            },
            Stored::Duplicate { offset, at } => Self {
                offset,
                at,
                duplicate: true,
            },
            Stored::Removed { offset, at } => Self {
                offset,
                at,
                duplicate: false,
            },
        }
    }
}

/// Publish one message or a batch.
///
/// The response is sent once everything is stored. A batch is stored without other messages in between, in the order of
/// its lines, and only if every line is valid.
#[utoipa::path(
    post,
    path = "/api/v1/rooms/{room}/messages",
    params(
        InRoom,
        ("Idempotency-Key" = Option<String>, Header,
            description = "`key` of a single message; in a batch each line has its own"),
    ),
    request_body(
        description = "The text or the bytes, one message as JSON, or a batch: one such JSON object on each line, at most 1000",
        content(
            (String = "text/plain"),
            (NewMessage = "application/json"),
            (Vec<u8> = "application/octet-stream"),
            (String = "application/x-ndjson"),
        ),
    ),
    responses(
        (status = 201, description = "Stored", body = Published),
        (status = 400, description = "`bad_name`, `bad_key`", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed` (also: `edits` of another user's message, or ids are not verified), `banned`, `room_closed`", body = ErrorBody),
        (status = 404, description = "`no_such_message`: the message in `edits` is not kept, or is deleted", body = ErrorBody),
        (status = 408, description = "`too_slow`: the body timed out", body = ErrorBody),
        (status = 413, description = "`too_big`, `too_many`", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`", body = ErrorBody),
        (status = 422, description = "`bad_body`, with the line in a batch; also: `reply_to` is newer than the room, or `edits` names an edit", body = ErrorBody),
        (status = 429, description = "`rate_limited` (messages, or new rooms), `busy` (too many bodies from this address at once), with `Retry-After`", body = ErrorBody),
        (status = 503, description = "`no_keys` (the keys of `--jwks` are not fetched yet), `store_unavailable`, `too_many_rooms`, `memory_full`, `draining`", body = ErrorBody),
    ),
)]
pub(super) async fn publish(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    InRoom(room): InRoom,
    body: RequestBody,
) -> Result<(StatusCode, Json<Published>), ApiError> {
    // Checked before the body is read.
    let rules = state.rules(&room);
    client.check_publish(&state, &room, rules.message_rate)?;
    let format = BodyFormat::of(body.headers())?;
    let key = body.headers().get(IDEMPOTENCY_KEY).cloned();

    let mut messages = body
        .read(format.max_bytes(rules.max_message), |body| {
            format.parse(body, rules.max_message)
        })
        .await?;

    if let Some(key) = key {
        let key = Key::parse(std::str::from_utf8(key.as_bytes()).unwrap_or_default())?;
        match messages.as_mut_slice() {
            [message] if format != BodyFormat::Lines => message.fields.key = Some(key),
            _ => return Err(ApiError::KeyOfBatch),
        }
    }

    let drafts = messages
        .into_iter()
        .map(|message| message.into_draft(&client.principal))
        .collect::<Result<_, _>>()?;
    let (room, stored) = store(&state, &client, &room, drafts).await?;

    let mut stored = stored.into_iter().map(StoredPosition::from);
    let positions = match format {
        BodyFormat::Text | BodyFormat::Binary | BodyFormat::Json => {
            StoredPositions::One(stored.next().ok_or_else(no_result)?)
        }
        BodyFormat::Lines => StoredPositions::Many {
            messages: stored.collect(),
        },
    };
    let published = Published {
        room: room.name().clone(),
        epoch: room.epoch().clone(),
        positions,
    };

    Ok((StatusCode::CREATED, Json(published)))
}

/// Stores `drafts` in the room `name`, without other messages in between, within the rate limits of `client`. Returns
/// the room and the result of each draft.
pub(in crate::server::http) async fn store(
    state: &AppState,
    client: &AuthenticatedClient,
    name: &RoomName,
    drafts: Vec<Draft>,
) -> Result<(Arc<Room>, Vec<Stored>), ApiError> {
    admit_drafts(state, client, name, &drafts)?;

    let room = state.hub.room(name).await?;
    if room.is_new() {
        client.count_new_room(state, name)?;
    }

    for draft in &drafts {
        check_references(&room, draft, client.principal.proven()).await?;
    }
    let stored = room.publish_batch(drafts).await?;
    Ok((room, stored))
}

/// Checks that the senders of `drafts` may publish in the room `name`, and counts the messages in the rate limits of `client`.
/// Without drafts, one message is counted.
///
/// # Errors
/// If a sender is banned, or a limit is exceeded.
pub(in crate::server::http) fn admit_drafts(
    state: &AppState,
    client: &AuthenticatedClient,
    name: &RoomName,
    drafts: &[Draft],
) -> Result<(), ApiError> {
    for draft in drafts {
        let id = client.principal.ban_id(Some(draft.from()));
        let request = AccessRequest::new(id, client.address, name);
        state.moderation.admit(&request)?;
    }
    check_rate_limits(state, client, name, drafts)
}

fn no_result() -> StoreError {
    StoreError::Unavailable("the store returned no result for the message".to_owned())
}

/// Counts `drafts` to the room `name` in the rate limits of their senders and of the address: all of them, or none.
fn check_rate_limits(
    state: &AppState,
    client: &AuthenticatedClient,
    name: &RoomName,
    drafts: &[Draft],
) -> Result<(), ApiError> {
    let limits = client.message_limits(name, state.rules(name).message_rate);
    let limit = state
        .quotas
        .max_batch(limits)
        .map_or(MAX_BATCH_MESSAGES, |limit| limit as usize);
    if drafts.len() > limit {
        return Err(ApiError::TooMany { limit });
    }

    let mut counts: HashMap<&UserId, u32> = HashMap::new();
    for draft in drafts {
        *counts.entry(draft.from()).or_default() += 1;
    }
    let anonymous = UserId::anonymous();
    if drafts.is_empty() {
        counts.insert(client.principal.proven().unwrap_or(&anonymous), 1);
    }
    let counts: Vec<_> = counts.into_iter().collect();
    Ok(client.count_messages(state, limits, &counts)?)
}
