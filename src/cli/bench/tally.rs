//! The counters of a load, shared by all clients, and the result.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::BenchArgs;

/// The time after the last delivery from which missing ones count as lost.
const FINAL_TIMEOUT: Duration = Duration::from_secs(3);
/// The maximum latency of a histogram, which has two significant digits, in microseconds.
const MAX_LATENCY_US: u64 = 60_000_000;
const DIGITS: u8 = 2;

/// The result of a load.
pub(super) struct BenchResult {
    /// The number of published messages.
    pub(super) sent: u64,
    /// The number of expected deliveries.
    pub(super) expected: u64,
    /// The number of deliveries.
    pub(super) delivered: u64,
    /// The number of deliveries that were not the next message of their publisher in the room, or came to a connection
    /// after a later offset.
    pub(super) disordered: u64,
    /// The number of connections that ended too early.
    pub(super) closed: u64,
    /// The time until all clients were connected and subscribed.
    pub(super) connecting: Duration,
    /// The time from a publish to its delivery, in microseconds.
    pub(super) latency: Histogram<u64>,
    /// The time from a publish to its `ack`, in microseconds, if acks were requested.
    pub(super) acks: Option<Histogram<u64>>,
}

impl BenchResult {
    pub(super) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }

    /// Returns the number of messages without an `ack`, if acks were requested.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.acks
            .as_ref()
            .map_or(0, |acks| self.sent.saturating_sub(acks.len()))
    }

    pub(super) fn is_whole(&self) -> bool {
        self.lost() == 0 && self.disordered == 0 && self.unacknowledged() == 0 && self.closed == 0
    }
}

/// The counters, shared by all clients.
pub(super) struct Tally {
    pub(super) began: Instant,
    pub(super) delivered: AtomicU64,
    pub(super) disordered: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) latency: Latencies,
    pub(super) acks: Latencies,
}

/// A histogram of latencies, shared by all clients.
pub(super) struct Latencies(Mutex<Histogram<u64>>);

impl Latencies {
    fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_max(MAX_LATENCY_US, DIGITS)?;
        Ok(Self(Mutex::new(histogram)))
    }

    /// Records a latency in microseconds.
    pub(super) fn record(&self, latency_us: u64) {
        self.0.lock().saturating_record(latency_us);
    }
}

impl Tally {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            began: Instant::now(),
            delivered: AtomicU64::new(0),
            disordered: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            latency: Latencies::new()?,
            acks: Latencies::new()?,
        })
    }

    /// Waits until all deliveries and acks have arrived, or none has arrived for [`FINAL_TIMEOUT`].
    pub(super) async fn wait_for(&self, deliveries: u64, acks: u64) {
        let mut seen = ((0, 0), Instant::now());
        let mut look = tokio::time::interval(Duration::from_millis(20));

        loop {
            look.tick().await;
            let now = (
                self.delivered.load(Ordering::Relaxed),
                self.acknowledged.load(Ordering::Relaxed),
            );
            if (now.0 >= deliveries && now.1 >= acks)
                || (now == seen.0 && seen.1.elapsed() > FINAL_TIMEOUT)
            {
                return;
            }
            if now != seen.0 {
                seen = (now, Instant::now());
            }
        }
    }

    pub(super) fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    pub(super) fn result(
        &self,
        options: &BenchArgs,
        sent: u64,
        expected: u64,
        connecting: Duration,
    ) -> BenchResult {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BenchResult {
            sent,
            expected,
            delivered: of(&self.delivered),
            disordered: of(&self.disordered),
            closed: of(&self.closed),
            connecting,
            latency: self.latency.0.lock().clone(),
            acks: options.acks.then(|| self.acks.0.lock().clone()),
        }
    }
}
