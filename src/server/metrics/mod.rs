//! Prometheus metrics.
//!
//! Every close, refusal and gap has a code, and each code has a counter that starts at 0. Deliveries are not counted one
//! by one: a fan-out to the readers of a room is counted once, at its end.

mod histograms;
mod gauges;
mod descriptions;
mod rate_history;
mod published;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use crate::protocol::{CloseCode, ErrorCode, GapReason};
use descriptions::*;
use histograms::Histograms;

pub use gauges::MetricSnapshot;
pub use published::{PublishResult, count_published, stored_messages};
pub use rate_history::{CounterSample, RateHistory, SAMPLE_INTERVAL};

/// The interval at which the samples of histograms are aggregated. Until then each sample is kept in memory.
const AGGREGATION_INTERVAL: Duration = Duration::from_secs(5);

/// The cause of a connection's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The server closed the connection with this code.
    Closed(CloseCode),
    /// The client sent a Close frame.
    Client,
    /// The connection ended without a Close frame.
    Lost,
}

impl DisconnectReason {
    /// Returns the name of the reason in metrics and spans.
    pub fn label(self) -> String {
        match self {
            Self::Closed(code) => code.number().to_string(),
            Self::Client => "client".to_owned(),
            Self::Lost => "lost".to_owned(),
        }
    }
}

/// An action of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAction {
    /// Disconnect a client.
    Kick,
    /// Delete a message.
    Delete,
    /// Ban a user id or an address.
    Ban,
    /// Remove a ban.
    Unban,
    /// Close a room.
    Close,
    /// Reopen a closed room.
    Open,
    /// Change the life of a room, or end it.
    Life,
    /// Delete a room.
    DeleteRoom,
    /// Trace a connection.
    Trace,
    /// Pause a hook.
    PauseHook,
    /// Resume a hook.
    ResumeHook,
    /// Let a hook deliver messages again.
    ReplayHook,
}

impl AdminAction {
    const ALL: [Self; 12] = [
        Self::Kick,
        Self::Delete,
        Self::Ban,
        Self::Unban,
        Self::Close,
        Self::Open,
        Self::Life,
        Self::DeleteRoom,
        Self::Trace,
        Self::PauseHook,
        Self::ResumeHook,
        Self::ReplayHook,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Kick => "kick",
            Self::Delete => "delete",
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::Close => "close",
            Self::Open => "open",
            Self::Life => "life",
            Self::DeleteRoom => "delete_room",
            Self::Trace => "trace",
            Self::PauseHook => "pause_hook",
            Self::ResumeHook => "resume_hook",
            Self::ReplayHook => "replay_hook",
        }
    }
}

/// Counts an action of an operator on `count` connections, messages or rules.
pub fn count_admin_action(action: AdminAction, count: usize) {
    counter!(ADMIN_ACTIONS, "act" => action.label()).increment(count as u64);
}

/// Counts a connection that ended.
pub fn count_disconnect(reason: DisconnectReason) {
    counter!(CLOSED, "code" => reason.label()).increment(1);
}

/// Counts a refused request or handshake; `code` is the code of the JSON error.
pub fn count_refusal(code: &'static str) {
    counter!(REFUSED, "code" => code).increment(1);
}

/// Counts a frame that was answered with an `error`.
pub fn count_frame_error(code: ErrorCode) {
    counter!(FRAMES_REFUSED, "code" => code.as_str()).increment(1);
}

/// Counts a gap that was sent to a client.
pub fn count_gap(reason: GapReason) {
    counter!(GAPS, "reason" => reason.as_str()).increment(1);
}

/// Counts a signal that a client sent.
pub fn count_signal() {
    counter!(SIGNALS).increment(1);
}

/// Records the time from a publish to the store's answer.
pub fn record_ack_latency(elapsed: Duration) {
    if let Some(histograms) = Histograms::get() {
        histograms.ack.record(elapsed);
    }
}

/// Records the time from storing a message to the last write of its fan-out.
pub fn record_fanout_latency(elapsed: Duration) {
    if let Some(histograms) = Histograms::get() {
        histograms.fan_out.record(elapsed);
    }
}

/// Records the duration of a commit and the number of messages in it.
pub fn record_commit(elapsed: Duration, messages: usize) {
    if let Some(histograms) = Histograms::get() {
        histograms.commit.record(elapsed);
        histograms.commit_messages.record(messages as f64);
    }
}

/// Counts a failed commit.
pub fn count_store_failure() {
    counter!(STORE_ERRORS).increment(1);
}

/// Counts a read from the database that failed.
pub fn count_store_read_failure() {
    counter!(STORE_READ_ERRORS).increment(1);
}

/// Counts messages that were found damaged.
pub fn count_damaged_messages(messages: usize) {
    counter!(DAMAGED).increment(messages as u64);
}

/// The result of exporting a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanResult {
    /// The collector accepted the span.
    Exported,
    /// The collector rejected the span, or did not answer.
    Refused,
    /// The export queue was full.
    Dropped,
}

