//! The application of store changes to the rooms in memory. Changes are appended to the ring first, and then a
//! fan-out pass is queued.

use std::sync::Arc;

use tokio::task::yield_now;

use crate::server::hub::fanout::Fanout;
use crate::server::hub::{Room, Rooms};
use crate::server::store::{Changes, LogChange, Stored};

/// The largest number of commits that are applied before a pass is queued.
const COMMITS_AT_ONCE: usize = 64;

/// Applies `changes` in order, until the store is dropped.
pub(super) async fn apply_all(mut changes: Changes, rooms: &Rooms, fanout: &Fanout) {
    let mut commits = Vec::new();
    while changes.recv_many(&mut commits, COMMITS_AT_ONCE).await > 0 {
        let changes = commits.drain(..).flatten();
        let apply = |change| apply(change, rooms, fanout);
        let published: Vec<Arc<Room>> = changes.filter_map(apply).collect();
        if published.is_empty() {
            continue;
        }

        // Yielding lets publishers continue with their next messages, so that one pass sends both.
        yield_now().await;
        for room in published {
            if room.publish_finished() {
                fanout.queue(&room);
            }
        }
    }
}

/// Applies `change` or delivers the result. Returns the room if a publish of this node is finished.
fn apply(change: LogChange, rooms: &Rooms, fanout: &Fanout) -> Option<Arc<Room>> {
    match change {
        LogChange::Appended(room, frames) => {
            let room = rooms.get(&room)?;
            room.append(frames.iter());
            fanout.queue(&room);
        }
        LogChange::Deleted(room, offset, at) => {
            let room = rooms.get(&room)?;
            if room.erase(offset, at) {
                // In a large room it takes a while to notify all readers, so a separate task does it.
                tokio::spawn(async move { room.notify_deleted(offset, at).await });
            }
        }
        LogChange::AppendFinished(call, result) => {
            let room = rooms.get(&call.room);
            if let Some(room) = &room {
                room.append(result.iter().flatten().filter_map(Stored::frame));
            }
            call.deliver(result);
            return room;
        }
        LogChange::DeleteFinished(call, result) => call.deliver(result),
    }
    None
}
