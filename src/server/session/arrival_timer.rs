//! The time that one message takes to arrive, from its first byte to its last.

use std::time::Duration;

use crate::server::room::Tick;

/// A timer that runs while a message has arrived in part.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArrivalTimer {
    since: Option<Tick>,
}

impl ArrivalTimer {
    /// Updates the timer after a read. `has_completed` is true if the read completed a message, `is_partial` if it
    /// ended inside of one.
    ///
    /// The time of each message counts from its own first byte, so a read that completes one message and starts the
    /// next restarts the timer.
    pub fn on_read(&mut self, has_completed: bool, is_partial: bool, now: Tick) {
        self.since = match self.since {
            _ if !is_partial => None,
            Some(since) if !has_completed => Some(since),
            _ => Some(now),
        };
    }

    /// Restarts the timer of a partial message after a pause in which the server did not read.
    pub fn restart(&mut self, now: Tick) {
        self.since = self.since.map(|_| now);
    }

    /// Returns the arrival time of the first byte of a partial message.
    pub const fn since(&self) -> Option<Tick> {
        self.since
    }

    /// Returns true if a partial message has taken at least `limit`.
    pub fn is_overdue(&self, now: Tick, limit: Duration) -> bool {
        self.since.is_some_and(|since| now.since(since) >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Tick {
        Tick::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn messages_that_end_in_the_middle_of_a_read_are_not_overdue() {
        let mut timer = ArrivalTimer::default();

        for second in 0..1000 {
            timer.on_read(true, true, at(second));
            assert!(!timer.is_overdue(at(second), LIMIT));
        }
    }

    #[test]
    fn a_message_in_many_small_reads_is_overdue_from_its_first_byte() {
        let mut timer = ArrivalTimer::default();
        timer.on_read(true, true, at(5));

        for second in 6..15 {
            timer.on_read(false, true, at(second));
            assert!(!timer.is_overdue(at(second), LIMIT));
        }

        assert!(timer.is_overdue(at(15), LIMIT));
    }

    #[test]
    fn a_complete_message_is_never_overdue() {
        let mut timer = ArrivalTimer::default();
        timer.on_read(false, true, at(0));

        timer.on_read(true, false, at(1));

        assert!(!timer.is_overdue(at(1000), LIMIT));

        timer.restart(at(1000));
        assert_eq!(timer.since(), None);
    }
}
