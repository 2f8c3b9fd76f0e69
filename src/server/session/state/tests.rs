//! Tests of a session: the action that each frame requires, and the error of each that is refused.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::server::session::{IpBucket, QuotaRates, Quotas, RateLimitKey};

const RATE: Rate = Rate {
    per_second: 1,
    burst: 2,
};
const NOW: Tick = Tick::after_start(Duration::ZERO);
const PUBLISH: &str = r#"{"type":"publish","text":"x","key":"k"}"#;

/// The rights of a client that is subscribed to the lobby.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TestAccess {
    Expired,
    Read,
    Write,
}

static LOBBY: LazyLock<RoomName> = LazyLock::new(RoomName::lobby);
/// The settings of every room.
static RULES: LazyLock<RoomRules> = LazyLock::new(|| RoomRules {
    max_message: 10,
    ..RoomRules::default()
});

impl ClientAccess for TestAccess {
    fn is_expired(&self) -> bool {
        *self == Self::Expired
    }

    fn may_read(&self, _: &RoomName) -> bool {
        *self != Self::Expired
    }

    fn may_write(&self, _: &RoomName) -> bool {
        *self == Self::Write
    }

    fn only_room(&self) -> Option<&RoomName> {
        Some(&LOBBY)
    }

    fn own_limits(&self, _: Option<&RoomName>) -> Option<MessageLimits> {
        None
    }

    fn rules(&self, _: &RoomName) -> &RoomRules {
        &RULES
    }
}

fn session(dialect: Dialect) -> Session {
    let id = UserId::guest(0);
    let host = IpBucket::of(IpAddr::from([192, 0, 2, 1]));
    let quotas = Arc::new(Quotas::new(QuotaRates::UNLIMITED));
    let sender = RateLimitKey::claimed(id.clone(), host);
    let rate_limit = ConnectionLimiter::new(RATE, quotas, sender, host, NOW);
    Session::new(dialect, id, rate_limit, NOW)
}

fn handle(session: &mut Session, incoming: Incoming<'_>) -> SessionAction {
    session.handle(incoming, &TestAccess::Write, NOW)
}

/// Returns the code and key of the error in `action`.
fn error_of(action: SessionAction) -> Option<(ErrorCode, Option<String>)> {
    match action {
        SessionAction::Push(Push::Error { code, key, .. }) => Some((code, key.map(String::from))),
        _ => None,
    }
}

/// Returns the code and key of the error that `text` causes.
fn text_error(session: &mut Session, text: &str) -> Option<(ErrorCode, Option<String>)> {
    error_of(handle(session, Incoming::Text(text)))
}

/// Returns the code with which the server closes the connection.
const fn close_code(action: &SessionAction) -> Option<CloseCode> {
    match action {
        SessionAction::Close(CloseReason::Local(code)) => Some(*code),
        _ => None,
    }
}

#[test]
fn a_typed_client_with_read_access_only_reads() {
    let mut session = session(Dialect::Typed);
    let history = Incoming::Text(r#"{"type":"history"}"#);

    let refused = session.handle(Incoming::Text(PUBLISH), &TestAccess::Read, NOW);
    let page = session.handle(history, &TestAccess::Read, NOW);

    let not_allowed = (ErrorCode::NotAllowed, Some("k".into()));
    assert_eq!(error_of(refused), Some(not_allowed));
    assert!(matches!(page, SessionAction::History { .. }), "{page:?}");
}

#[test]
fn a_plain_client_with_read_access_that_publishes_is_closed() {
    let mut session = session(Dialect::Plain);

    let action = session.handle(Incoming::Binary(b"x"), &TestAccess::Read, NOW);

    assert_eq!(close_code(&action), Some(CloseCode::NotAllowed));
}

#[test]
fn any_frame_after_the_token_has_expired_closes_the_connection() {
    let renewal = Incoming::Text(r#"{"type":"token","token":"x"}"#);

    for dialect in [Dialect::Plain, Dialect::Typed] {
        for frame in [Incoming::Text(PUBLISH), Incoming::Pong, renewal] {
            let action = session(dialect).handle(frame, &TestAccess::Expired, NOW);

            assert_eq!(close_code(&action), Some(CloseCode::BadToken), "{frame:?}");
        }
    }
}

#[test]
fn a_client_that_floods_with_frames_without_a_message_is_closed() {
    let typed = [Incoming::Text(r#"{"type":"ping"}"#), Incoming::Text("{")];
    let cases = [Dialect::Plain, Dialect::Typed]
        .into_iter()
        .flat_map(|dialect| [Incoming::Ping(b"x"), Incoming::Pong].map(|frame| (dialect, frame)))
        .chain(typed.map(|frame| (Dialect::Typed, frame)));

    for (dialect, frame) in cases {
        let mut session = session(dialect);
        let mut is_allowed = |millis| {
            let now = Tick::after_start(Duration::from_millis(millis));
            let action = session.handle(frame, &TestAccess::Write, now);
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
fn a_history_limit_out_of_range_is_refused() {
    let mut session = session(Dialect::Typed);

    let error = text_error(&mut session, r#"{"type":"history","limit":0}"#);

    assert_eq!(error, Some((ErrorCode::BadField, None)));
}

#[test]
fn signals_and_states_need_the_right_to_write_and_cost_one_message_each() {
    const SIGNAL: &str = r#"{"type":"signal","kind":"typing","json":1}"#;
    const STATE: &str = r#"{"type":"state","json":null}"#;
    let mut reader = session(Dialect::Typed);
    let mut writer = session(Dialect::Typed);

    let refused = [SIGNAL, STATE].map(|frame| {
        let action = reader.handle(Incoming::Text(frame), &TestAccess::Read, NOW);
        error_of(action).map(|(code, _)| code)
    });
    let [signal, state, third] =
        [SIGNAL, STATE, SIGNAL].map(|frame| handle(&mut writer, Incoming::Text(frame)));

    assert_eq!(refused, [Some(ErrorCode::NotAllowed); 2]);
    assert!(matches!(signal, SessionAction::Signal(_)), "{signal:?}");
    assert!(
        matches!(state, SessionAction::SetState(_, None)),
        "{state:?}"
    );
    assert_eq!(error_of(third), Some((ErrorCode::RateLimited, None)));
}

proptest! {
    #[test]
    fn any_text_causes_an_action_or_an_error(texts in prop::collection::vec(".*", 0..20)) {
        let mut session = session(Dialect::Typed);

        for text in texts {
            let action = handle(&mut session, Incoming::Text(&text));

            prop_assert!(!matches!(action, SessionAction::Nothing | SessionAction::Close(_)), "{text:?}");
        }
    }
}
