//! The time that a client takes for one message, from its first byte to its last.

use std::time::Duration;

use crate::server::room::Tick;

/// A timer that runs while a message has begun and is not whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArrivalTimer {
    since: Option<Tick>,
}

impl ArrivalTimer {
    /// Updates the timer after a read: whether a message was completed in it, and whether another one has begun.
    ///
    /// Each message has its own time. Reads need not end where messages end, so a completed one starts the timer anew.
    pub fn on_read(&mut self, has_completed: bool, is_partial: bool, now: Tick) {
        self.since = match self.since {
            _ if !is_partial => None,
            Some(since) if !has_completed => Some(since),
            _ => Some(now),
        };
    }

    /// Restarts the timer for the message that has begun, if any: until now nothing of it was read.
    pub fn restart(&mut self, now: Tick) {
        self.since = self.since.map(|_| now);
    }

    /// Returns since when a message has been arriving.
    pub const fn since(&self) -> Option<Tick> {
        self.since
    }

    /// Returns whether the message has taken as long as `limit`.
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
    fn a_client_whose_messages_never_end_where_a_read_ends_is_in_time() {
        let mut timer = ArrivalTimer::default();

        for second in 0..1000 {
            timer.on_read(true, true, at(second));
            assert!(!timer.is_overdue(at(second), LIMIT));
        }
    }

    #[test]
    fn a_message_that_comes_in_drops_is_overdue_counted_from_its_first_byte() {
        let mut timer = ArrivalTimer::default();
        timer.on_read(true, true, at(5));

        for second in 6..15 {
            timer.on_read(false, true, at(second));
            assert!(!timer.is_overdue(at(second), LIMIT));
        }

        assert!(timer.is_overdue(at(15), LIMIT));
    }

    #[test]
    fn a_message_that_is_whole_is_never_overdue() {
        let mut timer = ArrivalTimer::default();
        timer.on_read(false, true, at(0));

        timer.on_read(true, false, at(1));

        assert!(!timer.is_overdue(at(1000), LIMIT));
        timer.restart(at(1000));
        assert_eq!(timer.since(), None);
    }
}
