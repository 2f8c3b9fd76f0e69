//! The time at which a client renews its token: some time before the token expires, and again with a back-off while that
//! fails.

use std::time::Duration;

use super::Backoff;

/// The part of a token's life at whose beginning the token is renewed: the last tenth.
const LAST_PART: u32 = 10;

/// The shortest time before the expiry of a token at which it is renewed, unless its life is short.
const MIN_LEAD: Duration = Duration::from_secs(30);

/// The next renewal of a token.
///
/// ```
/// use std::time::Duration;
/// use fanfare::client::TokenSchedule;
///
/// let seconds = Duration::from_secs;
/// let mut schedule = TokenSchedule::default();
/// assert_eq!(schedule.wait(seconds(0)), None);
///
/// // A token for an hour is renewed in its last tenth. The random number moves the time.
/// schedule.on_token(seconds(3600), seconds(0), 0.0);
/// assert_eq!(schedule.wait(seconds(0)), Some(seconds(3240)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct TokenSchedule {
    due: Option<Duration>,
    backoff: Backoff,
}

impl TokenSchedule {
    /// Records at `now` that a token was accepted that is valid for `life`. `random` in `0.0..1.0` makes the renewal
    /// earlier, so that the clients of a restarted server do not renew at the same time.
    pub fn on_token(&mut self, life: Duration, now: Duration, random: f64) {
        let lead = (life / LAST_PART).max(MIN_LEAD).min(life / 2);
        let lead = lead + lead.mul_f64(random.clamp(0.0, 1.0) / 2.0);

        self.due = Some(now + life.saturating_sub(lead));
        self.backoff.on_progress();
    }

    /// Records that a renewal failed. `random` is in `0.0..1.0`.
    pub fn on_failure(&mut self, now: Duration, random: f64) {
        self.due = Some(now + self.backoff.next_delay(Duration::ZERO, random));
    }

    /// Returns the time until the next renewal, which is zero if it is due; `None` without a token that expires.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns the wait of a token that is valid for `life` seconds.
    fn wait(life: u64, random: f64) -> Duration {
        let mut schedule = TokenSchedule::default();
        schedule.on_token(at(life), at(0), random);
        schedule.wait(at(0)).expect("a renewal")
    }

    #[test]
    fn a_token_is_renewed_in_its_last_tenth_and_at_least_thirty_seconds_before_its_end() {
        assert_eq!(wait(36_000, 0.0), at(32_400));
        assert_eq!(wait(200, 0.0), at(170));
        assert_eq!(wait(20, 0.0), at(10), "a short life: in its second half");
        assert_eq!(wait(36_000, 1.0), at(30_600));
    }

    #[test]
    fn a_renewal_that_failed_is_repeated_after_a_pause_that_grows() {
        let mut schedule = TokenSchedule::default();
        schedule.on_token(at(60), at(0), 0.0);

        schedule.on_failure(at(30), 1.0);
        assert_eq!(schedule.wait(at(30)), Some(Duration::from_millis(500)));
        schedule.on_failure(at(31), 1.0);
        assert_eq!(schedule.wait(at(31)), Some(at(1)));

        schedule.on_token(at(60), at(32), 0.0);
        assert_eq!(schedule.wait(at(32)), Some(at(30)));
        assert_eq!(schedule.wait(at(99)), Some(at(0)), "it is due");
    }

    proptest! {
        #[test]
        fn a_token_is_renewed_before_its_end(life in 1..10_000_000_u64, random in 0.0..1.0_f64) {
            let wait = wait(life, random);

            prop_assert!(wait < at(life));
            prop_assert!(wait >= at(life) / 4);
        }
    }
}
