//! The state of one open room: its head, its bounds, its cached newest messages and its tombstones.

use std::sync::Arc;
use std::time::Instant;

use super::graves::Tombstones;
use super::tail::{CacheQuota, RecentMessages};
use crate::protocol::RoomName;
use crate::server::room::Frame;

/// See the [module docs](self).
pub(super) struct RoomPosition {
    pub(super) name: RoomName,
    /// The newest offset; `None` until NATS has returned it.
    pub(super) head: Option<u64>,
    /// The first and the last sequence number that the consumer delivered before the head was known.
    pub(super) early: Option<(u64, u64)>,
    /// The position of the consumer when the room was opened.
    pub(super) opened_at: u64,
    /// The oldest offset that is kept; 0 if none is.
    pub(super) first: u64,
    /// The offset after which everything is kept.
    pub(super) gone: u64,
    /// The time at which NATS last returned the oldest message.
    pub(super) asked: Option<Instant>,
    pub(super) tail: RecentMessages,
    pub(super) graves: Tombstones,
    /// The offset of the first message, if this node stored it; the consumer may not have delivered it yet.
    pub(super) began: u64,
    /// The lock of the task that requests the state of the room from NATS.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// The number of live [`Opening`](super::rooms::Opening)s of the room.
    pub(super) openings: usize,
    /// True after the room was opened, until it is released.
    pub(super) is_kept: bool,
}

impl RoomPosition {
    /// Creates the state of an unknown room, opened when the consumer was at `opened_at`.
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
