//! The pause before a failed delivery is tried again.

use std::time::Duration;

/// The shortest pause.
const SHORTEST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(300);

/// Returns the pause after the failure with this `number`, from 1. It is between half of a ceiling and the ceiling, which
/// doubles with each failure. `random` is in `0.0..1.0`.
pub(super) fn pause(number: u32, random: f64) -> Duration {
    let ceiling = 2_u32
        .checked_pow(number)
        .and_then(|times| SHORTEST.checked_mul(times))
        .map_or(LONGEST, |ceiling| ceiling.min(LONGEST));

    ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_second_to_five_minutes() {
        let seconds = |number, random| pause(number, random).as_secs_f64();

        assert_eq!((seconds(1, 0.0), seconds(1, 1.0)), (1.0, 2.0));
        assert_eq!((seconds(4, 0.0), seconds(4, 1.0)), (8.0, 16.0));
        assert_eq!((seconds(40, 0.0), seconds(40, 1.0)), (150.0, 300.0));
    }
}
