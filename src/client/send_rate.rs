//! The send rate that a server accepts without refusing a message.
//!
//! A refused message would be stored late, after messages that were sent later. The server counts messages with a
//! token bucket when they arrive, and the client does not know that time. But each message reaches the server before
//! its answer reaches the client. So the client counts each message at the time of its answer, and assumes no refill
//! for messages without one. The client is then never faster than the server allows, for any network delay.

use std::time::Duration;

/// The resolution of the server's clock. The server may measure up to this much less time than the client.
const TICK: Duration = Duration::from_millis(1);

/// A token bucket that is never fuller than the server's.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendRate {
    /// The time in which one more message is allowed; zero if the rate is not limited.
    interval: Duration,
    /// The capacity of the bucket, and therefore the maximum number of messages without an answer.
    burst: u32,
    /// The time at which the bucket is full if no message is sent until then.
    full_at: Duration,
}

impl SendRate {
    /// Creates the rate of a connection whose server sent its welcome at `now`, and allows `rate` messages a second (0:
    /// any number) and `burst` of them at once. If the server announces no limit, each message waits for the answer to
    /// the one before it.
    pub(super) fn new(rate: Option<u32>, burst: Option<u32>, now: Duration) -> Self {
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

    /// Returns the pause before the next message while `unanswered` messages are in flight, or `None` if one of them
    /// must be answered first.
    pub(super) fn pause(&self, unanswered: usize, now: Duration) -> Option<Duration> {
        let unanswered = u32::try_from(unanswered).ok()?;
        let spare = self.burst.checked_sub(unanswered)?.checked_sub(1)?;

        // The bucket need not be full: `spare` tokens may be missing.
        let lack = self.interval.saturating_mul(spare);
        Some(self.full_at.saturating_sub(now).saturating_sub(lack))
    }

    /// Records the answer to a message: the server has counted it.
    pub(super) fn on_answer(&mut self, now: Duration) {
        if !self.interval.is_zero() {
            self.full_at = self.full_at.max(now + TICK) + self.interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn a_burst_is_sent_at_once_and_the_rest_at_the_rate() {
        let mut rate = SendRate::new(Some(20), Some(3), NOW);
        let pauses = [0, 1, 2, 3].map(|unanswered| rate.pause(unanswered, NOW));
        assert_eq!(pauses, [Some(NOW), Some(NOW), Some(NOW), None]);

        for _message in 0..3 {
            rate.on_answer(NOW);
        }

        let later = Duration::from_millis(51);
        assert_eq!(rate.pause(0, NOW), Some(later));
        assert_eq!(rate.pause(0, later), Some(Duration::ZERO));
        assert_eq!(rate.pause(1, later), Some(Duration::from_millis(50)));
    }

    #[test]
    fn without_a_limit_no_message_waits() {
        let mut rate = SendRate::new(Some(0), Some(1), NOW);

        rate.on_answer(NOW);

        assert_eq!(rate.pause(100_000, NOW), Some(Duration::ZERO));
    }

    #[test]
    fn if_the_server_announces_no_limit_each_message_waits_for_an_answer() {
        let rate = SendRate::new(None, None, NOW);

        assert_eq!(rate.pause(0, NOW), Some(Duration::ZERO));
        assert_eq!(rate.pause(1, NOW), None);
    }

    proptest! {
        /// A server that counts in whole milliseconds, with any delay in both directions.
        #[test]
        fn no_message_is_refused(
            rate in 1u32..2000,
            burst in 1u32..50,
            delays in prop::collection::vec((0u64..100_000, 0u64..100_000), 1..300),
        ) {
            let mut send_rate = SendRate::new(Some(rate), Some(burst), NOW);
            let full = u64::from(burst) * 1000;
            let (mut tokens, mut filled) = (full, 0);
            let (mut now, mut reached, mut answers) = (NOW, NOW, VecDeque::new());

            for (there, back) in delays {
                // The client waits until it may send.
                loop {
                    while answers.front().is_some_and(|at| *at <= now) {
                        send_rate.on_answer(now);
                        answers.pop_front();
                    }
                    match send_rate.pause(answers.len(), now) {
                        Some(Duration::ZERO) => break,
                        Some(pause) => now = answers.front().map_or(now + pause, |at| (now + pause).min(*at)),
                        None => now = answers[0],
                    }
                }

                // The message reaches the server, in order.
                reached = reached.max(now + Duration::from_micros(there));
                let millis = reached.as_millis() as u64;
                tokens = (tokens + (millis - filled) * u64::from(rate)).min(full);
                filled = millis;
                prop_assert!(tokens >= 1000, "refused after {millis} ms");
                tokens -= 1000;

                // The answers come back, in order.
                let answered = reached + Duration::from_micros(back);
                answers.push_back(answers.back().map_or(answered, |last: &Duration| answered.max(*last)));
            }
        }
    }
}
