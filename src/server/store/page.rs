//! Pages of a log: the range to read, the limits, and the result. A page is bounded by the number of entries and by
//! bytes, but has at least one entry if any exists.

use std::sync::Arc;

use crate::protocol::Offset;
use crate::server::room::Frame;

/// The largest size of a page in bytes, unless one entry is larger: the most that one request of a client may hold in
/// memory.
pub const PAGE_BYTES: usize = 256 * 1024;

/// The range of entries to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The entries after this offset, oldest first.
    After(Offset),
    /// The newest entries before this offset.
    Before(Offset),
    /// The newest entries.
    Newest,
}

/// The largest size of a [`Page`]. One entry is always returned, even if it exceeds `bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The number of entries.
    pub messages: usize,
    /// The total size of the entries in bytes, as counted by [`Frame::size`].
    pub bytes: usize,
}

impl Limit {
    /// Returns the limit of a page of at most `messages` entries.
    pub const fn page(messages: usize) -> Self {
        Self {
            messages,
            bytes: PAGE_BYTES,
        }
    }
}

/// Consecutive entries of a log.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries, oldest first.
    pub frames: Vec<Arc<Frame>>,
    /// True if there are more entries in the direction of the [`Span`].
    pub more: bool,
    /// The newest offset that was trimmed when the page was read; `None` if the store does not know it. Later
    /// messages that are missing from the page are damaged.
    pub gone: Option<Offset>,
}

impl Page {
    /// Returns as many of `frames` as `limit` allows. `frames` must be ordered oldest first.
    pub(super) fn oldest<'a>(frames: impl Iterator<Item = &'a Arc<Frame>>, limit: Limit) -> Self {
        let mut page = Self::default();
        let mut bytes = 0;

        for frame in frames {
            bytes += frame.size();
            if page.frames.len() == limit.messages
                || (bytes > limit.bytes && !page.frames.is_empty())
            {
                page.more = true;
                break;
            }
            page.frames.push(frame.clone());
        }

        page
    }

    /// Returns as many of `frames` as `limit` allows. `frames` must be ordered newest first.
    pub(super) fn newest<'a>(frames: impl Iterator<Item = &'a Arc<Frame>>, limit: Limit) -> Self {
        let mut page = Self::oldest(frames, limit);
        page.frames.reverse();
        page
    }
}
