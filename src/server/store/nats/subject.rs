//! The NATS subjects of rooms, such as `fanfare.room.lobby`.
//!
//! A dot separates the tokens of a subject, so a dot in the name of a room is written as `=`, which no room name may
//! contain. All other characters of a room name are valid in a subject.

use crate::protocol::RoomName;

/// The subjects of one service.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    /// The prefix of a room's messages; the room's token follows.
    rooms: String,
    /// The prefix of tombstones; the room's token and the offset follow.
    graves: String,
    /// The prefix of a room's newest offset; the room's token follows.
    heads: String,
    /// The prefix of commands; the name follows.
    orders: String,
    /// The prefix of rules; the name follows.
    rules: String,
}

/// The kind of a message of the stream, according to its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// A message of the room with this token.
    Message(&'a str),
    /// A tombstone in the room with this token, for the message at this offset.
    Grave(&'a str, u64),
    /// A command for every node.
    Order,
}

impl Subjects {
    /// Creates the subjects of the stream `name`.
    pub(super) fn new(name: &str) -> Self {
        let under = |what: &str| format!("{name}.{what}.");
        Self {
            rooms: under("room"),
            graves: under("gone"),
            heads: under("head"),
            orders: under("order"),
            rules: under("rule"),
        }
    }

    /// Returns the wildcard for the messages of all rooms.
    pub(super) fn all_rooms(&self) -> String {
        format!("{}>", self.rooms)
    }

    /// Returns the wildcards for everything that each node consumes.
    pub(super) fn followed(&self) -> Vec<String> {
        [&self.rooms, &self.graves, &self.orders]
            .map(|under| format!("{under}>"))
            .to_vec()
    }

    /// Returns the wildcard for the newest offsets of all rooms.
    pub(super) fn all_heads(&self) -> String {
        format!("{}>", self.heads)
    }

    /// Returns the wildcard for all rules.
    pub(super) fn all_rules(&self) -> String {
        format!("{}>", self.rules)
    }

    /// Returns the subject of the messages of `room`.
    pub(super) fn room(&self, room: &RoomName) -> String {
        format!("{}{}", self.rooms, token(room))
    }

    /// Returns the subject of the tombstone for the message at `offset` of `room`.
    pub(super) fn grave(&self, room: &RoomName, offset: u64) -> String {
        format!("{}{}.{offset}", self.graves, token(room))
    }

    /// Returns the wildcard for all tombstones of `room`.
    pub(super) fn graves(&self, room: &RoomName) -> String {
        format!("{}{}.*", self.graves, token(room))
    }

    /// Returns the subject of the newest offset of `room`.
    pub(super) fn head(&self, room: &RoomName) -> String {
        format!("{}{}", self.heads, token(room))
    }

    /// Returns the subject of a command; `name` is one token.
    pub(super) fn order(&self, name: &str) -> String {
        format!("{}{name}", self.orders)
    }

    /// Returns the subject of a rule; `name` is one token.
    pub(super) fn rule(&self, name: &str) -> String {
        format!("{}{name}", self.rules)
    }

    /// Returns the kind of a message with `subject`; `None` if the subject is unknown.
    pub(super) fn place_of<'a>(&self, subject: &'a str) -> Option<Place<'a>> {
        if let Some(token) = subject.strip_prefix(&self.rooms) {
            return Some(Place::Message(token));
        }
        if let Some(grave) = subject.strip_prefix(&self.graves) {
            let (token, offset) = grave.rsplit_once('.')?;
            return Some(Place::Grave(token, offset.parse().ok()?));
        }
        subject.starts_with(&self.orders).then_some(Place::Order)
    }
}

/// Returns the name of `room` as one token.
pub(super) fn token(room: &RoomName) -> String {
    room.as_str().replace('.', "=")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn room_name() -> impl Strategy<Value = String> {
        "[a-z0-9_.-]{1,64}".prop_filter("a room", |name| RoomName::parse(name).is_ok())
    }

    proptest! {
        #[test]
        fn each_room_has_one_token_of_its_own(
            one in room_name(), other in room_name(), offset: u64,
        ) {
            let subjects = Subjects::new("fanfare");
            let subject = |name: &str| subjects.room(&RoomName::parse(name).expect("a name"));

            let (first, second) = (subject(&one), subject(&other));
            prop_assert_eq!(first == second, one == other);
            prop_assert_eq!(first.split('.').count(), 3);
            prop_assert!(first.split('.').all(|token| !token.is_empty()));
            prop_assert!(!first.contains(['*', '>', ' ', '\r', '\n', '\t']));

            let token = one.replace('.', "=");
            prop_assert_eq!(subjects.place_of(&first), Some(Place::Message(&token)));

            let grave = subjects.grave(&RoomName::parse(&one).expect("a name"), offset);
            prop_assert_eq!(subjects.place_of(&grave), Some(Place::Grave(&token, offset)));
        }
    }

    #[test]
    fn what_is_of_no_room_has_no_place_in_one() {
        let subjects = Subjects::new("fanfare");
        assert_eq!(subjects.place_of(&subjects.order("x")), Some(Place::Order));
        for subject in [
            "fanfare.gone.lobby",
            "fanfare.gone.lobby.x",
            "fanfare.nodes",
            "other.room.lobby",
        ] {
            assert_eq!(subjects.place_of(subject), None, "{subject}");
        }
    }
}
