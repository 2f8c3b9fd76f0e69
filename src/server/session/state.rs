//! The protocol state of one client: each message of either dialect becomes an action.
//!
//! A session decides and does nothing itself. The transport reads the frames and performs the actions.

use std::time::Duration;

use crate::protocol::{
    CloseCode, Command, CommandError, ErrorCode, Key, MAX_HISTORY, Offset, Push, RoomName, Token,
    UserId,
};
use crate::server::room::{Dialect, Draft, Tick};
use crate::server::session::{CloseReason, ConnectionLimiter, Limiter, Rate, RateLimited};
use crate::server::wire::Incoming;

/// Maximum number of JSON bytes for one byte of text: a control character is written as `\u0001`.
const JSON_EXPANSION: usize = 6;
/// Maximum number of bytes of a publish besides its text: type, key, braces, spaces.
const JSON_AROUND_TEXT: usize = 1024;

/// Returns the maximum length of a frame with a text of `max_message` bytes.
pub const fn max_publish_bytes(max_message: usize) -> usize {
    max_message
        .saturating_mul(JSON_EXPANSION)
        .saturating_add(JSON_AROUND_TEXT)
}

/// Number of messages in the response to a `history` without a limit.
const DEFAULT_HISTORY: u16 = 100;

/// Rate of frames that carry no message to the room: pings, pongs, and frames that cause an error. Ordinary clients
/// stay far below it; a flood of them would take time from other clients.
const NON_MESSAGE_RATE: Rate = Rate {
    per_second: 100,
    burst: 1000,
};

/// The rights of a client at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAccess {
    /// No rights: the token has expired.
    Expired,
    /// The right to read.
    Read,
    /// The rights to read and to publish.
    Write,
}

/// The action that a message of the client requires.
#[derive(Debug)]
pub enum Action {
    /// Do nothing.
    Nothing,
    /// Store and broadcast this message.
    Publish(Draft),
    /// Send this to the client.
    Push(Push),
    /// Send a pong with this payload to the client.
    Pong(Vec<u8>),
    /// Read a page of the log and send it to the client.
    History {
        /// Newest offset of the page, exclusive; `None` for the newest page.
        before: Option<Offset>,
        /// Maximum number of messages.
        limit: usize,
    },
    /// Delete the message at this offset if the client sent it, and respond to the client if not.
    Delete(Offset),
    /// Verify this token, replace the permissions if it is valid, and respond to the client.
    Renew(Token),
    /// Close the connection.
    Close(CloseReason),
}

impl Action {
    /// Returns the name of the action in traces.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Publish(_) => "publish",
            Self::Push(_) => "answer",
            Self::Pong(_) => "pong",
            Self::History { .. } => "history",
            Self::Delete(_) => "delete",
            Self::Renew(_) => "renew",
            Self::Close(_) => "close",
        }
    }
}

/// The protocol state of one client.
#[derive(Debug)]
pub struct Session {
    dialect: Dialect,
    id: UserId,
    /// The room that the connection reads.
    room: RoomName,
    rate_limit: ConnectionLimiter,
    /// Limited by [`NON_MESSAGE_RATE`].
    idle: Limiter,
    /// Maximum length of the text of a publish, in bytes.
    max_message: usize,
}

