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
use meters::Meters;
use table::*;

pub use course::{Course, EVERY, Point, Sample};
pub use published::{Published, published, stored};
pub use readings::Readings;

/// How often samples of histograms are added up: until then each is kept.
const ADD_UP_EVERY: Duration = Duration::from_secs(5);

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
pub enum Act {
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

impl Act {
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

/// The store answered a publish after `took`.
pub fn answered(took: Duration) {
    if let Some(meters) = Meters::get() {
        meters.ack.record(took);
    }
}

/// All readers of a room were handed what was stored `took` ago.
pub fn fanned_out(took: Duration) {
    if let Some(meters) = Meters::get() {
        meters.fan_out.record(took);
    }
}

/// A commit of so many messages took so long.
pub fn committed(took: Duration, messages: usize) {
    if let Some(meters) = Meters::get() {
        meters.commit.record(took);
        meters.commit_messages.record(messages as f64);
    }
}

/// A commit failed.
pub fn store_failed() {
    counter!(STORE_ERRORS).increment(1);
}

/// Counts a read from the database that failed.
pub fn store_read_failed() {
    counter!(STORE_READ_ERRORS).increment(1);
}

/// Counts messages that were found damaged.
pub fn messages_damaged(messages: usize) {
    counter!(DAMAGED).increment(messages as u64);
}

/// What became of a span that was to be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spans {
    /// The collector took it.
    Exported,
    /// The collector did not.
    Refused,
    /// Too many were waiting.
    Dropped,
}

impl Spans {
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
pub fn spans(count: usize, result: Spans) {
    counter!(SPANS, "result" => result.label()).increment(count as u64);
}

/// There are files for so many connections.
pub fn files_for(connections: u64) {
    gauge!(CONNECTIONS_LIMIT, "of" => "files").set(connections as f64);
}

/// A reader that its room's memory had passed is served from the store.
pub fn caught_up() {
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
                        Kind::Histogram(bounds) => builder
                            .set_buckets_for_metric(Matcher::Full(series.name.to_owned()), bounds),
                        Kind::Counter | Kind::Gauge => Ok(builder),
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
    pub async fn add_up_forever(self) {
        let Some(handle) = self.0 else { return };
        let mut interval = tokio::time::interval(ADD_UP_EVERY);
        loop {
            interval.tick().await;
            handle.run_upkeep();
        }
    }

    /// All figures, in the text format of Prometheus (version 0.0.4).
    pub fn render(&self, readings: Readings) -> String {
        readings.record();
        for (result, messages) in published::so_far() {
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
    for Series { name, kind, help } in TABLE.iter().copied() {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram(_) => describe_histogram!(name, help),
        }
    }
    Collector::default().describe();
    for end in CloseCode::ALL
        .map(End::Closed)
        .into_iter()
        .chain([End::Client, End::Lost])
    {
        counter!(CLOSED, "code" => end.label()).increment(0);
    }
    for act in Act::ALL {
        acted(act, 0);
    }
    for code in ErrorCode::ALL {
        counter!(FRAMES_REFUSED, "code" => code.as_str()).increment(0);
    }
    for reason in GapReason::ALL {
        counter!(GAPS, "reason" => reason.as_str()).increment(0);
    }
    for result in Spans::ALL {
        spans(0, result);
    }
    for name in [CATCH_UPS, STORE_ERRORS, STORE_READ_ERRORS, DAMAGED] {
        counter!(name).increment(0);
    }
    Meters::install();
}
