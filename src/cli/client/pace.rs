//! How fast a connection may send so that the server refuses nothing.
//!
//! Refused messages would come late, behind others that were sent after them. The server counts with a token
//! bucket when a message reaches it, which a client cannot know; but no message reaches it later than its answer
//! reaches us. So this counts each message as of its answer, and those without one as of no refill at all. That
//! is never faster than the server allows, whatever the network does to what is on its way.
//!
//! Pure: time is handed in.

use std::time::{Duration, Instant};

/// The server's clock for this ticks once in it, so it may see so much less time pass.
const TICK: Duration = Duration::from_millis(1);

/// See the [module docs](self).
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The time in which one more message is allowed; zero if any number is.
    interval: Duration,
    /// Messages at once when the bucket is full; as many may be without an answer.
    burst: u32,
    /// When the bucket is full again if nothing more is sent.
    full_at: Instant,
}

impl Pace {
    /// A connection that was welcomed `now`, by a server that allows `rate` messages a second (0: any number) and
    /// `burst` of them at once. From a server that does not say, one answer is awaited after the other.
    pub(super) fn new(rate: Option<u32>, burst: Option<u32>, now: Instant) -> Self {
        let (interval, burst) = match (rate, burst) {
            (Some(0), _) => (Duration::ZERO, u32::MAX),
            (Some(rate), Some(burst)) => (Duration::from_secs(1) / rate, burst),
            _ => (Duration::ZERO, 1),
        };
        Self {
            interval,
            burst,
            full_at: now,
        }
    }

    /// How long to wait before the next message, while `unanswered` are on their way. `None`: until one of these
    /// is answered.
    pub(super) fn wait(&self, unanswered: usize, now: Instant) -> Option<Duration> {
        let spare = self
            .burst
            .checked_sub(u32::try_from(unanswered).ok()?)?
            .checked_sub(1)?;
        // The bucket need not be full: what it may lack is the time in which that many are allowed.
        let lack = self.interval.saturating_mul(spare);
        Some(
            self.full_at
                .saturating_duration_since(now)
                .saturating_sub(lack),
        )
    }

    /// A message was answered `now`: the server has counted it.
    pub(super) fn answered(&mut self, now: Instant) {
        if !self.interval.is_zero() {
            self.full_at = self.full_at.max(now + TICK) + self.interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_as_fast_as_allowed() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(20), Some(3), start);
        assert_eq!(
            [0, 1, 2].map(|unanswered| pace.wait(unanswered, start)),
            [Some(Duration::ZERO); 3]
        );
        assert_eq!(pace.wait(3, start), None);
        (0..3).for_each(|_| pace.answered(start));
        assert_eq!(pace.wait(0, start), Some(Duration::from_millis(51)));
        assert_eq!(
            pace.wait(0, start + Duration::from_millis(51)),
            Some(Duration::ZERO)
        );
        assert_eq!(
            pace.wait(1, start + Duration::from_millis(51)),
            Some(Duration::from_millis(50))
        );
    }

    #[test]
    fn without_a_limit_nothing_waits_and_without_a_word_everything_waits_for_its_answer() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(0), Some(1), start);
        pace.answered(start);
        assert_eq!(pace.wait(100_000, start), Some(Duration::ZERO));
        let pace = Pace::new(None, None, start);
        assert_eq!(
            (pace.wait(0, start), pace.wait(1, start)),
            (Some(Duration::ZERO), None)
        );
    }

    proptest! {
        /// A server that counts in whole milliseconds, at any delay before it and behind it.
        #[test]
        fn nothing_that_is_sent_in_time_is_refused(
            rate in 1u32..2000,
            burst in 1u32..50,
            delays in prop::collection::vec((0u64..100_000, 0u64..100_000), 1..300),
        ) {
            let start = Instant::now();
            let mut pace = Pace::new(Some(rate), Some(burst), start);
            let (mut tokens, mut filled) = (u64::from(burst) * 1000, 0);
            let (mut now, mut reached, mut answers) = (start, start, std::collections::VecDeque::new());
            for (there, back) in delays {
                loop {
                    while answers.front().is_some_and(|at| *at <= now) {
                        pace.answered(now);
                        answers.pop_front();
                    }
                    match pace.wait(answers.len(), now) {
                        Some(Duration::ZERO) => break,
                        Some(wait) => now = answers.front().map_or(now + wait, |at| (now + wait).min(*at)),
                        None => now = answers[0],
                    }
                }
                // One connection keeps the order in both directions.
                reached = reached.max(now + Duration::from_micros(there));
                let millis = (reached - start).as_millis() as u64;
                tokens = (tokens + (millis - filled) * u64::from(rate)).min(u64::from(burst) * 1000);
                filled = millis;
                prop_assert!(tokens >= 1000, "refused after {millis} ms");
                tokens -= 1000;
                let answered = reached + Duration::from_micros(back);
                answers.push_back(answers.back().map_or(answered, |last: &Instant| answered.max(*last)));
            }
        }
    }
}
