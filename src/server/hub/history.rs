//! Pages of a room's log, and the deletions that happen while a page is being read from the store.

use std::sync::Arc;

use crate::server::hub::{Hub, Room};
use crate::server::room::Frame;
use crate::server::store::{Limit, Page, Span, StoreError};

/// Bytes of a page of history: what one client may make wait for itself by asking once.
const PAGE_BYTES: usize = 256 * 1024;

/// The number of deleted messages of a room when a page was read.
#[derive(Clone, Copy, Debug)]
pub struct DeletionMark(u64);

impl Hub {
    /// Reads at most `messages` entries of `room` from the store, and at most [`PAGE_BYTES`] of them. Before they are
    /// passed to a reader that is notified of deletions, call [`Room::redact`].
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn read_page(
        &self,
        room: &Room,
        span: Span,
        messages: usize,
    ) -> Result<(Page, DeletionMark), StoreError> {
        let mark = DeletionMark(room.log.lock().redactions());
        let limit = Limit {
            messages,
            bytes: PAGE_BYTES,
        };
        let page = self.0.store.read(room.name(), span, limit).await?;

        Ok((page, mark))
    }

    /// Reads like [`Hub::read_page`], for a reader that is not notified of deletions: messages deleted meanwhile are
    /// replaced.
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
    /// For a reader that is notified of deletions, call this under the lock under which it is notified. Then either the
    /// page has the tombstone, or the notification comes after it.
    #[must_use]
    pub fn redact(&self, frames: &mut [Arc<Frame>], mark: DeletionMark) -> bool {
        let log = self.log.lock();
        let Some(erased) = log.redacted_since(mark.0) else {
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
