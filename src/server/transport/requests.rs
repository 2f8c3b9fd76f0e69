//! The requests of a client besides publishing: subscriptions, pages of history, deletions, signals, states and tokens.

use std::sync::Arc;

use crate::protocol::{
    ErrorCode, Json, Offset, Push, RoomName, RoomSelector, Signal, Token, UnsubscribeCode, UserId,
};
use crate::server::hub::{DeleteError, DeletionMark, Refusal, Resume, Room};
use crate::server::jwks::Authenticator;
use crate::server::metrics;
use crate::server::store::{Deleted, Limit, Page, Span, StoreError, now_millis};
use crate::server::transport::connection::Connection;
use crate::server::transport::connection_state::ConnectionState;
use crate::server::transport::permissions::renewal;
use crate::server::transport::publishing::refusal_code;
use crate::server::transport::{ClientSocket, Permissions, unix_time};

/// The error for a `history` before the previous one was answered.
const ONE_HISTORY_AT_A_TIME: &str =
    "only one history request at a time; wait for the answer to the previous one";

/// The relation of a new subscription to those that a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubscriptionBegins {
    /// There are no others.
    First,
    /// There are others, to other rooms.
    Further,
    /// A replacement of the one to the same room or pattern.
    Again,
}

/// Subscribes the client to `room`, from its position if it has one. The client gets an error frame if that is not
/// possible.
pub(super) async fn subscribe(
    connection: &Arc<Connection<ClientSocket>>,
    room: RoomSelector,
    resume: Option<Resume>,
) {
    if let Err((code, message)) = try_subscribe(connection, &room, resume.as_ref()).await {
        connection.send_error(code, message, room);
    }
}

async fn try_subscribe(
    connection: &Arc<Connection<ClientSocket>>,
    room: &RoomSelector,
    resume: Option<&Resume>,
) -> Result<(), (ErrorCode, String)> {
    let begins = connection.check_subscription(room)?;
    let hub = &connection.hub;
    let entry = match (room, begins) {
        (RoomSelector::Room(name), SubscriptionBegins::Again) => {
            hub.enter_again(name, resume).await
        }
        (RoomSelector::Room(name), _) => hub.enter(name, resume).await,
        (RoomSelector::Pattern(pattern), _) => hub.enter_pattern(pattern, resume).await,
    };
    let entry = entry.map_err(refused)?;
    if begins != SubscriptionBegins::First {
        hub.wait_until_applied(entry.newest()).await;
    }

    connection.subscribe(vec![entry]);
    Ok(())
}

impl Connection<ClientSocket> {
    /// Checks that the client may subscribe to `room`.
    ///
    /// # Errors
    /// The code and the message of the error frame.
    fn check_subscription(
        &self,
        room: &RoomSelector,
    ) -> Result<SubscriptionBegins, (ErrorCode, String)> {
        let max = self.settings.max_subscriptions;
        let state = self.lock();

        if !state.permissions.may_read(room) {
            let message = format!("the token does not grant read access to {room}");
            return Err((ErrorCode::NotAllowed, message));
        }
        if let RoomSelector::Room(name) = room {
            state.check_rules(name)?;
        }
        if state.subscriptions.find(room.as_str()).is_some() {
            return Ok(SubscriptionBegins::Again);
        }
        let count = state.subscriptions.len();
        if count >= max {
            let message = format!(
                "the connection has {count} subscriptions; the limit is {max} (--max-subscriptions)"
            );
            return Err((ErrorCode::TooManySubscriptions, message));
        }
        Ok(if count == 0 {
            SubscriptionBegins::First
        } else {
            SubscriptionBegins::Further
        })
    }

    /// Sends an error about `room`, and counts it.
    fn send_error(&self, code: ErrorCode, message: String, room: RoomSelector) {
        metrics::count_frame_error(code);
        let error = Push::room_error(code, message, room, None);
        self.update(|state| state.send_buffer.push_event(&error));
    }