impl SpanResult {
    const ALL: [Self; 3] = [Self::Exported, Self::Refused, Self::Dropped];

    const fn label(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }
}

/// The result of a delivery of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookResult {
    /// The receiver answered 2xx.
    Accepted,
    /// The receiver gave another answer.
    Refused,
    /// The receiver did not answer.
    Failed,
}

impl HookResult {
    const ALL: [Self; 3] = [Self::Accepted, Self::Refused, Self::Failed];

    const fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Creates the series of the hook `name`.
pub fn describe_hook(name: &str) {
    for result in HookResult::ALL {
        count_hook_deliveries(name, result, 0);
    }
    set_hook_lag(name, 0, 0);
}

/// Counts `count` deliveries of the hook `name`.
pub fn count_hook_deliveries(name: &str, result: HookResult, count: u64) {
    let hook = name.to_owned();
    counter!(HOOK_DELIVERIES, "hook" => hook, "result" => result.label()).increment(count);
}

/// Sets the number of messages that the hook `name` has not delivered yet, and the age of the oldest one in seconds.
pub fn set_hook_lag(name: &str, messages: u64, oldest: u64) {
    gauge!(HOOK_LAG, "hook" => name.to_owned()).set(messages as f64);
    gauge!(HOOK_OLDEST, "hook" => name.to_owned()).set(oldest as f64);
}

/// Counts `count` spans with this result.
pub fn count_spans(count: usize, result: SpanResult) {
    counter!(SPANS, "result" => result.label()).increment(count as u64);
}

/// Sets the number of connections for which the limit on open files suffices.
pub fn set_connection_file_limit(connections: u64) {
    gauge!(CONNECTIONS_LIMIT, "of" => "files").set(connections as f64);
}

/// Counts a read from the store for a reader that fell behind its room's ring.
pub fn count_catch_up() {
    counter!(CATCH_UPS).increment(1);
}

/// A handle to the installed recorder.
#[derive(Clone, Debug)]
pub struct Metrics(Option<PrometheusHandle>);

impl Metrics {
    /// Installs the recorder of the process, or returns a handle to the one that is installed.
    pub fn install() -> Self {
        static INSTALLED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

        let handle = INSTALLED.get_or_init(|| {
            let builder = TABLE
                .iter()
                .try_fold(PrometheusBuilder::new(), |builder, series| {
                    match series.kind {
                        MetricKind::Histogram(bounds) => builder
                            .set_buckets_for_metric(Matcher::Full(series.name.to_owned()), bounds),
                        MetricKind::Counter | MetricKind::Gauge => Ok(builder),
                    }
                });
            // Fails only for a histogram without bounds, or if another recorder was installed.
            let handle = builder.ok()?.install_recorder().ok()?;
            describe();
            Some(handle)
        });

        Self(handle.clone())
    }

    /// Aggregates the samples of histograms at an interval, so that memory does not grow between requests.
    pub async fn aggregate_samples(self) {
        let Some(handle) = self.0 else { return };
        let mut interval = tokio::time::interval(AGGREGATION_INTERVAL);

        loop {
            interval.tick().await;
            handle.run_upkeep();
        }
    }

    /// Returns all series in the text format of Prometheus (version 0.0.4).
    pub fn render(&self, gauges: MetricSnapshot) -> String {
        gauges.record();
        for (result, messages) in published::publish_counts() {
            counter!(PUBLISHED, "result" => result).absolute(messages);
        }
        Collector::default().collect();

        self.0
            .as_ref()
            .map_or_else(String::new, PrometheusHandle::render)
    }
}

/// Registers the help texts, and creates every series whose labels are known.
fn describe() {
    for MetricSeries { name, kind, help } in TABLE.iter().copied() {
        match kind {
            MetricKind::Counter => describe_counter!(name, help),
            MetricKind::Gauge => describe_gauge!(name, help),
            MetricKind::Histogram(_) => describe_histogram!(name, help),
        }
    }
    Collector::default().describe();

    for reason in CloseCode::ALL
        .map(DisconnectReason::Closed)
        .into_iter()
        .chain([DisconnectReason::Client, DisconnectReason::Lost])
    {
        counter!(CLOSED, "code" => reason.label()).increment(0);
    }

    for action in AdminAction::ALL {
        count_admin_action(action, 0);
    }
    for code in ErrorCode::ALL {
        counter!(FRAMES_REFUSED, "code" => code.as_str()).increment(0);
    }
    for reason in GapReason::ALL {
        counter!(GAPS, "reason" => reason.as_str()).increment(0);
    }
    for result in SpanResult::ALL {
        count_spans(0, result);
    }
    for name in [SIGNALS, CATCH_UPS, STORE_ERRORS, STORE_READ_ERRORS, DAMAGED] {
        counter!(name).increment(0);
    }

    Histograms::install();
}
