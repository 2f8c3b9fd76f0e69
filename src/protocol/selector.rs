//! Sets of rooms: a pattern of names, and the target of a subscription or grant.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::{NameError, RoomName};

/// A pattern of room names: a prefix followed by `*`. The pattern `*` matches every room.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomPattern(Arc<str>);

text_type!(RoomPattern, NameError);

impl RoomPattern {
    const WILDCARD: char = '*';

    /// Returns the pattern that matches every room.
    pub fn every_room() -> Self {
        Self("*".into())
    }

    /// Parses a pattern.
    ///
    /// # Errors
    /// Returns the rule that `pattern` breaks. Its prefix is empty or the beginning of a valid room name.
    ///
    /// ```
    /// use fanfare::protocol::{RoomName, RoomPattern};
    ///
    /// let pattern = RoomPattern::parse("class-*")?;
    /// assert!(pattern.matches(&RoomName::parse("class-7b")?));
    /// # Ok::<(), fanfare::protocol::NameError>(())
    /// ```
    pub fn parse(pattern: &str) -> Result<Self, NameError> {
        match pattern.strip_suffix(Self::WILDCARD) {
            Some("") => {}
            Some(prefix) if prefix.contains(Self::WILDCARD) => return Err(NameError::Pattern),
            Some(prefix) => RoomName::check_prefix(prefix)?,
            None => return Err(NameError::Pattern),
        }

        Ok(Self(pattern.into()))
    }

    /// Returns the beginning of the names that match.
    pub fn prefix(&self) -> &str {
        &self.0[..self.0.len() - Self::WILDCARD.len_utf8()]
    }

    /// Returns true if the pattern matches `room`.
    pub fn matches(&self, room: &RoomName) -> bool {
        room.as_str().starts_with(self.prefix())
    }

    /// Returns true if every room that `other` matches also matches this pattern.
    pub fn covers(&self, other: &Self) -> bool {
        other.prefix().starts_with(self.prefix())
    }
}

/// One room by name, or all rooms that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RoomSelector {
    /// The room of this name.
    Room(RoomName),
    /// All rooms that match, including future ones.
    Pattern(RoomPattern),
}

impl RoomSelector {
    /// Parses a room name or, if `text` contains `*`, a pattern.
    ///
    /// # Errors
    /// Returns the rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.contains(RoomPattern::WILDCARD) {
            RoomPattern::parse(text).map(Self::Pattern)
        } else {
            RoomName::parse(text).map(Self::Room)
        }
    }

    /// Returns true if `room` is selected.
    pub fn matches(&self, room: &RoomName) -> bool {
        match self {
            Self::Room(name) => name == room,
            Self::Pattern(pattern) => pattern.matches(room),
        }
    }

    /// Returns true if every room that `narrow` selects is selected here too.
    pub fn includes(&self, narrow: &Self) -> bool {
        match (self, narrow) {
            (Self::Pattern(wide), Self::Pattern(narrow)) => wide.covers(narrow),
            (wide, Self::Room(room)) => wide.matches(room),
            (Self::Room(_), Self::Pattern(_)) => false,
        }
    }

    /// Returns `rooms` in order, without those that another one includes.
    pub fn without_included(mut rooms: Vec<Self>) -> Vec<Self> {
        rooms.sort_unstable();
        rooms.dedup();

        let all = rooms.clone();
        rooms.retain(|room| {
            !all.iter()
                .any(|other| other != room && other.includes(room))
        });
        rooms
    }

    /// Returns the name or the pattern as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Room(name) => name.as_str(),
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

impl fmt::Display for RoomSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<RoomName> for RoomSelector {
    fn from(name: RoomName) -> Self {
        Self::Room(name)
    }
}

impl From<RoomPattern> for RoomSelector {
    fn from(pattern: RoomPattern) -> Self {
        Self::Pattern(pattern)
    }
}

impl TryFrom<String> for RoomSelector {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<RoomSelector> for String {
    fn from(selector: RoomSelector) -> Self {
        selector.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::samples::room;

    fn pattern(text: &str) -> RoomPattern {
        RoomPattern::parse(text).expect("a pattern")
    }

    #[test]
    fn the_prefix_of_a_pattern_is_empty_or_the_beginning_of_a_room_name() {
        let longest = "x".repeat(128);
        for prefix in ["", "class-", "a/", "a/.", "a/..", ".", longest.as_str()] {
            let parsed = RoomPattern::parse(&format!("{prefix}*"));

            assert_eq!(parsed.as_ref().map(RoomPattern::prefix), Ok(prefix));
        }

        let too_long = "x".repeat(129);
        let slash_at_the_end = format!("{}/", "x".repeat(127));
        for prefix in [
            "/",
            "a//",
            "a/./",
            "../",
            "a b",
            "室",
            &too_long,
            &slash_at_the_end,
        ] {
            assert!(
                RoomPattern::parse(&format!("{prefix}*")).is_err(),
                "{prefix}"
            );
        }
    }

    #[test]
    fn the_star_of_a_pattern_is_its_last_character() {
        for text in ["a*b", "**", "*a", "a**"] {
            assert_eq!(RoomSelector::parse(text), Err(NameError::Pattern), "{text}");
        }

        assert_eq!(RoomPattern::parse("lobby"), Err(NameError::Pattern));
    }

    #[test]
    fn a_selector_is_a_room_or_a_pattern_and_is_written_as_it_was_parsed() {
        for (text, expected) in [
            ("lobby", RoomSelector::Room(room("lobby"))),
            ("class-*", RoomSelector::Pattern(pattern("class-*"))),
            ("*", RoomSelector::Pattern(RoomPattern::every_room())),
        ] {
            let parsed = RoomSelector::parse(text).expect("a selector");

            assert_eq!(parsed, expected);
            assert_eq!(parsed.to_string(), text);
            assert_eq!(serde_json::to_value(&parsed).expect("json"), text);
        }
    }

    #[test]
    fn a_pattern_covers_patterns_with_longer_prefixes() {
        for (wide, narrow, expected) in [
            ("*", "class-*", true),
            ("class-*", "class-*", true),
            ("class-*", "class-7*", true),
            ("class-7*", "class-*", false),
            ("class-*", "*", false),
        ] {
            assert_eq!(
                pattern(wide).covers(&pattern(narrow)),
                expected,
                "{wide} {narrow}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_exactly_the_names_that_begin_with_its_prefix(prefix in "[ab/]{0,3}", name in "[ab/]{1,5}") {
            let parsed = RoomPattern::parse(&format!("{prefix}*"));

            if let Ok(name) = RoomName::parse(&name) {
                let matches = parsed.is_ok_and(|pattern| pattern.matches(&name));
                prop_assert_eq!(matches, name.as_str().starts_with(&prefix));
            }
        }
    }
}
