//! The optional fields that a message has beside its content.

use serde::{Deserialize, Serialize};

use super::{Key, Kind, Offset};

/// The optional fields of a message, beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFields {
    /// The application's own type of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The sender's key, which makes a repeated publish safe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The offset of the message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Offset>,
    /// The offset of the sender's earlier message whose content this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edits: Option<Offset>,
}

impl MessageFields {
    /// Returns fields with only a key.
    pub fn keyed(key: Option<Key>) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }

    /// Returns true if the message refers to another one.
    pub const fn has_reference(&self) -> bool {
        self.reply_to.is_some() || self.edits.is_some()
    }

    /// Returns the fields that stay when the message is deleted: the key.
    pub fn of_tombstone(&self) -> Self {
        Self::keyed(self.key.clone())
    }
}
