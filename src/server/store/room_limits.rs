//! The limits of one room in a store: of its messages, and of its life.

use std::sync::Arc;
use std::time::Duration;

use crate::protocol::RoomName;
use crate::server::room_rules::{RoomRuleTable, RoomRules};
use crate::server::store::{Lifecycle, Retention};

/// The limits of one room. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoomLimits {
    /// The largest number of messages.
    pub(super) messages: u64,
    /// The largest total size of messages in bytes. The newest message is kept even if it alone is larger.
    pub(super) bytes: u64,
    /// The largest age of a message, by the store's clock.
    pub(super) age: u64,
    /// The time without reads and writes after which the room expires, by the store's clock.
    pub(super) idle: Option<u64>,
    /// The time at which the room expires, since 1970 UTC.
    pub(super) expires_at: Option<u64>,
}

/// The limits of all rooms.
#[derive(Clone, Debug)]
pub(super) struct RoomLimitTable {
    retention: Retention,
    rules: Arc<RoomRuleTable>,
}

impl RoomLimits {
    /// The limits of a room that keeps all messages for ever.
    pub(super) const NONE: Self = Self {
        messages: u64::MAX,
        bytes: u64::MAX,
        age: u64::MAX,
        idle: None,
        expires_at: None,
    };

    /// Returns the limits of a room with the state `lifecycle`. A room that was created keeps all messages, unless a rule
    /// limits them. One that has an expiry of its own keeps that.
    fn new(retention: &Retention, rules: &RoomRules, lifecycle: &Lifecycle) -> Self {
        let settings = lifecycle.settings.as_ref();
        let ttl = settings.and_then(|settings| settings.ttl);
        let expires_at = settings.and_then(|settings| settings.expires_at);
        let (messages, bytes, age) = if lifecycle.is_created() {
            (Self::NONE.messages, Self::NONE.bytes, Self::NONE.age)
        } else {
            (
                retention.messages as u64,
                retention.bytes as u64,
                millis(retention.age),
            )
        };

        let history = rules.history;
        Self {
            messages: history.messages.map_or(messages, |limit| limit as u64),
            bytes: history.bytes.map_or(bytes, |limit| limit as u64),
            age: history.age.map_or(age, millis),
            idle: match (ttl, expires_at) {
                (None, None) => rules.expires.map(millis),
                (ttl, _) => ttl.map(|seconds| seconds.saturating_mul(1000)),
            },
            expires_at,
        }
    }

    /// Returns the same limits with at most `bytes` bytes of messages.
    pub(super) fn with_bytes(self, bytes: usize) -> Self {
        Self {
            bytes: self.bytes.min(bytes as u64),
            ..self
        }
    }

    /// Returns true if the oldest of `messages` messages with `bytes` bytes is past the limits at `now`. It was stored at
    /// `oldest`, or later. Times are those of the store's clock.
    pub(super) const fn is_exceeded(
        &self,
        messages: u64,
        bytes: u64,
        oldest: u64,
        now: u64,
    ) -> bool {
        let is_over = messages > self.messages || (bytes > self.bytes && messages > 1);
        messages > 0 && (is_over || now.saturating_sub(oldest) > self.age)
    }

    /// Returns true if the room can expire.
    pub(super) const fn can_expire(&self) -> bool {
        self.idle.is_some() || self.expires_at.is_some()
    }

    /// Returns true if the room has expired. `used` is the time of the last read or write and `clock` the current time, both
    /// by the store's clock. `wall` is the current time in milliseconds since 1970 UTC.
    pub(super) fn is_expired(&self, used: u64, clock: u64, wall: u64) -> bool {
        let unused = clock.saturating_sub(used);
        self.idle.is_some_and(|idle| unused > idle)
            || self.expires_at.is_some_and(|end| wall >= end)
    }

    /// Returns the time at which the room expires if it is not used until then, in milliseconds since 1970 UTC; `None` if it
    /// does not. The times are as in [`Self::is_expired`].
    pub(super) fn expires_at(&self, used: u64, clock: u64, wall: u64) -> Option<u64> {
        let unused = clock.saturating_sub(used);
        let idle = self
            .idle
            .map(|idle| wall.saturating_add(idle.saturating_sub(unused)));
        [idle, self.expires_at].into_iter().flatten().min()
    }

