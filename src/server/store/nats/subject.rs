//! Rooms as NATS subjects: `fanfare.room.lobby`. A dot in a room's name would part tokens, so it is written `=`,
//! which no room's name may have; all else that a name may have is plain in a subject.

use crate::protocol::RoomName;

/// The subjects of one stream.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    /// Before a room's token.
    rooms: String,
    /// Before a room's token, where its newest offset is kept.
    heads: String,
}

impl Subjects {
    /// Those of the stream `name`.
    pub(super) fn new(name: &str) -> Self {
        Self { rooms: format!("{name}.room."), heads: format!("{name}.head.") }
    }

    /// Of every room's messages.
    pub(super) fn all_rooms(&self) -> String {
        format!("{}>", self.rooms)
    }

    /// Of every room's newest offset.
    pub(super) fn all_heads(&self) -> String {
        format!("{}>", self.heads)
    }

    /// Of the messages of `room`.
    pub(super) fn room(&self, room: &RoomName) -> String {
        format!("{}{}", self.rooms, token(room))
    }

    /// Of the newest offset of `room`.
    pub(super) fn head(&self, room: &RoomName) -> String {
        format!("{}{}", self.heads, token(room))
    }

    /// The room's token in the subject of a message.
    pub(super) fn token_of<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.rooms)
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

    proptest! {
        #[test]
        fn each_room_has_one_token_of_its_own(one in "[a-z0-9_.-]{1,64}", other in "[a-z0-9_.-]{1,64}") {
            let subjects = Subjects::new("fanfare");
            let subject = |name: &str| subjects.room(&RoomName::parse(name).expect("a name"));
            let (first, second) = (subject(&one), subject(&other));
            prop_assert_eq!(first == second, one == other);
            prop_assert_eq!(first.split('.').count(), 3);
            prop_assert!(first.split('.').all(|token| !token.is_empty()));
            prop_assert!(!first.contains(['*', '>', ' ', '\r', '\n', '\t']));
            let token = one.replace('.', "=");
            prop_assert_eq!(subjects.token_of(&first), Some(token.as_str()));
        }
    }
}
