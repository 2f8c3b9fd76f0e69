//! The way of a message into a room: numbered, appended, and then everyone is woken.

use std::sync::Arc;

use crate::protocol::Offset;
use crate::server::hub::{Hub, Room, lock};
use crate::server::room::Frame;

impl Hub {
    /// Appends `frames` in a row to `room` and makes a fan-out due; returns the offset of the last one.
    /// What came in one read is published in one go, so that it leaves in one write.
    pub fn publish(&self, room: &Arc<Room>, frames: impl IntoIterator<Item = Frame>) -> Offset {
        let mut log = lock(&room.log);
        for frame in frames {
            log.append(frame);
        }
        let head = log.head();
        drop(log);
        self.broadcast(room);
        head
    }
}
