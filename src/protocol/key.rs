//! The key that makes a repeated publish safe.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest key, in characters.
const MAX_KEY_CHARS: usize = 64;

/// A client's own name for one of its messages, 1 to 64 characters. The server stores a message with the same user id
/// and key once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

text_type!(Key, KeyError);

impl Key {
    /// Parses a key.
    ///
    /// # Errors
    /// Returns an error if `key` is empty or longer than 64 characters.
    pub fn parse(key: &str) -> Result<Self, KeyError> {
        match key.chars().count() {
            1..=MAX_KEY_CHARS => Ok(Self(key.into())),
            chars => Err(KeyError { chars }),
        }
    }
}

/// A key that is empty or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key has {chars} characters; allowed are 1 to {MAX_KEY_CHARS}")]
pub struct KeyError {
    /// The number of characters.
    pub chars: usize,
}
