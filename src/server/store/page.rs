//! Which entries of a log are read at once, and what comes of it.

use std::sync::Arc;

use crate::protocol::Offset;
use crate::server::room::Frame;

/// Which entries to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Those after this offset, the oldest of them first.
    After(Offset),
    /// Those before this offset, the newest of them.
    Before(Offset),
    /// The newest.
    Newest,
}

/// How large a [`Page`] may be; one entry always fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Entries.
    pub messages: usize,
    /// Bytes of them, as [`Frame::size`] counts.
    pub bytes: usize,
}

/// Some entries in a row.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Oldest first.
    pub frames: Vec<Arc<Frame>>,
    /// Whether there are more, in the direction of the [`Span`].
    pub more: bool,
    /// The newest offset that was trimmed when the page was read, where the store knows it. Later messages that are
    /// missing are damaged.
    pub gone: Option<Offset>,
}

impl Page {
    /// As many of `frames`, which come oldest first, as `limit` allows.
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

    /// As many of `frames`, which come newest first, as `limit` allows.
    pub(super) fn newest<'a>(frames: impl Iterator<Item = &'a Arc<Frame>>, limit: Limit) -> Self {
        let mut page = Self::oldest(frames, limit);
        page.frames.reverse();
        page
    }
}
