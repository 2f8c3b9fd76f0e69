//! Rooms as NATS subjects: `fanfare.room.lobby`. A dot in a room's name would part tokens, so it is written `=`,
//! which no room's name may have; all else that a name may have is plain in a subject.

use crate::protocol::RoomName;

/// The subjects of one service.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    /// Before a room's token.
    rooms: String,
    /// Before a room's token and an offset, of what was deleted there.
    graves: String,
    /// Before a room's token, where its newest offset is kept.
    heads: String,
    /// Before what names an order.
    orders: String,
    /// Before what names a rule.
    rules: String,
}

/// What a message of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// Said in the room with this token.
    Message(&'a str),
    /// A tombstone there, for what was said at this offset.
    Grave(&'a str, u64),
    /// For every node.
    Order,
}

impl Subjects {
    /// Those of the stream `name`.
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

    /// Of every room's messages.
    pub(super) fn all_rooms(&self) -> String {
        format!("{}>", self.rooms)
    }

    /// Of all that every node follows.
    pub(super) fn followed(&self) -> Vec<String> {
        [&self.rooms, &self.graves, &self.orders]
            .map(|under| format!("{under}>"))
            .to_vec()
    }

    /// Of every room's newest offset.
    pub(super) fn all_heads(&self) -> String {
        format!("{}>", self.heads)
    }

    /// Of every rule.
    pub(super) fn all_rules(&self) -> String {
        format!("{}>", self.rules)
    }

    /// Of the messages of `room`.
    pub(super) fn room(&self, room: &RoomName) -> String {
        format!("{}{}", self.rooms, token(room))
    }

    /// Of the tombstone for what was said at `offset` of `room`.
    pub(super) fn grave(&self, room: &RoomName, offset: u64) -> String {
        format!("{}{}.{offset}", self.graves, token(room))
    }

    /// Of all tombstones of `room`.
    pub(super) fn graves(&self, room: &RoomName) -> String {
        format!("{}{}.*", self.graves, token(room))
    }

    /// Of the newest offset of `room`.
    pub(super) fn head(&self, room: &RoomName) -> String {
        format!("{}{}", self.heads, token(room))
    }

    /// Of an order; `name` is one token.
    pub(super) fn order(&self, name: &str) -> String {
        format!("{}{name}", self.orders)
    }

    /// Of a rule; `name` is one token.
    pub(super) fn rule(&self, name: &str) -> String {
        format!("{}{name}", self.rules)
    }

    /// What a message with `subject` is.
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

/// `room` as one token.
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
