//! Where one open room stands.

use std::sync::Arc;
use std::time::Instant;

use super::graves::Tombstones;
use super::tail::{CacheQuota, RecentMessages};
use crate::protocol::RoomName;
use crate::server::room::Frame;

/// See the [module docs](self).
pub(super) struct RoomPosition {
    pub(super) name: RoomName,
    /// `None` until NATS has said.
    pub(super) head: Option<u64>,
    /// The first and the last that the feed brought before that.
    pub(super) early: Option<(u64, u64)>,
    pub(super) opened_at: u64,
    /// The oldest offset kept; 0 when nothing is.
    pub(super) first: u64,
    /// Everything after this is kept.
    pub(super) gone: u64,
    /// When NATS said which is the oldest.
    pub(super) asked: Option<Instant>,
    pub(super) tail: RecentMessages,
    pub(super) graves: Tombstones,
    /// The offset of the first message, if this node stored that; the feed may not have brought it yet.
    pub(super) began: u64,
    /// Held by whoever asks NATS about the room.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// The number of [`Opening`](super::rooms::Opening)s of it that live.
    pub(super) openings: usize,
    /// Set once it was opened, until it is released.
    pub(super) is_kept: bool,
}

impl RoomPosition {
    /// A room of which nothing is known yet, opened when the feed was at `opened_at`.
    pub(super) fn new(name: RoomName, opened_at: u64) -> Self {
        Self {
            name,
            head: None,
            early: None,
            opened_at,
            first: 0,
            gone: 0,
            asked: None,
            tail: RecentMessages::new(0),
            graves: Tombstones::default(),
            began: 0,
            turn: Arc::default(),
            openings: 0,
            is_kept: false,
        }
    }

    /// Adds the newest entry.
    pub(super) fn push(&mut self, frame: Arc<Frame>, share: CacheQuota) {
        self.head = Some(frame.offset().0);
        if self.first == 0 {
            (self.first, self.gone) = (frame.offset().0, frame.prev().0);
        }
        self.tail.push(frame, share);
        if let Some(oldest) = self.tail.oldest_of(share)
            && oldest.offset().0 > self.first
        {
            (self.first, self.gone) = (oldest.offset().0, self.tail.floor());
        }
    }
}
