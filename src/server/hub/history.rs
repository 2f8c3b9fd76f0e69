//! Pages of a room's log, and what was deleted of them while they were on their way from the store.

use std::sync::Arc;

use crate::server::hub::{Hub, Room, lock};
use crate::server::room::Frame;
use crate::server::store::{Limit, Page, Span, StoreError};

/// Bytes of a page of history: what one client may make wait for itself by asking once.
const PAGE_BYTES: usize = 256 * 1024;

/// How many messages of a room had been deleted when a page was read.
#[derive(Clone, Copy, Debug)]
pub struct DeletionMark(u64);

impl Hub {
    /// Reads at most `messages` entries of `room` from the store, and at most [`PAGE_BYTES`] of them. Before they are
    /// handed to a reader who is told of deletions, [`Room::redact`] is due.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn read_page(
        &self,
        room: &Room,
        span: Span,
        messages: usize,
    ) -> Result<(Page, DeletionMark), StoreError> {
        let mark = DeletionMark(lock(&room.log).erasures());
        let limit = Limit {
            messages,
            bytes: PAGE_BYTES,
        };
        let page = self.0.store.read(room.name(), span, limit).await?;

        Ok((page, mark))
    }

    /// The same, for a reader who is not told of deletions: without what has been deleted meanwhile.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn history(
        &self,
        room: &Room,
        span: Span,
        messages: usize,
    ) -> Result<Page, StoreError> {
        loop {
            let (mut page, mark) = self.read_page(room, span, messages).await?;
            if room.redact(&mut page.frames, mark) {
                return Ok(page);
            }
        }
    }
}

impl Room {
    /// Replaces those of `frames` by tombstones that were deleted since `mark`, before they were read. Returns whether that
    /// was possible: a room remembers only its newest deletions, and if there were more, the page must be read again.
    ///
    /// A reader who is told of deletions calls this under the lock under which it is told. Then either the page has the
    /// tombstone, or the deletion is told after it.
    #[must_use]
    pub fn redact(&self, frames: &mut [Arc<Frame>], mark: DeletionMark) -> bool {
        let log = lock(&self.log);
        let Some(erased) = log.erased_since(mark.0) else {
            return false;
        };

        for offset in erased {
            if let Ok(found) = frames.binary_search_by_key(&offset, |frame| frame.offset()) {
                frames[found] = Arc::new(frames[found].tombstone());
            }
        }
        true
    }
}
