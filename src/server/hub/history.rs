//! A check for deletions that happen while a page of a room's log is being read from the store. The reader takes a
//! [`DeletionMark`] before the read, and redacts the page with it afterwards.

use std::sync::Arc;

use crate::server::hub::Room;
use crate::server::room::Frame;

/// The number of deletions in a room at the time a page is read.
#[derive(Clone, Copy, Debug)]
pub struct DeletionMark(u64);

impl Room {
    /// Returns the mark to take before a page is read.
    pub(super) fn deletion_mark(&self) -> DeletionMark {
        DeletionMark(self.log.lock().redactions())
    }

    /// Replaces those of `frames` that were deleted since `mark` with tombstones. Returns false if that was not
    /// possible: a room keeps only its newest deletions, and if there were more, the page must be read again.
    ///
    /// For a reader that is notified of deletions, call this under the lock under which it is notified. Then either
    /// the page contains the tombstone, or the notification comes after it.
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
