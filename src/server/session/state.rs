//! The protocol state of one client: each message of either dialect becomes an action.
//!
//! A session only returns actions. The transport reads the frames and performs the actions.

use std::time::Duration;

use crate::protocol::{
    Body, CloseCode, Command, CommandError, ErrorCode, Json, Key, MAX_HISTORY, MAX_SIGNAL_BYTES,
    MAX_STATE_BYTES, MessageFields, Push, RoomName, RoomSelector, Signal, UserId,
};
use crate::server::room::{Content, Dialect, Draft, Tick};
use crate::server::room_rules::RoomRules;
use crate::server::session::{
    CloseReason, ConnectionLimiter, Limiter, MessageLimits, Rate, RateLimited, SessionAction,
};
use crate::server::wire::Incoming;

/// Maximum number of JSON bytes for one byte of text: a control character is written as `\u0001`.
const JSON_EXPANSION: usize = 6;
/// Maximum number of bytes of a publish besides its text: type, room, the other fields, braces, spaces.
const JSON_AROUND_TEXT: usize = 2048;

/// Returns the maximum length of a frame with a text of `max_message` bytes.
pub const fn max_publish_bytes(max_message: usize) -> usize {
    max_message
        .saturating_mul(JSON_EXPANSION)
        .saturating_add(JSON_AROUND_TEXT)
}

/// Number of messages in the response to a `history` without a limit.
const DEFAULT_HISTORY: u16 = 100;

/// Rate of frames that publish nothing: pings, pongs, subscriptions, and frames that cause an error. Ordinary clients stay
/// far below it; a flood of such frames would take time from other clients.
const NON_MESSAGE_RATE: Rate = Rate {
    per_second: 100,
    burst: 1000,
};

/// The rights of a client at one time, and the room of its frames that name none.
pub trait ClientAccess {
    /// Returns true if its token has expired: it has no rights.
    fn is_expired(&self) -> bool;

    /// Returns true if it may read `room`.
    fn may_read(&self, room: &RoomName) -> bool;

    /// Returns true if it may publish in `room`.
    fn may_write(&self, room: &RoomName) -> bool;

    /// Returns the room to which the client is subscribed, if there is exactly one. Patterns do not count.
    fn only_room(&self) -> Option<&RoomName>;

    /// Returns the limits that its token sets in `room`, or for frames that name no room, in place of the settings and rules.
    fn own_limits(&self, room: Option<&RoomName>) -> Option<MessageLimits>;

    /// Returns the settings of `room`.
    fn rules(&self, room: &RoomName) -> &RoomRules;
}

/// The protocol state of one client.
#[derive(Debug)]
pub struct Session {
    dialect: Dialect,
    id: UserId,
    rate_limit: ConnectionLimiter,
    /// The limiter of frames that publish nothing: see [`NON_MESSAGE_RATE`].
    non_message_limiter: Limiter,
}

impl Session {
    /// Creates the state of a client with the user id `id` that connected at `now`.
    pub const fn new(
        dialect: Dialect,
        id: UserId,
        rate_limit: ConnectionLimiter,
        now: Tick,
    ) -> Self {
        Self {
            dialect,
            id,
            rate_limit,
            non_message_limiter: Limiter::new(NON_MESSAGE_RATE, now),
        }
    }

    /// Returns the user id.
    pub const fn id(&self) -> &UserId {
        &self.id
    }

    /// Credits the time since `since` and the pause `paused` of the process, in which nothing was read. Messages that
    /// arrive now may have been sent in that time.
    pub fn credit_pause(&mut self, since: Tick, paused: Duration, now: Tick) {
        self.rate_limit.credit_pause(since, paused, now);
        self.non_message_limiter
            .credit_pause(since, paused, NON_MESSAGE_RATE, now);
    }

    /// Counts a room that a publish creates.
    ///
    /// # Errors
    /// The client's address has created too many rooms.
    pub fn create_room(&self, now: Tick) -> Result<(), RateLimited> {
        self.rate_limit.create_room(now)
    }

    /// Returns the action that `incoming` requires, of a client with `access`.
    ///
    /// Frames that carry no message are limited, and so are the bytes of a frame that are not part of its message:
    /// reading them takes time, and a client can compress them to almost nothing.
    pub fn handle(
        &mut self,
        incoming: Incoming<'_>,
        access: &impl ClientAccess,
        now: Tick,
    ) -> SessionAction {
        let action = self.on_message(incoming, access, now);

        let message_bytes = match &action {
            SessionAction::Publish(_, draft) => max_publish_bytes(draft.size()),
            SessionAction::Signal(signal) => max_publish_bytes(signal.json.as_str().len()),
            SessionAction::SetState(_, state) => {
                max_publish_bytes(state.as_ref().map_or(0, |json| json.as_str().len()))
            }
            SessionAction::Close(_) => return action,
            _ => 0,
        };
        let overhead = incoming.payload_bytes().saturating_sub(message_bytes);
        let is_non_message = matches!(
            action,
            SessionAction::Nothing
                | SessionAction::Pong(_)
                | SessionAction::Push(_)
                | SessionAction::Subscribe { .. }
                | SessionAction::Unsubscribe(_)
        );
        let is_allowed = (!is_non_message
            || self.non_message_limiter.allows(NON_MESSAGE_RATE, now))
            && self.rate_limit.allows_overhead(overhead, now);

        if is_allowed {
            action
        } else {
            SessionAction::Close(CloseReason::Local(CloseCode::TooFast))
        }
    }

