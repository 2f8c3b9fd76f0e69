//! The grants of a token: rooms by name or by prefix, each with an [`Access`].
//!
//! In a token they are the claim `rooms`, an object like `{"lobby": "rw", "class-*": "r"}`. Grants only add up: no
//! grant takes away what another one allows.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::protocol::{RoomName, RoomPattern, RoomSelector};

/// A kind of action in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Receive messages, read the history, list the members.
    Read,
    /// Publish messages.
    Write,
    /// Remove clients and messages.
    Admin,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

/// The rights that one grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `r`: read.
    Read,
    /// `w`: write.
    Write,
    /// `rw`: both.
    ReadWrite,
    /// `admin`: all rights.
    Admin,
}

impl Access {
    const ALL: [Self; 4] = [Self::Read, Self::Write, Self::ReadWrite, Self::Admin];

    /// Returns the form in tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Write => "w",
            Self::ReadWrite => "rw",
            Self::Admin => "admin",
        }
    }

    /// Returns the rights of both.
    const fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Admin, _) | (_, Self::Admin) => Self::Admin,
            (Self::Read, Self::Read) => Self::Read,
            (Self::Write, Self::Write) => Self::Write,
            _ => Self::ReadWrite,
        }
    }

    const fn allows(self, right: Right) -> bool {
        match right {
            Right::Read => matches!(self, Self::Read | Self::ReadWrite | Self::Admin),
            Right::Write => matches!(self, Self::Write | Self::ReadWrite | Self::Admin),
            Right::Admin => matches!(self, Self::Admin),
        }
    }
}

/// The error of a text that is not a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The room is neither a name nor a prefix with `*`.
    #[error(
        "the room of a grant is a name of A-Z a-z 0-9 - _ . : @ ~ / or a prefix with *, like lobby, class-* or *"
    )]
    Rooms,
    /// Unknown access.
    #[error("the access of a grant is r, w, rw or admin")]
    Access,
    /// The text has no `:`.
    #[error("a grant is ROOM:ACCESS, like lobby:rw, class-*:r or *:admin")]
    Form,
}

/// The grants of one token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, String>",
    into = "BTreeMap<String, String>"
)]
pub struct Grants(Vec<(RoomSelector, Access)>);

impl Grants {
    /// Adds all grants of `others`.
    pub(super) fn extend(&mut self, others: &Self) {
        for (rooms, access) in &others.0 {
            self.insert(rooms.clone(), *access);
        }
    }

    /// Adds the grant of `access` to `rooms`.
    fn insert(&mut self, rooms: RoomSelector, access: Access) {
        match self.0.iter_mut().find(|(pattern, _)| *pattern == rooms) {
            Some((_, existing)) => *existing = existing.with(access),
            None => self.0.push((rooms, access)),
        }
    }

    /// Adds a grant in the form `ROOM:ACCESS`.
    ///
    /// # Errors
    /// The part that is not valid, and the allowed values.
    pub fn add(&mut self, text: &str) -> Result<(), GrantError> {
        let (rooms, access) = text.rsplit_once(':').ok_or(GrantError::Form)?;
        let (rooms, access) = grant(rooms, access)?;
        self.insert(rooms, access);
        Ok(())
    }

    /// Returns true if the grants allow `right` in `room`.
    pub fn allow(&self, right: Right, room: &RoomName) -> bool {
        self.0
            .iter()
            .any(|(rooms, access)| access.allows(right) && rooms.matches(room))
    }

    /// Returns true if the grants allow `right` in at least one room.
    pub fn allow_anywhere(&self, right: Right) -> bool {
        self.0.iter().any(|(_, access)| access.allows(right))
    }

    /// Returns true if the grants allow `right` in every room, including future ones.
    pub fn allow_everywhere(&self, right: Right) -> bool {
        self.covers(right, &RoomPattern::every_room())
    }

    /// Returns true if one grant allows `right` in every room that `pattern` matches, including future ones.
    pub fn covers(&self, right: Right, pattern: &RoomPattern) -> bool {
        self.0.iter().any(|(rooms, access)| {
            access.allows(right)
                && matches!(rooms, RoomSelector::Pattern(granted) if granted.covers(pattern))
        })
    }
}

/// Parses a grant from its two halves.
fn grant(rooms: &str, access: &str) -> Result<(RoomSelector, Access), GrantError> {
    let access = Access::ALL
        .into_iter()
        .find(|known| known.as_str() == access)
        .ok_or(GrantError::Access)?;
    let rooms = RoomSelector::parse(rooms).map_err(|_| GrantError::Rooms)?;

    Ok((rooms, access))
}

impl TryFrom<BTreeMap<String, String>> for Grants {
    type Error = GrantError;

