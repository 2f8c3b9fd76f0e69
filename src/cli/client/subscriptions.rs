//! The rooms and patterns that a [`ReconnectingSocket`] reads, each with the position in it.

use std::time::Duration;

use anyhow::bail;

use super::ReconnectingSocket;
use crate::client::{Cursor, ReadPosition, Update};
use crate::protocol::{Publication, Push, RoomName, RoomSelector, UnsubscribeCode};

/// The pause before another attempt if the server refuses a subscription for now.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// The subscriptions of a connection, at least one, in the order in which they are requested.
pub(in crate::cli) struct SocketSubscriptions(Vec<SocketSubscription>);

/// A room or pattern, and the position in it.
struct SocketSubscription {
    room: RoomSelector,
    cursor: Cursor,
    /// True if the room accepts no more messages, and all were read.
    is_closed: bool,
}

impl SocketSubscriptions {
    /// Creates subscriptions to `rooms` that start after `position`; without one, at the newest message.
    pub(in crate::cli) fn new(
        rooms: impl IntoIterator<Item = RoomSelector>,
        position: Option<&ReadPosition>,
    ) -> Self {
        let rooms = rooms.into_iter();
        Self(
            rooms
                .map(|room| SocketSubscription::new(room, position.cloned()))
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
                SocketSubscription {
                    room: RoomSelector::Room(room),
                    ..
                },
            ] => Some(room),
            _ => None,
        }
    }

    /// Returns true if every message that the rooms had at the start of the subscriptions has been read; `false` while
    /// disconnected.
    pub(in crate::cli) fn have_caught_up(&self) -> bool {
        self.0.iter().all(|one| one.cursor.has_caught_up())
    }

    /// Returns the position up to which all messages of all rooms were read; `None` before the first subscription. A room
    /// that is still catching up may have older messages than those of the others.
    pub(in crate::cli) fn position(&self) -> Option<&ReadPosition> {
        let positions = self.0.iter().map(|one| one.cursor.position());
        let positions: Vec<&ReadPosition> = positions.collect::<Option<_>>()?;
        let is_behind = |(one, _): &(&SocketSubscription, _)| !one.cursor.has_caught_up();

        let behind = self.0.iter().zip(&positions).filter(is_behind);
        let oldest = behind
            .map(|(_, position)| *position)
            .min_by_key(|position| position.offset);
        oldest.or_else(|| positions.into_iter().max_by_key(|position| position.offset))
    }

    /// Returns true if all rooms are closed and read to their end.
    pub(in crate::cli) fn are_closed(&self) -> bool {
        self.0.iter().all(|one| one.is_closed)
    }

    /// Records the end of the connection.
    pub(in crate::cli) fn on_disconnect(&mut self) {
        self.0.iter_mut().for_each(|one| one.cursor.on_disconnect());
    }

    /// Records a frame of the server, and returns what it changes, each with its room. A message of several subscriptions
    /// is returned once. After a `welcome`, requests the subscriptions on `socket`, unless its URL has the only one. If one is
    /// refused for now, the socket reconnects after a pause.
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
                for SocketSubscription { room, cursor, .. } in &self.0 {
                    socket.send(&cursor.subscribe(room.clone()));
                }
            }
            Push::Error {
                message,
                retry,
                room: Some(room),
                key: None,
                ..
            } if !socket.has_room() && self.is_pending(room) => {
                if !retry {
                    bail!("cannot read {room}: {message}");
                }

                socket.reconnect_after(RETRY_PAUSE);
            }
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

    /// Returns true if the server has not confirmed the subscription to `room` on this connection.
    fn is_pending(&self, room: &RoomSelector) -> bool {
        let mut subscriptions = self.0.iter();
        subscriptions.any(|one| one.room == *room && !one.cursor.is_subscribed())
    }

    fn updates(&mut self, push: &Push) -> Vec<(RoomSelector, Update)> {
        let mut updates = Vec::new();
        for SocketSubscription { room, cursor, .. } in self.0.iter_mut().filter(|one| one.has(push))
        {
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

impl SocketSubscription {
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

    /// Returns true if `push` is about this subscription, or about a message of it.
    fn has(&self, push: &Push) -> bool {
        match push {
            Push::Message(Publication { room, .. }) | Push::Deleted { room, .. } => {
                self.room.matches(room)
            }
            _ => push.room() == Some(self.room.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscribed_frame_of_a_room_does_not_move_a_pattern_that_matches_it() {
        let rooms = ["a-*", "a-1"].map(|room| RoomSelector::parse(room).expect("a selector"));
        let mut subscriptions = SocketSubscriptions::new(rooms, None);
        let push = |json: &str| Push::decode(json).expect("a frame");
        let subscribed = push(
            r#"{"type":"subscribed","room":"a-1","epoch":"5f3e9a01","head":9,"first":1,"recovery":"fresh","count":1}"#,
        );
        let message = push(
            r#"{"type":"message","room":"a-1","offset":10,"prev":9,"at":0,"from":"bob","text":"hello"}"#,
        );

        assert_eq!(subscriptions.updates(&subscribed), []);

        assert!(!subscriptions.0[0].cursor.is_subscribed());
        assert!(subscriptions.0[1].cursor.is_subscribed());
        let updates = subscriptions.updates(&message);
        assert_eq!(updates.len(), 1, "{updates:?}");
    }
}
