//! Whether a connection is dead, told by timestamps: a socket to a machine that is gone says nothing at all.
//!
//! After a silence the server is asked for a sign of life; a connection that gives none is dead. Nobody is
//! judged for time in which this page slept: timers that come late mean that answers may come late as well,
//! so after a sleep the server is asked anew, and has a short time to answer. Once: a background tab's timers
//! are always late, and what the server says is not.
//!
//! Pure: the time is handed in, and does not go back.

use std::time::Duration;

/// How long a server may think about a ping after this page slept, or when someone looks.
const PATIENCE: Duration = Duration::from_secs(5);

/// A timer that comes later than this says that the page slept.
const LATE: Duration = Duration::from_secs(2);

/// See the [module docs](self).
#[derive(Clone, Debug)]
pub struct Watchdog {
    /// Silence after which the server is asked.
    heartbeat: Duration,
    /// Silence after which a connection is dead.
    expire: Duration,
    heard: Duration,
    asked: Option<Asked>,
    /// When to look again.
    due: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Duration,
    answer_by: Duration,
    /// Whether it was asked because this page had slept.
    after_sleep: bool,
}

/// What to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Look again after this long.
    Wait(Duration),
    /// Send a ping, and look again after this long.
    Ask(Duration),
    /// It is dead.
    Dead,
}

impl Watchdog {
    /// Of a connection that was opened `now`, to a server that has yet to say what it expects.
    pub fn new(now: Duration) -> Self {
        let (heartbeat, expire) = (Duration::from_secs(25), Duration::from_secs(60));
        Self {
            heartbeat,
            expire,
            heard: now,
            asked: None,
            due: now,
        }
    }

    /// The server pings after `heartbeat` of silence and gives up after `expire`; so do we.
    pub fn agree(&mut self, heartbeat: Duration, expire: Duration) {
        self.expire = expire;
        // A server that does not ping leaves us at least one question before the end.
        self.heartbeat = heartbeat.min(expire / 2);
    }

    /// Something came; answers how long the server took to answer, if it was asked.
    pub fn heard(&mut self, now: Duration) -> Option<Duration> {
        self.heard = now;
        self.asked.take().map(|asked| now.saturating_sub(asked.at))
    }

    /// The timer has come, or someone has `doubts`: the network is back, or the page is looked at again.
    pub fn look(&mut self, now: Duration, doubts: bool) -> Verdict {
        let slept = now > self.due + LATE;
        if let Some(asked) = self.asked {
            let is_judged = !slept || asked.after_sleep;
            if is_judged && now >= asked.answer_by {
                return Verdict::Dead;
            }
            // Doubts do not put off what is already to come.
            if is_judged && (!doubts || asked.answer_by <= now + PATIENCE) {
                return self.wait(now, asked.answer_by);
            }
        }
        if slept || doubts {
            return self.ask(now, now + PATIENCE, slept);
        }
        if now >= self.heard + self.heartbeat {
            return self.ask(now, self.heard + self.expire, false);
        }
        self.wait(now, self.heard + self.heartbeat)
    }

    fn ask(&mut self, now: Duration, answer_by: Duration, after_sleep: bool) -> Verdict {
        self.asked = Some(Asked {
            at: now,
            answer_by,
            after_sleep,
        });
        self.due = answer_by.max(now);
        Verdict::Ask(self.due - now)
    }

    fn wait(&mut self, now: Duration, until: Duration) -> Verdict {
        self.due = until.max(now);
        Verdict::Wait(self.due - now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_connection_is_asked_and_is_dead_when_it_expires() {
        let mut dog = Watchdog::new(at(0));
        assert_eq!(dog.look(at(0), false), Verdict::Wait(at(25)));
        assert_eq!(dog.look(at(25), false), Verdict::Ask(at(35)));
        assert_eq!(dog.look(at(60), false), Verdict::Dead);
    }

    #[test]
    fn whatever_is_heard_is_a_sign_of_life() {
        let mut dog = Watchdog::new(at(0));
        dog.look(at(25), false);
        assert_eq!(dog.heard(at(26)), Some(at(1)));
        assert_eq!(dog.look(at(26), false), Verdict::Wait(at(25)));
        assert_eq!(dog.heard(at(30)), None);
    }

    #[test]
    fn after_a_sleep_the_server_is_asked_anew_and_has_a_short_time() {
        let mut dog = Watchdog::new(at(0));
        dog.look(at(0), false);
        dog.look(at(25), false);
        assert_eq!(dog.look(at(7200), false), Verdict::Ask(PATIENCE));
        assert_eq!(dog.look(at(7205), false), Verdict::Dead);
    }

    #[test]
    fn a_throttled_tab_whose_server_answers_lives() {
        // A background tab's timer comes once a minute; what the server says comes at once.
        let mut dog = Watchdog::new(at(0));
        for minute in 1..100 {
            let verdict = dog.look(at(60 * minute), false);
            assert_ne!(verdict, Verdict::Dead);
            if matches!(verdict, Verdict::Ask(_)) {
                dog.heard(at(60 * minute) + Duration::from_millis(50));
            }
        }
    }

    #[test]
    fn a_throttled_tab_whose_server_is_gone_notices_all_the_same() {
        let mut dog = Watchdog::new(at(0));
        dog.look(at(0), false);
        let verdicts = [1, 2].map(|minute| dog.look(at(60 * minute), false));
        assert_eq!(verdicts, [Verdict::Ask(PATIENCE), Verdict::Dead]);
    }

    #[test]
    fn someone_who_looks_again_knows_within_the_patience() {
        let mut dog = Watchdog::new(at(0));
        dog.look(at(0), false);
        assert_eq!(dog.look(at(10), true), Verdict::Ask(PATIENCE));
        assert_eq!(
            dog.look(at(12), true),
            Verdict::Wait(at(3)),
            "doubts do not put off the end"
        );
        assert_eq!(dog.look(at(15), false), Verdict::Dead);
    }

    proptest! {
        #[test]
        fn a_dead_connection_is_noticed_before_it_expires(heartbeat in 1..200_u64, expire in 2..200_u64) {
            let mut dog = Watchdog::new(at(0));
            dog.agree(at(heartbeat), at(expire));
            let mut now = at(0);
            while let Verdict::Wait(pause) | Verdict::Ask(pause) = dog.look(now, false) {
                now += pause;
            }
            prop_assert_eq!(now, at(expire));
        }
    }
}
