//! Taking back what was said: out of the store, out of the ring, and word to those who may show it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::protocol::Offset;
use crate::protocol::Push;
use crate::server::hub::fanout::WRITES_PER_TURN;
use crate::server::hub::publish::now_millis;
use crate::server::hub::{Hub, Room};
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
            let is_news = result == Ok(Deleted::Now) && erased_from.erase(offset, at);
            // The receiver is gone only if nobody waits any more.
            let _sent = told.send((result, is_news));
        });
        self.0.store.delete(room.name(), offset, at, report);
        let gone = |_| StoreError::Unavailable("it did not answer".to_owned());
        let (deleted, is_news) = answer.await.map_err(gone)?;
        if is_news {
            room.tell_deleted(offset, at).await;
        }
        deleted
    }
}

impl Room {
    /// What was said at `offset` is gone since `at`, in milliseconds since 1970 UTC: out of the ring too. Whether
    /// readers are to be told.
    pub(super) fn erase(&self, offset: Offset, at: u64) -> bool {
        let mut log = self.log.lock();
        let is_news = log.redact(offset, at);
        self.erasures.store(log.redactions(), Ordering::Release);
        is_news
    }

    /// Tells every reader what was deleted.
    pub(super) async fn tell_deleted(&self, offset: Offset, at: u64) {
        let push = Push::Deleted { offset, at };
        for (number, reader) in self.readers().iter().enumerate() {
            if number % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            reader.say(&push);
        }
    }

    /// What a reader is told that comes back and had read all up to `seen`: what was deleted of it lately.
    pub fn deleted(&self, seen: Offset) -> Vec<Push> {
        let erased = self.log.lock().redacted(seen);
        erased
            .into_iter()
            .map(|(offset, at)| Push::Deleted { offset, at })
            .collect()
    }
}
