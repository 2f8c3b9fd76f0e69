//! The last minutes, second by second: what the operator's page draws. A few kilobytes, whoever looks or not, so that
//! whoever comes sees at once what was.
//!
//! Pure but for its lock: the time comes in. Absent: anything older, which is what Prometheus is for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// How often the counters are looked at.
pub const EVERY: Duration = Duration::from_secs(1);
/// Points that are kept: three minutes.
const KEPT: usize = 180;

/// The counters at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterSample {
    /// Connections that are open.
    pub connections: usize,
    /// Messages stored so far.
    pub published: u64,
    /// Messages delivered so far, times readers.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
}

/// What passed between two samples, in each second of that time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RatePoint {
    /// Connections that were open at its end.
    pub connections: usize,
    /// Messages stored.
    pub published: f64,
    /// Messages delivered, times readers.
    pub delivered: f64,
    /// Their bytes.
    pub delivered_bytes: f64,
}

/// See the [module docs](self). A cheap handle.
#[derive(Clone, Debug, Default)]
pub struct RateHistory(Arc<Mutex<RateHistoryState>>);

#[derive(Debug, Default)]
struct RateHistoryState {
    /// The newest sample, and when it was taken, from any start.
    newest: Option<(Duration, CounterSample)>,
    points: VecDeque<RatePoint>,
}

impl RateHistory {
    /// Takes note of `sample`, which is so at `now`.
    pub fn record(&self, now: Duration, sample: CounterSample) {
        let mut kept = self.0.lock();
        if let Some((then, before)) = kept.newest.replace((now, sample)) {
            let seconds = now
                .saturating_sub(then)
                .as_secs_f64()
                .max(f64::MIN_POSITIVE);
            let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            let point = RatePoint {
                connections: sample.connections,
                published: each(sample.published, before.published),
                delivered: each(sample.delivered, before.delivered),
                delivered_bytes: each(sample.delivered_bytes, before.delivered_bytes),
            };
            kept.points.truncate(KEPT - 1);
            kept.points.push_front(point);
        }
    }

    /// What is kept, oldest first.
    pub fn points(&self) -> Vec<RatePoint> {
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
    fn a_point_is_what_passed_in_each_second_however_late_the_clock_was() {
        let course = RateHistory::default();
        course.record(Duration::from_secs(5), sample(7));
        assert_eq!(course.points(), [], "one sample tells of no time");
        course.record(Duration::from_secs(7), sample(17));
        let point = RatePoint {
            connections: 2,
            published: 5.0,
            delivered: 50.0,
            delivered_bytes: 500.0,
        };
        assert_eq!(course.points(), [point]);
    }

    #[test]
    fn the_newest_points_are_kept_and_come_last() {
        let course = RateHistory::default();
        for second in 0..=KEPT as u64 + 3 {
            course.record(Duration::from_secs(second), sample(second * second));
        }
        let points = course.points();
        let last = (KEPT as u64 + 3) * 2 - 1;
        assert_eq!(
            (points.len(), points.last().map(|point| point.published)),
            (KEPT, Some(last as f64))
        );
        assert!(points.is_sorted_by(|one, next| one.published < next.published));
    }
}
