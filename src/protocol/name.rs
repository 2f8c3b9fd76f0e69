//! Names that people choose: parsed once at the edge, valid ever after.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest room name and longest id, in characters.
const MAX_NAME_CHARS: usize = 64;

/// A room's name: 1 to 64 of `a-z 0-9 - _ .`, but neither `.` nor `..`, which no URL can carry as a path segment (RFC
/// 3986 section 5.2.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The room of whoever names none.
    pub const LOBBY: &'static str = "lobby";

    /// The default room.
    pub fn lobby() -> Self {
        Self(Self::LOBBY.into())
    }

    /// Accepts `name` if it is a room's name.
    ///
    /// # Errors
    /// Says which rule `name` breaks.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        Self::check_prefix(name)?;
        match name {
            "." | ".." => Err(NameError::RoomDots),
            _ => Ok(Self(name.into())),
        }
    }

    /// Checks that `prefix` can begin a room's name.
    ///
    /// # Errors
    /// Returns the rule that `prefix` breaks.
    pub fn check_prefix(prefix: &str) -> Result<(), NameError> {
        check_length("room", prefix)?;
        match prefix
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.'))
        {
            Some(found) => Err(NameError::RoomCharacter { found }),
            None => Ok(()),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RoomName {
    type Error = NameError;
    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl From<RoomName> for String {
    fn from(name: RoomName) -> Self {
        name.0.as_ref().into()
    }
}

/// Who says something: 1 to 64 characters, no control characters. Not unique: two connections may share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(Arc<str>);

impl UserId {
    /// Accepts `id` if it is 1 to 64 characters without control characters.
    ///
    /// # Errors
    /// Says which rule `id` breaks.
    pub fn parse(id: &str) -> Result<Self, NameError> {
        check_length("id", id)?;
        match id.chars().find(|c| c.is_control()) {
            Some(found) => Err(NameError::IdControl { found }),
            None => Ok(Self(id.into())),
        }
    }

    /// `guest-` and four letters, chosen by `number`; for whoever gives no id.
    pub fn guest(number: u64) -> Self {
        let letters: String = (0..4)
            .map(|place| char::from(b'a' + (number / 26u64.pow(place) % 26) as u8))
            .collect();
        Self(format!("guest-{letters}").into())
    }

    /// For what is published without an id.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UserId {
    type Error = NameError;
    fn try_from(id: String) -> Result<Self, NameError> {
        Self::parse(&id)
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.0.as_ref().into()
    }
}

/// Why a name was refused. The text says what is allowed and is safe to log: it never repeats raw input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Shorter than 1 or longer than [`MAX_NAME_CHARS`] characters.
    Length {
        /// `room` or `id`.
        what: &'static str,
        /// How many characters it had.
        chars: usize,
    },
    /// A character that a room's name may not have.
    RoomCharacter {
        /// The first of them.
        found: char,
    },
    /// A room named `.` or `..`.
    RoomDots,
    /// A control character in an id.
    IdControl {
        /// The first of them.
        found: char,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { what, chars } => {
                write!(
                    f,
                    "{what} has {chars} characters; allowed are 1 to {MAX_NAME_CHARS}"
                )
            }
            Self::RoomCharacter { found } => {
                write!(
                    f,
                    "room has the character {found:?}; allowed are a-z 0-9 - _ ."
                )
            }
            Self::RoomDots => f.write_str(
                "room is \".\" or \"..\", which no URL can carry; any other name of a-z 0-9 - _ . is allowed",
            ),
            Self::IdControl { found } => {
                write!(
                    f,
                    "id has the control character {found:?}; allowed is any text without them"
                )
            }
        }
    }
}

impl std::error::Error for NameError {}

fn check_length(what: &'static str, name: &str) -> Result<(), NameError> {
    match name.chars().count() {
        1..=MAX_NAME_CHARS => Ok(()),
        chars => Err(NameError::Length { what, chars }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_room_is_named_by_dots_alone_but_names_and_prefixes_may_begin_with_them() {
        for dots in [".", ".."] {
            assert_eq!(RoomName::parse(dots), Err(NameError::RoomDots));
            assert_eq!(RoomName::check_prefix(dots), Ok(()));
        }

        for good in ["...", ".a", "..a", "a.", "a.."] {
            assert!(RoomName::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_room_name_has_1_to_64_of_the_allowed_characters() {
        for good in ["lobby", "a", "class-7b", "v1.2_x", &"x".repeat(64)] {
            assert_eq!(
                RoomName::parse(good).map(|name| name.to_string()),
                Ok(good.to_owned())
            );
        }
        assert_eq!(
            RoomName::parse(""),
            Err(NameError::Length {
                what: "room",
                chars: 0
            })
        );
        assert_eq!(
            RoomName::parse(&"x".repeat(65)),
            Err(NameError::Length {
                what: "room",
                chars: 65
            })
        );
        for (bad, found) in [
            ("Lobby", 'L'),
            ("a b", ' '),
            ("a/b", '/'),
            ("室", '室'),
            ("a\n", '\n'),
            ("a*", '*'),
        ] {
            assert_eq!(
                RoomName::parse(bad),
                Err(NameError::RoomCharacter { found })
            );
        }
    }

    #[test]
    fn an_id_is_any_text_without_control_characters() {
        for good in ["abc123", "李雷", "a b <c>", "👩‍🚀"] {
            assert_eq!(
                UserId::parse(good).map(|id| id.to_string()),
                Ok(good.to_owned())
            );
        }
        assert_eq!(
            UserId::parse("a\u{1b}[31m"),
            Err(NameError::IdControl { found: '\u{1b}' })
        );
        assert_eq!(
            UserId::parse(&"室".repeat(65)),
            Err(NameError::Length {
                what: "id",
                chars: 65
            })
        );
    }

    proptest! {
        #[test]
        fn a_guest_id_is_guest_and_four_letters(number: u64) {
            let id = UserId::guest(number);
            let letters = id.as_str().strip_prefix("guest-").expect("the prefix");
            prop_assert!(letters.len() == 4 && letters.bytes().all(|b| b.is_ascii_lowercase()));
        }
    }
}