    /// Returns the room `name`, which is opened if the client is not subscribed to it.
    ///
    /// # Errors
    /// The code and the message of the error frame, also if the rules keep the client out of the room.
    async fn room(&self, name: &RoomName) -> Result<Arc<Room>, (ErrorCode, String)> {
        let subscribed = {
            let state = self.lock();
            state.check_rules(name)?;
            state.subscriptions.room(name).cloned()
        };
        match subscribed {
            Some(room) => Ok(room),
            None => self.hub.room(name).await.map_err(refused),
        }
    }
}

/// Returns the code and the message of the error frame for `refusal`.
fn refused(refusal: Refusal) -> (ErrorCode, String) {
    (refusal_code(refusal), refusal.to_string())
}

/// Ends the subscription to `room` at the client's request.
pub(super) fn unsubscribe(connection: &Connection<ClientSocket>, room: RoomSelector) {
    if !connection.end_subscription(room.clone(), UnsubscribeCode::Unsubscribed) {
        let message = format!("there is no subscription to {room}");
        connection.send_error(ErrorCode::NotSubscribed, message, room);
    }
}

/// Sends `signal` to the clients that are subscribed to its room, unless the rules keep the sender out of the room.
pub(super) fn send_signal(connection: &Connection<ClientSocket>, signal: Signal) {
    let allowed = connection.lock().check_rules(&signal.room);
    match allowed {
        Ok(()) => connection.hub.send_signal(signal),
        Err((code, message)) => connection.send_error(code, message, signal.room.into()),
    }
}

/// Sets the state of the client `id` in the room `name`, to which it must be subscribed and which must have presence.
pub(super) fn set_state(
    connection: &Connection<ClientSocket>,
    name: RoomName,
    id: &UserId,
    state: Option<Json>,
) {
    let room = connection.lock().subscriptions.room(&name).cloned();

    let (code, message) = match room {
        Some(room) if room.rules().has_presence() => {
            return connection.hub.set_state(&room, id, state);
        }
        Some(_) => {
            let message = format!("the room {name} has no presence (presence of its rule)");
            (ErrorCode::NotAllowed, message)
        }
        None => {
            let message = format!(
                "there is no subscription to the room {name}; presence shows the state of its members only"
            );
            (ErrorCode::NotSubscribed, message)
        }
    };

    connection.send_error(code, message, name.into());
}

/// Replaces the client's permissions by those of `token`, if it is valid. A token that needs a key which is not known is
/// verified by a task, which waits for new keys.
pub(super) fn renew_token(
    connection: &Arc<Connection<ClientSocket>>,
    authenticator: &Arc<Authenticator>,
    id: &UserId,
    token: Token,
) {
    let verified = authenticator
        .verifier()
        .principal(Some(token.reveal()), unix_time().as_secs());

    match verified {
        Err(error) if authenticator.may_lack_key(&error) => {
            let (connection, authenticator) = (connection.clone(), authenticator.clone());
            let id = id.clone();

            tokio::spawn(async move {
                let now = || unix_time().as_secs();
                let verified = authenticator.principal(Some(token.reveal()), now).await;
                apply_renewal(&connection, renewal(verified, &id));
            });
        }
        verified => apply_renewal(connection, renewal(verified, id)),
    }
}

/// Sends the answer to a token, and applies the new permissions. Ends the subscriptions that they do not allow.
fn apply_renewal(
    connection: &Connection<ClientSocket>,
    (renewed, answer): (Option<Permissions>, Push),
) {
    if let Push::Error { code, .. } = answer {
        metrics::count_frame_error(code);
    }

    let lost = connection.update(|state| {
        state.send_buffer.push_event(&answer);
        let Some(renewed) = renewed else {
            return Vec::new();
        };
        let rooms = state.subscriptions.iter().map(|one| one.source.selector());
        let lost = rooms.filter(|room| !renewed.may_read(room)).collect();
        state.permissions = renewed;
        lost
    });
    for room in lost {
        // The subscription may have ended in the meantime.
        let _ = connection.end_subscription(room, UnsubscribeCode::NotAllowed);
    }
}

