//! What a client's message asks for, in either dialect.

use std::time::Duration;

use crate::protocol::CloseCode;
use crate::protocol::Command;
use crate::protocol::CommandError;
use crate::protocol::ErrorCode;
use crate::protocol::Key;
use crate::protocol::MAX_HISTORY;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::protocol::Token;
use crate::protocol::UserId;
use crate::server::room::{Dialect, Draft, Tick};
use crate::server::session::{ClientAccess, CloseReason, Limiter, Rate, RateLimit, RateLimited};
use crate::server::wire::Incoming;

/// Bytes of JSON that one byte of text may become, like a control character as \\u0001.
const JSON_EXPANSION: usize = 6;
/// Bytes of a `say` around its text: type, key, braces, spaces.
const JSON_AROUND_TEXT: usize = 1024;

/// Returns the length of the longest frame that a text of `max_message` bytes may be sent in.
pub const fn max_publish_bytes(max_message: usize) -> usize {
    max_message
        .saturating_mul(JSON_EXPANSION)
        .saturating_add(JSON_AROUND_TEXT)
}

/// Messages in an answer to a `history` that names no limit.
const DEFAULT_HISTORY: u16 = 100;

/// Frames that say nothing to the room: pings, pongs, and what is answered with an error. Nobody honest comes
/// near this, but each costs something, and a flood of them would cost others the time.
const IDLE_RATE: Rate = Rate {
    per_second: 100,
    burst: 1000,
};

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Store and broadcast this.
    Publish(Draft),
    /// Say this, to this client only.
    Push(Push),
    /// Answer this ping.
    Pong(Vec<u8>),
    /// Read a page of the log and say it, to this client only.
    History {
        /// Only what came before this offset.
        before: Option<Offset>,
        /// At most so many.
        limit: usize,
    },
    /// See whether this token renews the lease, and answer.
    Renew(Token),
    /// End the connection.
    Close(CloseReason),
}

impl Action {
    /// What it is called.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Publish(_) => "publish",
            Self::Push(_) => "answer",
            Self::Pong(_) => "pong",
            Self::History { .. } => "history",
            Self::Renew(_) => "renew",
            Self::Close(_) => "close",
        }
    }
}

/// One client's protocol state.
#[derive(Debug)]
pub struct Session {
    dialect: Dialect,
    id: UserId,
    pace: RateLimit,
    /// Held to [`IDLE_RATE`].
    idle: Limiter,
    /// Longest text of a `say`, in bytes.
    max_message: usize,
}

impl Session {
    /// A client of `dialect` called `id`, that joined `now`.
    pub const fn new(
        dialect: Dialect,
        id: UserId,
        pace: RateLimit,
        max_message: usize,
        now: Tick,
    ) -> Self {
        Self {
            dialect,
            id,
            pace,
            idle: Limiter::new(IDLE_RATE, now),
            max_message,
        }
    }

    /// What its client is called.
    pub const fn id(&self) -> &UserId {
        &self.id
    }

    /// Makes up for the time since `since`, and the pause `paused` of the process, in which nothing was read: what
    /// arrives now may have been sent meanwhile, and is then not too fast.
    pub fn credit_pause(&mut self, since: Tick, paused: Duration, now: Tick) {
        self.pace.credit_pause(since, paused, now);
        self.idle.credit_pause(since, paused, IDLE_RATE, now);
    }

    /// Counts the room that publishing `drafts` creates. If its address has created too many, returns the answers that
    /// refuse them.
    pub fn create_room(&self, drafts: &[Draft], now: Tick) -> Result<(), Vec<Action>> {
        self.pace.create_room(now).map_err(|too_fast| {
            if self.dialect == Dialect::Plain {
                return vec![Action::Close(CloseReason::Ours(CloseCode::TooFast))];
            }
            let keys = drafts.iter().map(|draft| draft.key().cloned());
            keys.map(|key| rate_limited(&too_fast, key)).collect()
        })
    }

    /// Returns the action that `incoming` asks for, of a client that has `access`.
    ///
    /// Frames that carry no message are counted, and so are the bytes of a frame beyond its message: reading them
    /// is work, and compressed they cost their sender next to nothing.
    pub fn handle(&mut self, incoming: Incoming<'_>, access: ClientAccess, now: Tick) -> Action {
        let action = self.on_message(incoming, access, now);

        let carried = match &action {
            Action::Publish(draft) => max_publish_bytes(draft.size()),
            Action::Close(_) => return action,
            _ => 0,
        };
        let overhead = incoming.payload_bytes().saturating_sub(carried);
        let is_idle = matches!(action, Action::Nothing | Action::Pong(_) | Action::Push(_));
        let is_allowed = (!is_idle || self.idle.allows(IDLE_RATE, now))
            && self.pace.allows_overhead(overhead, now);

        if is_allowed {
            action
        } else {
            Action::Close(CloseReason::Ours(CloseCode::TooFast))
        }
    }

