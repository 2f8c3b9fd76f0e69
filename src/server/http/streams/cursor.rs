//! Cursors: numbers that change with time, so that caches do not answer every request of a live reader with the same response.

use std::time::{SystemTime, UNIX_EPOCH};

/// The length of an interval, in seconds.
const INTERVAL: u64 = 20;
/// The start of the first interval, in seconds since 1970 UTC: 2024-10-09.
const START: u64 = 1_728_432_000;
/// The most intervals that are skipped: an hour.
const MAX_SKIPPED: u64 = 3600 / INTERVAL;

/// Returns the cursor of a response: the number of the current interval, or a larger one than `last`, that of the reader's
/// previous response.
pub(super) fn next(last: Option<u64>) -> u64 {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let current = seconds.saturating_sub(START) / INTERVAL;

    match last {
        Some(last) if last >= current => last.saturating_add(fastrand::u64(1..=MAX_SKIPPED)),
        _ => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_larger_than_the_last_one() {
        let first = next(None);

        let second = next(Some(first));

        assert!(second > first);
        assert_eq!(next(Some(0)), first, "the interval is 20 seconds");
    }
}
