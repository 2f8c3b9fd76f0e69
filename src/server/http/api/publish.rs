//! `POST …/messages`: one message or a batch into a room, answered once it is stored.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::protocol::Epoch;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::auth::{Principal, Right};
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::message::{BodyFormat, MAX_BATCH_MESSAGES, NewMessage};
use crate::server::http::caller::{Caller, speaker};
use crate::server::http::client::ClientAddress;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::hub::Room;
use crate::server::moderation::AccessRequest;
use crate::server::room::Draft;
use crate::server::session::IpBucket;
use crate::server::store::{StoreError, Stored};

/// The header that makes a publish repeatable, like `key` in JSON.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Where what was published stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    /// The room.
    #[schema(value_type = String)]
    room: RoomName,
    /// Which life of the room's log the offsets belong to.
    #[schema(value_type = String)]
    epoch: Epoch,
    #[serde(flatten)]
    places: Places,
}

/// One place, or those of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Places {
    One(StoredPosition),
    Many {
        /// In the order of the lines.
        messages: Vec<StoredPosition>,
    },
}

/// Where one message stands.
#[derive(Debug, Serialize, ToSchema)]
struct StoredPosition {
    /// Its number in the room.
    #[schema(value_type = u64)]
    offset: Offset,
    /// When it was stored, in milliseconds since 1970 UTC.
    at: u64,
    /// Whether it already was, by an earlier publish with its key.
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
        }
    }
}

/// Publish one message or a batch.
///
/// The answer comes once everything is stored, as durably as the server promises. A batch is stored in a row,
/// in the order of its lines, and only if every line is good.
#[utoipa::path(
    post,
    path = "/api/v1/rooms/{room}/messages",
    params(
        ("room" = String, Path, description = "1 to 64 of `a-z 0-9 - _ .`, but not `.` or `..`"),
        ("Idempotency-Key" = Option<String>, Header,
            description = "`key` of the one message; in a batch each line has its own"),
    ),
    request_body(
        description = "The text alone, one message as JSON, or a batch: one such JSON object a line, at most 1000",
        content((String = "text/plain"), (NewMessage = "application/json"), (String = "application/x-ndjson")),
    ),
    responses(
        (status = 201, description = "Stored", body = Published),
        (status = 400, description = "`bad_name`, `bad_key`", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`, `room_closed`", body = ErrorBody),
        (status = 408, description = "`too_slow`: the body did not come in time", body = ErrorBody),
        (status = 413, description = "`too_big`, `too_many`", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`", body = ErrorBody),
        (status = 422, description = "`bad_body`: says the line, in a batch", body = ErrorBody),
        (status = 429, description = "`rate_limited` (messages, or new rooms), `busy` (too many bodies from this address at once): `Retry-After` says when", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`, `memory_full`, `draining`", body = ErrorBody),
    ),
)]
pub(super) async fn publish(
    Shared(state): Shared<AppState>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    Caller(principal): Caller,
    InRoom(room): InRoom,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<(StatusCode, Json<Published>), ApiError> {
    // Before the body: nothing is read of what is refused anyway.
    principal.check(Right::Write, &room)?;
    state
        .moderation
        .admit(&AccessRequest::new(principal.proven(), address, &room))?;
    state
        .quotas
        .check_post(IpBucket::of(address), state.hub.now())?;
    let kind = BodyFormat::of(&headers)?;

    let max_message = state.connection.max_message;
    let mut messages = body
        .read(kind.max_bytes(max_message), |body| {
            kind.read(body, max_message)
        })
        .await?;
    if let Some(key) = headers.get(IDEMPOTENCY_KEY) {
        let key = Key::parse(std::str::from_utf8(key.as_bytes()).unwrap_or_default())?;
        match messages.as_mut_slice() {
            [one] if kind != BodyFormat::Lines => one.key = Some(key),
            _ => return Err(ApiError::KeyOfBatch),
        }
    }
    let drafts = messages
        .into_iter()
        .map(|message| message.into_draft(&principal))
        .collect::<Result<_, _>>()?;
    let (room, stored) = store(&state, &principal, address, &room, drafts).await?;
    let mut stored = stored.into_iter().map(StoredPosition::from);
    let places = match kind {
        BodyFormat::Text | BodyFormat::Json => Places::One(stored.next().ok_or_else(unanswered)?),
        BodyFormat::Lines => Places::Many {
            messages: stored.collect(),
        },
    };
    let published = Published {
        room: room.name().clone(),
        epoch: room.epoch().clone(),
        places,
    };
    Ok((StatusCode::CREATED, Json(published)))
}

/// Stores `drafts` in a row in the room `name`, as fast as `principal` at `address` may, and answers what became
/// of each.
pub(in crate::server::http) async fn store(
    state: &AppState,
    principal: &Principal,
    address: IpAddr,
    name: &RoomName,
    drafts: Vec<Draft>,
) -> Result<(Arc<Room>, Vec<Stored>), ApiError> {
    for draft in &drafts {
        let id = principal.proven_or(Some(draft.from()));
        state
            .moderation
            .admit(&AccessRequest::new(id, address, name))?;
    }
    keep_to_the_rates(state, principal, address, &drafts)?;
    let room = state.hub.room(name).await?;
    if state.hub.is_new(&room) && !principal.may(Right::Admin, name) {
        state
            .quotas
            .create_room(IpBucket::of(address), state.hub.now())?;
    }

    let stored = state.hub.publish_batch(&room, drafts).await?;
    Ok((room, stored))
}

fn unanswered() -> StoreError {
    StoreError::Unavailable("the store returned no result for the message".to_owned())
}

/// Counts `drafts` against what `principal` and its address may say: all of them, or none.
fn keep_to_the_rates(
    state: &AppState,
    principal: &Principal,
    address: IpAddr,
    drafts: &[Draft],
) -> Result<(), ApiError> {
    let most = state
        .quotas
        .max_batch()
        .map_or(MAX_BATCH_MESSAGES, |most| most as usize);
    if drafts.len() > most {
        return Err(ApiError::TooMany { limit: most });
    }
    let mut messages: HashMap<&UserId, u32> = HashMap::new();
    drafts
        .iter()
        .for_each(|draft| *messages.entry(draft.from()).or_default() += 1);
    let host = IpBucket::of(address);
    let of = |(id, messages): (&UserId, u32)| (speaker(principal, id.clone(), host), messages);
    let speakers: Vec<_> = messages.into_iter().map(of).collect();
    Ok(state.quotas.post(host, &speakers, state.hub.now())?)
}
