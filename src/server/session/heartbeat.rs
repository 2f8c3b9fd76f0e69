//! When to ping a silent client, and when its silence means that it is gone.

use std::time::Duration;

use crate::server::room::Tick;

/// The two waits, both counted from the last byte that came from the client.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatSettings {
    /// Silence after which a ping is sent, again and again.
    pub ping_after: Duration,
    /// Silence after which the client counts as gone; more than `ping_after`.
    pub expire_after: Duration,
}

/// What silence asks for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatAction {
    /// Nothing.
    Alive,
    /// A ping.
    Ping,
    /// The end of the connection.
    Expired,
}

/// One client's signs of life.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    seen: Tick,
    pinged: Tick,
}

impl Heartbeat {
    /// A client that was just seen.
    pub const fn new(now: Tick) -> Self {
        Self {
            seen: now,
            pinged: now,
        }
    }

    /// Any byte from the client is a sign of life.
    pub const fn seen(&mut self, now: Tick) {
        self.seen = now;
        self.pinged = now;
    }

    /// Returns what to do now; a [`HeartbeatAction::Ping`] counts as sent. `is_heard`: the server reads what the client sends. While
    /// it does not, the client is not silent.
    pub fn check(
        &mut self,
        now: Tick,
        settings: &HeartbeatSettings,
        is_heard: bool,
    ) -> HeartbeatAction {
        if !is_heard {
            self.seen = now;
        }

        if now.since(self.seen) >= settings.expire_after {
            HeartbeatAction::Expired
        } else if now.since(self.pinged) >= settings.ping_after {
            self.pinged = now;
            HeartbeatAction::Ping
        } else {
            HeartbeatAction::Alive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: HeartbeatSettings = HeartbeatSettings {
        ping_after: Duration::from_secs(25),
        expire_after: Duration::from_secs(60),
    };

    fn at(seconds: u64) -> Tick {
        Tick::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_expires() {
        let mut heartbeat = Heartbeat::new(at(0));
        let pulses: Vec<_> = (1..=60)
            .map(|second| (second, heartbeat.check(at(second), &SETTINGS, true)))
            .filter(|(_, pulse)| *pulse != HeartbeatAction::Alive)
            .collect();
        assert_eq!(
            pulses,
            [
                (25, HeartbeatAction::Ping),
                (50, HeartbeatAction::Ping),
                (60, HeartbeatAction::Expired)
            ]
        );
    }

    #[test]
    fn a_client_that_answers_never_expires() {
        let mut heartbeat = Heartbeat::new(at(0));
        for second in 1..10_000 {
            match heartbeat.check(at(second), &SETTINGS, true) {
                HeartbeatAction::Alive => {}
                HeartbeatAction::Ping => heartbeat.seen(at(second)),
                HeartbeatAction::Expired => panic!("expired at {second} s"),
            }
        }
    }

    #[test]
    fn time_in_which_the_server_does_not_read_is_not_silence_and_pings_go_on() {
        let mut heartbeat = Heartbeat::new(at(0));

        let stalled: Vec<_> = (1..=100)
            .map(|second| (second, heartbeat.check(at(second), &SETTINGS, false)))
            .filter(|(_, pulse)| *pulse != HeartbeatAction::Alive)
            .collect();
        let after = (101..).find(|second| {
            heartbeat.check(at(*second), &SETTINGS, true) == HeartbeatAction::Expired
        });

        let pings = [25, 50, 75, 100].map(|second| (second, HeartbeatAction::Ping));
        assert_eq!(stalled, pings);
        assert_eq!(after, Some(160));
    }
}
