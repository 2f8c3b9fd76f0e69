//! The events of rooms that are not messages, for readers that are no connections. They are not stored: a reader that is
//! too slow loses the oldest.

use tokio::sync::broadcast;

use crate::protocol::{Offset, RoomName, UserId};

/// The number of events that wait for a slow reader.
const CAPACITY: usize = 1024;

/// An event of a room.
#[derive(Clone, Debug)]
pub enum RoomEvent {
    /// Users have joined or left.
    Presence {
        /// The room.
        room: RoomName,
        /// The number of users in the room.
        count: usize,
        /// The users who joined; empty in a large room.
        joined: Vec<UserId>,
        /// The users who left; empty in a large room.
        left: Vec<UserId>,
        /// True if joins and leaves of the room are messages too.
        is_logged: bool,
    },
    /// The room accepts no more messages.
    Closed {
        /// The room.
        room: RoomName,
        /// The offset of its last message.
        offset: Offset,
    },
}

/// The channel of the events. A cheap handle.
#[derive(Clone, Debug)]
pub(super) struct RoomEvents(broadcast::Sender<RoomEvent>);

impl Default for RoomEvents {
    fn default() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }
}

impl RoomEvents {
    /// Returns a receiver of all events from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<RoomEvent> {
        self.0.subscribe()
    }

    /// Sends the event that `event` returns, if there are receivers.
    pub(super) fn send(&self, event: impl FnOnce() -> RoomEvent) {
        if self.0.receiver_count() > 0 {
            // Sending fails only if the last receiver has just gone.
            let _ = self.0.send(event());
        }
    }
}
