//! Frames and messages for tests, which change the fields that they depend on.

use crate::protocol::{
    Body, Epoch, MessageFields, Offset, Publication, Recovery, RoomName, Subscribed, UserId,
    Welcome,
};

pub(crate) fn room(name: &str) -> RoomName {
    RoomName::parse(name).expect("a room name")
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::parse(id).expect("a user id")
}

/// Returns a user id that is different for each number.
pub(crate) fn numbered_user(number: usize) -> UserId {
    user(&format!("user-{number}"))
}

/// Returns the first frame of a connection to a server that reports no limit of the rate.
pub(crate) fn welcome() -> Welcome {
    Welcome {
        connection: 1,
        id: UserId::anonymous(),
        heartbeat_ms: 25_000,
        expire_ms: 60_000,
        max_message: 100,
        message_rate: None,
        message_burst: None,
        max_subscriptions: 128,
    }
}

/// Returns the start of a subscription to an empty lobby.
pub(crate) fn subscribed() -> Subscribed {
    Subscribed {
        room: RoomName::lobby().into(),
        closed: false,
        epoch: Epoch::new(1),
        head: Offset(0),
        first: Offset(0),
        recovery: Recovery::Fresh,
        count: 1,
        members: None,
    }
}

/// Returns a message in the lobby, after the one at the offset before it.
pub(crate) fn publication(offset: u64, text: &str) -> Publication {
    Publication {
        room: RoomName::lobby(),
        offset: Offset(offset),
        prev: Offset(offset - 1),
        at: 0,
        from: UserId::anonymous(),
        body: Body::Text(text.to_owned()),
        fields: MessageFields::default(),
    }
}
