//! The names of rooms and users. A value of these types is always valid, because only parsing creates one.

use std::borrow::Borrow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a room: 1 to 128 characters of `A-Z a-z 0-9 - _ . : @ ~ /`. Slashes separate segments. No segment is
/// empty, and none is `.` or `..`, which clients remove from URLs (RFC 3986 section 5.2.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(Arc<str>);

text_type!(RoomName, NameError);

impl RoomName {
    /// The room of clients that name none.
    pub const LOBBY: &'static str = "lobby";

    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 128;

    /// Returns the default room.
    pub fn lobby() -> Self {
        Self(Self::LOBBY.into())
    }

    /// Parses the name of a room.
    ///
    /// # Errors
    /// Returns the rule that `name` breaks.
    ///
    /// ```
    /// use fanfare::protocol::RoomName;
    ///
    /// assert_eq!(RoomName::parse("orders/EU:2026")?.as_str(), "orders/EU:2026");
    /// assert!(RoomName::parse("a room").is_err());
    /// # Ok::<(), fanfare::protocol::NameError>(())
    /// ```
    pub fn parse(name: &str) -> Result<Self, NameError> {
        check_characters(name)?;
        if name
            .split('/')
            .any(|segment| matches!(segment, "" | "." | ".."))
        {
            return Err(NameError::RoomSegment);
        }

        Ok(Self(name.into()))
    }

    /// Checks that a room name can begin with `prefix`, which must not be empty.
    ///
    /// # Errors
    /// Returns the rule that `prefix` breaks.
    pub(super) fn check_prefix(prefix: &str) -> Result<(), NameError> {
        check_characters(prefix)?;
        let is_longest = prefix.len() == Self::MAX_CHARS;
        let name = format!("{prefix}{}", if is_longest { "" } else { "x" });

        Self::parse(&name).map(|_| ())
    }

    /// Returns the name as one segment of a URL's path, with `%2F` in place of slashes.
    pub fn to_path_segment(&self) -> String {
        self.0.replace('/', "%2F")
    }
}

/// Finds rooms by text in ordered sets, for example those after a prefix.
impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The id of a user: 1 to 64 characters without control characters. Several connections may share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(Arc<str>);

text_type!(UserId, NameError);

impl UserId {
    /// The longest id, in characters.
    pub const MAX_CHARS: usize = 64;

    /// Parses a user id.
    ///
    /// # Errors
    /// Returns the rule that `id` breaks.
    pub fn parse(id: &str) -> Result<Self, NameError> {
        check_length("id", id, Self::MAX_CHARS)?;
        match id.chars().find(|c| c.is_control()) {
            Some(found) => Err(NameError::IdControl { found }),
            None => Ok(Self(id.into())),
        }
    }

    /// Returns the id of a client that chose none: `guest-` and four letters, derived from `number`.
    pub fn guest(number: u64) -> Self {
        let letters: String = (0..4)
            .map(|place| char::from(b'a' + (number / 26u64.pow(place) % 26) as u8))
            .collect();
        Self(format!("guest-{letters}").into())
    }

    /// Returns the sender of messages that are published without an id.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }
}

/// The reason why a name is invalid. Its text is safe to log: it never repeats the whole input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty or too long.
    #[error("{what} has {chars} characters; allowed are 1 to {max}")]
    Length {
        /// `room` or `id`.
        what: &'static str,
        /// The number of characters.
        chars: usize,
        /// The largest allowed number.
        max: usize,
    },
    /// A room name has a character that is not allowed.
    #[error("room has the character {found:?}; allowed are A-Z a-z 0-9 - _ . : @ ~ /")]
    RoomCharacter {
        /// The first such character.
        found: char,
    },
    /// A segment of a room name is empty, `.` or `..`.
    #[error(
        "room has an empty part, \".\" or \"..\" between slashes; allowed are names like builds or builds/linux"
    )]
    RoomSegment,
    /// A pattern has no `*` at its end, or another one.
    #[error(
        "a pattern of rooms is the beginning of their names followed by one *, like class-* or *"
    )]
    Pattern,
    /// A user id has a control character.
    #[error("id has the control character {found:?}; allowed is any text without them")]
    IdControl {
        /// The first such character.
        found: char,
    },
}

const fn is_room_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '~' | '/')
}

fn check_characters(name: &str) -> Result<(), NameError> {
    check_length("room", name, RoomName::MAX_CHARS)?;
    match name.chars().find(|c| !is_room_character(*c)) {
        Some(found) => Err(NameError::RoomCharacter { found }),
        None => Ok(()),
    }
}

fn check_length(what: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    let chars = name.chars().count();
    if (1..=max).contains(&chars) {
        Ok(())
    } else {
        Err(NameError::Length { what, chars, max })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_segment_of_a_room_name_is_empty_or_one_or_two_dots() {
        for bad in [".", "..", "/", "/a", "a/", "a//b", "a/.", "../a", "a/../b"] {
            assert_eq!(RoomName::parse(bad), Err(NameError::RoomSegment), "{bad}");
        }

        for good in ["...", ".a", "..a", "a.", "a..", "a/...", "a/.b/c."] {
            assert!(RoomName::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_room_name_has_1_to_128_of_the_allowed_characters() {
        for good in [
            "lobby",
            "a",
            "class-7b",
            "v1.2_x",
            "Orders/EU:2026",
            "~ann@example.com",
            &"x".repeat(128),
        ] {
            assert_eq!(
                RoomName::parse(good).map(|name| name.to_string()),
                Ok(good.to_owned())
            );
        }

        assert_eq!(
            RoomName::parse(""),
            Err(NameError::Length {
                what: "room",
                chars: 0,
                max: 128
            })
        );
        assert_eq!(
            RoomName::parse(&"x".repeat(129)),
            Err(NameError::Length {
                what: "room",
                chars: 129,
                max: 128
            })
        );

        for (bad, found) in [
            ("a b", ' '),
            ("a=b", '='),
            ("a%2Fb", '%'),
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
                chars: 65,
                max: 64
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
