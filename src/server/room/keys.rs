//! Which keyed sends a room has stored lately: what makes a repeated send harmless.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::UserId;

/// How long a key is remembered: until either is passed.
#[derive(Clone, Copy, Debug)]
pub struct KeyLimits {
    /// Messages of the room since then.
    pub messages: u64,
    /// Time since then.
    pub age: Duration,
}

/// See the [module docs](self). Bounded by [`KeyLimits::messages`] entries.
#[derive(Debug)]
pub struct KeyWindow {
    limits: KeyLimits,
    /// `None` while there is no key to remember: many rooms never see one.
    remembered: Option<Box<Remembered>>,
    /// Messages that the room has stored, keyed or not.
    messages: u64,
}

#[derive(Debug, Default)]
struct Remembered {
    /// Where each key was stored, and when (milliseconds since 1970).
    stored: HashMap<(UserId, Key), (Offset, u64)>,
    /// The same, oldest first.
    order: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: (UserId, Key),
    message: u64,
    at: u64,
}

impl KeyWindow {
    /// A window that remembers nothing yet.
    pub const fn new(limits: KeyLimits) -> Self {
        Self { limits, remembered: None, messages: 0 }
    }

    /// Where and when the message of `from` with `key` was stored, if it was lately.
    pub fn find(&mut self, from: &UserId, key: &Key, now: u64) -> Option<(Offset, u64)> {
        self.forget(now);
        self.remembered.as_ref()?.stored.get(&(from.clone(), key.clone())).copied()
    }

    /// A message of `from` was stored at `offset`; counts towards the window with a key or without.
    pub fn stored(&mut self, from: &UserId, key: Option<&Key>, offset: Offset, now: u64) {
        self.messages += 1;
        if let Some(key) = key {
            let name = (from.clone(), key.clone());
            let remembered = self.remembered.get_or_insert_default();
            remembered.stored.insert(name.clone(), (offset, now));
            remembered.order.push_back(Entry { name, message: self.messages, at: now });
        }
        self.forget(now);
    }

    fn forget(&mut self, now: u64) {
        let Some(Remembered { stored, order }) = self.remembered.as_deref_mut() else { return };
        while let Some(oldest) = order.front() {
            let is_near = self.messages - oldest.message < self.limits.messages;
            let is_young = u128::from(now.saturating_sub(oldest.at)) < self.limits.age.as_millis();
            if is_near && is_young {
                return;
            }
            let Some(oldest) = order.pop_front() else { return };
            stored.remove(&oldest.name);
        }
        self.remembered = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: KeyLimits = KeyLimits { messages: 3, age: Duration::from_secs(600) };

    fn user(id: &str) -> UserId {
        UserId::parse(id).expect("a name")
    }

    fn key(key: &str) -> Key {
        Key::parse(key).expect("a key")
    }

    #[test]
    fn a_key_is_remembered_for_its_sender_only() {
        let mut window = KeyWindow::new(LIMITS);
        window.stored(&user("ann"), Some(&key("1")), Offset(5), 0);
        assert_eq!(window.find(&user("ann"), &key("1"), 1000), Some((Offset(5), 0)));
        assert_eq!(window.find(&user("bob"), &key("1"), 1000), None);
        assert_eq!(window.find(&user("ann"), &key("2"), 1000), None);
    }

    #[test]
    fn a_key_is_forgotten_after_so_many_messages_or_so_much_time() {
        let mut window = KeyWindow::new(LIMITS);
        window.stored(&user("ann"), Some(&key("1")), Offset(1), 0);
        window.stored(&user("bob"), None, Offset(2), 0);
        window.stored(&user("bob"), None, Offset(3), 0);
        assert_eq!(window.find(&user("ann"), &key("1"), 599_999), Some((Offset(1), 0)));
        window.stored(&user("bob"), None, Offset(4), 0);
        assert_eq!(window.find(&user("ann"), &key("1"), 0), None);
        window.stored(&user("ann"), Some(&key("2")), Offset(5), 0);
        assert_eq!(window.find(&user("ann"), &key("2"), 600_000), None);
        assert!(window.remembered.is_none());
    }
}
