//! The one table of what is counted: names, kinds and what they mean.
//!
//! Names follow Prometheus: base units, `_total` for what only grows. Labels come from closed sets, so the number of
//! series is fixed. Beside these there are the customary `process_…` of this process. `docs/src/metrics.md` is this
//! table for readers, and a test holds the two together.

/// WebSockets and streams that ended, by close code.
pub(super) const CLOSED: &str = "fanfare_connections_closed_total";
/// HTTP requests and handshakes that were refused.
pub(super) const REFUSED: &str = "fanfare_requests_refused_total";
/// Frames of `fanfare.v1` that were refused.
pub(super) const FRAMES_REFUSED: &str = "fanfare_frames_refused_total";
/// What operators did.
pub(super) const ACTS: &str = "fanfare_admin_acts_total";
/// Gaps that were told.
pub(super) const GAPS: &str = "fanfare_gaps_total";
/// Messages that were published.
pub(super) const PUBLISHED: &str = "fanfare_messages_published_total";
/// Messages times readers.
pub(super) const DELIVERED: &str = "fanfare_messages_delivered_total";
/// Their bytes.
pub(super) const DELIVERED_BYTES: &str = "fanfare_delivered_bytes_total";
/// Reads from the store for readers that the ring had passed.
pub(super) const CATCH_UPS: &str = "fanfare_catch_ups_total";
/// Commits that failed.
pub(super) const STORE_ERRORS: &str = "fanfare_store_errors_total";
/// Log lines that could not be written.
pub(super) const LOG_LINES_DROPPED: &str = "fanfare_log_lines_dropped_total";
/// Reads from the store that failed.
pub(super) const STORE_READ_ERRORS: &str = "fanfare_store_read_errors_total";
/// Messages that were found damaged.
pub(super) const DAMAGED: &str = "fanfare_damaged_messages_total";
/// Spans that were to be exported.
pub(super) const SPANS: &str = "fanfare_spans_total";
/// Open connections.
pub(super) const CONNECTIONS: &str = "fanfare_connections";
/// How many may be open.
pub(super) const CONNECTIONS_LIMIT: &str = "fanfare_connections_limit";
/// Rooms.
pub(super) const ROOMS: &str = "fanfare_rooms";
/// Bytes that clients make the process hold.
pub(super) const HELD: &str = "fanfare_held_bytes";
/// Messages that came too fast, by the quota that refused them.
pub(super) const RATE_LIMITED: &str = "fanfare_rate_limited_total";
/// Whether the store takes anything.
pub(super) const STORE_READY: &str = "fanfare_store_ready";
/// In which state the store is.
pub(super) const STORE_STATE: &str = "fanfare_store_state";
/// The state of a store that takes messages.
pub(super) const READY: &str = "ready";
/// All of them.
pub(super) const STORE_STATES: [&str; 4] = [READY, "refusing", "away", "lost"];
/// How far behind the farthest reader is.
pub(super) const LAG: &str = "fanfare_lag_messages";
/// From being stored to having been handed to every reader.
pub(super) const FAN_OUT: &str = "fanfare_fan_out_seconds";
/// From being taken up to being stored.
pub(super) const ACK: &str = "fanfare_ack_seconds";
/// One commit.
pub(super) const COMMIT: &str = "fanfare_commit_seconds";
/// Messages in one commit.
pub(super) const COMMIT_MESSAGES: &str = "fanfare_commit_messages";

/// Upper bounds in seconds: from a pass over one reader to a disk that hangs.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// Upper bounds in messages.
const MESSAGES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0,
];

/// How a series is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many were at most so much, for each of these bounds.
    Histogram(&'static [f64]),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    /// Its name in `/metrics`.
    pub(super) name: &'static str,
    /// How it is counted.
    pub(super) kind: Kind,
    /// One sentence.
    pub(super) help: &'static str,
}

const fn line(name: &'static str, kind: Kind, help: &'static str) -> Series {
    Series { name, kind, help }
}

/// Every series.
pub(super) const TABLE: &[Series] = &[
    line(
        CONNECTIONS,
        Kind::Gauge,
        "Connections that are open: WebSockets and streams",
    ),
    line(
        CONNECTIONS_LIMIT,
        Kind::Gauge,
        "Connections that may be open: of 'all', of one 'address', and as many as there are 'files' for",
    ),
    line(ROOMS, Kind::Gauge, "Rooms in memory"),
    line(
        RATE_LIMITED,
        Kind::Counter,
        "Messages that came too fast, by the quota that refused them",
    ),
    line(
        HELD,
        Kind::Gauge,
        "Bytes that clients make the process hold, against --memory-budget",
    ),
    line(
        PUBLISHED,
        Kind::Counter,
        "Messages that were published, by result: 'stored', 'duplicate' (its key was stored before) or 'refused'",
    ),
    line(
        DELIVERED,
        Kind::Counter,
        "Messages handed to the kernel or to HTTP, once for each reader",
    ),
    line(DELIVERED_BYTES, Kind::Counter, "Bytes of them, framed"),
    line(
        FAN_OUT,
        Kind::Histogram(SECONDS),
        "Seconds from a message being stored until it was handed to every reader that could take it",
    ),
    line(
        ACK,
        Kind::Histogram(SECONDS),
        "Seconds from messages being taken up until the store answered, for each publish",
    ),
    line(
        COMMIT,
        Kind::Histogram(SECONDS),
        "Seconds that one commit took",
    ),
    line(
        COMMIT_MESSAGES,
        Kind::Histogram(MESSAGES),
        "Messages in one commit",
    ),
    line(
        CATCH_UPS,
        Kind::Counter,
        "Reads from the store for readers that the rooms' memory had passed",
    ),
    line(
        GAPS,
        Kind::Counter,
        "Clients told of messages that they will not get, by reason",
    ),
    line(
        CLOSED,
        Kind::Counter,
        "Connections that ended, by close code, 'client' or 'lost'",
    ),
    line(
        REFUSED,
        Kind::Counter,
        "HTTP requests and handshakes that were refused, by the code of the error",
    ),
    line(
        FRAMES_REFUSED,
        Kind::Counter,
        "Frames of fanfare.v1 answered with an error, by its code",
    ),
    line(
        ACTS,
        Kind::Counter,
        "What operators did, by act, once for each connection or message that it met",
    ),
    line(
        SPANS,
        Kind::Counter,
        "Spans for --otlp-endpoint, by result: 'exported', 'refused' (the collector did not take them) or 'dropped' (too many waited)",
    ),
    line(STORE_ERRORS, Kind::Counter, "Commits that failed"),
    line(
        LOG_LINES_DROPPED,
        Kind::Counter,
        "Log lines that could not be written: standard error is full, closed, or not read",
    ),
    line(
        STORE_READ_ERRORS,
        Kind::Counter,
        "Reads from the database that failed; their readers are closed with 1013",
    ),
    line(
        DAMAGED,
        Kind::Counter,
        "Messages found that are stored and cannot be read; readers are sent a gap",
    ),
    line(
        STORE_READY,
        Kind::Gauge,
        "1 while the store takes messages, else 0",
    ),
    line(
        STORE_STATE,
        Kind::Gauge,
        "1 at the state that the store is in: 'ready', 'refusing', 'away' or 'lost'",
    ),
    line(
        LAG,
        Kind::Gauge,
        "Messages that the reader farthest behind has still to get",
    ),
];