    fn on_message(
        &mut self,
        incoming: Incoming<'_>,
        access: &impl ClientAccess,
        now: Tick,
    ) -> SessionAction {
        match incoming {
            // The periodic check of all connections may not have closed this one yet.
            _ if access.is_expired() => {
                SessionAction::Close(CloseReason::Local(CloseCode::BadToken))
            }
            Incoming::Ping(payload) => SessionAction::Pong(payload.to_vec()),
            Incoming::Pong => SessionAction::Nothing,
            Incoming::Close(code) => SessionAction::Close(CloseReason::Echo(code)),

            Incoming::Text(text) if self.dialect == Dialect::Typed => match Command::decode(text) {
                Ok(command) => self.on_command(command, access, now),
                Err(error) => SessionAction::Push(error.into()),
            },
            Incoming::Binary(_) if self.dialect == Dialect::Typed => {
                SessionAction::Push(Push::error(
                    ErrorCode::NotText,
                    "fanfare.v1 messages are text frames; this is a binary frame".to_owned(),
                ))
            }
            Incoming::Text(_) | Incoming::Binary(_) => {
                let Some(room) = access.only_room() else {
                    return SessionAction::Nothing;
                };
                // The plain dialect has no error frames, so the connection is closed.
                if !access.may_write(room) {
                    return SessionAction::Close(CloseReason::Local(CloseCode::NotAllowed));
                }
                let rules = access.rules(room);
                if incoming.payload_bytes() > rules.max_message {
                    return SessionAction::Close(CloseReason::Local(CloseCode::TooBig));
                }
                let limits = access
                    .own_limits(Some(room))
                    .unwrap_or_else(|| MessageLimits::of_room(rules.message_rate));
                if self.rate_limit.take(limits, now).is_err() {
                    return SessionAction::Close(CloseReason::Local(CloseCode::TooFast));
                }

                let id = self.id.clone();
                let draft = match incoming {
                    Incoming::Binary(bytes) => Draft::binary(id, bytes),
                    Incoming::Text(text) => Draft::text(id, None, text),
                    _ => return SessionAction::Nothing,
                };
                SessionAction::Publish(room.clone(), draft)
            }
        }
    }

    fn on_command(
        &mut self,
        command: Command,
        access: &impl ClientAccess,
        now: Tick,
    ) -> SessionAction {
        let subject = CommandSubject::of(&command);
        // Commands that read or write a log, reach other clients or verify a token are limited like messages.
        let is_limited = !matches!(
            command,
            Command::Ping | Command::Subscribe { .. } | Command::Unsubscribe { .. }
        );
        if is_limited {
            let limits = message_limits(&command, access);
            if let Err(limited) = self.rate_limit.take(limits, now) {
                return subject.error(ErrorCode::RateLimited, limited.to_string());
            }
        }

        match self.on_allowed(command, access) {
            Ok(action) => action,
            Err((code, message)) => subject.error(code, message),
        }
    }

    /// Returns the action for a `command` that the rate limit allows, or the error.
    fn on_allowed(
        &self,
        command: Command,
        access: &impl ClientAccess,
    ) -> Result<SessionAction, (ErrorCode, String)> {
        match command {
            Command::Ping => Ok(SessionAction::Push(Push::Pong)),
            Command::Token { token } => Ok(SessionAction::Renew(token)),
            Command::Subscribe { room, after, epoch } => {
                Ok(SessionAction::Subscribe { room, after, epoch })
            }
            Command::Unsubscribe { room } => Ok(SessionAction::Unsubscribe(room)),

            Command::Publish { room, body, fields } => {
                let room = writable(room, access)?;
                let max_message = access.rules(&room).max_message;
                Ok(SessionAction::Publish(
                    room,
                    self.draft(body, fields, max_message)?,
                ))
            }

            Command::Delete { room, offset } => {
                Ok(SessionAction::Delete(writable(room, access)?, offset))
            }

            Command::Signal { room, kind, json } => {
                let room = writable(room, access)?;
                check_size("signal", &json, MAX_SIGNAL_BYTES)?;
                Ok(SessionAction::Signal(Signal {
                    room,
                    from: self.id.clone(),
                    kind,
                    json,
                }))
            }

            Command::State { room, json } => {
                let room = writable(room, access)?;
                check_size("state", &json, MAX_STATE_BYTES)?;
                Ok(SessionAction::SetState(
                    room,
                    Some(json).filter(|json| !json.is_null()),
                ))
            }

            Command::History {
                room,
                before,
                limit,
            } => {
                let room = named(room, access)?;
                if !access.may_read(&room) {
                    return Err(not_granted("read", &room));
                }

                match limit.unwrap_or(DEFAULT_HISTORY) {
                    limit @ 1..=MAX_HISTORY => Ok(SessionAction::History {
                        room,
                        before,
                        limit: limit.into(),
                    }),
                    limit => {
                        let message = format!("limit is {limit}; allowed are 1 to {MAX_HISTORY}");
                        Err((ErrorCode::BadField, message))
                    }
                }
            }
        }
    }

