//! A room in memory: its feed, its members, and the counters that decide when a fan-out pass is due. The feed and the
//! members have locks of their own. Older messages are read from the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::protocol::{Epoch, Member, Offset, RoomName, UserId};
use crate::server::hub::feed::{DeletionMark, Feed};
use crate::server::hub::resume::count_between;
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::metrics;
use crate::server::room::{Draft, Frame, Presence, PresentMember, RemotePresence};
use crate::server::room_rules::RoomRules;
use crate::server::session::CatchUpPage;
use crate::server::store::{
    Bounds, Deleted, Limit, Page, Span, Store, StoreError, StoreFuture, Stored, now_millis,
};

/// The number of consecutive times a pass may be delayed until the next publish is finished, which takes some
/// commits.
const MAX_DELAYS: u8 = 16;
/// The number of messages that are read at once to find the edits of a message.
const SCANNED_MESSAGES: usize = 1000;

/// The statistics of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomStats {
    /// The number of ids that are present.
    pub members: usize,
    /// The number of connections that read the room by name, including readers that are not members.
    pub connections: usize,
    /// The newest offset.
    pub head: Offset,
    /// The number of entries in memory, and their size in bytes.
    pub ring: (usize, usize),
}

/// The reason why a client cannot delete a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// The client's id is not verified, so the server cannot know which messages are its own.
    #[error(
        "ids are not verified on this server (--auth-key-file), so only an operator can delete a message"
    )]
    Unverified,
    /// Another user sent the message, or the server has written it.
    #[error(
        "another user or the server sent the message; only that user and operators can delete it"
    )]
    OtherSender,
    /// The message does not exist.
    #[error("there is no such message in the room, or it is no longer kept")]
    NoMessage,
    /// The store cannot read or delete now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A room in memory. See the [module docs](self).
pub struct Room {
    name: RoomName,
    epoch: Epoch,
    store: Arc<dyn Store>,
    feed: Feed,
    rules: Arc<RoomRules>,
    /// The memory of the room itself; frames have their own reservations.
    _reservation: MemoryReservation,
    /// The number of slots in use, by subscriptions that were prepared or have begun.
    occupants: AtomicUsize,
    pub(super) presence: Mutex<Presence>,
    /// The members on other nodes, if any. Lock order: `presence` first.
    pub(super) remote_presence: Mutex<Option<Box<RemotePresence>>>,
    /// The time at which the members of other nodes were last requested.
    pub(super) presence_requested: Mutex<Option<Instant>>,
    /// A notification that is sent when a node has sent its members here, or has left.
    pub(super) presence_received: Notify,
    /// True while a presence announcement is due.
    pub(super) is_presence_dirty: AtomicBool,
    /// The earliest time of the next announcement.
    pub(super) announce_after: Mutex<Option<Instant>>,
    /// The number of publishes that the store has not finished.
    publishes: AtomicU32,
    /// The number of consecutive times a pass was delayed.
    delays: AtomicU8,
}

impl Room {
    pub(super) fn new(
        name: RoomName,
        bounds: Bounds,
        store: Arc<dyn Store>,
        feed: Feed,
        rules: Arc<RoomRules>,
    ) -> Self {
        let bytes = size_of::<Self>() + 2 * name.as_str().len();

        Self {
            name,
            epoch: bounds.epoch,
            store,
            feed,
            rules,
            _reservation: Memory::of_process().reserve(bytes),
            occupants: AtomicUsize::new(0),
            presence: Mutex::default(),
            remote_presence: Mutex::default(),
            presence_requested: Mutex::default(),
            presence_received: Notify::new(),
            is_presence_dirty: AtomicBool::new(false),
            announce_after: Mutex::new(None),
            publishes: AtomicU32::new(0),
            delays: AtomicU8::new(0),
        }
    }

    /// Returns its name.
    pub const fn name(&self) -> &RoomName {
        &self.name
    }

    /// Returns the epoch of its log.
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Returns the newest messages, and the readers.
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Returns its settings.
    pub fn rules(&self) -> &RoomRules {
        &self.rules
    }

    /// Returns its newest offset.
    pub fn head(&self) -> Offset {
        self.feed.head()
    }

    /// Returns true if the next message creates the room in the store.
    pub fn is_new(&self) -> bool {
        self.feed.usage().0 == 0 && self.is_unknown()
    }

