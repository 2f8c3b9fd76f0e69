//! Taking back what was said: out of the store, out of the ring, and word to those who may show it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::protocol::Offset;
use crate::protocol::Push;
use crate::server::hub::fanout::WRITES_PER_TURN;
use crate::server::hub::publish::now_millis;
use crate::server::hub::{Hub, Room, lock};
use crate::server::store::{Deleted, StoreError};

impl Hub {
    /// Deletes what was said at `offset` of `room`. A tombstone stays in its place, so that no reader sees a gap.
    ///
    /// # Errors
    /// If the store cannot do so now.
    pub async fn delete(&self, room: &Arc<Room>, offset: Offset) -> Result<Deleted, StoreError> {
        let at = now_millis();
        let (told, answer) = oneshot::channel();
        let erased_from = room.clone();
        let report = Box::new(move |result| {
            // In the order of the store's reports: what is deleted is in the ring by now, or no longer.
            if let Ok(Deleted::Now(tombstone)) = &result {
                lock(&erased_from.log).erase(Arc::clone(tombstone), at);
            }
            // The receiver is gone only if nobody waits any more.
            let _sent = told.send(result);
        });
        self.0.store.delete(room.name(), offset, at, report);
        let gone = |_| StoreError::Unavailable("it did not answer".to_owned());
        let deleted = answer.await.map_err(gone)??;
        if matches!(deleted, Deleted::Now(_)) {
            let push = Push::Deleted { offset, at };
            for (number, reader) in room.readers().iter().enumerate() {
                if number % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                    tokio::task::yield_now().await;
                }
                reader.say(&push);
            }
        }
        Ok(deleted)
    }
}

impl Room {
    /// What a reader is told that comes back and had read all up to `seen`: what was deleted of it lately.
    pub fn deleted(&self, seen: Offset) -> Vec<Push> {
        let erased = lock(&self.log).erased(seen);
        erased.into_iter().map(|(offset, at)| Push::Deleted { offset, at }).collect()
    }
}