/// Returns the error frame for `error`, and counts it.
fn unavailable(error: &impl ToString, room: &RoomName) -> Push {
    let code = ErrorCode::StoreUnavailable;
    metrics::count_frame_error(code);
    Push::room_error(code, error.to_string(), room.clone().into(), None)
}

/// Spawns a task that deletes the message at `offset` of the room `name` if the client sent it. All readers of the room are
/// notified of the deletion. The client always gets an answer, also if it does not read the room or the message was
/// deleted before.
pub(super) fn spawn_delete(
    connection: Arc<Connection<ClientSocket>>,
    name: RoomName,
    offset: Offset,
) {
    let state = connection.lock();
    let sender = state
        .registration()
        .and_then(|one| one.info().proven().cloned());
    drop(state);

    tokio::spawn(async move {
        let result = match connection.room(&name).await {
            Ok(room) => room
                .delete_own(offset, sender.as_ref())
                .await
                .map_err(|error| (delete_code(&error), error.to_string())),
            Err(error) => Err(error),
        };

        match result {
            // The notification of all readers is the answer.
            Ok(Deleted::Now) if connection.lock().subscriptions.first_match(&name).is_some() => {}
            Ok(_) => {
                let (room, at) = (name, now_millis());
                let answer = Push::Deleted { room, offset, at };
                connection.update(|state| state.send_buffer.push_event(&answer));
            }
            Err((code, message)) => connection.send_error(code, message, name.into()),
        }
    });
}

/// Returns the code of the error frame for `error`.
const fn delete_code(error: &DeleteError) -> ErrorCode {
    match error {
        DeleteError::Unverified | DeleteError::OtherSender => ErrorCode::NotAllowed,
        DeleteError::NoMessage => ErrorCode::NoSuchMessage,
        DeleteError::Store(_) => ErrorCode::StoreUnavailable,
    }
}

/// Spawns a task that reads at most `limit` messages of `room` before `before`, or the newest ones, and sends them. Returns
/// an error frame if the previous page is still being read: a burst of requests must not queue as many pages.
pub(super) fn read_history(
    connection: &Arc<Connection<ClientSocket>>,
    room: RoomName,
    before: Option<Offset>,
    limit: usize,
) -> Option<Push> {
    if std::mem::replace(&mut connection.lock().is_reading_history, true) {
        let message = ONE_HISTORY_AT_A_TIME.to_owned();
        let code = ErrorCode::RateLimited;
        return Some(Push::room_error(code, message, room.into(), None));
    }

    spawn_history(connection.clone(), room, before, limit);
    None
}

fn spawn_history(
    connection: Arc<Connection<ClientSocket>>,
    name: RoomName,
    before: Option<Offset>,
    limit: usize,
) {
    let span = before.map_or(Span::Newest, Span::Before);

    tokio::spawn(async move {
        let room = match connection.room(&name).await {
            Ok(room) => room,
            Err((code, message)) => {
                connection.lock().is_reading_history = false;
                return connection.send_error(code, message, name.into());
            }
        };

        let mut is_answered = false;
        while !is_answered {
            let page = room.read_page(span, Limit::page(limit)).await;
            is_answered = connection.update(|state| push_page(&room, state, page));
        }
    });
}

/// Queues the answer, under the lock under which deletions are queued. Returns false if the page must be read again,
/// because more messages were deleted during the read than the room's feed remembers.
pub(super) fn push_page(
    room: &Room,
    state: &mut ConnectionState,
    page: Result<(Page, DeletionMark), StoreError>,
) -> bool {
    let push = match page {
        Ok((mut page, mark)) => {
            if !room.feed().redact_page(&mut page.frames, mark) {
                return false;
            }
            Push::History {
                room: room.name().clone(),
                messages: page
                    .frames
                    .iter()
                    .map(|frame| frame.publication())
                    .collect(),
                more: page.more,
            }
        }
        Err(error) => unavailable(&error, room.name()),
    };

    // The client may request the next page as soon as it has this answer.
    state.is_reading_history = false;
    state.send_buffer.push_event(&push);

    true
}
