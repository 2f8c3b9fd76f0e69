//! Which keyed sends a room has stored lately: what makes a repeated send harmless.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::UserId;
use crate::server::memory::{Memory, MemoryReservation};

/// Bytes of one key beside its text and its sender's: entries of a hash table and of a queue, which are up to half
/// empty.
const ENTRY_BYTES: usize = 256;

/// How long a key is remembered: until either is passed.
#[derive(Clone, Copy, Debug)]
pub struct DedupLimits {
    /// Offsets of the room since then.
    pub messages: u64,
    /// Time since then.
    pub age: Duration,
}

impl DedupLimits {
    /// Whether a key that was stored at `offset`, when the clock said `clock`, is still remembered in a room that
    /// stands at `head`, `now`.
    pub fn remember(&self, offset: Offset, clock: u64, head: Offset, now: u64) -> bool {
        head.0.saturating_sub(offset.0) < self.messages
            && u128::from(now.saturating_sub(clock)) < self.age.as_millis()
    }
}

/// A keyed send that is stored.
#[derive(Clone, Debug)]
pub struct DedupEntry {
    /// Who sent it.
    pub from: UserId,
    /// With which key.
    pub key: Key,
    /// Where it is stored.
    pub offset: Offset,
    /// When, for people: milliseconds since 1970 UTC.
    pub at: u64,
    /// When, for expiry: milliseconds of the store's own clock, which never jumps.
    pub clock: u64,
}

impl DedupEntry {
    /// Returns how many bytes it takes in a window.
    fn size(&self) -> usize {
        ENTRY_BYTES + self.key.as_str().len() + self.from.as_str().len()
    }
}

/// See the [module docs](self). Bounded by [`DedupLimits::messages`] entries.
#[derive(Debug)]
pub struct DedupWindow {
    limits: DedupLimits,
    /// `None` while there is no key to remember: many rooms never see one.
    remembered: Option<Box<DedupSlot>>,
}

#[derive(Debug)]
struct DedupSlot {
    /// Where and when each key was stored.
    stored: HashMap<(UserId, Key), (Offset, u64)>,
    /// In the order in which they were stored.
    order: VecDeque<DedupEntry>,
    /// The bytes of both.
    bytes: usize,
    reservation: MemoryReservation,
}

impl DedupWindow {
    /// A window that remembers nothing yet.
    pub const fn new(limits: DedupLimits) -> Self {
        Self {
            limits,
            remembered: None,
        }
    }

    /// Where and when (milliseconds since 1970) the message of `from` with `key` was stored, if it was lately.
    pub fn find(&self, from: &UserId, key: &Key) -> Option<(Offset, u64)> {
        self.remembered
            .as_ref()?
            .stored
            .get(&(from.clone(), key.clone()))
            .copied()
    }

    /// A keyed message was stored, after all others here.
    pub fn remember(&mut self, keyed: DedupEntry) {
        let remembered = self.remembered.get_or_insert_with(|| {
            Box::new(DedupSlot {
                stored: HashMap::new(),
                order: VecDeque::new(),
                bytes: 0,
                reservation: Memory::of_process().reserve(0),
            })
        });

        remembered.stored.insert(
            (keyed.from.clone(), keyed.key.clone()),
            (keyed.offset, keyed.at),
        );
        remembered.bytes += keyed.size();
        remembered.order.push_back(keyed);
        remembered.reservation.set(remembered.bytes);
    }

    /// Lets go of what is too old in a room that stands at `head`, `now`.
    pub fn forget(&mut self, head: Offset, now: u64) {
        let Some(remembered) = self.remembered.as_deref_mut() else {
            return;
        };

        let limits = self.limits;
        let is_old =
            |keyed: &mut DedupEntry| !limits.remember(keyed.offset, keyed.clock, head, now);
        while let Some(oldest) = remembered.order.pop_front_if(is_old) {
            remembered.bytes -= oldest.size();
            remembered.stored.remove(&(oldest.from, oldest.key));
        }

        if remembered.order.is_empty() {
            self.remembered = None;
        } else {
            remembered.reservation.set(remembered.bytes);
        }
    }

    /// Whether it remembers nothing.
    pub const fn is_empty(&self) -> bool {
        self.remembered.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DedupLimits = DedupLimits {
        messages: 3,
        age: Duration::from_secs(600),
    };

    fn user(id: &str) -> UserId {
        UserId::parse(id).expect("a name")
    }

    fn key(key: &str) -> Key {
        Key::parse(key).expect("a key")
    }

    /// A window in which ann's key "1" was stored at 5, at the time 7 by the clock 0.
    fn window() -> DedupWindow {
        let mut window = DedupWindow::new(LIMITS);
        window.remember(DedupEntry {
            from: user("ann"),
            key: key("1"),
            offset: Offset(5),
            at: 7,
            clock: 0,
        });
        window
    }

    #[test]
    fn a_key_is_remembered_for_its_sender_only() {
        let window = window();
        assert_eq!(window.find(&user("ann"), &key("1")), Some((Offset(5), 7)));
        assert_eq!(window.find(&user("bob"), &key("1")), None);
        assert_eq!(window.find(&user("ann"), &key("2")), None);
    }

    #[test]
    fn the_memory_of_a_window_is_counted_and_given_back_when_its_keys_are_forgotten() {
        let mut window = DedupWindow::new(LIMITS);
        let held = |window: &DedupWindow| window.remembered.as_ref().map(|keys| keys.bytes);

        for offset in 1..=100 {
            window.remember(DedupEntry {
                from: user("ann"),
                key: key(&format!("{offset:064}")),
                offset: Offset(offset),
                at: 7,
                clock: 0,
            });
        }
        assert_eq!(held(&window), Some(100 * (ENTRY_BYTES + 64 + 3)));

        window.forget(Offset(100), 0);
        assert_eq!(held(&window), Some(3 * (ENTRY_BYTES + 64 + 3)));
        window.forget(Offset(103), 0);
        assert_eq!(held(&window), None);
    }

    #[test]
    fn a_key_is_forgotten_after_so_many_messages_or_so_much_time() {
        for (head, now, is_remembered) in [
            (5, 0, true),
            (7, 599_999, true),
            (8, 0, false),
            (7, 600_000, false),
            (8, 600_000, false),
        ] {
            let mut window = window();
            window.forget(Offset(head), now);
            let found = window.find(&user("ann"), &key("1"));
            assert_eq!(
                (found.is_some(), window.is_empty()),
                (is_remembered, !is_remembered),
                "{head} {now}"
            );
        }
    }
}
