//! The deletions that happen while a page of a room's log is being read from the store.

use std::sync::Arc;

use crate::server::hub::Room;
use crate::server::room::Frame;

/// The number of deleted messages of a room when a page was read.
#[derive(Clone, Copy, Debug)]
pub struct DeletionMark(u64);

impl Room {
    /// Returns the mark for a page that is about to be read.
    pub(super) fn deletion_mark(&self) -> DeletionMark {
        DeletionMark(self.log.lock().redactions())
    }

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
