//! The application's own type of a message.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest kind, in characters.
const MAX_KIND_CHARS: usize = 64;

/// The prefix of the kinds of messages that the server writes. Clients cannot use it.
const RESERVED: &str = "fanfare.";
/// The kind of the message that a user has joined the room.
const JOIN: &str = "fanfare.join";
/// The kind of the message that a user has left the room.
const LEAVE: &str = "fanfare.leave";

/// The application's own type of a message, 1 to 64 characters of `A-Z a-z 0-9 . _ : -`. The server does not interpret
/// it. Kinds that begin with `fanfare.` are those of the server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kind(Arc<str>);

text_type!(Kind, KindError);

impl Kind {
    /// Parses a kind.
    ///
    /// # Errors
    /// Returns an error if `kind` is empty, is longer than 64 characters, or has a character that is not allowed.
    pub fn parse(kind: &str) -> Result<Self, KindError> {
        let chars = kind.chars().count();
        if !(1..=MAX_KIND_CHARS).contains(&chars) {
            return Err(KindError::Length { chars });
        }
        if let Some(found) = kind.chars().find(|c| !is_kind_character(*c)) {
            return Err(KindError::Character { found });
        }

        Ok(Self(kind.into()))
    }

    /// Parses the kind of a message of a client.
    ///
    /// # Errors
    /// Returns the errors of [`Kind::parse`] and [`KindError::Reserved`].
    pub fn parse_unreserved(kind: &str) -> Result<Self, KindError> {
        Self::parse(kind)?.unreserved()
    }

    /// Returns the kind, unless it is one of the server.
    ///
    /// # Errors
    /// Returns [`KindError::Reserved`].
    pub fn unreserved(self) -> Result<Self, KindError> {
        if self.is_reserved() {
            Err(KindError::Reserved)
        } else {
            Ok(self)
        }
    }

    /// Returns the kind of the message that a user has joined the room.
    pub fn join() -> Self {
        Self(JOIN.into())
    }

    /// Returns the kind of the message that a user has left the room.
    pub fn leave() -> Self {
        Self(LEAVE.into())
    }

    /// Returns true if this is [`Kind::join`].
    pub fn is_join(&self) -> bool {
        self.as_str() == JOIN
    }

    /// Returns true if this is [`Kind::leave`].
    pub fn is_leave(&self) -> bool {
        self.as_str() == LEAVE
    }

    /// Returns true if only the server writes messages of this kind.
    pub fn is_reserved(&self) -> bool {
        self.as_str().starts_with(RESERVED)
    }
}

const fn is_kind_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-')
}

/// The reason why a kind is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// The kind is empty or too long.
    #[error("kind has {chars} characters; allowed are 1 to {MAX_KIND_CHARS}")]
    Length {
        /// The number of characters.
        chars: usize,
    },
    /// The kind has a character that is not allowed.
    #[error("kind has the character {found:?}; allowed are A-Z a-z 0-9 . _ : -")]
    Character {
        /// The first such character.
        found: char,
    },
    /// The kind is one of the server.
    #[error("kind begins with {RESERVED}, which is reserved for messages that the server writes")]
    Reserved,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_1_to_64_of_the_allowed_characters() {
        for good in ["a", "order.created", "v1:Move_2-x", &"k".repeat(64)] {
            let kind = Kind::parse(good);

            assert_eq!(kind.map(String::from), Ok(good.to_owned()));
        }

        for (bad, error) in [
            (String::new(), KindError::Length { chars: 0 }),
            ("k".repeat(65), KindError::Length { chars: 65 }),
            ("a b".to_owned(), KindError::Character { found: ' ' }),
            ("a/b".to_owned(), KindError::Character { found: '/' }),
            ("a\n".to_owned(), KindError::Character { found: '\n' }),
            ("种类".to_owned(), KindError::Character { found: '种' }),
        ] {
            assert_eq!(Kind::parse(&bad), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn clients_cannot_use_the_kinds_of_the_server() {
        for reserved in [Kind::join(), Kind::leave()] {
            let parsed = Kind::parse_unreserved(reserved.as_str());

            assert_eq!(parsed, Err(KindError::Reserved));
            assert_eq!(Kind::parse(reserved.as_str()), Ok(reserved));
        }
        assert!(Kind::parse_unreserved("fanfare").is_ok());
    }
}
