//! The way of a message into a room: stored and numbered, appended to the ring, and then everyone is woken.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::protocol::RoomName;
use crate::server::hub::{Hub, Room};
use crate::server::metrics::{self, PublishResult};
use crate::server::room::Draft;
use crate::server::spans::PublishSpan;
use crate::server::store::{Bounds, Change, Report, StoreError, Stored};

/// What the store has answered and nobody was handed yet. Dropping it makes a pass due, unless the next answer of
/// the room is on its way: so whoever has more to publish does that first.
#[derive(Debug)]
pub struct Due {
    hub: Hub,
    room: Arc<Room>,
}

impl Drop for Due {
    fn drop(&mut self) {
        if self.room.answered() {
            self.hub.broadcast(&self.room);
        }
    }
}

impl Hub {
    /// Stores `drafts` in a row, adds what is new of them to the log, and then tells `told` what became of each;
    /// what is new is broadcast when `told` lets go of what is [`Due`]. What came in one read is published in one
    /// go, so that it leaves in one write.
    pub fn publish(
        &self,
        room: &Arc<Room>,
        drafts: Vec<Draft>,
        told: impl FnOnce(Result<Vec<Stored>, StoreError>, Due) + Send + 'static,
    ) {
        let report = self.report(room, drafts.len(), told);
        let store = &self.0.store;
        store.append(room.name(), drafts, now_millis(), report);
    }

    /// Does the same with `drafts` that belong together: see [`Store::append_batch`].
    ///
    /// [`Store::append_batch`]: crate::server::store::Store::append_batch
    pub fn publish_batch(
        &self,
        room: &Arc<Room>,
        drafts: Vec<Draft>,
        told: impl FnOnce(Result<Vec<Stored>, StoreError>, Due) + Send + 'static,
    ) {
        let report = self.report(room, drafts.len(), told);
        let store = &self.0.store;
        store.append_batch(room.name(), drafts, now_millis(), report);
    }

    /// Returns what the store calls when it has stored or refused so many `messages` of `room`.
    fn report(
        &self,
        room: &Arc<Room>,
        messages: usize,
        told: impl FnOnce(Result<Vec<Stored>, StoreError>, Due) + Send + 'static,
    ) -> Report {
        let due = Due {
            hub: self.clone(),
            room: room.clone(),
        };
        room.asked();
        let (asked, span) = (Instant::now(), PublishSpan::begin());

        Box::new(move |result: Result<Vec<Stored>, StoreError>| {
            metrics::record_ack_latency(asked.elapsed());
            count(messages, &result);
            if let Some(span) = span {
                trace(*span, &due.room, messages, &result);
            }
            if let Ok(stored) = &result {
                due.room
                    .take(stored.iter().filter_map(|stored| match stored {
                        Stored::New(frame) => Some(frame),
                        Stored::Duplicate { .. } => None,
                    }));
            }
            told(result, due);
        })
    }

    /// The store tells what happened to the room `name`, by this node or another.
    pub(super) fn hear(&self, name: &RoomName, change: Change<'_>) {
        let Some(room) = self.known(name) else { return };
        match change {
            Change::Appended(frames) => {
                room.take(frames.iter());
                self.broadcast(&room);
            }
            Change::Deleted { offset, at } => {
                if room.erase(offset, at) {
                    // It takes a while in a large room.
                    tokio::spawn(async move { room.tell_deleted(offset, at).await });
                }
            }
        }
    }

    /// Waits until what was published before is stored and in its ring, or refused.
    pub(super) async fn settle(&self) {
        let (settled, told) = oneshot::channel();
        // Reports come in order, so that of nothing comes after all the others.
        let report = Box::new(move |_nothing| {
            // The receiver is gone only if nobody waits any more.
            let _sent = settled.send(());
        });
        self.0
            .store
            .append(&RoomName::lobby(), Vec::new(), now_millis(), report);
        let _told = told.await;
    }

    /// Where the log of `room` stands.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub fn bounds(&self, room: &Room) -> Result<Bounds, StoreError> {
        self.0.store.bounds(room.name())
    }
}

impl Hub {
    /// Returns whether the next message of `room` creates it in the store.
    pub fn is_new(&self, room: &Room) -> bool {
        room.holds_nothing() && self.is_unknown(room)
    }

    /// Returns whether the store has nothing of `room`: nothing was ever published there, or it was dropped.
    pub(super) fn is_unknown(&self, room: &Room) -> bool {
        self.bounds(room)
            .is_ok_and(|bounds| bounds.head == bounds.base)
    }
}

fn count(messages: usize, result: &Result<Vec<Stored>, StoreError>) {
    let Ok(stored) = result else {
        return metrics::count_published(messages, PublishResult::Refused);
    };
    let new = stored
        .iter()
        .filter(|stored| matches!(stored, Stored::New(_)))
        .count();
    metrics::count_published(new, PublishResult::Stored);
    metrics::count_published(stored.len() - new, PublishResult::Duplicate);
}

fn trace(
    span: PublishSpan,
    room: &Room,
    messages: usize,
    result: &Result<Vec<Stored>, StoreError>,
) {
    let offset = |stored: &Stored| match stored {
        Stored::New(frame) => frame.offset(),
        Stored::Duplicate { offset, .. } => *offset,
    };
    let answer = result
        .as_ref()
        .map(|stored| stored.last().map(offset))
        .map_err(ToString::to_string);
    span.end(room.name(), messages, answer);
}

/// Milliseconds since 1970 UTC.
pub(super) fn now_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
