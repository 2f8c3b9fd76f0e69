//! What is counted, and what it is called outside: one table. Labels come from closed sets.
//!
//! Every way to lose, refuse or close has a code, and each code a counter that is there from the start, at 0.

use std::sync::OnceLock;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::protocol::CloseCode;
use crate::protocol::ErrorCode;
use crate::protocol::GapReason;

/// WebSockets and streams that ended, by close code; `client` where the client said goodbye, `lost` without a word.
const CLOSED: &str = "fanfare_connections_closed_total";
/// HTTP requests and handshakes that were refused, by the code of the JSON error.
const REFUSED: &str = "fanfare_requests_refused_total";
/// Frames of `fanfare.v1` that were answered with an `error`, by its code.
const FRAMES_REFUSED: &str = "fanfare_frames_refused_total";
/// Clients that were told of messages that they will not get, by reason.
const GAPS: &str = "fanfare_gaps_total";
/// Connections that are open.
const CONNECTIONS: &str = "fanfare_connections";
/// What operators did, by kind.
const ACTS: &str = "fanfare_admin_acts_total";
/// Rooms in memory.
const ROOMS: &str = "fanfare_rooms";
/// Bytes that clients make the process hold.
const HELD: &str = "fanfare_held_bytes";

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// We ended it.
    Closed(CloseCode),
    /// The client said goodbye.
    Client,
    /// It was gone without a word.
    Lost,
}

impl End {
    fn label(self) -> String {
        match self {
            Self::Closed(code) => code.number().to_string(),
            Self::Client => "client".to_owned(),
            Self::Lost => "lost".to_owned(),
        }
    }
}

/// What an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Ends a connection.
    Kick,
}

impl Act {
    const ALL: [Self; 1] = [Self::Kick];

    const fn label(self) -> &'static str {
        match self {
            Self::Kick => "kick",
        }
    }
}

/// An operator acted, on so many.
pub fn acted(act: Act, count: usize) {
    counter!(ACTS, "act" => act.label()).increment(count as u64);
}

/// A connection ended.
pub fn closed(end: End) {
    counter!(CLOSED, "code" => end.label()).increment(1);
}

/// A request or handshake was refused; `code` is that of the JSON error.
pub fn refused(code: &'static str) {
    counter!(REFUSED, "code" => code).increment(1);
}

/// A frame was answered with an `error`.
pub fn frame_refused(code: ErrorCode) {
    counter!(FRAMES_REFUSED, "code" => code.as_str()).increment(1);
}

/// A client was told of a gap.
pub fn gap(reason: GapReason) {
    counter!(GAPS, "reason" => reason.as_str()).increment(1);
}

/// What is counted from now on, as Prometheus reads it.
#[derive(Clone, Debug)]
pub struct Metrics(Option<PrometheusHandle>);

impl Metrics {
    /// Begins to count; once for each process.
    pub fn install() -> Self {
        static INSTALLED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
        let handle = INSTALLED.get_or_init(|| {
            // It fails only where another recorder is installed, and there is none.
            let handle = PrometheusBuilder::new().install_recorder().ok()?;
            describe();
            Some(handle)
        });
        Self(handle.clone())
    }

    /// All figures, in the text format of Prometheus (version 0.0.4).
    pub fn render(&self, connections: usize, rooms: usize, held: usize) -> String {
        gauge!(CONNECTIONS).set(connections as f64);
        gauge!(ROOMS).set(rooms as f64);
        gauge!(HELD).set(held as f64);
        self.0.as_ref().map_or_else(String::new, PrometheusHandle::render)
    }
}

/// Says what each is, and makes the counters whose labels are known.
fn describe() {
    describe_gauge!(CONNECTIONS, "Connections that are open");
    describe_gauge!(ROOMS, "Rooms in memory");
    describe_gauge!(HELD, "Bytes that clients make the process hold, against --memory-budget");
    describe_counter!(CLOSED, "Connections that ended, by close code, 'client' or 'lost'");
    describe_counter!(REFUSED, "HTTP requests and handshakes that were refused, by the code of the error");
    describe_counter!(FRAMES_REFUSED, "Frames of fanfare.v1 answered with an error, by its code");
    describe_counter!(ACTS, "What operators did, by kind");
    describe_counter!(GAPS, "Clients told of messages that they will not get, by reason");
    for end in CloseCode::ALL.map(End::Closed).into_iter().chain([End::Client, End::Lost]) {
        counter!(CLOSED, "code" => end.label()).increment(0);
    }
    for act in Act::ALL {
        acted(act, 0);
    }
    for code in ErrorCode::ALL {
        counter!(FRAMES_REFUSED, "code" => code.as_str()).increment(0);
    }
    for reason in [GapReason::Expired, GapReason::Lagged] {
        counter!(GAPS, "reason" => reason.as_str()).increment(0);
    }
}
