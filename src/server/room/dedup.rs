//! The keys of a room's recent messages, which make repeated sends harmless.
//!
//! A client that does not know if its message was stored sends it again with the same key. The store finds the
//! key in this window and returns the position of the stored message.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::protocol::{Key, Offset, UserId};
use crate::server::memory::{Memory, MemoryReservation};

/// Memory of one entry, in bytes, besides its key and user id: a slot of a hash table and one of a queue, which
/// are up to half empty.
const ENTRY_BYTES: usize = 256;

/// Limits on the age of a key. A key expires as soon as it exceeds one of them.
#[derive(Clone, Copy, Debug)]
pub struct DedupLimits {
    /// Number of messages of the room since the message with the key.
    pub messages: u64,
    /// Time since the message with the key.
    pub age: Duration,
}

impl DedupLimits {
    /// Returns true if the key of message `number` of a room, stored at the store's time `clock`, is still valid when
    /// the room has had `count` messages, at the store's time `now`.
    pub fn allow(&self, number: u64, clock: u64, count: u64, now: u64) -> bool {
        count.saturating_sub(number) < self.messages
            && u128::from(now.saturating_sub(clock)) < self.age.as_millis()
    }
}

/// A stored message with a key.
#[derive(Clone, Debug)]
pub struct DedupEntry {
    /// Sender.
    pub from: UserId,
    /// Key.
    pub key: Key,
    /// Number of the message in its room, from 1.
    pub number: u64,
    /// Offset of the message.
    pub offset: Offset,
    /// Time of the message, in milliseconds since 1970 UTC.
    pub at: u64,
    /// Time of the message on the store's monotonic clock, in milliseconds. Expiry uses it.
    pub clock: u64,
}

impl DedupEntry {
    /// Returns the memory that it takes in a window, in bytes.
    fn size(&self) -> usize {
        ENTRY_BYTES + self.key.as_str().len() + self.from.as_str().len()
    }
}

/// The recent keys of one room, at most [`DedupLimits::messages`] of them.
#[derive(Debug)]
pub struct DedupWindow {
    limits: DedupLimits,
    /// `None` while the window is empty, as in the many rooms that never receive a key.
    slot: Option<Box<DedupSlot>>,
}

#[derive(Debug)]
struct DedupSlot {
    /// Offset of each keyed message and its time, in milliseconds since 1970 UTC.
    stored: HashMap<(UserId, Key), (Offset, u64)>,
    /// Entries in the order of their offsets.
    order: VecDeque<DedupEntry>,
    /// Memory of both, in bytes.
    bytes: usize,
    reservation: MemoryReservation,
}

impl DedupWindow {
    /// Creates an empty window.
    pub const fn new(limits: DedupLimits) -> Self {
        Self { limits, slot: None }
    }

    /// Returns the offset of the message that `from` sent with `key`, and its time in milliseconds since 1970
    /// UTC. `None` if there is none or it has expired.
    pub fn find(&self, from: &UserId, key: &Key) -> Option<(Offset, u64)> {
        self.slot
            .as_ref()?
            .stored
            .get(&(from.clone(), key.clone()))
            .copied()
    }

    /// Adds `entry`, whose offset is larger than those of all earlier entries.
    pub fn insert(&mut self, entry: DedupEntry) {
        let slot = self.slot.get_or_insert_with(|| {
            Box::new(DedupSlot {
                stored: HashMap::new(),
                order: VecDeque::new(),
                bytes: 0,
                reservation: Memory::of_process().reserve(0),
            })
        });

        slot.stored.insert(
            (entry.from.clone(), entry.key.clone()),
            (entry.offset, entry.at),
        );
        slot.bytes += entry.size();
        slot.order.push_back(entry);
        slot.reservation.set(slot.bytes);
    }

    /// Removes the entries that have expired in a room that has had `count` messages, at the store's time `now`.
    pub fn expire(&mut self, count: u64, now: u64) {
        let Some(slot) = self.slot.as_deref_mut() else {
            return;
        };

        let limits = self.limits;
        let is_expired =
            |entry: &mut DedupEntry| !limits.allow(entry.number, entry.clock, count, now);
        while let Some(expired) = slot.order.pop_front_if(is_expired) {
            slot.bytes -= expired.size();
            slot.stored.remove(&(expired.from, expired.key));
        }

        if slot.order.is_empty() {
            self.slot = None;
        } else {
            slot.reservation.set(slot.bytes);
        }
    }

    /// Returns true if the window is empty.
    pub const fn is_empty(&self) -> bool {
        self.slot.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::samples::user;

    const LIMITS: DedupLimits = DedupLimits {
        messages: 3,
        age: Duration::from_secs(600),
    };

    fn key(key: &str) -> Key {
        Key::parse(key).expect("a key")
    }

    /// Returns a window with ann's key "1", stored as message 5 at offset 50 and time 7 when the clock was 0.
    fn window() -> DedupWindow {
        let mut window = DedupWindow::new(LIMITS);
        window.insert(DedupEntry {
            from: user("ann"),
            key: key("1"),
            number: 5,
            offset: Offset(50),
            at: 7,
            clock: 0,
        });
        window
    }

    #[test]
    fn a_key_belongs_to_its_sender() {
        let window = window();

        assert_eq!(window.find(&user("ann"), &key("1")), Some((Offset(50), 7)));
        assert_eq!(window.find(&user("bob"), &key("1")), None);
        assert_eq!(window.find(&user("ann"), &key("2")), None);
    }

    #[test]
    fn the_memory_of_a_window_is_counted_and_released_when_its_keys_expire() {
        let mut window = DedupWindow::new(LIMITS);
        let bytes = |window: &DedupWindow| window.slot.as_ref().map(|slot| slot.bytes);

        for number in 1..=100 {
            window.insert(DedupEntry {
                from: user("ann"),
                key: key(&format!("{number:064}")),
                number,
                offset: Offset(10 * number),
                at: 7,
                clock: 0,
            });
        }
        assert_eq!(bytes(&window), Some(100 * (ENTRY_BYTES + 64 + 3)));

        window.expire(100, 0);
        assert_eq!(bytes(&window), Some(3 * (ENTRY_BYTES + 64 + 3)));

        window.expire(103, 0);
        assert_eq!(bytes(&window), None);
    }

    #[test]
    fn a_key_expires_by_the_number_of_messages_or_by_time() {
        for (count, now, is_valid) in [
            (5, 0, true),
            (7, 599_999, true),
            (8, 0, false),
            (7, 600_000, false),
            (8, 600_000, false),
        ] {
            let mut window = window();

            window.expire(count, now);

            let found = window.find(&user("ann"), &key("1"));
            assert_eq!(found.is_some(), is_valid, "{count} messages, time {now}");
            assert_eq!(window.is_empty(), !is_valid, "{count} messages, time {now}");
        }
    }
}