    fn on_message(&mut self, incoming: Incoming<'_>, access: ClientAccess, now: Tick) -> Action {
        match incoming {
            // The sweep comes by only so often.
            _ if access == ClientAccess::Expired => {
                Action::Close(CloseReason::Ours(CloseCode::BadToken))
            }
            Incoming::Ping(payload) => Action::Pong(payload.to_vec()),
            Incoming::Pong => Action::Nothing,
            Incoming::Close(code) => Action::Close(CloseReason::Echo(code)),
            Incoming::Text(text) if self.dialect == Dialect::Typed => match Command::decode(text) {
                Ok(command) => self.on_command(command, access, now),
                Err(CommandError { code, message, key }) => error(code, message, key),
            },
            Incoming::Binary(_) if self.dialect == Dialect::Typed => error(
                ErrorCode::NotText,
                "fanfare.v1 is spoken in text frames".to_owned(),
                None,
            ),
            // Nothing else can be said to a plain client.
            _ if access != ClientAccess::Write => {
                Action::Close(CloseReason::Ours(CloseCode::NotAllowed))
            }
            // A plain client cannot be told that one message was refused, so it is told to come back.
            _ if self.pace.take(now).is_err() => {
                Action::Close(CloseReason::Ours(CloseCode::TooFast))
            }
            Incoming::Text(text) => Action::Publish(Draft::text(self.id.clone(), None, text)),
            Incoming::Binary(bytes) => Action::Publish(Draft::binary(self.id.clone(), bytes)),
        }
    }

    fn on_command(&mut self, command: Command, access: ClientAccess, now: Tick) -> Action {
        match command {
            Command::Ping => Action::Push(Push::Pong),
            Command::Say { key, .. } if access != ClientAccess::Write => {
                let message = "the token does not allow to write in this room".to_owned();
                error(ErrorCode::NotAllowed, message, key)
            }
            Command::Say { text, key } => match self.pace.take(now) {
                Err(too_fast) => rate_limited(&too_fast, key),
                Ok(()) if text.len() > self.max_message => {
                    let message = format!(
                        "text has {} bytes; allowed are {}",
                        text.len(),
                        self.max_message
                    );
                    error(ErrorCode::BadField, message, key)
                }
                Ok(()) => Action::Publish(Draft::text(self.id.clone(), key, &text)),
            },
            // Like a message: to check a token is more work than most.
            Command::Token { token } => match self.pace.take(now) {
                Err(too_fast) => rate_limited(&too_fast, None),
                Ok(()) => Action::Renew(token),
            },
            Command::History { before, limit } => {
                match (self.pace.take(now), limit.unwrap_or(DEFAULT_HISTORY)) {
                    (Err(too_fast), _) => rate_limited(&too_fast, None),
                    (Ok(()), limit @ 1..=MAX_HISTORY) => Action::History {
                        before,
                        limit: limit.into(),
                    },
                    (Ok(()), limit) => {
                        let message = format!("limit is {limit}; allowed are 1 to {MAX_HISTORY}");
                        error(ErrorCode::BadField, message, None)
                    }
                }
            }
        }
    }
}

fn rate_limited(too_fast: &RateLimited, key: Option<Key>) -> Action {
    error(ErrorCode::RateLimited, too_fast.to_string(), key)
}

