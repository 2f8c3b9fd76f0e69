//! The rooms and patterns that a [`ReconnectingSocket`] reads, each with the position in it.

use anyhow::bail;

use super::ReconnectingSocket;
use crate::client::{Cursor, ReadPosition, Update};
use crate::protocol::{Push, RoomName, RoomSelector, UnsubscribeCode};

/// The subscriptions of a connection, at least one, in the order in which they are requested.
pub(in crate::cli) struct Subscriptions(Vec<Subscription>);

/// A room or pattern, and the position in it.
struct Subscription {
    room: RoomSelector,
    cursor: Cursor,
    /// True if the room accepts no more messages, and all were read.
    is_closed: bool,
}

impl Subscriptions {
    /// Creates subscriptions to `rooms` that start after `position`; without one, at the newest message.
    pub(in crate::cli) fn new(
        rooms: impl IntoIterator<Item = RoomSelector>,
        position: Option<&ReadPosition>,
    ) -> Self {
        let rooms = rooms.into_iter();
        Self(
            rooms
                .map(|room| Subscription::new(room, position.cloned()))
                .collect(),
        )
    }

    /// Returns the number of subscriptions.
    pub(in crate::cli) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the position in the first room, which is the only one of a socket that is subscribed from the start.
    pub(in crate::cli) fn first(&self) -> &Cursor {
        &self.0[0].cursor
    }

    /// Returns the only room, if there is one subscription and it is not to a pattern.
    pub(in crate::cli) fn only_room(&self) -> Option<&RoomName> {
        match self.0.as_slice() {
            [
                Subscription {
                    room: RoomSelector::Room(room),
                    ..
                },
            ] => Some(room),
            _ => None,
        }
    }

    /// Reports whether every message that the rooms had at the start of the subscriptions has been read; `false` while
    /// disconnected.
    pub(in crate::cli) fn have_caught_up(&self) -> bool {
        self.0.iter().all(|one| one.cursor.has_caught_up())
    }

    /// Reports whether all rooms are closed and read to their end.
    pub(in crate::cli) fn are_closed(&self) -> bool {
        self.0.iter().all(|one| one.is_closed)
    }

    /// Records the end of the connection.
    pub(in crate::cli) fn on_disconnect(&mut self) {
        self.0.iter_mut().for_each(|one| one.cursor.on_disconnect());
    }

    /// Records a frame of the server, and returns what it changes, each with its room. A message of several subscriptions
    /// is returned once. After a `welcome`, requests the subscriptions on `socket`, unless its URL has the only one.
    ///
    /// # Errors
    /// If the server refuses or ends a subscription.
    pub(in crate::cli) fn on_push(
        &mut self,
        socket: &mut ReconnectingSocket,
        push: &Push,
    ) -> anyhow::Result<Vec<(RoomSelector, Update)>> {
        match push {
            Push::Welcome(_) if !socket.has_room() => {
                for Subscription { room, cursor, .. } in &self.0 {
                    socket.send(&cursor.subscribe(room.clone()));
                }
            }
            Push::Error {
                message,
                retry: false,
                room: Some(room),
                key: None,
                ..
            } if !socket.has_room() => bail!("cannot read {room}: {message}"),
            // A pattern goes on without a room that was deleted, or from which the client is banned.
            Push::Unsubscribed {
                room,
                message,
                code,
            } if (!socket.has_room() || *code == UnsubscribeCode::RoomDeleted)
                && self.0.iter().any(|one| one.room == *room) =>
            {
                bail!("cannot read {room}: {message}")
            }
            Push::Closed { room, .. } => {
                for one in &mut self.0 {
                    one.is_closed |= one.room.as_str() == room.as_str();
                }
            }
            _ => {}
        }
        Ok(self.updates(push))
    }

    fn updates(&mut self, push: &Push) -> Vec<(RoomSelector, Update)> {
        let Some(name) = push.room() else {
            return Vec::new();
        };

        let mut updates = Vec::new();
        for Subscription { room, cursor, .. } in self.0.iter_mut().filter(|one| one.has(name)) {
            let of_room = cursor.on_push(push);
            if updates.is_empty() {
                updates = of_room
                    .into_iter()
                    .map(|update| (room.clone(), update))
                    .collect();
            }
        }
        updates
    }
}

impl Subscription {
    const fn new(room: RoomSelector, position: Option<ReadPosition>) -> Self {
        let cursor = match room {
            RoomSelector::Room(_) => Cursor::new(position),
            RoomSelector::Pattern(_) => Cursor::in_pattern(position),
        };
        Self {
            room,
            cursor,
            is_closed: false,
        }
    }

    /// Returns true if a frame about `name`, a room or a pattern, concerns this subscription.
    fn has(&self, name: &str) -> bool {
        self.room.as_str() == name
            || RoomName::parse(name).is_ok_and(|name| self.room.matches(&name))
    }
}