    fn try_from(claim: BTreeMap<String, String>) -> Result<Self, GrantError> {
        claim
            .iter()
            .map(|(rooms, access)| grant(rooms, access))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<Grants> for BTreeMap<String, String> {
    fn from(grants: Grants) -> Self {
        grants
            .0
            .into_iter()
            .map(|(rooms, access)| (rooms.to_string(), access.as_str().to_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RIGHTS: [Right; 3] = [Right::Read, Right::Write, Right::Admin];

    fn grants(texts: &[&str]) -> Grants {
        let mut grants = Grants::default();
        texts
            .iter()
            .for_each(|text| grants.add(text).expect("a grant"));
        grants
    }

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).expect("a name")
    }

    #[test]
    fn a_grant_is_for_one_room_or_for_all_rooms_with_a_prefix() {
        let grants = grants(&[
            "lobby:rw",
            "class-*:r",
            "ops:w",
            "staff-*:admin",
            "runs/EU:7:rw",
        ]);

        for (name, expected) in [
            ("lobby", [true, true, false]),
            ("lobby2", [false, false, false]),
            ("lobb", [false, false, false]),
            ("class-", [true, false, false]),
            ("class-7b", [true, false, false]),
            ("class", [false, false, false]),
            ("ops", [false, true, false]),
            ("staff-room", [true, true, true]),
            ("runs/EU:7", [true, true, false]),
            ("runs/eu:7", [false, false, false]),
        ] {
            assert_eq!(
                RIGHTS.map(|right| grants.allow(right, &room(name))),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn only_a_grant_for_every_room_allows_a_right_everywhere() {
        let prefix = grants(&["staff-*:admin"]);

        assert!(!prefix.allow_everywhere(Right::Admin));
        assert!(grants(&["*:admin"]).allow_everywhere(Right::Admin));
        assert!(!grants(&["*:rw"]).allow_everywhere(Right::Admin));
    }

    #[test]
    fn a_pattern_is_covered_by_one_grant_for_all_of_its_rooms() {
        let grants = grants(&["class-*:r", "lobby:rw", "ops-:w", "ops-*:w"]);

        for (pattern, expected) in [
            ("class-*", [true, false, false]),
            ("class-7*", [true, false, false]),
            ("class*", [false, false, false]),
            ("*", [false, false, false]),
            ("lobby*", [false, false, false]),
            ("ops-*", [false, true, false]),
        ] {
            let rooms = RoomPattern::parse(pattern).expect("a pattern");

            assert_eq!(
                RIGHTS.map(|right| grants.covers(right, &rooms)),
                expected,
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_malformed_grant_has_an_error_for_its_wrong_part() {
        for (text, error) in [
            ("lobby", GrantError::Form),
            ("lobby:x", GrantError::Access),
            ("lobby:", GrantError::Access),
            ("lobby:RW", GrantError::Access),
            (":rw", GrantError::Rooms),
            ("a b:rw", GrantError::Rooms),
            ("a*b:rw", GrantError::Rooms),
            ("**:rw", GrantError::Rooms),
            ("a//b:rw", GrantError::Rooms),
            ("a//*:rw", GrantError::Rooms),
        ] {
            assert_eq!(Grants::default().add(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_prefix_matches_exactly_the_names_that_begin_with_it(prefix in "[a-c]{0,3}", name in "[a-c]{1,5}") {
            let grants = grants(&[&format!("{prefix}*:r")]);

            prop_assert_eq!(grants.allow(Right::Read, &room(&name)), name.starts_with(&prefix));
        }

        #[test]
        fn grants_only_add_up(
            first in "[a-c]{1,2}[*]?:(r|w|rw|admin)",
            second in "[a-c]{1,2}[*]?:(r|w|rw|admin)",
            name in "[a-c]{1,3}",
        ) {
            let both = grants(&[&first, &second]);

            for right in RIGHTS {
                let expected = [&first, &second].iter().any(|grant| grants(&[grant]).allow(right, &room(&name)));
                prop_assert_eq!(both.allow(right, &room(&name)), expected);
            }
        }

        #[test]
        fn added_grants_are_the_same_as_a_claim(
            texts in prop::collection::vec("[ab][*]?:(r|w|rw|admin)", 0..6),
            name in "[ab]{1,2}",
        ) {
            let added = grants(&texts.iter().map(String::as_str).collect::<Vec<_>>());

            let claimed = Grants::try_from(BTreeMap::from(added.clone())).expect("grants");

            for right in RIGHTS {
                prop_assert_eq!(claimed.allow(right, &room(&name)), added.allow(right, &room(&name)));
            }
        }

        #[test]
        fn a_claim_is_parsed_and_written_unchanged(texts in prop::collection::btree_map("[a-c]{1,3}[*]?", "r|w|rw|admin", 0..5)) {
            let grants = Grants::try_from(texts.clone()).expect("grants");

            prop_assert_eq!(BTreeMap::from(grants), texts);
        }
    }
}
