//! What was said and is not confirmed, in the form in which a browser keeps it over a reload or a crash.
//!
//! Each message is an entry of its own, so that two tabs of one room do not overwrite each other's. Its name
//! begins with the time at which it was said: in order of their names, entries are in the order of speaking.
//!
//! An entry remembers where the page stood in the log when it was said. A page that finds entries reads on
//! from there before it sends them, and so sees whether an earlier try was stored, however long ago.

use crate::protocol::Epoch;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::UserId;

/// A message that waits for the server's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What makes it repeatable.
    pub key: Key,
    /// Who says it.
    pub from: UserId,
    /// When it was said, in milliseconds since 1970 UTC.
    pub at: u64,
    /// What.
    pub text: String,
    /// Where the page stood then; nothing before its first connection.
    pub position: Option<(Epoch, Offset)>,
}

impl Waiting {
    /// A key that no other message has, as far as the `random` part goes, and that sorts by time.
    pub fn new_key(at: u64, random: &str) -> Option<Key> {
        Key::parse(&format!("{at:013}-{random}")).ok()
    }

    /// The entry's content. The text is last, since it may hold anything; the others have no line breaks.
    pub fn encode(&self) -> String {
        let Self {
            key: _,
            from,
            at,
            text,
            position,
        } = self;
        match position {
            Some((epoch, offset)) => format!("{at}\n{from}\n{epoch}\n{offset}\n{text}"),
            None => format!("{at}\n{from}\n\n\n{text}"),
        }
    }

    /// Reads the entry called `key`; nothing if something else was written there.
    pub fn decode(key: &str, entry: &str) -> Option<Self> {
        let mut fields = entry.splitn(5, '\n');
        let at = fields.next()?.parse().ok()?;
        let from = UserId::parse(fields.next()?).ok()?;
        let (epoch, offset, text) = (fields.next()?, fields.next()?, fields.next()?);
        let position = offset
            .parse()
            .ok()
            .map(|offset| (Epoch::from(epoch.to_owned()), Offset(offset)));
        Some(Self {
            key: Key::parse(key).ok()?,
            from,
            at,
            text: text.to_owned(),
            position,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_entry_is_passed_over() {
        for entry in [
            "",
            "x",
            "1\nann",
            "1\nann\ne\n1",
            "late\nann\ne\n1\ntext",
            "1\n\ne\n1\ntext",
        ] {
            assert_eq!(Waiting::decode("key", entry), None, "{entry:?}");
        }
        assert_eq!(Waiting::decode("", "1\nann\ne\n1\ntext"), None);
    }

    #[test]
    fn keys_sort_by_the_time_of_speaking() {
        let keys = [9, 10, 1_700_000_000_000].map(|at| Waiting::new_key(at, "r").expect("a key"));
        assert!(keys.is_sorted_by(|a, b| a.as_str() < b.as_str()));
    }

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written(at: u64, offset in any::<Option<u64>>(), text in "(?s).*") {
            let waiting = Waiting {
                key: Key::parse("key").expect("a key"),
                from: UserId::parse("李 雷").expect("a name"),
                at,
                text,
                position: offset.map(|offset| (Epoch::new(7), Offset(offset))),
            };
            prop_assert_eq!(Waiting::decode("key", &waiting.encode()), Some(waiting));
        }
    }
}
