//! The heartbeat of one connection: pings while the client is silent, and expiry after longer silence.

use std::time::Duration;

use crate::server::room::Tick;

/// The two timeouts, both counted from the client's last byte.
#[derive(Clone, Copy, Debug)]
pub struct HeartbeatSettings {
    /// Silence after which a ping is sent; repeated at the same interval.
    pub ping_after: Duration,
    /// Silence after which the client counts as gone; more than `ping_after`.
    pub expire_after: Duration,
}

/// The action that is due after a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatAction {
    /// No action.
    Alive,
    /// Send a ping.
    Ping,
    /// Close the connection.
    Expired,
}

/// The times of one client's last activity and of the last ping.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    active_at: Tick,
    pinged_at: Tick,
}

impl Heartbeat {
    /// Creates the heartbeat of a client that connected at `now`.
    pub const fn new(now: Tick) -> Self {
        Self {
            active_at: now,
            pinged_at: now,
        }
    }

    /// Records that bytes of the client arrived at `now`; for an event stream, that bytes were sent to it.
    pub const fn record_activity(&mut self, now: Tick) {
        self.active_at = now;
        self.pinged_at = now;
    }

    /// Returns the action that is due at `now`. A [`HeartbeatAction::Ping`] counts as sent.
    ///
    /// `is_reading` is false while the server does not read from the client, whose silence then does not count.
    pub fn check(
        &mut self,
        now: Tick,
        settings: &HeartbeatSettings,
        is_reading: bool,
    ) -> HeartbeatAction {
        if !is_reading {
            self.active_at = now;
        }

        if now.since(self.active_at) >= settings.expire_after {
            HeartbeatAction::Expired
        } else if now.since(self.pinged_at) >= settings.ping_after {
            self.pinged_at = now;
            HeartbeatAction::Ping
        } else {
            HeartbeatAction::Alive
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use super::*;

    const SETTINGS: HeartbeatSettings = HeartbeatSettings {
        ping_after: Duration::from_secs(25),
        expire_after: Duration::from_secs(60),
    };

    fn at(seconds: u64) -> Tick {
        Tick::after_start(Duration::from_secs(seconds))
    }

    /// Checks `heartbeat` in each of `seconds`, and returns the seconds in which an action was due.
    fn actions(
        heartbeat: &mut Heartbeat,
        seconds: RangeInclusive<u64>,
        is_reading: bool,
    ) -> Vec<(u64, HeartbeatAction)> {
        seconds
            .map(|second| (second, heartbeat.check(at(second), &SETTINGS, is_reading)))
            .filter(|(_, action)| *action != HeartbeatAction::Alive)
            .collect()
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_expires() {
        let mut heartbeat = Heartbeat::new(at(0));

        let actions = actions(&mut heartbeat, 1..=60, true);

        let expected = [
            (25, HeartbeatAction::Ping),
            (50, HeartbeatAction::Ping),
            (60, HeartbeatAction::Expired),
        ];
        assert_eq!(actions, expected);
    }

    #[test]
    fn a_client_is_pinged_but_does_not_expire_while_the_server_does_not_read() {
        let mut heartbeat = Heartbeat::new(at(0));

        let stalled = actions(&mut heartbeat, 1..=100, false);
        let expiry = (101..).find(|second| {
            heartbeat.check(at(*second), &SETTINGS, true) == HeartbeatAction::Expired
        });

        let pings = [25, 50, 75, 100].map(|second| (second, HeartbeatAction::Ping));
        assert_eq!(stalled, pings);
        assert_eq!(expiry, Some(160));
    }
}
