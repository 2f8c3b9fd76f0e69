//! How long to wait before the next try: exponential, with full jitter, for ever.
//!
//! Full jitter (anything from nothing to the ceiling) spreads a thousand clients that one restart cut off over
//! the whole window; a fixed part would bring them back in waves. Pure: time and chance are handed in.

use std::time::Duration;

/// The ceiling of the first pause.
const FIRST: Duration = Duration::from_millis(500);

/// No ceiling is higher. A server that comes back is full again within this time.
const LONGEST: Duration = Duration::from_secs(20);

/// A connection that lived this long was a good one: what failed before it is forgiven. Shorter ones count
/// as failures unless they made progress, so a server that accepts and drops is not hammered.
const HEALTHY: Duration = Duration::from_secs(5);

/// Counts failures and turns them into pauses.
///
/// ```
/// use std::time::Duration;
///
/// use fanfare::protocol::Backoff;
///
/// let mut backoff = Backoff::default();
/// // Neither connection opened; the random numbers are 0.5 and 1.
/// assert_eq!(backoff.pause(Duration::ZERO, 0.5), Duration::from_millis(250));
/// assert_eq!(backoff.pause(Duration::ZERO, 1.0), Duration::from_secs(1));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Resets the count of failures, because the connection made progress. Opening it is no progress.
    pub const fn on_progress(&mut self) {
        self.failures = 0;
    }

    /// The pause after a connection that lived for `lived` (zero: it never opened). `random` is in `0.0..1.0`.
    pub fn pause(&mut self, lived: Duration, random: f64) -> Duration {
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
            .map(|_| backoff.pause(Duration::ZERO, 1.0).as_secs_f64())
            .collect();
        assert_eq!(ceilings, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]);
    }

    #[test]
    fn only_a_healthy_connection_forgives_what_failed_before_it() {
        let mut backoff = Backoff { failures: 5 };
        assert_eq!(
            backoff.pause(HEALTHY - Duration::from_millis(1), 1.0),
            Duration::from_secs(16)
        );
        assert_eq!(backoff.pause(HEALTHY, 1.0), FIRST);
    }

    #[test]
    fn connections_that_make_progress_are_healthy_however_short() {
        let mut backoff = Backoff::default();

        for _connection in 0..100 {
            backoff.on_progress();
            assert_eq!(backoff.pause(Duration::from_secs(1), 1.0), FIRST);
        }
    }

    proptest! {
        #[test]
        fn chance_chooses_freely_below_the_ceiling(failures: u32, random in 0.0..1.0_f64) {
            let ceiling = Backoff { failures }.pause(Duration::ZERO, 1.0);
            let pause = Backoff { failures }.pause(Duration::ZERO, random);
            prop_assert!(pause <= ceiling && ceiling <= LONGEST);
            prop_assert!((pause.as_secs_f64() - ceiling.as_secs_f64() * random).abs() < 1e-6);
        }

        #[test]
        fn it_never_gives_up(failures: u32) {
            let mut backoff = Backoff { failures };
            for _ in 0..3 {
                prop_assert!(backoff.pause(Duration::ZERO, 0.5) <= LONGEST);
            }
        }
    }
}
