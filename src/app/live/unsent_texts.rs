//! The texts of a user that are not in the log: unsent messages, and the draft in the input. The browser keeps them for each room.

use super::pending_message::PendingMessage;
use crate::browser::storage::PageStorage;
use crate::protocol::{Key, RoomName, UserId};

/// The prefix of the storage keys of unsent messages.
const OUTBOX: &str = "fanfare.outbox.";

/// The prefix of the storage keys of drafts.
const DRAFT: &str = "fanfare.draft.";

/// The stored texts for one room.
#[derive(Clone, Debug)]
pub(super) struct UnsentTexts {
    storage: PageStorage,
    room: RoomName,
    owner: Option<UserId>,
}

impl UnsentTexts {
    /// Returns the texts for `room` that are in `storage`: those of the verified user `owner`, or of the browser.
    pub(super) const fn new(storage: PageStorage, room: RoomName, owner: Option<UserId>) -> Self {
        Self {
            storage,
            room,
            owner,
        }
    }

    /// Returns the messages.
    pub(super) fn messages(&self) -> Vec<PendingMessage> {
        let stored = self.storage.read_all(&self.key(OUTBOX));
        let messages = stored
            .iter()
            .filter_map(|(key, entry)| PendingMessage::decode(key, entry));
        messages.collect()
    }

    /// Stores `message`.
    pub(super) fn add(&self, message: &PendingMessage) {
        self.storage
            .write(&self.message_key(&message.key), &message.encode());
    }

    /// Removes the message `key`.
    pub(super) fn remove(&self, key: &Key) {
        self.storage.remove(&self.message_key(key));
    }

    /// Returns the draft.
    pub(super) fn draft(&self) -> Option<String> {
        self.storage.read(&self.key(DRAFT))
    }

    /// Stores `text` as the draft, or removes it if it is empty.
    pub(super) fn set_draft(&self, text: &str) {
        let key = self.key(DRAFT);
        if text.is_empty() {
            self.storage.remove(&key);
        } else {
            self.storage.write(&key, text);
        }
    }

    fn message_key(&self, key: &Key) -> String {
        self.key(OUTBOX) + key.as_str()
    }

    /// Returns the storage key under `prefix`. No key begins with that of another room or owner.
    fn key(&self, prefix: &str) -> String {
        let room = &self.room;
        // Names of rooms have no spaces, and neither they nor ids of users have line breaks.
        match &self.owner {
            Some(user) => format!("{prefix}{room}\n{user}\n"),
            None => format!("{prefix}{room} "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::BasePath;

    #[test]
    fn no_user_finds_the_texts_of_another_one() {
        let mut keys = Vec::new();
        for room in ["lobby", "lob", "lobby/a"] {
            for user in ["", "ann", "an", "ann k", "a/n", "lobby"] {
                let texts = UnsentTexts::new(
                    PageStorage::new(BasePath::default()),
                    RoomName::parse(room).expect("a name"),
                    UserId::parse(user).ok(),
                );
                keys.push(texts.key(OUTBOX));
            }
        }

        for key in &keys {
            let found = keys.iter().filter(|other| other.starts_with(key.as_str()));
            assert_eq!(found.count(), 1, "{key:?}");
        }
    }
}
