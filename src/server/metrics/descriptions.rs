//! The table of all series: names, kinds and help texts.
//!
//! Names follow Prometheus: base units, and `_total` for counters. Labels come from closed sets and from the settings, so
//! the number of series is fixed. The customary `process_…` series are added to these. `docs/src/metrics.md` documents the
//! table, and a test compares the two.

/// Closed WebSockets and streams, by close code.
pub(super) const CLOSED: &str = "fanfare_connections_closed_total";
/// Refused HTTP requests and handshakes.
pub(super) const REFUSED: &str = "fanfare_requests_refused_total";
/// Frames of `fanfare.v1` that were answered with an error.
pub(super) const FRAMES_REFUSED: &str = "fanfare_frames_refused_total";
/// Actions of operators.
pub(super) const ADMIN_ACTIONS: &str = "fanfare_admin_acts_total";
/// Gaps that were sent to clients.
pub(super) const GAPS: &str = "fanfare_gaps_total";
/// Published messages, by result.
pub(super) const PUBLISHED: &str = "fanfare_messages_published_total";
/// Delivered messages, counted once for each reader.
pub(super) const DELIVERED: &str = "fanfare_messages_delivered_total";
/// Bytes of delivered messages.
pub(super) const DELIVERED_BYTES: &str = "fanfare_delivered_bytes_total";
/// Signals that clients sent.
pub(super) const SIGNALS: &str = "fanfare_signals_sent_total";
/// Delivered signals, counted once for each reader.
pub(super) const SIGNALS_DELIVERED: &str = "fanfare_signals_delivered_total";
/// Signals that were not delivered to a reader, counted once for each reader.
pub(super) const SIGNALS_DROPPED: &str = "fanfare_signals_dropped_total";
/// Reads from the store for readers that fell behind the ring.
pub(super) const CATCH_UPS: &str = "fanfare_catch_ups_total";
/// Failed commits.
pub(super) const STORE_ERRORS: &str = "fanfare_store_errors_total";
/// Log lines that could not be written.
pub(super) const LOG_LINES_DROPPED: &str = "fanfare_log_lines_dropped_total";
/// Failed reads from the store.
pub(super) const STORE_READ_ERRORS: &str = "fanfare_store_read_errors_total";
/// Messages that were found damaged.
pub(super) const DAMAGED: &str = "fanfare_damaged_messages_total";
/// Exported and dropped spans, by result.
pub(super) const SPANS: &str = "fanfare_spans_total";
/// Open connections.
pub(super) const CONNECTIONS: &str = "fanfare_connections";
/// The limits on open connections.
pub(super) const CONNECTIONS_LIMIT: &str = "fanfare_connections_limit";
/// Rooms in memory.
pub(super) const ROOMS: &str = "fanfare_rooms";
/// Bytes that the process holds for clients.
pub(super) const HELD: &str = "fanfare_held_bytes";
/// Messages over a rate limit, by the quota that refused them.
pub(super) const RATE_LIMITED: &str = "fanfare_rate_limited_total";
/// 1 while the store accepts messages.
pub(super) const STORE_READY: &str = "fanfare_store_ready";
/// 1 for the current state of the store.
pub(super) const STORE_STATE: &str = "fanfare_store_state";
/// The state of a store that accepts messages.
pub(super) const READY: &str = "ready";
/// All states of a store.
pub(super) const STORE_STATES: [&str; 4] = [READY, "read_only", "unreachable", "corrupt"];
/// The lag of the slowest reader.
pub(super) const LAG: &str = "fanfare_lag_messages";
/// Deliveries of hooks, by hook and result.
pub(super) const HOOK_DELIVERIES: &str = "fanfare_hook_deliveries_total";
/// The messages that a hook has not delivered yet.
pub(super) const HOOK_LAG: &str = "fanfare_hook_lag_messages";
/// The age of the oldest message that a hook has not delivered yet.
pub(super) const HOOK_OLDEST: &str = "fanfare_hook_oldest_seconds";
/// The time from storing a message to the last write of its fan-out.
pub(super) const FAN_OUT: &str = "fanfare_fan_out_seconds";
/// The time from a publish to the store's answer.
pub(super) const ACK: &str = "fanfare_ack_seconds";
/// The duration of a commit.
pub(super) const COMMIT: &str = "fanfare_commit_seconds";
/// The messages in a commit.
pub(super) const COMMIT_MESSAGES: &str = "fanfare_commit_messages";

/// Upper bounds in seconds, from the fan-out to one reader to a disk that hangs.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// Upper bounds in messages.
const MESSAGES: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0,
];

