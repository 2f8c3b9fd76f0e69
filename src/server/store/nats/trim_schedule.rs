//! The rooms that this node trims, and when each of them must be checked next. Pure.

use std::collections::{BTreeSet, HashMap};

use super::subjects::{room_of, token};
use crate::protocol::RoomName;
use crate::server::store::room_limits::{RoomLimitTable, RoomLimits};
use crate::server::store::{Lifecycle, now_millis};

/// A room is due when it has exceeded a limit by this part of it: a sixteenth.
pub(super) const SLACK: u64 = 16;
/// The maximum of [`trim_delay`], in milliseconds.
pub(super) const MAX_TRIM_DELAY: u64 = 30 * 60 * 1000;

/// The rooms by subject token. See the [module docs](self).
#[derive(Debug, Default)]
pub(super) struct TrimSchedule {
    rooms: HashMap<String, RoomProgress>,
    /// The times at which rooms are due, the earliest first. Rooms that were taken are not among them.
    times: BTreeSet<(u64, String)>,
}

/// A room that must be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DueRoom {
    pub(super) room: RoomName,
    /// The number of bytes that it may get before its bytes must be counted.
    pub(super) bytes_left: u64,
}

/// The messages of a room since its last check.
#[derive(Debug, Default)]
struct RoomProgress {
    messages: u64,
    bytes: u64,
    /// The trigger of the next check; `None` if the room was taken.
    next: Option<TrimTrigger>,
}

/// The condition under which a room is checked next: it has got as many messages or bytes, or the time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrimTrigger {
    /// The number of new messages after which it is due.
    pub(super) messages: u64,
    /// The number of new bytes after which it is due.
    pub(super) bytes: u64,
    /// The time at which it is due, in milliseconds since 1970 UTC.
    pub(super) at: u64,
}

impl TrimTrigger {
    /// Returns the trigger of a room with `limits` that has `messages` messages and may get `bytes_left` more bytes. Its
    /// oldest message was stored at `oldest`, in milliseconds since 1970 UTC.
    pub(super) fn new(limits: &RoomLimits, messages: u64, bytes_left: u64, oldest: u64) -> Self {
        Self {
            messages: remaining(limits.messages, messages),
            bytes: bytes_left,
            at: oldest
                .saturating_add(limits.age)
                .saturating_add(trim_delay(limits))
                .saturating_add(1),
        }
    }

    /// Returns the trigger of a check at `at`, in milliseconds since 1970 UTC, of a room that may get `bytes_left` more bytes.
    pub(super) const fn at(at: u64, bytes_left: u64) -> Self {
        Self {
            messages: u64::MAX,
            bytes: bytes_left,
            at,
        }
    }
}

/// Returns the number of messages or bytes after which a room with this `limit` is due, if it has `used`.
pub(super) fn remaining(limit: u64, used: u64) -> u64 {
    let exceeding = limit.saturating_add(limit / SLACK).saturating_add(1);
    exceeding.saturating_sub(used)
}

/// Returns the time for which a room with `limits` may keep a message beyond its age, in milliseconds.
pub(super) fn trim_delay(limits: &RoomLimits) -> u64 {
    (limits.age / SLACK).min(MAX_TRIM_DELAY)
}

impl RoomProgress {
    /// Returns the time at which the room is due, in milliseconds since 1970 UTC; `None` if it was taken.
    fn due_at(&self) -> Option<u64> {
        let next = self.next?;
        let is_exceeded = self.messages >= next.messages || self.bytes >= next.bytes;
        Some(if is_exceeded { 0 } else { next.at })
    }
}

impl TrimSchedule {
    /// Records that the room with `token` has a new message of `bytes` bytes.
    pub(super) fn record_message(&mut self, token: &str, bytes: usize, limits: &RoomLimitTable) {
        if !self.rooms.contains_key(token)
            && let Some(room) = room_of(token)
        {
            // A created room has the same limits or looser ones, so this check is not too late.
            let limits = limits.of(&room, &Lifecycle::default());
            let next = TrimTrigger::new(&limits, 0, remaining(limits.bytes, 0), now_millis());
            self.set(&room, next);
        }

        self.update(token, |progress| {
            progress.bytes = progress.bytes.saturating_add(bytes as u64);
            // A message without bytes may be a mark that has changed the limits of the room.
            let messages = if bytes == 0 { u64::MAX } else { 1 };
            progress.messages = progress.messages.saturating_add(messages);
        });
    }

    /// Returns at most `most` rooms that are due at `now`, in milliseconds since 1970 UTC. They are not returned again before
    /// [`TrimSchedule::set`] or [`TrimSchedule::forget`].
    pub(super) fn take_due(&mut self, now: u64, most: usize) -> Vec<DueRoom> {
        let mut due = Vec::new();

        while due.len() < most
            && let Some((at, _)) = self.times.first()
            && *at <= now
            && let Some((_, token)) = self.times.pop_first()
        {
            let taken = self.rooms.insert(token.clone(), RoomProgress::default());
            let bytes_left = taken.and_then(|taken| {
                let next = taken.next?;
                Some(next.bytes.saturating_sub(taken.bytes))
            });
            due.extend(room_of(&token).map(|room| DueRoom {
                room,
                bytes_left: bytes_left.unwrap_or_default(),
            }));
        }

        due
    }