    /// Returns the time between two saved reads of the room: a tenth of the time after which it expires; 0 if reads are
    /// not saved.
    pub(super) fn save_after(&self) -> u64 {
        self.idle.map_or(0, |idle| idle / 10)
    }
}

impl RoomLimitTable {
    /// Creates the limits of rooms with `retention`, where `rules` set no others.
    pub(super) const fn new(retention: Retention, rules: Arc<RoomRuleTable>) -> Self {
        Self { retention, rules }
    }

    /// Returns the limits of `room`, whose state is `lifecycle`.
    pub(super) fn of(&self, room: &RoomName, lifecycle: &Lifecycle) -> RoomLimits {
        RoomLimits::new(&self.retention, self.rules.of(room), lifecycle)
    }

    /// Returns true if a rule deletes rooms that are not used.
    pub(super) fn has_expiry_rules(&self) -> bool {
        self.rules.expiries().next().is_some()
    }

    /// Returns the largest number of messages that a room keeps that no client has created.
    pub(super) fn most_messages(&self) -> usize {
        let messages = self.rules.history_messages();
        messages.fold(self.retention.messages, usize::max)
    }

    /// Returns the longest time after which a rule deletes rooms that are not used.
    pub(super) fn longest_expiry(&self) -> Duration {
        self.rules.expiries().max().unwrap_or_default()
    }

    /// Returns the longest age up to which a room keeps its messages.
    pub(super) fn longest_age(&self) -> Duration {
        let ages = self.rules.history_ages();
        ages.fold(self.retention.age, Duration::max)
    }

    /// Returns the shortest time after which messages or rooms expire.
    pub(super) fn shortest_age(&self) -> Duration {
        let ages = self.rules.history_ages().chain(self.rules.expiries());
        ages.fold(self.retention.age, Duration::min)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::room_rules::HistoryRule;
    use crate::server::store::RoomSettings;

    fn created(ttl: Option<u64>, expires_at: Option<u64>) -> Lifecycle {
        Lifecycle {
            settings: Some(RoomSettings {
                content_type: Some("text/plain".to_owned()),
                ttl,
                expires_at,
            }),
            ..Lifecycle::default()
        }
    }

    fn limits(rules: &RoomRules, lifecycle: &Lifecycle) -> RoomLimits {
        RoomLimits::new(&Retention::of_test(5), rules, lifecycle)
    }

    #[test]
    fn a_created_room_keeps_all_messages_unless_a_rule_limits_them() {
        let rules = RoomRules::default();
        let limiting = RoomRules {
            history: HistoryRule {
                messages: Some(3),
                ..HistoryRule::default()
            },
            ..RoomRules::default()
        };
        let stream = created(None, None);

        let is_trimmed = |rules: &RoomRules, lifecycle: &Lifecycle| {
            limits(rules, lifecycle).is_exceeded(6, 6, 0, 0)
        };
        assert!(is_trimmed(&rules, &Lifecycle::default()));
        assert!(!is_trimmed(&rules, &stream));
        assert!(is_trimmed(&limiting, &stream));
        assert!(!limits(&limiting, &stream).is_exceeded(3, 6, 0, 0));
    }

    #[test]
    fn a_room_expires_when_it_is_not_used_or_at_a_set_time() {
        let rules = RoomRules::default();
        let (idle, dated) = (created(Some(2), None), created(None, Some(9000)));
        let (idle, dated) = (limits(&rules, &idle), limits(&rules, &dated));

        assert!(!idle.is_expired(5000, 7000, 0));
        assert!(idle.is_expired(5000, 7001, 0));
        assert!(!dated.is_expired(0, u64::MAX, 8999));
        assert!(dated.is_expired(0, 0, 9000));
        assert!(!limits(&rules, &Lifecycle::default()).can_expire());
    }

    #[test]
    fn a_rule_makes_rooms_expire_that_have_no_expiry_of_their_own() {
        let rules = RoomRules {
            expires: Some(Duration::from_secs(2)),
            ..RoomRules::default()
        };

        for (lifecycle, expected) in [
            (Lifecycle::default(), Some(2000)),
            (created(None, None), Some(2000)),
            (created(Some(7), None), Some(7000)),
            (created(None, Some(9000)), None),
        ] {
            assert_eq!(limits(&rules, &lifecycle).idle, expected);
        }
    }
}
