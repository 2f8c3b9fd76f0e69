//! Detection of dead connections by timestamps. A socket whose peer is gone reports nothing by itself.
//!
//! After half of the allowed silence the server gets a ping as a probe. A connection that stays silent for the whole
//! time is dead.
//!
//! A late timer means that this process was suspended, or that a browser throttles its tab. Frames may then be late as
//! well, so the silence does not count. Instead the server gets a new probe and a short time to answer. This
//! exception applies once in a row: the timers of a background tab are always late, but a live server's frames are not.

use std::time::Duration;

/// The allowed silence until the server's welcome announces its own.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest silence that a server can announce.
const MAX_EXPIRE: Duration = Duration::from_secs(60 * 60);

/// The time for the answer to a probe after a suspension or on request.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The delay of a timer from which the process counts as suspended.
const LATE: Duration = Duration::from_secs(2);

/// The time of the last frame of one connection, and the pending probe.
///
/// ```
/// use std::time::Duration;
/// use fanfare::client::{Watchdog, WatchdogAction};
///
/// let seconds = Duration::from_secs;
/// let mut watchdog = Watchdog::new(seconds(0));
/// watchdog.set_expire(seconds(60));
///
/// assert_eq!(watchdog.check(seconds(0), false), WatchdogAction::Wait(seconds(30)));
/// assert_eq!(watchdog.check(seconds(30), false), WatchdogAction::Probe(seconds(30)));
/// watchdog.on_frame(seconds(31));
/// assert_eq!(watchdog.check(seconds(60), false), WatchdogAction::Wait(seconds(1)));
/// ```
#[derive(Clone, Debug)]
pub struct Watchdog {
    /// Silence after which the connection is dead. A probe is sent after half of it.
    expire: Duration,
    last_frame: Duration,
    probe: Option<Probe>,
    /// Time of the next check.
    due: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    deadline: Duration,
    /// True if it was sent because the process had been suspended.
    after_suspension: bool,
}

/// The next step for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogAction {
    /// Check again after this time.
    Wait(Duration),
    /// Send a ping, and check again after this time.
    Probe(Duration),
    /// The connection is dead.
    Dead,
}

impl Watchdog {
    /// Creates the watchdog of a connection that was opened at `now`.
    pub const fn new(now: Duration) -> Self {
        Self {
            expire: WELCOME_TIMEOUT,
            last_frame: now,
            probe: None,
            due: now,
        }
    }

    /// Sets the silence after which the connection is dead, as the server's welcome announces it; at most an hour.
    pub fn set_expire(&mut self, expire: Duration) {
        self.expire = expire.min(MAX_EXPIRE);
    }

    /// Returns the silence after which the connection is dead.
    pub const fn expire(&self) -> Duration {
        self.expire
    }

    /// Records a frame of any kind as a sign of life.
    pub const fn on_frame(&mut self, now: Duration) {
        self.last_frame = now;
        self.probe = None;
    }

    /// Returns the next step. `is_probe_requested` requests a probe at once, for example because the network has changed.
    pub fn check(&mut self, now: Duration, is_probe_requested: bool) -> WatchdogAction {
        let was_suspended = now > self.due + LATE;
        if let Some(probe) = self.probe {
            let is_valid = !was_suspended || probe.after_suspension;
            if is_valid && now >= probe.deadline {
                return WatchdogAction::Dead;
            }
            // A requested probe must not postpone an earlier deadline.
            if is_valid && (!is_probe_requested || probe.deadline <= now + PROBE_TIMEOUT) {
                return WatchdogAction::Wait(self.time_until(probe.deadline, now));
            }
        }

        if was_suspended || is_probe_requested {
            return self.send_probe(now, now + PROBE_TIMEOUT, was_suspended);
        }

        let silent_at = self.last_frame + self.expire / 2;
        if now >= silent_at {
            return self.send_probe(now, self.last_frame + self.expire, false);
        }

        WatchdogAction::Wait(self.time_until(silent_at, now))
    }

    fn send_probe(
        &mut self,
        now: Duration,
        deadline: Duration,
        after_suspension: bool,
    ) -> WatchdogAction {
        self.probe = Some(Probe {
            deadline,
            after_suspension,
        });
        WatchdogAction::Probe(self.time_until(deadline, now))
    }

    fn time_until(&mut self, due: Duration, now: Duration) -> Duration {
        self.due = due.max(now);
        self.due - now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A watchdog that allows a minute of silence, and has been checked at second 0.
    fn watchdog() -> Watchdog {
        let mut watchdog = Watchdog::new(at(0));
        watchdog.set_expire(at(60));
        assert_eq!(watchdog.check(at(0), false), WatchdogAction::Wait(at(30)));
        watchdog
    }

    #[test]
    fn after_a_suspension_the_server_gets_a_new_probe_and_a_short_time() {
        let mut watchdog = watchdog();
        watchdog.check(at(30), false);

        assert_eq!(
            watchdog.check(at(7200), false),
            WatchdogAction::Probe(PROBE_TIMEOUT)
        );
        assert_eq!(watchdog.check(at(7205), false), WatchdogAction::Dead);
    }

    #[test]
    fn a_throttled_tab_whose_server_answers_stays_connected() {
        let mut watchdog = watchdog();

        // The timer of a background tab fires once a minute. Frames arrive at once.
        for minute in 1..100 {
            let verdict = watchdog.check(at(60 * minute), false);
            assert_ne!(verdict, WatchdogAction::Dead);
            if matches!(verdict, WatchdogAction::Probe(_)) {
                watchdog.on_frame(at(60 * minute) + Duration::from_millis(50));
            }
        }
    }

    #[test]
    fn a_throttled_tab_whose_server_is_gone_notices() {
        let mut watchdog = watchdog();

        let verdicts = [1, 2].map(|minute| watchdog.check(at(60 * minute), false));

        assert_eq!(
            verdicts,
            [WatchdogAction::Probe(PROBE_TIMEOUT), WatchdogAction::Dead]
        );
    }

    #[test]
    fn a_requested_probe_has_a_short_deadline_and_postpones_no_earlier_one() {
        let mut watchdog = watchdog();

        assert_eq!(
            watchdog.check(at(10), true),
            WatchdogAction::Probe(PROBE_TIMEOUT)
        );
        assert_eq!(watchdog.check(at(12), true), WatchdogAction::Wait(at(3)));
        assert_eq!(watchdog.check(at(15), false), WatchdogAction::Dead);
    }

    proptest! {
        #[test]
        fn a_dead_connection_is_noticed_when_it_expires(expire in 2..3600_u64) {
            let mut watchdog = Watchdog::new(at(0));
            watchdog.set_expire(at(expire));

            let mut now = at(0);
            while let WatchdogAction::Wait(pause) | WatchdogAction::Probe(pause) = watchdog.check(now, false) {
                now += pause;
            }

            prop_assert_eq!(now, at(expire));
        }
    }
}