/// The type of a series.
#[derive(Clone, Copy, Debug)]
pub(super) enum MetricKind {
    /// A value that only grows.
    Counter,
    /// A value that may fall.
    Gauge,
    /// A distribution, with these upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetricSeries {
    /// The name in `/metrics`.
    pub(super) name: &'static str,
    /// The type.
    pub(super) kind: MetricKind,
    /// The help text, one sentence.
    pub(super) help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> MetricSeries {
    let kind = MetricKind::Counter;
    MetricSeries { name, kind, help }
}

const fn gauge(name: &'static str, help: &'static str) -> MetricSeries {
    let kind = MetricKind::Gauge;
    MetricSeries { name, kind, help }
}

const fn histogram(
    name: &'static str,
    buckets: &'static [f64],
    help: &'static str,
) -> MetricSeries {
    let kind = MetricKind::Histogram(buckets);
    MetricSeries { name, kind, help }
}

/// Every series.
pub(super) const TABLE: &[MetricSeries] = &[
    gauge(CONNECTIONS, "Open connections: WebSockets and streams"),
    gauge(
        CONNECTIONS_LIMIT,
        "Most connections that may be open: 'all' in total, from one 'address', and as many as the file limit allows ('files')",
    ),
    gauge(ROOMS, "Rooms in memory"),
    counter(RATE_LIMITED, "Messages refused by a rate limit, by quota"),
    gauge(
        HELD,
        "Bytes that the process holds for clients; the limit is --memory-budget",
    ),
    counter(
        PUBLISHED,
        "Published messages, by result: 'stored', 'duplicate' (the key was stored before) or 'refused'",
    ),
    counter(
        DELIVERED,
        "Messages written to connections, counted once for each reader",
    ),
    counter(
        DELIVERED_BYTES,
        "Bytes of delivered messages, including frame headers",
    ),
    counter(SIGNALS, "Signals that clients of this node sent"),
    counter(
        SIGNALS_DELIVERED,
        "Signals written to connections, counted once for each reader",
    ),
    counter(
        SIGNALS_DROPPED,
        "Signals that a slow reader did not get, because a newer one replaced them or too many waited, counted once for each reader",
    ),
    histogram(
        FAN_OUT,
        SECONDS,
        "Seconds from storing a message, or from accepting a signal, until it was written to every reader that could accept it",
    ),
    histogram(
        ACK,
        SECONDS,
        "Seconds from receiving a publish until the store answered",
    ),
    histogram(COMMIT, SECONDS, "Seconds that one commit took"),
    histogram(COMMIT_MESSAGES, MESSAGES, "Messages in one commit"),
    counter(
        CATCH_UPS,
        "Reads from the store for readers that have fallen behind the messages in memory",
    ),
    counter(GAPS, "Gaps sent to clients, by reason"),
    counter(
        CLOSED,
        "Closed connections, by close code, 'client' or 'lost'",
    ),
    counter(
        REFUSED,
        "Refused HTTP requests and handshakes, by error code",
    ),
    counter(
        FRAMES_REFUSED,
        "Frames of fanfare.v1 that got an error, by its code",
    ),
    counter(
        ADMIN_ACTIONS,
        "Actions of operators, counted once for each affected connection or message",
    ),
    counter(
        SPANS,
        "Spans for --otlp-endpoint, by result: 'exported', 'refused' (not accepted by the collector) or 'dropped' (too many waited)",
    ),
    counter(STORE_ERRORS, "Failed commits"),
    counter(
        LOG_LINES_DROPPED,
        "Log lines that could not be written: standard error is full, closed, or not read",
    ),
    counter(
        STORE_READ_ERRORS,
        "Failed reads from the database; the readers are closed with 1013",
    ),
    counter(
        DAMAGED,
        "Stored messages that were found unreadable; readers get a gap",
    ),
    gauge(STORE_READY, "1 while the store accepts messages, else 0"),
    gauge(
        STORE_STATE,
        "1 for the current state of the store, else 0: 'ready', 'read_only', 'unreachable' or 'corrupt'",
    ),
    counter(
        HOOK_DELIVERIES,
        "Deliveries of hooks, by hook and result: 'accepted', 'refused' (the answer was no success) or 'failed' (no answer)",
    ),
    gauge(HOOK_LAG, "Messages that a hook has not delivered yet"),
    gauge(
        HOOK_OLDEST,
        "Age in seconds of the oldest message that a hook has not delivered yet; 0 if there is none",
    ),
    gauge(LAG, "Messages that the slowest reader has not received yet"),
];
