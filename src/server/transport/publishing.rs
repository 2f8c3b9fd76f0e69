//! The publishes of one client that the store has not finished. Messages that were read together are appended together:
//! one call for each run of messages to the same room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::protocol::{CloseCode, ErrorCode, Key, Push, RoomName, UserId};
use crate::server::auth::Right;
use crate::server::hub::{Hub, ReferenceError, Refusal, Room, check_references};
use crate::server::metrics;
use crate::server::room::{Dialect, Draft, Tick};
use crate::server::session::{CloseReason, Session};
use crate::server::store::{StoreError, StoreFuture, Stored};
use crate::server::transport::ClientSocket;
use crate::server::transport::connection::Connection;
use crate::server::transport::connection_state::ConnectionState;

/// Consecutive messages to one room.
#[derive(Debug)]
pub(super) struct RoomBatch {
    pub(super) room: RoomName,
    pub(super) drafts: Vec<Draft>,
}

/// The unfinished publishes of a client, in the order in which it sent them.
pub(super) enum UnfinishedPublishes {
    /// The rooms are being opened, because the client is not subscribed to all of them, or messages that refer to others
    /// are being checked.
    Opening(BoxFuture<'static, Vec<OpenedBatch>>),
    /// The messages are being stored.
    Storing(VecDeque<StoringBatch>),
}

/// A batch and its room.
pub(super) struct OpenedBatch {
    batch: RoomBatch,
    /// The room, unless it was refused.
    room: Result<Arc<Room>, Refusal>,
    /// The keys of the messages that were removed from the batch, because they may not refer to another message.
    refused: Vec<(Option<Key>, ReferenceError)>,
}

/// Messages that are being stored.
pub(super) struct StoringBatch {
    /// The room, which stays in memory until the store has finished.
    room: Arc<Room>,
    keys: Vec<Option<Key>>,
    result: StoreFuture<Vec<Stored>>,
}

/// Adds `draft` to `room` to the end of `batches`.
pub(super) fn push_draft(batches: &mut Vec<RoomBatch>, room: RoomName, draft: Draft) {
    match batches.last_mut() {
        Some(last) if last.room == room => last.drafts.push(draft),
        _ => batches.push(RoomBatch {
            room,
            drafts: vec![draft],
        }),
    }
}

impl UnfinishedPublishes {
    /// Begins to publish `batches`.
    pub(super) fn begin(
        connection: &Connection<ClientSocket>,
        session: &Session,
        batches: Vec<RoomBatch>,
        now: Tick,
    ) -> Self {
        let mut drafts = batches.iter().flat_map(|batch| &batch.drafts);
        let has_reference = drafts.any(|draft| draft.fields().has_reference());

        let mut state = connection.lock();
        state.is_publishing = true;
        let sender = state
            .registration()
            .and_then(|one| one.info().proven().cloned());
        let open: Option<Vec<Arc<Room>>> = batches
            .iter()
            .map(|batch| state.subscriptions.room(&batch.room).cloned())
            .collect();
        drop(state);

        match open {
            Some(rooms) if !has_reference => {
                let opened = |(batch, room)| OpenedBatch {
                    batch,
                    room: Ok(room),
                    refused: Vec::new(),
                };
                let opened = batches.into_iter().zip(rooms).map(opened).collect();
                Self::append(connection, session, opened, now)
            }
            _ => Self::Opening(open_rooms(connection.hub.clone(), batches, sender).boxed()),
        }
    }

    /// Appends each batch to its room. The client gets an error for each message that is refused.
    fn append(
        connection: &Connection<ClientSocket>,
        session: &Session,
        opened: Vec<OpenedBatch>,
        now: Tick,
    ) -> Self {
        let mut storing = VecDeque::new();
        for opened in opened {
            let RoomBatch { room, drafts } = opened.batch;
            for (key, error) in opened.refused {
                let message = error.to_string();
                connection.update(|state| refuse(state, &room, vec![key], error.code(), &message));
            }
            if drafts.is_empty() {
                continue;
            }

            let keys = drafts.iter().map(|draft| draft.key().cloned()).collect();
            let allowed = opened
                .room
                .map_err(|refusal| (refusal_code(refusal), refusal.to_string()))
                .and_then(|opened| check(connection, session, opened, now));

            match allowed {
                Ok(room) => storing.push_back(StoringBatch {
                    keys,
                    result: room.publish(drafts),
                    room,
                }),
                Err((code, message)) => {
                    connection.update(|state| refuse(state, &room, keys, code, &message));
                }
            }
        }
        Self::Storing(storing)
    }