impl Session {
    /// Creates the state of a client with the user id `id` in `room` that connected at `now`.
    pub const fn new(
        dialect: Dialect,
        id: UserId,
        room: RoomName,
        rate_limit: ConnectionLimiter,
        max_message: usize,
        now: Tick,
    ) -> Self {
        Self {
            dialect,
            id,
            room,
            rate_limit,
            idle: Limiter::new(NON_MESSAGE_RATE, now),
            max_message,
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
        self.idle.credit_pause(since, paused, NON_MESSAGE_RATE, now);
    }

    /// Counts the room that publishing `drafts` creates.
    ///
    /// # Errors
    /// The responses to the refused drafts, if the address has created too many rooms.
    pub fn create_room(&self, drafts: &[Draft], now: Tick) -> Result<(), Vec<Action>> {
        self.rate_limit.create_room(now).map_err(|limited| {
            if self.dialect == Dialect::Plain {
                return vec![Action::Close(CloseReason::Local(CloseCode::TooFast))];
            }

            let keys = drafts.iter().map(|draft| draft.key().cloned());
            keys.map(|key| self.rate_limited(&limited, key)).collect()
        })
    }

    /// Returns the action that `incoming` requires, of a client with the rights `access`.
    ///
    /// Frames that carry no message are limited, and so are the bytes of a frame that are not part of its message:
    /// reading them takes time, and a client can compress them to almost nothing.
    pub fn handle(&mut self, incoming: Incoming<'_>, access: ClientAccess, now: Tick) -> Action {
        let action = self.on_message(incoming, access, now);

        let message_bytes = match &action {
            Action::Publish(draft) => max_publish_bytes(draft.size()),
            Action::Close(_) => return action,
            _ => 0,
        };
        let overhead = incoming.payload_bytes().saturating_sub(message_bytes);
        let is_idle = matches!(action, Action::Nothing | Action::Pong(_) | Action::Push(_));
        let is_allowed = (!is_idle || self.idle.allows(NON_MESSAGE_RATE, now))
            && self.rate_limit.allows_overhead(overhead, now);

        if is_allowed {
            action
        } else {
            Action::Close(CloseReason::Local(CloseCode::TooFast))
        }
    }

    fn on_message(&mut self, incoming: Incoming<'_>, access: ClientAccess, now: Tick) -> Action {
        match incoming {
            // The periodic check of all connections may not have closed this one yet.
            _ if access == ClientAccess::Expired => {
                Action::Close(CloseReason::Local(CloseCode::BadToken))
            }
            Incoming::Ping(payload) => Action::Pong(payload.to_vec()),
            Incoming::Pong => Action::Nothing,
            Incoming::Close(code) => Action::Close(CloseReason::Echo(code)),

            Incoming::Text(text) if self.dialect == Dialect::Typed => match Command::decode(text) {
                Ok(command) => self.on_command(command, access, now),
                Err(CommandError {
                    code,
                    message,
                    room,
                    key,
                }) => Action::Push(Push::Error {
                    code,
                    message,
                    retry: code.is_retryable(),
                    room,
                    key,
                }),
            },
            Incoming::Binary(_) if self.dialect == Dialect::Typed => Action::Push(Push::error(
                ErrorCode::NotText,
                "fanfare.v1 messages are text frames; this is a binary frame".to_owned(),
            )),
            // The plain dialect has no error frames, so the connection is closed.
            _ if access != ClientAccess::Write => {
                Action::Close(CloseReason::Local(CloseCode::NotAllowed))
            }
            _ if self.rate_limit.take(now).is_err() => {
                Action::Close(CloseReason::Local(CloseCode::TooFast))
            }
            Incoming::Text(text) => Action::Publish(Draft::text(self.id.clone(), None, text)),
            Incoming::Binary(bytes) => Action::Publish(Draft::binary(self.id.clone(), bytes)),
        }
    }

    fn on_command(&mut self, command: Command, access: ClientAccess, now: Tick) -> Action {
        if let Some(room) = command.room().filter(|room| **room != self.room) {
            let message = format!("this connection reads the room {}, not {room}", self.room);
            return self.error(ErrorCode::BadField, message, None);
        }

        match command {
            Command::Ping => Action::Push(Push::Pong),

            Command::Delete { .. } if access != ClientAccess::Write => self.not_writable(None),

            Command::Publish { key, .. } if access != ClientAccess::Write => self.not_writable(key),

            Command::Publish { text, key, .. } => match self.rate_limit.take(now) {
                Err(limited) => self.rate_limited(&limited, key),
                Ok(()) if text.len() > self.max_message => {
                    let message = format!(
                        "text is {} bytes; the limit is {} (--max-message)",
                        text.len(),
                        self.max_message
                    );
                    self.error(ErrorCode::BadField, message, key)
                }
                Ok(()) => Action::Publish(Draft::text(self.id.clone(), key, text)),
            },

            Command::Delete { offset, .. } => match self.rate_limit.take(now) {
                Err(limited) => self.rate_limited(&limited, None),
                Ok(()) => Action::Delete(offset),
            },

            // Limited like a message, because verifying a token takes more time than most commands.
            Command::Token { token } => match self.rate_limit.take(now) {
                Err(limited) => self.rate_limited(&limited, None),
                Ok(()) => Action::Renew(token),
            },

            Command::History { before, limit, .. } => {
                match (self.rate_limit.take(now), limit.unwrap_or(DEFAULT_HISTORY)) {
                    (Err(limited), _) => self.rate_limited(&limited, None),
                    (Ok(()), limit @ 1..=MAX_HISTORY) => Action::History {
                        before,
                        limit: limit.into(),
                    },
                    (Ok(()), limit) => {
                        let message = format!("limit is {limit}; allowed are 1 to {MAX_HISTORY}");
                        self.error(ErrorCode::BadField, message, None)
                    }
                }
            }
        }
    }

    fn rate_limited(&self, limited: &RateLimited, key: Option<Key>) -> Action {
        self.error(ErrorCode::RateLimited, limited.to_string(), key)
    }

    fn not_writable(&self, key: Option<Key>) -> Action {
        let message = "the token does not grant write access to this room".to_owned();
        self.error(ErrorCode::NotAllowed, message, key)
    }

    fn error(&self, code: ErrorCode, message: String, key: Option<Key>) -> Action {
        Action::Push(Push::room_error(code, message, self.room.clone(), key))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::server::session::{IpBucket, QuotaRates, Quotas, RateLimitKey};

    const RATE: Rate = Rate {
        per_second: 1,
        burst: 2,
    };
    const NOW: Tick = Tick::after_start(Duration::ZERO);
    const PUBLISH: &str = r#"{"type":"publish","text":"x","key":"k"}"#;

    fn session(dialect: Dialect) -> Session {
        let id = UserId::guest(0);
        let host = IpBucket::of(IpAddr::from([192, 0, 2, 1]));
        let quotas = Arc::new(Quotas::new(QuotaRates::UNLIMITED));
        let sender = RateLimitKey::claimed(id.clone(), host);
        let rate_limit = ConnectionLimiter::new(RATE, quotas, sender, host, NOW);
        Session::new(dialect, id, RoomName::lobby(), rate_limit, 10, NOW)
    }

    fn handle(session: &mut Session, incoming: Incoming<'_>) -> Action {
        session.handle(incoming, ClientAccess::Write, NOW)
    }

    /// Returns the code and key of the error in `action`.
    fn error_of(action: Action) -> Option<(ErrorCode, Option<String>)> {
        match action {
            Action::Push(Push::Error { code, key, .. }) => Some((code, key.map(String::from))),
            _ => None,
        }
    }

    /// Returns the code and key of the error that `text` causes.
    fn text_error(session: &mut Session, text: &str) -> Option<(ErrorCode, Option<String>)> {
        error_of(handle(session, Incoming::Text(text)))
    }

    /// Returns the code with which the server closes the connection.
    const fn close_code(action: &Action) -> Option<CloseCode> {
        match action {
            Action::Close(CloseReason::Local(code)) => Some(*code),
            _ => None,
        }
    }

    #[test]
    fn a_typed_client_that_is_too_fast_receives_an_error_with_its_key() {
        let mut session = session(Dialect::Typed);

        let errors = [0, 1, 2].map(|_| text_error(&mut session, PUBLISH));
        let later = Tick::after_start(Duration::from_secs(1));
        let action = session.handle(Incoming::Text(PUBLISH), ClientAccess::Write, later);

        let limited = (ErrorCode::RateLimited, Some("k".into()));
        assert_eq!(errors, [None, None, Some(limited)]);
        assert!(matches!(action, Action::Publish(_)), "{action:?}");
    }

    #[test]
    fn a_plain_client_that_is_too_fast_is_closed() {
        let mut session = session(Dialect::Plain);

        let codes = [0, 1, 2].map(|_| close_code(&handle(&mut session, Incoming::Binary(b"x"))));

        assert_eq!(codes, [None, None, Some(CloseCode::TooFast)]);
    }

    #[test]
    fn a_typed_client_with_read_access_only_reads() {
        let mut session = session(Dialect::Typed);
        let history = Incoming::Text(r#"{"type":"history"}"#);

        let refused = session.handle(Incoming::Text(PUBLISH), ClientAccess::Read, NOW);
        let page = session.handle(history, ClientAccess::Read, NOW);

        let not_allowed = (ErrorCode::NotAllowed, Some("k".into()));
        assert_eq!(error_of(refused), Some(not_allowed));
        assert!(matches!(page, Action::History { .. }), "{page:?}");
    }

    #[test]
    fn a_plain_client_with_read_access_that_publishes_is_closed() {
        let mut session = session(Dialect::Plain);

        let action = session.handle(Incoming::Binary(b"x"), ClientAccess::Read, NOW);

        assert_eq!(close_code(&action), Some(CloseCode::NotAllowed));
    }

    #[test]
    fn any_frame_after_the_token_has_expired_closes_the_connection() {
        let renewal = Incoming::Text(r#"{"type":"token","token":"x"}"#);

        for dialect in [Dialect::Plain, Dialect::Typed] {
            for frame in [Incoming::Text(PUBLISH), Incoming::Pong, renewal] {
                let action = session(dialect).handle(frame, ClientAccess::Expired, NOW);

                assert_eq!(close_code(&action), Some(CloseCode::BadToken), "{frame:?}");
            }
        }
    }

    #[test]
    fn a_client_that_floods_with_frames_without_a_message_is_closed() {
        let typed = [Incoming::Text(r#"{"type":"ping"}"#), Incoming::Text("{")];
        let cases = [Dialect::Plain, Dialect::Typed]
            .into_iter()
            .flat_map(|dialect| {
                [Incoming::Ping(b"x"), Incoming::Pong].map(|frame| (dialect, frame))
            })
            .chain(typed.map(|frame| (Dialect::Typed, frame)));

        for (dialect, frame) in cases {
            let mut session = session(dialect);
            let mut is_allowed = |millis| {
                let now = Tick::after_start(Duration::from_millis(millis));
                let action = session.handle(frame, ClientAccess::Write, now);
                close_code(&action) != Some(CloseCode::TooFast)
            };

            let burst = (0..2000).take_while(|_| is_allowed(0)).count();
            let is_rate_allowed = (1..1000).all(|number| is_allowed(number * 10));

            assert_eq!(burst, 1000, "{frame:?}");
            assert!(is_rate_allowed, "{frame:?}");
        }
    }

    #[test]
    fn large_frames_without_a_message_soon_close_the_connection() {
        let junk = "x".repeat(400_000);

        for text in [
            format!(r#"{{"type":"ping","x":"{junk}"}}"#),
            format!(r#"{{"type":"history","x":"{junk}"}}"#),
            format!(r#"{{"x":"{junk}"}}"#),
            junk,
        ] {
            let mut session = session(Dialect::Typed);
            let mut is_allowed = || {
                let action = handle(&mut session, Incoming::Text(&text));
                close_code(&action) != Some(CloseCode::TooFast)
            };

            let frames = (0..1000).take_while(|_| is_allowed()).count();

            let bytes = frames * text.len();
            assert!(bytes < 17 * 1024 * 1024, "{bytes} bytes were read");
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_refused_with_its_key() {
        let mut session = session(Dialect::Typed);

        let error = text_error(
            &mut session,
            r#"{"type":"publish","text":"12345678901","key":"k"}"#,
        );

        assert_eq!(error, Some((ErrorCode::BadField, Some("k".into()))));
    }

    #[test]
    fn a_history_limit_out_of_range_is_refused() {
        let mut session = session(Dialect::Typed);

        let error = text_error(&mut session, r#"{"type":"history","limit":0}"#);

        assert_eq!(error, Some((ErrorCode::BadField, None)));
    }

    #[test]
    fn a_binary_frame_of_a_typed_client_is_refused() {
        let mut session = session(Dialect::Typed);

        let action = handle(&mut session, Incoming::Binary(b"x"));

        assert_eq!(error_of(action), Some((ErrorCode::NotText, None)));
    }

    proptest! {
        #[test]
        fn any_text_causes_an_action_or_an_error(texts in prop::collection::vec(".*", 0..20)) {
            let mut session = session(Dialect::Typed);

            for text in texts {
                let action = handle(&mut session, Incoming::Text(&text));

                prop_assert!(!matches!(action, Action::Nothing | Action::Close(_)), "{text:?}");
            }
        }
    }
}
