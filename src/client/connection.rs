//! The state machine of a client's connection: open, probe, close, pause, reconnect.
//!
//! The caller owns the socket and the timers. It calls [`ClientConnection::poll`] in a loop, carries out the [`Action`], and
//! reports what happens with the `on_` methods.

use std::time::Duration;

use super::{Backoff, Watchdog, WatchdogAction};
use crate::protocol::{CloseCode, Command, Push};

/// The time for opening a socket. The system alone would wait for minutes.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The close code of a connection that ended without a Close frame, or never opened (RFC 6455 section 7.1.5).
pub const NO_CLOSE_FRAME: u16 = 1006;

/// The time for the answer to a publish. After it, the server gets a ping.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest pause that a server can request.
const MAX_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The next step for the owner of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a socket, and report [`ClientConnection::on_open`] or [`ClientConnection::on_close`].
    Open,
    /// Send a `ping`.
    Ping,
    /// Drop the socket and report [`ClientConnection::on_close`]: the server was silent for this time.
    Close(Duration),
    /// Wait for this time, or until something happens.
    Wait(Duration),
    /// Stop: the server closed the connection with this code, which forbids a reconnect.
    Stop(u16),
}

/// The state of a connection that reconnects.
///
/// ```
/// use std::time::Duration;
/// use fanfare::client::{Action, ClientConnection, NO_CLOSE_FRAME};
///
/// let seconds = Duration::from_secs;
/// let mut connection = ClientConnection::new(seconds(0));
/// assert_eq!(connection.poll(seconds(0)), Action::Open);
///
/// // The server does not answer. The first pause is at most half a second.
/// connection.on_close(NO_CLOSE_FRAME, None, seconds(0), 1.0);
/// assert_eq!(connection.poll(seconds(0)), Action::Wait(Duration::from_millis(500)));
/// assert_eq!(connection.poll(seconds(1)), Action::Open);
///
/// // It accepts the socket, and closes it with a code that forbids a reconnect.
/// connection.on_open(seconds(1));
/// connection.on_close(4501, None, seconds(2), 1.0);
/// assert_eq!(connection.poll(seconds(2)), Action::Stop(4501));
/// ```
#[derive(Clone, Debug)]
pub struct ClientConnection {
    backoff: Backoff,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// No socket. The next attempt begins at this time.
    Paused(Duration),
    Open(OpenState),
    /// The server forbade a reconnect with this code.
    Stopped(u16),
}

#[derive(Clone, Debug)]
struct OpenState {
    since: Duration,
    watchdog: Watchdog,
    /// True if the caller requested a probe.
    is_probe_requested: bool,
    /// The time at which a publish without an answer causes a probe.
    answer_due: Option<Duration>,
    /// The time of a ping without an answer.
    pinged: Option<Duration>,
    round_trip: Option<Duration>,
    /// The pause after this connection, if the server has announced one.
    pause: Option<Duration>,
}

impl ClientConnection {
    /// Creates a connection whose first socket is opened at once.
    pub fn new(now: Duration) -> Self {
        Self {
            backoff: Backoff::default(),
            phase: Phase::Paused(now),
        }
    }

    /// Returns the next step.
    pub fn poll(&mut self, now: Duration) -> Action {
        let open = match &mut self.phase {
            Phase::Paused(until) if now >= *until => return Action::Open,
            Phase::Paused(until) => return Action::Wait(*until - now),
            Phase::Stopped(code) => return Action::Stop(*code),
            Phase::Open(open) => open,
        };

        if open.answer_due.is_some_and(|due| now >= due) {
            open.answer_due = None;
            open.is_probe_requested = true;
        }
        match open
            .watchdog
            .check(now, std::mem::take(&mut open.is_probe_requested))
        {
            WatchdogAction::Wait(time) => {
                let until_probe = open.answer_due.map(|due| due.saturating_sub(now));
                Action::Wait(until_probe.map_or(time, |until| until.min(time)))
            }
            WatchdogAction::Probe(_) => {
                open.pinged = Some(now);
                Action::Ping
            }
            WatchdogAction::Dead => Action::Close(open.watchdog.expire()),
        }
    }