    /// Returns true if the store has no data of the room: nothing was ever published there, or the room was dropped.
    pub(super) fn is_unknown(&self) -> bool {
        let bounds = self.store.bounds(&self.name);
        bounds.is_ok_and(|bounds| !bounds.is_known)
    }

    /// Returns true if the room accepts no more messages.
    pub fn is_closed(&self) -> bool {
        self.feed.closed_count() > self.feed.forgotten_closed()
    }

    /// Stores `drafts` consecutively. The future resolves when the new messages are in the ring. Messages that are
    /// received together should be published together: readers then get them in one write.
    ///
    /// The messages are stored and sent to the readers even if the future is dropped.
    pub fn publish(&self, drafts: Vec<Draft>) -> StoreFuture<Vec<Stored>> {
        self.publishes.fetch_add(1, Ordering::AcqRel);
        self.store.append(&self.name, drafts, now_millis())
    }

    /// Publishes either all of `drafts` or none, otherwise like [`Room::publish`]: see [`Store::append_batch`].
    pub fn publish_batch(&self, drafts: Vec<Draft>) -> StoreFuture<Vec<Stored>> {
        self.publishes.fetch_add(1, Ordering::AcqRel);
        self.store.append_batch(&self.name, drafts, now_millis())
    }

    /// Deletes the edits of the message at `offset` and then the message itself, and notifies the readers. Tombstones
    /// replace them, so that no reader sees a gap.
    ///
    /// # Errors
    /// If the store cannot read or delete now. A part of the edits may be deleted then.
    pub async fn delete(&self, offset: Offset) -> Result<Deleted, StoreError> {
        let message = self.message(offset).await?;
        if message.is_some_and(|message| !message.is_deleted()) {
            for edit in self.edits_of(offset).await? {
                self.store.delete(&self.name, edit, now_millis()).await?;
            }
        }

        self.store.delete(&self.name, offset, now_millis()).await
    }

    /// Returns the offsets of the messages that replace the content of the one at `offset`. Reads all later messages.
    async fn edits_of(&self, offset: Offset) -> Result<Vec<Offset>, StoreError> {
        let mut edits = Vec::new();
        let mut after = offset;

        loop {
            let (page, _) = self
                .read_page(Span::After(after), Limit::page(SCANNED_MESSAGES))
                .await?;
            let found = page.frames.iter();
            let found = found.filter(|frame| frame.fields().edits == Some(offset));
            edits.extend(found.map(|frame| frame.offset()));
            match page.frames.last() {
                Some(last) if page.more => after = last.offset(),
                _ => return Ok(edits),
            }
        }
    }

    /// Deletes the message at `offset` like [`Room::delete`], on behalf of `sender`, whose id is verified if there is one.
    ///
    /// # Errors
    /// [`DeleteError`], also if `sender` did not send the message.
    pub async fn delete_own(
        &self,
        offset: Offset,
        sender: Option<&UserId>,
    ) -> Result<Deleted, DeleteError> {
        let sender = sender.ok_or(DeleteError::Unverified)?;
        let message = self.message(offset).await?.ok_or(DeleteError::NoMessage)?;
        if message.from() != sender || message.is_of_server() {
            return Err(DeleteError::OtherSender);
        }

        match self.delete(offset).await? {
            Deleted::NotKept => Err(DeleteError::NoMessage),
            deleted => Ok(deleted),
        }
    }

    /// Returns the message at `offset`; `None` if there is none, or it is no longer kept.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn message(&self, offset: Offset) -> Result<Option<Arc<Frame>>, StoreError> {
        let Some(before) = offset.0.checked_sub(1) else {
            return Ok(None);
        };
        let page = self.history(Span::After(Offset(before)), 1).await?;

