//! What is counted, as it happens.
//!
//! Every way to lose, refuse or close has a code, and each code a counter that is there from the start, at 0.
//! Nothing is counted for each delivery: a pass over a room's readers is counted once, when it is over.

mod meters;
mod readings;
mod table;
mod course;
mod published;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use crate::protocol::CloseCode;
use crate::protocol::ErrorCode;
use crate::protocol::GapReason;
use meters::Histograms;
use table::*;

pub use course::{CounterSample, EVERY, RateHistory, RatePoint};
pub use published::{PublishResult, count_published, stored_messages};
pub use readings::Gauges;

/// How often samples of histograms are added up: until then each is kept.
const ADD_UP_EVERY: Duration = Duration::from_secs(5);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectReason {
    /// We ended it.
    Closed(CloseCode),
    /// The client said goodbye.
    Client,
    /// It was gone without a word.
    Lost,
}

impl DisconnectReason {
    /// As figures and spans call it.
    pub fn label(self) -> String {
        match self {
            Self::Closed(code) => code.number().to_string(),
            Self::Client => "client".to_owned(),
            Self::Lost => "lost".to_owned(),
        }
    }
}

/// What an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAction {
    /// Ends a connection.
    Kick,
    /// Deletes a message.
    Delete,
    /// Bans somebody.
    Ban,
    /// Lifts a ban.
    Unban,
    /// Closes a room.
    Close,
    /// Opens a room that was closed.
    Open,
    /// Watches a connection.
    Trace,
}

impl AdminAction {
    const ALL: [Self; 7] = [
        Self::Kick,
        Self::Delete,
        Self::Ban,
        Self::Unban,
        Self::Close,
        Self::Open,
        Self::Trace,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Kick => "kick",
            Self::Delete => "delete",
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::Close => "close",
            Self::Open => "open",
            Self::Trace => "trace",
        }
    }
}

/// An operator acted, on so many.
pub fn count_admin_action(act: AdminAction, count: usize) {
    counter!(ACTS, "act" => act.label()).increment(count as u64);
}

/// A connection ended.
pub fn count_disconnect(end: DisconnectReason) {
    counter!(CLOSED, "code" => end.label()).increment(1);
}

/// A request or handshake was refused; `code` is that of the JSON error.
pub fn count_refusal(code: &'static str) {
    counter!(REFUSED, "code" => code).increment(1);
}

/// A frame was answered with an `error`.
pub fn count_frame_error(code: ErrorCode) {
    counter!(FRAMES_REFUSED, "code" => code.as_str()).increment(1);
}

/// A client was told of a gap.
pub fn count_gap(reason: GapReason) {
    counter!(GAPS, "reason" => reason.as_str()).increment(1);
}

/// The store answered a publish after `took`.
pub fn record_ack_latency(took: Duration) {
    if let Some(meters) = Histograms::get() {
        meters.ack.record(took);
    }
}

/// All readers of a room were handed what was stored `took` ago.
pub fn record_fanout_latency(took: Duration) {
    if let Some(meters) = Histograms::get() {
        meters.fan_out.record(took);
    }
}

/// A commit of so many messages took so long.
pub fn record_commit(took: Duration, messages: usize) {
    if let Some(meters) = Histograms::get() {
        meters.commit.record(took);
        meters.commit_messages.record(messages as f64);
    }
}

/// A commit failed.
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

/// What became of a span that was to be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanResult {
    /// The collector took it.
    Exported,
    /// The collector did not.
    Refused,
    /// Too many were waiting.
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

/// So many spans met this result.
pub fn count_spans(count: usize, result: SpanResult) {
    counter!(SPANS, "result" => result.label()).increment(count as u64);
}

/// There are files for so many connections.
pub fn set_connection_file_limit(connections: u64) {
    gauge!(CONNECTIONS_LIMIT, "of" => "files").set(connections as f64);
}

/// A reader that its room's memory had passed is served from the store.
pub fn count_catch_up() {
    counter!(CATCH_UPS).increment(1);
}

/// What is counted from now on, as Prometheus reads it.
#[derive(Clone, Debug)]
pub struct Metrics(Option<PrometheusHandle>);

impl Metrics {
    /// Begins to count; once for each process.
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
            // It fails only for a histogram without bounds, and where another recorder is installed: there is none.
            let handle = builder.ok()?.install_recorder().ok()?;
            describe();
            Some(handle)
        });
        Self(handle.clone())
    }

    /// Adds up what came in, again and again, whether anybody asks or not.
    pub async fn aggregate_samples(self) {
        let Some(handle) = self.0 else { return };
        let mut interval = tokio::time::interval(ADD_UP_EVERY);
        loop {
            interval.tick().await;
            handle.run_upkeep();
        }
    }

    /// All figures, in the text format of Prometheus (version 0.0.4).
    pub fn render(&self, readings: Gauges) -> String {
        readings.record();
        for (result, messages) in published::publish_counts() {
            counter!(PUBLISHED, "result" => result).absolute(messages);
        }
        Collector::default().collect();
        self.0
            .as_ref()
            .map_or_else(String::new, PrometheusHandle::render)
    }
}

/// Says what each is, and makes the series whose labels are known.
fn describe() {
    for MetricSeries { name, kind, help } in TABLE.iter().copied() {
        match kind {
            MetricKind::Counter => describe_counter!(name, help),
            MetricKind::Gauge => describe_gauge!(name, help),
            MetricKind::Histogram(_) => describe_histogram!(name, help),
        }
    }
    Collector::default().describe();
    for end in CloseCode::ALL
        .map(DisconnectReason::Closed)
        .into_iter()
        .chain([DisconnectReason::Client, DisconnectReason::Lost])
    {
        counter!(CLOSED, "code" => end.label()).increment(0);
    }
    for act in AdminAction::ALL {
        count_admin_action(act, 0);
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
    for name in [CATCH_UPS, STORE_ERRORS, STORE_READ_ERRORS, DAMAGED] {
        counter!(name).increment(0);
    }
    Histograms::install();
}