    /// Records that a socket was opened.
    pub fn on_open(&mut self, now: Duration) {
        self.phase = Phase::Open(OpenState {
            since: now,
            watchdog: Watchdog::new(now),
            is_probe_requested: false,
            answer_due: None,
            pinged: None,
            round_trip: None,
            pause: None,
        });
    }

    /// Records that `command` was sent. If a publish is not answered in time, the server gets a probe.
    pub fn on_command(&mut self, command: &Command, now: Duration) {
        if let Phase::Open(open) = &mut self.phase
            && matches!(command, Command::Publish { .. })
        {
            open.answer_due.get_or_insert(now + ANSWER_TIMEOUT);
        }
    }

    /// Records a frame that is no [`Push`], such as a WebSocket ping.
    pub const fn on_frame(&mut self, now: Duration) {
        if let Phase::Open(open) = &mut self.phase {
            open.watchdog.on_frame(now);
        }
    }

    /// Records a frame of the server.
    pub fn on_push(&mut self, push: &Push, now: Duration) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };

        open.watchdog.on_frame(now);
        if push.is_progress() {
            self.backoff.on_progress();
        }

        match push {
            Push::Welcome(welcome) => {
                let expire = Duration::from_millis(welcome.expire_ms);
                open.watchdog.set_expire(expire);
            }
            Push::Ack { .. } | Push::Error { .. } => open.answer_due = None,
            Push::Drain { reconnect_after_ms } => {
                open.pause = Some(Duration::from_millis(*reconnect_after_ms));
            }
            Push::Pong => {
                let took = open.pinged.take().map(|pinged| now.saturating_sub(pinged));
                open.round_trip = took.or(open.round_trip);
            }
            _ => {}
        }
    }

    /// Records that the socket was closed with `code`, or could not be opened. The pause before the next attempt is
    /// `retry_after` if it is given (zero reconnects at once), else the one that the server has announced, else a random
    /// one. `random` is in `0.0..1.0`.
    pub fn on_close(
        &mut self,
        code: u16,
        retry_after: Option<Duration>,
        now: Duration,
        random: f64,
    ) {
        if !CloseCode::allows_reconnect(code) {
            self.phase = Phase::Stopped(code);
            return;
        }

        let (lived, announced) = match &self.phase {
            Phase::Open(open) => (now.saturating_sub(open.since), open.pause),
            _ => (Duration::ZERO, None),
        };
        let back_off = self.backoff.next_delay(lived, random);
        let pause = retry_after.or(announced).unwrap_or(back_off);
        self.phase = Phase::Paused(now + pause.min(MAX_PAUSE));
    }

    /// Requests a probe of the open socket at once. Without a socket, ends the pause.
    pub const fn request_probe(&mut self, now: Duration) {
        match &mut self.phase {
            Phase::Paused(until) => *until = now,
            Phase::Open(open) => open.is_probe_requested = true,
            Phase::Stopped(_) => {}
        }
    }

    /// Returns the time between the last ping of the open socket and its answer.
    pub const fn round_trip(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Open(open) => open.round_trip,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Body, Key, MessageFields, Offset, RoomName};

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A connection that was opened at second 0.
    fn open() -> ClientConnection {
        let mut connection = ClientConnection::new(at(0));
        assert_eq!(connection.poll(at(0)), Action::Open);
        connection.on_open(at(0));
        connection
    }

    fn ack() -> Push {
        Push::Ack {
            room: RoomName::lobby(),
            key: Key::parse("k").expect("a key"),
            offset: Offset(1),
            duplicate: false,
        }
    }

    #[test]
    fn a_server_that_sends_no_welcome_is_pinged_and_left_after_ten_seconds() {
        let mut connection = open();

        assert_eq!(connection.poll(at(0)), Action::Wait(at(5)));
        assert_eq!(connection.poll(at(5)), Action::Ping);
        assert_eq!(connection.poll(at(5)), Action::Wait(at(5)));
        assert_eq!(connection.poll(at(10)), Action::Close(at(10)));
    }

    #[test]
    fn the_round_trip_is_the_time_from_a_ping_to_its_answer() {
        let mut connection = open();
        connection.request_probe(at(1));
        assert_eq!(connection.poll(at(1)), Action::Ping);

        connection.on_frame(at(2));
        assert_eq!(connection.round_trip(), None, "another frame is no answer");
        connection.on_push(&Push::Pong, at(3));

        assert_eq!(connection.round_trip(), Some(at(2)));

        connection.on_push(&Push::Pong, at(4));
        assert_eq!(connection.round_trip(), Some(at(2)), "no ping was sent");
    }

    #[test]
    fn a_publish_without_an_answer_causes_a_probe_and_an_answered_one_does_not() {
        let publish = Command::Publish {
            room: None,
            body: Body::Text("hello".to_owned()),
            fields: MessageFields::default(),
        };
        let mut connection = open();
        connection.on_push(&Push::Pong, at(1));
        assert_eq!(connection.poll(at(1)), Action::Wait(at(5)));

        connection.on_command(&publish, at(1));
        assert_eq!(connection.poll(at(4)), Action::Wait(at(2)));
        assert_eq!(connection.poll(at(6)), Action::Ping);
        assert_eq!(connection.poll(at(11)), Action::Close(at(10)));

        let mut connection = open();
        assert_eq!(connection.poll(at(0)), Action::Wait(at(5)));
        connection.on_command(&publish, at(1));
        connection.on_push(&ack(), at(2));
        assert_eq!(connection.poll(at(6)), Action::Wait(at(1)));
    }

    #[test]
    fn a_server_that_drains_sets_the_pause() {
        let mut connection = open();
        let reconnect_after_ms = 6500;
        connection.on_push(&Push::Drain { reconnect_after_ms }, at(1));

        connection.on_close(CloseCode::GoingAway.number(), None, at(2), 0.5);

        assert_eq!(
            connection.poll(at(2)),
            Action::Wait(Duration::from_millis(6500))
        );
    }

    #[test]
    fn a_server_that_refuses_the_socket_sets_the_pause_up_to_an_hour() {
        let mut connection = ClientConnection::new(at(0));

        connection.on_close(NO_CLOSE_FRAME, Some(at(5)), at(0), 0.5);
        assert_eq!(connection.poll(at(0)), Action::Wait(at(5)));

        connection.on_close(NO_CLOSE_FRAME, Some(at(1_000_000)), at(5), 0.5);
        assert_eq!(connection.poll(at(5)), Action::Wait(at(3600)));
    }

    #[test]
    fn a_stored_message_resets_the_pause_and_an_open_socket_does_not() {
        let ceiling = |is_progress: bool| {
            let mut connection = ClientConnection::new(at(0));
            for attempt in 0..4 {
                connection.on_open(at(attempt));
                let push = if is_progress { ack() } else { Push::Pong };
                connection.on_push(&push, at(attempt));
                connection.on_close(NO_CLOSE_FRAME, None, at(attempt), 1.0);
            }
            connection.poll(at(3))
        };

        assert_eq!(ceiling(true), Action::Wait(Duration::from_millis(500)));
        assert_eq!(ceiling(false), Action::Wait(at(4)));
    }

    #[test]
    fn a_pause_ends_on_request() {
        let mut connection = open();
        connection.on_close(NO_CLOSE_FRAME, Some(at(60)), at(1), 0.5);

        connection.request_probe(at(2));

        assert_eq!(connection.poll(at(2)), Action::Open);
    }

    #[test]
    fn nothing_reopens_a_connection_that_the_server_ended_for_good() {
        let mut connection = open();

        connection.on_close(CloseCode::BadToken.number(), None, at(1), 0.5);
        connection.request_probe(at(2));

        assert_eq!(connection.poll(at(3)), Action::Stop(4500));
    }
}