    /// Sends the results as the store finishes the publishes. Ready when all are finished.
    pub(super) fn poll(
        &mut self,
        connection: &Connection<ClientSocket>,
        session: &Session,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let now = connection.hub.now();
        if let Self::Opening(opening) = self {
            let opened = ready!(opening.poll_unpin(cx));
            *self = Self::append(connection, session, opened, now);
        }

        let Self::Storing(storing) = self else {
            return Poll::Pending;
        };
        while let Some(first) = storing.front_mut() {
            let result = ready!(first.result.poll_unpin(cx));
            if let Some(StoringBatch { room, keys, .. }) = storing.pop_front() {
                let is_last = storing.is_empty();
                connection.on_published(is_last, now, |state| {
                    push_results(state, room.name(), keys, result, now);
                });
            }
        }
        // Needed if every batch was refused; otherwise the last result has done the same.
        connection.on_published(true, now, |_| {});
        Poll::Ready(())
    }
}

/// Opens the room of each batch, and removes the messages that may not refer to another one. `sender` is the client's id if
/// it is verified.
async fn open_rooms(hub: Hub, batches: Vec<RoomBatch>, sender: Option<UserId>) -> Vec<OpenedBatch> {
    let mut opened = Vec::with_capacity(batches.len());
    for RoomBatch { room: name, drafts } in batches {
        let room = hub.room(&name).await;
        let mut allowed = Vec::with_capacity(drafts.len());
        let mut refused = Vec::new();

        for draft in drafts {
            let check = match &room {
                Ok(room) => check_references(room, &draft, sender.as_ref()).await,
                Err(_) => Ok(()),
            };
            match check {
                Ok(()) => allowed.push(draft),
                Err(error) => refused.push((draft.key().cloned(), error)),
            }
        }

        let batch = RoomBatch {
            room: name,
            drafts: allowed,
        };
        opened.push(OpenedBatch {
            batch,
            room,
            refused,
        });
    }
    opened
}

/// Returns `room` if the client may publish in it now, or the code and the message of the error.
fn check(
    connection: &Connection<ClientSocket>,
    session: &Session,
    room: Arc<Room>,
    now: Tick,
) -> Result<Arc<Room>, (ErrorCode, String)> {
    let state = connection.lock();
    // A change of the rules ends the subscriptions that it bars, so the rules are checked only for other rooms.
    if state.subscriptions.find(room.name().as_str()).is_none() {
        state.check_rules(room.name())?;
    }
    let is_exempt = state.permissions.may(Right::Admin, room.name()) || !room.is_new();
    drop(state);

    if !is_exempt {
        session
            .create_room(now)
            .map_err(|limited| (ErrorCode::RateLimited, limited.to_string()))?;
    }
    Ok(room)
}

/// Returns the code of the error frame for `refusal`.
pub(super) const fn refusal_code(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::StoreUnavailable => ErrorCode::StoreUnavailable,
        Refusal::TooManyConnections
        | Refusal::TooManyFromAddress
        | Refusal::TooManyRooms
        | Refusal::TooManyPatterns
        | Refusal::RoomFull
        | Refusal::MemoryFull
        | Refusal::Draining => ErrorCode::LimitReached,
    }
}

/// Queues an error for each message of a refused batch. The connection of a plain client, whose dialect has no error
/// frames, is closed.
fn refuse(
    state: &mut ConnectionState,
    room: &RoomName,
    keys: Vec<Option<Key>>,
    code: ErrorCode,
    message: &str,
) {
    if state.send_buffer.dialect() == Dialect::Plain {
        let close_code = match code {
            ErrorCode::RateLimited => CloseCode::TooFast,
            ErrorCode::NotAllowed => CloseCode::NotAllowed,
            ErrorCode::StreamClosed => CloseCode::Done,
            _ => CloseCode::TryAgainLater,
        };
        return state.send_buffer.close(CloseReason::Local(close_code));
    }

    for key in keys {
        metrics::count_frame_error(code);
        let room = room.clone().into();
        let error = Push::room_error(code, message.to_owned(), room, key);
        state.send_buffer.push_event(&error);
    }
}

/// Queues an `ack` for each stored message with a key, or an `error` for each message if the store failed.
fn push_results(
    state: &mut ConnectionState,
    room: &RoomName,
    keys: Vec<Option<Key>>,
    result: Result<Vec<Stored>, StoreError>,
    now: Tick,
) {
    match result {
        Ok(stored) => {
            for (key, stored) in keys.into_iter().zip(stored) {
                let Some(key) = key else { continue };

                state.send_buffer.push_event(&Push::Ack {
                    room: room.clone(),
                    key,
                    offset: stored.offset(),
                    duplicate: matches!(stored, Stored::Duplicate { .. }),
                });
            }
        }
        Err(error @ StoreError::RoomClosed) => {
            let message = error.to_string();
            refuse(state, room, keys, ErrorCode::StreamClosed, &message);
        }
        // The plain dialect has no error frames.
        Err(_) if state.send_buffer.dialect() == Dialect::Plain => state.drain(Duration::ZERO, now),
        Err(error) => {
            let message = error.to_string();
            refuse(state, room, keys, ErrorCode::StoreUnavailable, &message);
        }
    }
}
