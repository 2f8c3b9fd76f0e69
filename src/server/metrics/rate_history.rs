//! Rates of the last three minutes, one point a second, for the charts of the admin page. They take a few kilobytes
//! and are recorded even while nobody views the page.
//!
//! This module reads no clock: the caller passes the time. Prometheus keeps older values.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::protocol::admin::SecondStats;

/// The interval between two samples.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// The most points kept: three minutes.
const MAX_POINTS: usize = 180;

/// The values of the counters at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterSample {
    /// Connections that are open.
    pub connections: usize,
    /// Messages stored since the start.
    pub published: u64,
    /// Messages delivered since the start, counted once for each reader.
    pub delivered: u64,
    /// Bytes of the delivered messages.
    pub delivered_bytes: u64,
}

/// A handle to the recent rates, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RateHistory(Arc<Mutex<RateHistoryState>>);

#[derive(Debug, Default)]
struct RateHistoryState {
    /// The newest sample and its time.
    newest: Option<(Duration, CounterSample)>,
    /// The points, newest first.
    points: VecDeque<SecondStats>,
}

impl RateHistory {
    /// Records `sample`, taken at `now`. The first sample makes no point.
    pub fn record(&self, now: Duration, sample: CounterSample) {
        let mut state = self.0.lock();
        let Some((previous_time, previous)) = state.newest.replace((now, sample)) else {
            return;
        };

        let seconds = now
            .saturating_sub(previous_time)
            .as_secs_f64()
            .max(f64::MIN_POSITIVE);
        let rate = |now: u64, previous: u64| now.saturating_sub(previous) as f64 / seconds;
        let point = SecondStats {
            connections: sample.connections,
            published: rate(sample.published, previous.published),
            delivered: rate(sample.delivered, previous.delivered),
            delivered_bytes: rate(sample.delivered_bytes, previous.delivered_bytes),
        };

        state.points.truncate(MAX_POINTS - 1);
        state.points.push_front(point);
    }

    /// Returns the points, oldest first.
    pub fn points(&self) -> Vec<SecondStats> {
        self.0.lock().points.iter().rev().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(published: u64) -> CounterSample {
        CounterSample {
            connections: 2,
            published,
            delivered: 10 * published,
            delivered_bytes: 100 * published,
        }
    }

    #[test]
    fn one_sample_makes_no_point() {
        let history = RateHistory::default();

        history.record(Duration::from_secs(5), sample(7));

        assert_eq!(history.points(), []);
    }

    #[test]
    fn a_point_has_rates_per_second_when_a_sample_is_late() {
        let history = RateHistory::default();

        history.record(Duration::from_secs(5), sample(7));
        history.record(Duration::from_secs(7), sample(17));

        let point = SecondStats {
            connections: 2,
            published: 5.0,
            delivered: 50.0,
            delivered_bytes: 500.0,
        };
        assert_eq!(history.points(), [point]);
    }

    #[test]
    fn the_newest_points_are_kept_and_come_last() {
        let history = RateHistory::default();
        let last = MAX_POINTS as u64 + 3;

        for second in 0..=last {
            history.record(Duration::from_secs(second), sample(second * second));
        }

        let points = history.points();
        assert_eq!(points.len(), MAX_POINTS);
        assert_eq!(points[MAX_POINTS - 1].published, (last * 2 - 1) as f64);
        assert!(points.is_sorted_by(|point, next| point.published < next.published));
    }
}