    /// Sets the trigger of the `next` check of `room`. The messages that were recorded since the room was taken count.
    pub(super) fn set(&mut self, room: &RoomName, next: TrimTrigger) {
        let token = token(room);
        self.rooms.entry(token.clone()).or_default();
        self.update(&token, |progress| progress.next = Some(next));
    }

    /// Forgets `room`, which was taken and has no messages, unless it has got some since.
    pub(super) fn forget(&mut self, room: &RoomName) {
        match self.rooms.get(&token(room)) {
            Some(progress) if progress.messages > 0 => self.set(room, TrimTrigger::at(0, 0)),
            _ => {
                self.rooms.remove(&token(room));
            }
        }
    }

    /// Changes the progress of the room with `token`, if there is one, and the time at which it is due.
    fn update(&mut self, token: &str, change: impl FnOnce(&mut RoomProgress)) {
        let Some(progress) = self.rooms.get_mut(token) else {
            return;
        };

        let before = progress.due_at();
        change(progress);
        let after = progress.due_at();

        if before != after {
            if let Some(before) = before {
                self.times.remove(&(before, token.to_owned()));
            }
            self.times
                .extend(after.map(|after| (after, token.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::store::Retention;

    const LIMITS: RoomLimits = RoomLimits {
        messages: 32,
        bytes: 1600,
        age: 1600,
        ..RoomLimits::NONE
    };

    fn table(messages: usize) -> RoomLimitTable {
        RoomLimitTable::new(Retention::of_test(messages), Arc::default())
    }

    /// Takes all rooms that are due at `now`.
    fn take(schedule: &mut TrimSchedule, now: u64) -> Vec<RoomName> {
        let due = schedule.take_due(now, usize::MAX);
        due.into_iter().map(|due| due.room).collect()
    }

    #[test]
    fn a_room_is_due_when_it_has_exceeded_a_limit_by_a_sixteenth() {
        let next = TrimTrigger::new(&LIMITS, 30, remaining(LIMITS.bytes, 1000), 5000);

        let expected = TrimTrigger {
            messages: 5,
            bytes: 701,
            at: 6701,
        };
        assert_eq!(next, expected);
        let unlimited = TrimTrigger::new(&RoomLimits::NONE, 30, remaining(u64::MAX, 1), 5000);
        assert_eq!(unlimited.messages, u64::MAX - 30);
        assert_eq!(unlimited.at, u64::MAX);
    }

    #[test]
    fn rooms_are_due_by_messages_bytes_and_time() {
        let (lobby, other) = (RoomName::lobby(), RoomName::parse("other").expect("a name"));
        let table = table(100);
        let mut schedule = TrimSchedule::default();
        schedule.set(&lobby, TrimTrigger::new(&LIMITS, 32, 1700, 5000));
        schedule.set(&other, TrimTrigger::new(&LIMITS, 10, 30, 5000));

        for _ in 0..3 {
            schedule.record_message("lobby", 1, &table);
            schedule.record_message("other", 1, &table);
        }

        assert_eq!(take(&mut schedule, 0), std::slice::from_ref(&lobby));
        assert!(take(&mut schedule, 0).is_empty());
        schedule.record_message("other", 27, &table);
        let due = schedule.take_due(0, 1);
        assert_eq!((&due[0].room, due[0].bytes_left), (&other, 0));

        schedule.set(&other, TrimTrigger::new(&LIMITS, 10, 30, 5000));
        assert!(take(&mut schedule, 6700).is_empty());
        let due = schedule.take_due(6701, 1);
        assert_eq!((&due[0].room, due[0].bytes_left), (&other, 30));
        schedule.forget(&lobby);
        assert_eq!(schedule.rooms.len(), 1);
    }

    #[test]
    fn no_more_rooms_are_taken_at_once_than_requested() {
        let mut schedule = TrimSchedule::default();
        for name in ["a", "b", "c"] {
            let room = RoomName::parse(name).expect("a name");
            schedule.set(&room, TrimTrigger::at(0, 0));
        }

        assert_eq!(schedule.take_due(0, 2).len(), 2);
        assert_eq!(schedule.take_due(0, 2).len(), 1);
        assert!(schedule.take_due(0, 2).is_empty());
    }

    #[test]
    fn a_message_that_arrives_during_a_check_of_its_room_counts_for_the_next_one() {
        let lobby = RoomName::lobby();
        let table = table(1);
        let mut schedule = TrimSchedule::default();
        schedule.set(&lobby, TrimTrigger::at(0, 0));
        assert_eq!(take(&mut schedule, 0), std::slice::from_ref(&lobby));

        schedule.record_message("lobby", 1, &table);
        let limits = table.of(&lobby, &Lifecycle::default());
        schedule.set(&lobby, TrimTrigger::new(&limits, 1, u64::MAX, 5000));

        assert_eq!(take(&mut schedule, 0), std::slice::from_ref(&lobby));
        schedule.record_message("lobby", 1, &table);
        schedule.forget(&lobby);
        assert_eq!(take(&mut schedule, 0), [lobby]);
    }

    #[test]
    fn a_room_whose_limits_may_have_changed_by_a_mark_is_due() {
        let lobby = RoomName::lobby();
        let mut schedule = TrimSchedule::default();
        schedule.set(
            &lobby,
            TrimTrigger::new(&RoomLimits::NONE, 1, u64::MAX, 5000),
        );

        schedule.record_message("lobby", 0, &table(1));

        assert_eq!(take(&mut schedule, 0), [lobby]);
    }
}