fn error(code: ErrorCode, message: String, key: Option<Key>) -> Action {
    Action::Push(Push::Error {
        code,
        message,
        retry: code.invites_retry(),
        key,
    })
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

    fn pace() -> RateLimit {
        let quotas = Arc::new(Quotas::new(QuotaRates::UNLIMITED));
        let host = IpBucket::of(IpAddr::from([192, 0, 2, 1]));
        RateLimit::new(
            RATE,
            quotas,
            RateLimitKey::claimed(UserId::guest(0), host),
            host,
            Tick::default(),
        )
    }

    fn session(dialect: Dialect) -> Session {
        Session::new(dialect, UserId::guest(0), pace(), 10, Tick::default())
    }

    /// The code and key of the error that `text` is answered with.
    fn refusal(session: &mut Session, text: &str) -> Option<(ErrorCode, Option<String>)> {
        match session.handle(Incoming::Text(text), ClientAccess::Write, Tick::default()) {
            Action::Push(Push::Error { code, key, .. }) => Some((code, key.map(String::from))),
            _ => None,
        }
    }

    #[test]
    fn a_typed_client_that_is_too_fast_is_told_which_message_was_refused_and_goes_on() {
        let mut session = session(Dialect::Typed);
        let say = r#"{"type":"say","text":"x","key":"k"}"#;
        assert_eq!(
            (refusal(&mut session, say), refusal(&mut session, say)),
            (None, None)
        );
        assert_eq!(
            refusal(&mut session, say),
            Some((ErrorCode::RateLimited, Some("k".into())))
        );
        let later = Tick::after_start(Duration::from_secs(1));
        assert!(matches!(
            session.handle(Incoming::Text(say), ClientAccess::Write, later),
            Action::Publish(_)
        ));
    }

    #[test]
    fn a_plain_client_that_is_too_fast_is_closed() {
        let mut session = session(Dialect::Plain);
        for _allowed in 0..2 {
            assert!(matches!(
                session.handle(Incoming::Binary(b"x"), ClientAccess::Write, Tick::default()),
                Action::Publish(_)
            ));
        }
        let action = session.handle(Incoming::Text("x"), ClientAccess::Write, Tick::default());
        assert!(matches!(
            action,
            Action::Close(CloseReason::Ours(CloseCode::TooFast))
        ));
    }

    #[test]
    fn a_client_that_may_only_read_is_told_so_and_in_the_plain_dialect_closed() {
        let say = Incoming::Text(r#"{"type":"say","text":"x","key":"k"}"#);
        let mut typed = session(Dialect::Typed);
        let refused = typed.handle(say, ClientAccess::Read, Tick::default());
        assert!(matches!(
            refused,
            Action::Push(Push::Error {
                code: ErrorCode::NotAllowed,
                key: Some(_),
                ..
            })
        ));
        let history = typed.handle(
            Incoming::Text(r#"{"type":"history"}"#),
            ClientAccess::Read,
            Tick::default(),
        );
        assert!(matches!(history, Action::History { .. }));
        let action = session(Dialect::Plain).handle(
            Incoming::Binary(b"x"),
            ClientAccess::Read,
            Tick::default(),
        );
        assert!(matches!(
            action,
            Action::Close(CloseReason::Ours(CloseCode::NotAllowed))
        ));
    }

    #[test]
    fn nothing_is_taken_after_the_end_of_the_lease() {
        let say = Incoming::Text(r#"{"type":"say","text":"x"}"#);
        let renewal = Incoming::Text(r#"{"type":"token","token":"x"}"#);
        let now = Tick::default();

        for dialect in [Dialect::Plain, Dialect::Typed] {
            let action = session(dialect).handle(say, ClientAccess::Write, now);
            assert!(matches!(action, Action::Publish(_)));

            for frame in [say, Incoming::Pong, renewal] {
                let action = session(dialect).handle(frame, ClientAccess::Expired, now);
                assert!(matches!(
                    action,
                    Action::Close(CloseReason::Ours(CloseCode::BadToken))
                ));
            }
        }
    }

    #[test]
    fn a_client_of_either_dialect_that_floods_with_frames_that_say_nothing_is_closed() {
        for dialect in [Dialect::Plain, Dialect::Typed] {
            let both = [Incoming::Ping(b"x"), Incoming::Pong];
            let typed = [Incoming::Text(r#"{"type":"ping"}"#), Incoming::Text("{")];
            for frame in both
                .iter()
                .chain(typed.iter().filter(|_| dialect == Dialect::Typed))
            {
                let mut session = session(dialect);
                let mut goes_on = |millis| {
                    let action = session.handle(
                        *frame,
                        ClientAccess::Write,
                        Tick::after_start(Duration::from_millis(millis)),
                    );
                    !matches!(action, Action::Close(CloseReason::Ours(CloseCode::TooFast)))
                };
                assert_eq!((0..2000).take_while(|_| goes_on(0)).count(), 1000);
                assert!((1..1000).all(|tenth| goes_on(tenth * 10)));
            }
        }
    }

    #[test]
    fn frames_that_are_large_and_carry_no_message_close_the_connection_before_they_cost_much() {
        let junk = "x".repeat(400_000);
        for text in [
            format!(r#"{{"type":"ping","x":"{junk}"}}"#),
            format!(r#"{{"type":"history","x":"{junk}"}}"#),
            format!(r#"{{"x":"{junk}"}}"#),
            junk,
        ] {
            let mut session = session(Dialect::Typed);

            let bytes: usize = (0..1000)
                .take_while(|_| {
                    let action =
                        session.handle(Incoming::Text(&text), ClientAccess::Write, Tick::default());
                    !matches!(action, Action::Close(CloseReason::Ours(CloseCode::TooFast)))
                })
                .map(|_| text.len())
                .sum();

            assert!(bytes < 17 * 1024 * 1024, "{bytes} bytes were read");
        }
    }

    #[test]
    fn fields_out_of_bounds_are_refused_by_name() {
        let mut session = session(Dialect::Typed);
        let long = r#"{"type":"say","text":"12345678901","key":"k"}"#;
        assert_eq!(
            refusal(&mut session, long),
            Some((ErrorCode::BadField, Some("k".into())))
        );
        assert_eq!(
            refusal(&mut session, r#"{"type":"history","limit":0}"#),
            Some((ErrorCode::BadField, None))
        );
        let binary = session.handle(Incoming::Binary(b"x"), ClientAccess::Write, Tick::default());
        assert!(matches!(
            binary,
            Action::Push(Push::Error {
                code: ErrorCode::NotText,
                ..
            })
        ));
    }

    proptest! {
        #[test]
        fn any_text_is_acted_upon_or_answered_with_an_error(texts in prop::collection::vec(".*", 0..20)) {
            let mut session = session(Dialect::Typed);
            for text in texts {
                let action = session.handle(Incoming::Text(&text), ClientAccess::Write, Tick::default());
                prop_assert!(!matches!(action, Action::Nothing | Action::Close(_)), "{text:?}");
            }
        }
    }
}