        let mut frames = page.frames.into_iter();
        Ok(frames.next().filter(|frame| frame.offset() == offset))
    }

    /// Returns the newest offset of the room, after what other nodes have appended up to `offset` has arrived.
    ///
    /// # Errors
    /// If the store cannot be reached.
    pub(super) async fn reach(&self, offset: Offset) -> Result<Offset, StoreError> {
        let head = self.head();
        if offset <= head {
            return Ok(head);
        }

        self.store.reach(offset).await?;
        Ok(self.store.bounds(&self.name)?.head.max(head))
    }

    /// Reads a page of at most `limit` entries from the store. Before the entries are passed to a reader that is
    /// notified of deletions, call [`Feed::redact_page`].
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn read_page(
        &self,
        span: Span,
        limit: Limit,
    ) -> Result<(Page, DeletionMark), StoreError> {
        let mark = self.feed.deletion_mark();
        let page = self.store.read(&self.name, span, limit).await?;
        Ok((page, mark))
    }

    /// Reads like [`Room::read_page`], for a reader that is not notified of deletions: messages deleted meanwhile are
    /// replaced by tombstones.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn history(&self, span: Span, messages: usize) -> Result<Page, StoreError> {
        loop {
            let (mut page, mark) = self.read_page(span, Limit::page(messages)).await?;
            if self.feed.redact_page(&mut page.frames, mark) {
                return Ok(page);
            }
        }
    }

    /// Reads a page of at most `limit` messages after `after`, for a reader whose next message is no longer in the
    /// ring.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn catch_up(
        &self,
        after: Offset,
        limit: Limit,
    ) -> Result<(CatchUpPage, DeletionMark), StoreError> {
        metrics::count_catch_up();

        // Read before the page: messages that are appended meanwhile are in the ring, or the reader catches up again.
        let head = self.head();
        let (page, mark) = self.read_page(Span::After(after), limit).await?;

        // The offset before the first message. A store that does not return `gone` trims only the oldest messages.
        let start = page.frames.first().map_or(head, |first| first.prev());
        let gone = page.gone.unwrap_or(start).min(start.max(head));
        let kept = after.max(gone);

        let trimmed = if gone > after {
            count_between(&*self.store, &self.name, after, gone).await?
        } else {
            Some(0)
        };
        let damaged = if start <= kept {
            Some(0)
        } else if let Some(first) = page.frames.first() {
            let before = self.store.count(&self.name, kept).await?;
            before.and_then(|before| first.number().checked_sub(before + 1))
        } else {
            count_between(&*self.store, &self.name, kept, head).await?
        };

        let page = CatchUpPage {
            room: self.name.clone().into(),
            after,
            upper_bound: head,
            gone,
            trimmed,
            damaged,
            frames: page.frames,
            more: page.more,
            is_linked: true,
        };
        Ok((page, mark))
    }

    /// Reserves a slot if fewer than `limit` are in use. Returns true if it was reserved.
    pub(super) fn reserve_slot(&self, limit: usize) -> bool {
        let one_more = |occupants| (occupants < limit).then_some(occupants + 1);
        self.occupants
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Releases a slot.
    pub(super) fn release_slot(&self) {
        self.occupants.fetch_sub(1, Ordering::Relaxed);
    }

    /// Records that the store has finished a publish. Returns true if a pass is due. While another publish is
    /// pending, the pass is delayed: it costs one write per reader, so one pass for both is cheaper. A pass is
    /// delayed at most [`MAX_DELAYS`] times in a row.
    pub(super) fn publish_finished(&self) -> bool {
        let is_last = self.publishes.fetch_sub(1, Ordering::AcqRel) == 1;
        let is_due = is_last || self.delays.fetch_add(1, Ordering::AcqRel) >= MAX_DELAYS;
        if is_due {
            self.delays.store(0, Ordering::Release);
        }
        is_due
    }

    /// Returns true if a publish is pending in the store.
    pub(super) fn is_publishing(&self) -> bool {
        self.publishes.load(Ordering::Acquire) > 0
    }

    /// Returns its current statistics.
    pub fn stats(&self) -> RoomStats {
        let members = self.presence.lock().count();
        let connections = self.feed.readers().len();

        RoomStats {
            members,
            connections,
            head: self.feed.head(),
            ring: self.feed.usage(),
        }
    }

    /// Returns the number of its members, and the members unless they are too many. A room without presence has none.
    pub fn members(&self) -> (usize, Option<Vec<Member>>) {
        if !self.rules.has_presence() {
            return (0, None);
        }

        let mut presence = self.presence.lock();
        let members = presence.list();
        (presence.count(), members)
    }

    /// Returns the number of its members, and unless they are too many, each with its connections and the time of its
    /// arrival. A room without presence has none.
    pub fn present(&self) -> (usize, Option<Vec<PresentMember>>) {
        if !self.rules.has_presence() {
            return (0, None);
        }

        let presence = self.presence.lock();
        (presence.count(), presence.sorted_members())
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
