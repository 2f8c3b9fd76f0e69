//! Unconfirmed messages, as the browser stores them across a reload or a crash.
//!
//! Each message is an entry of its own, so that two tabs of a room do not overwrite each other's. The name of an
//! entry begins with the time of its message, so the names sort in the order of sending.
//!
//! If names are verified, an entry belongs to its user. Another user of the same browser never sends it.
//!
//! An entry contains the position in the log at the time of its message. A page that finds entries reads the log from
//! there before it sends them again, to detect earlier attempts that were stored.

use crate::client::ReadPosition;
use crate::protocol::{Epoch, Key, Offset, UserId};

/// An unconfirmed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingMessage {
    /// The deduplication key, with which the message can be sent again.
    pub key: Key,
    /// The sender.
    pub from: UserId,
    /// The time of sending, in milliseconds since 1970 UTC.
    pub at: u64,
    /// The text.
    pub text: String,
    /// The offset of the message that this one answers.
    pub reply_to: Option<Offset>,
    /// The offset of the message that this one replaces.
    pub edits: Option<Offset>,
    /// The position in the log at that time; `None` before the first connection.
    pub position: Option<ReadPosition>,
}

impl PendingMessage {
    /// Returns a key that sorts by time, names the `browser`, and is unique if `random` is.
    pub fn new_key(at: u64, browser: u32, random: &str) -> Option<Key> {
        Key::parse(&format!("{at:013}-{browser:08x}-{random}")).ok()
    }

    /// Returns the browser that has made `key` with [`PendingMessage::new_key`].
    pub fn browser(key: &Key) -> Option<u32> {
        let mut parts = key.as_str().splitn(3, '-');
        let (_, browser, _) = (parts.next()?, parts.next()?, parts.next()?);
        if browser.len() == 8 {
            u32::from_str_radix(browser, 16).ok()
        } else {
            None
        }
    }

    /// Returns the content of the entry. The text comes last, because it may contain line breaks.
    pub fn encode(&self) -> String {
        let Self {
            key: _,
            from,
            at,
            text,
            reply_to,
            edits,
            position,
        } = self;

        let (epoch, offset) = match position {
            Some(ReadPosition { epoch, offset }) => (epoch.as_ref(), offset.to_string()),
            None => (None, String::new()),
        };
        let epoch = epoch.map_or("", Epoch::as_str);
        let [reply_to, edits] = [reply_to, edits]
            .map(|offset| offset.map(|offset| offset.to_string()).unwrap_or_default());

        format!("{at}\n{from}\n{epoch}\n{offset}\n{reply_to}\n{edits}\n{text}")
    }

    /// Parses the entry of the name `key`; `None` if it has another format.
    pub fn decode(key: &str, entry: &str) -> Option<Self> {
        let mut fields = entry.splitn(7, '\n');
        let at = fields.next()?.parse().ok()?;
        let from = UserId::parse(fields.next()?).ok()?;
        let (epoch, offset) = (fields.next()?, fields.next()?);
        let mut reference = || Some(fields.next()?.parse().ok().map(Offset));
        let (reply_to, edits) = (reference()?, reference()?);
        let text = fields.next()?;

        let epoch = Some(epoch.to_owned()).filter(|epoch| !epoch.is_empty());
        let position = offset.parse().ok().map(|offset| ReadPosition {
            epoch: epoch.map(Epoch::from),
            offset: Offset(offset),
        });
        Some(Self {
            key: Key::parse(key).ok()?,
            from,
            at,
            text: text.to_owned(),
            reply_to,
            edits,
            position,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_of_another_format_is_ignored() {
        for entry in [
            "",
            "x",
            "1\nann",
            "1\nann\ne\n1\n\n",
            "late\nann\ne\n1\n\n\ntext",
            "1\n\ne\n1\n\n\ntext",
        ] {
            assert_eq!(PendingMessage::decode("key", entry), None, "{entry:?}");
        }

        assert_eq!(PendingMessage::decode("", "1\nann\ne\n1\n\n\ntext"), None);
    }

    #[test]
    fn keys_sort_by_time() {
        let keys = [9, 10, 1_700_000_000_000]
            .map(|at| PendingMessage::new_key(at, 7, "r").expect("a key"));
        assert!(keys.is_sorted_by(|a, b| a.as_str() < b.as_str()));
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written(at: u64, offset in any::<Option<u64>>(), text in "(?s).*") {
            let pending = PendingMessage {
                key: Key::parse("key").expect("a key"),
                from: UserId::parse("李 雷").expect("a name"),
                at,
                text,
                reply_to: offset.map(Offset),
                edits: None,
                position: offset.map(|offset| ReadPosition { epoch: Some(Epoch::new(7)), offset: Offset(offset) }),
            };

            prop_assert_eq!(PendingMessage::decode("key", &pending.encode()), Some(pending));
        }
    }

    #[test]
    fn a_key_names_the_browser_that_made_it() {
        let key = PendingMessage::new_key(9, 0xfe, "r-1").expect("a key");
        assert_eq!(PendingMessage::browser(&key), Some(0xfe));

        for foreign in ["r", "1-2", "1-2-3", "0000000000009-zzzzzzzz-r", "a--b"] {
            let key = Key::parse(foreign).expect("a key");
            assert_eq!(PendingMessage::browser(&key), None, "{foreign}");
        }
    }
}
