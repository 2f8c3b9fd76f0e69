//! What all clients of a load counted, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::Plan;

/// How long after the last delivery the rest counts as lost.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// Latencies are kept to two digits, in microseconds, up to this.
const MAX_LATENCY_US: u64 = 60_000_000;
const DIGITS: u8 = 2;
/// Parts of a histogram.
const SHARDS: usize = 16;

/// What came of it.
pub(super) struct Outcome {
    /// Messages published.
    pub(super) sent: u64,
    /// Deliveries that should have been.
    pub(super) expected: u64,
    /// Deliveries that were.
    pub(super) delivered: u64,
    /// Deliveries that were not the next one of their publisher.
    pub(super) disordered: u64,
    /// Connections that ended before their time.
    pub(super) closed: u64,
    /// How long it took to connect everyone.
    pub(super) connecting: Duration,
    /// From a publish to its delivery, in microseconds.
    pub(super) latency: Histogram<u64>,
    /// From a publish to its `ack`, in microseconds, where they were asked for.
    pub(super) acks: Option<Histogram<u64>>,
}

impl Outcome {
    pub(super) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }

    /// Messages that were to be acknowledged and were not.
    pub(super) fn unacknowledged(&self) -> u64 {
        self.acks
            .as_ref()
            .map_or(0, |acks| self.sent.saturating_sub(acks.len()))
    }

    pub(super) fn is_whole(&self) -> bool {
        self.lost() == 0 && self.disordered == 0 && self.unacknowledged() == 0
    }
}

/// What the clients share.
pub(super) struct Tally {
    pub(super) began: Instant,
    pub(super) delivered: AtomicU64,
    pub(super) disordered: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) latency: Shards,
    pub(super) acks: Shards,
}

/// A histogram in parts, so that those who record seldom wait for each other.
pub(super) struct Shards(Vec<Mutex<Histogram<u64>>>);

impl Shards {
    pub(super) fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_max(MAX_LATENCY_US, DIGITS).map(Mutex::new);
        Ok(Self(
            (0..SHARDS).map(|_| histogram()).collect::<Result<_, _>>()?,
        ))
    }

    /// `who` saw a latency of so many microseconds.
    pub(super) fn record(&self, who: usize, latency_us: u64) {
        let shard = &self.0[who % SHARDS];
        shard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record(latency_us);
    }

    fn sum(&self) -> anyhow::Result<Histogram<u64>> {
        let mut sum = Histogram::new_with_max(MAX_LATENCY_US, DIGITS)?;
        for shard in &self.0 {
            sum.add(&*shard.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
        Ok(sum)
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
            latency: Shards::new()?,
            acks: Shards::new()?,
        })
    }

    /// Until all deliveries and all acks have come, or none came for [`LAST_WAIT`].
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
                || (now == seen.0 && seen.1.elapsed() > LAST_WAIT)
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

    pub(super) fn outcome(
        &self,
        plan: &Plan,
        sent: u64,
        expected: u64,
        connecting: Duration,
    ) -> anyhow::Result<Outcome> {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (delivered, disordered, closed) =
            (of(&self.delivered), of(&self.disordered), of(&self.closed));
        let acks = if plan.wants_acks {
            Some(self.acks.sum()?)
        } else {
            None
        };
        let latency = self.latency.sum()?;
        Ok(Outcome {
            sent,
            expected,
            delivered,
            disordered,
            closed,
            connecting,
            latency,
            acks,
        })
    }
}