    /// Returns the message to publish, or the error.
    fn draft(
        &self,
        body: Body,
        fields: MessageFields,
        max_message: usize,
    ) -> Result<Draft, (ErrorCode, String)> {
        let content =
            Content::try_from(body).map_err(|error| (ErrorCode::BadField, error.to_string()))?;

        if content.size() > max_message {
            let message = format!(
                "{} is {} bytes; the limit is {max_message} (--max-message, or the rule of the room)",
                content.name(),
                content.size(),
            );
            return Err((ErrorCode::BadField, message));
        }
        Ok(Draft::new(self.id.clone(), content, fields))
    }
}

/// The room and the key of a command, for the error that refers to it.
struct CommandSubject {
    room: Option<RoomSelector>,
    key: Option<Key>,
}

impl CommandSubject {
    fn of(command: &Command) -> Self {
        let (room, key) = match command {
            Command::Subscribe { room, .. } | Command::Unsubscribe { room } => {
                (Some(room.clone()), None)
            }
            Command::Publish { room, fields, .. } => {
                (room.clone().map(Into::into), fields.key.clone())
            }
            Command::Delete { room, .. }
            | Command::Signal { room, .. }
            | Command::State { room, .. }
            | Command::History { room, .. } => (room.clone().map(Into::into), None),
            Command::Token { .. } | Command::Ping => (None, None),
        };
        Self { room, key }
    }

    fn error(self, code: ErrorCode, message: String) -> SessionAction {
        let Self { room, key } = self;
        let error = CommandError {
            code,
            message,
            room,
            key,
        };
        SessionAction::Push(error.into())
    }
}

/// Returns the limits on `command`. Rules set only the rate of messages.
fn message_limits(command: &Command, access: &impl ClientAccess) -> MessageLimits {
    let room = match command {
        Command::Publish { room, .. }
        | Command::Delete { room, .. }
        | Command::Signal { room, .. }
        | Command::State { room, .. }
        | Command::History { room, .. } => room.as_ref().or_else(|| access.only_room()),
        Command::Subscribe { .. }
        | Command::Unsubscribe { .. }
        | Command::Token { .. }
        | Command::Ping => None,
    };
    let rate = match command {
        Command::Publish { .. } => room.and_then(|room| access.rules(room).message_rate),
        _ => None,
    };

    access
        .own_limits(room)
        .unwrap_or_else(|| MessageLimits::of_room(rate))
}

/// Returns `room`, or the only room to which the client is subscribed.
fn named(
    room: Option<RoomName>,
    access: &impl ClientAccess,
) -> Result<RoomName, (ErrorCode, String)> {
    room.or_else(|| access.only_room().cloned()).ok_or_else(|| {
        let message = "room is missing; it may be left out only while the connection is \
             subscribed to exactly one room; patterns do not count";
        (ErrorCode::NotSubscribed, message.to_owned())
    })
}

/// Returns the room like [`named`], if the client may publish in it.
fn writable(
    room: Option<RoomName>,
    access: &impl ClientAccess,
) -> Result<RoomName, (ErrorCode, String)> {
    let room = named(room, access)?;
    if access.may_write(&room) {
        Ok(room)
    } else {
        Err(not_granted("write", &room))
    }
}

/// Checks that the content of a `frame` has at most `limit` bytes.
fn check_size(frame: &str, json: &Json, limit: usize) -> Result<(), (ErrorCode, String)> {
    let bytes = json.as_str().len();
    if bytes <= limit {
        return Ok(());
    }

    let message = format!("json is {bytes} bytes; the limit of a {frame} is {limit}");
    Err((ErrorCode::BadField, message))
}

fn not_granted(right: &str, room: &RoomName) -> (ErrorCode, String) {
    let message = format!("the token does not grant {right} access to the room {room}");
    (ErrorCode::NotAllowed, message)
}

#[cfg(test)]
mod tests;
