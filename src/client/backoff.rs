//! The pause before the next connection attempt: exponential back-off with full jitter and unlimited attempts.
//!
//! Full jitter (a random pause between zero and the ceiling) spreads the clients of a restarted server over the whole
//! interval. With a fixed part they would return in waves.

use std::time::Duration;

/// The ceiling of the first pause.
const FIRST: Duration = Duration::from_millis(500);

/// The highest ceiling. All clients of a restarted server are back within this time.
const LONGEST: Duration = Duration::from_secs(20);

/// The lifetime from which a connection counts as healthy and resets the failures. A shorter one counts as a failure
/// unless it made progress, so a server that accepts and closes is not flooded with attempts.
const HEALTHY: Duration = Duration::from_secs(5);

/// A count of failed connections that gives the next pause.
///
/// ```
/// use std::time::Duration;
/// use fanfare::client::Backoff;
///
/// let mut backoff = Backoff::default();
/// // The random number 1.0 selects the ceiling, which doubles with each failure.
/// assert_eq!(backoff.next_delay(Duration::ZERO, 1.0), Duration::from_millis(500));
/// assert_eq!(backoff.next_delay(Duration::ZERO, 1.0), Duration::from_secs(1));
///
/// backoff.on_progress();
/// assert_eq!(backoff.next_delay(Duration::ZERO, 0.5), Duration::from_millis(250));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Resets the count of failures because the connection made progress: a message was received or stored. Opening a
    /// connection is no progress.
    pub const fn on_progress(&mut self) {
        self.failures = 0;
    }

    /// Returns the pause after a connection that lived for `lived`, or zero if it never opened. `random` is in
    /// `0.0..1.0`.
    pub fn next_delay(&mut self, lived: Duration, random: f64) -> Duration {
        if lived >= HEALTHY {
            self.failures = 0;
        }

        let ceiling = 2_u32
            .checked_pow(self.failures)
            .and_then(|times| FIRST.checked_mul(times))
            .map_or(LONGEST, |ceiling| ceiling.min(LONGEST));
        self.failures = self.failures.saturating_add(1);

        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_from_half_a_second_to_twenty() {
        let mut backoff = Backoff::default();

        let ceilings: Vec<f64> = (0..8)
            .map(|_| backoff.next_delay(Duration::ZERO, 1.0).as_secs_f64())
            .collect();

        assert_eq!(ceilings, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]);
    }

    #[test]
    fn only_a_healthy_connection_resets_the_failures() {
        let mut backoff = Backoff { failures: 5 };

        let short = backoff.next_delay(HEALTHY - Duration::from_millis(1), 1.0);
        let healthy = backoff.next_delay(HEALTHY, 1.0);

        assert_eq!(short, Duration::from_secs(16));
        assert_eq!(healthy, FIRST);
    }

    #[test]
    fn a_short_connection_that_made_progress_is_no_failure() {
        let mut backoff = Backoff::default();

        for _connection in 0..100 {
            backoff.on_progress();
            assert_eq!(backoff.next_delay(Duration::from_secs(1), 1.0), FIRST);
        }
    }

    proptest! {
        #[test]
        fn the_pause_is_a_random_part_of_the_ceiling(failures: u32, random in 0.0..1.0_f64) {
            let ceiling = Backoff { failures }.next_delay(Duration::ZERO, 1.0);
            let pause = Backoff { failures }.next_delay(Duration::ZERO, random);

            prop_assert!(pause <= ceiling && ceiling <= LONGEST);
            prop_assert!((pause.as_secs_f64() - ceiling.as_secs_f64() * random).abs() < 1e-6);
        }
    }
}
