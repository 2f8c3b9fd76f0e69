//! The newest messages and signals of a room, or of all rooms that a pattern matches, and their readers. The ring of
//! frames, the ring of signals and the readers each have their own lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::protocol::{Offset, RoomName, Signal};
use crate::server::hub::subscriber::{ReaderList, notify_all};
use crate::server::hub::{Notice, Subscriber};
use crate::server::room::{
    Chunk, DeliveryCounters, Dialect, ExcludedRooms, FanoutBatch, Format, Frame, Lagged, Log,
    LogLimits, SignalChunk, SignalRing, Tick,
};

/// The number of deletions in a feed before a page is read from the store. [`Feed::redact_page`] then applies the later
/// ones to the page.
#[derive(Clone, Copy, Debug)]
pub struct DeletionMark(u64);

/// The largest number of closed rooms that the feed of a pattern remembers for slow readers.
const MAX_CLOSED: usize = 1024;

/// The newest messages and signals, and their readers. See the [module docs](self).
pub struct Feed {
    log: Mutex<Log>,
    /// The newest offset of the log, set under its lock. Readers of many feeds look here before they take the lock.
    head: AtomicU64,
    /// The number of deletions applied to the log. It grows under the lock of the log, before readers are notified.
    redactions: AtomicU64,
    signals: Mutex<SignalRing>,
    /// The number of the newest signal. It grows under the lock of the signals.
    newest_signal: AtomicU64,
    readers: Mutex<ReaderList>,
    /// The rooms that were closed, the newest last, each with its last offset.
    closed: Mutex<VecDeque<(RoomName, Offset)>>,
    /// The number of rooms that were ever closed. It grows under the lock of `closed`.
    closed_count: AtomicU64,
    /// True while a fan-out pass is queued.
    pub(super) is_fanout_queued: AtomicBool,
    /// The time at which the pass was queued, in microseconds since the start of the fan-out.
    pub(super) fanout_queued_at: AtomicU64,
    /// The fan-out shard.
    pub(super) shard: u16,
    /// The counters of the deliveries of all rooms.
    delivered: Arc<DeliveryCounters>,
}

impl Feed {
    /// Creates a feed without readers, whose first message will follow `head`.
    pub(super) fn new(
        limits: LogLimits,
        head: Offset,
        shard: u16,
        delivered: Arc<DeliveryCounters>,
    ) -> Self {
        Self {
            closed: Mutex::default(),
            closed_count: AtomicU64::new(0),
            log: Mutex::new(Log::new(limits, head)),
            head: AtomicU64::new(head.0),
            redactions: AtomicU64::new(0),
            signals: Mutex::default(),
            newest_signal: AtomicU64::new(0),
            readers: Mutex::default(),
            is_fanout_queued: AtomicBool::new(false),
            fanout_queued_at: AtomicU64::new(0),
            shard,
            delivered,
        }
    }

    /// Returns the newest offset.
    pub fn head(&self) -> Offset {
        Offset(self.head.load(Ordering::Acquire))
    }

    /// Returns the number of messages in the ring, and their size in bytes.
    pub(super) fn usage(&self) -> (usize, usize) {
        self.log.lock().usage()
    }

    /// Returns the number of deletions until now.
    pub(super) fn deletion_mark(&self) -> DeletionMark {
        DeletionMark(self.log.lock().redactions())
    }

    /// Returns the number of messages after `offset`: see [`Log::behind`].
    pub fn behind(&self, offset: Offset) -> u64 {
        self.log.lock().behind(offset)
    }

    /// Returns the number of messages after `offset`; `None` if the ring has dropped some of them.
    pub fn count_after(&self, offset: Offset) -> Option<u64> {
        let log = self.log.lock();
        let is_complete = log.next_offset(offset, &ExcludedRooms::NONE).is_ok();
        is_complete.then(|| log.behind(offset))
    }

    /// Returns the offset of the first message in the ring after `after` that is not of an `excluded` room: see
    /// [`Log::next_offset`].
    ///
    /// # Errors
    /// [`Lagged`] if the ring has dropped it.
    pub fn next_offset(
        &self,
        after: Offset,
        excluded: &ExcludedRooms,
    ) -> Result<Option<Offset>, Lagged> {
        if self.head() <= after {
            return Ok(None);
        }

        self.log.lock().next_offset(after, excluded)
    }

    /// Returns the messages after `after` up to `until`, without those of `excluded` rooms, and the room of the last one:
    /// see [`Log::read`].
    ///
    /// # Errors
    /// [`Lagged`] if the ring has dropped the first of them.
    pub fn read_with_room(
        &self,
        after: Offset,
        until: Offset,
        format: Format,
        max_bytes: usize,
        excluded: &ExcludedRooms,
    ) -> Result<Option<(Chunk, RoomName)>, Lagged> {
        let mut log = self.log.lock();
        let Some(chunk) = log.read(after, until, format, max_bytes, excluded)? else {
            return Ok(None);
        };

        let room = log.room_at(chunk.until).cloned();
        Ok(room.map(|room| (chunk, room)))
    }

    /// Returns the messages after `after`, as many as fit in `max_bytes`, or one larger message.
    ///
    /// # Errors
    /// [`Lagged`] if the ring has dropped the first of them.
    pub fn frames(&self, after: Offset, max_bytes: usize) -> Result<Vec<Arc<Frame>>, Lagged> {
        self.log.lock().frames(after, max_bytes)
    }

    /// Counts a delivery to one reader.
    pub fn count_delivery(&self, messages: usize, bytes: usize) {
        self.delivered.add(messages, bytes);
    }

    /// Returns the number of the newest signal; 0 before the first.
    pub fn newest_signal(&self) -> u64 {
        self.newest_signal.load(Ordering::Acquire)
    }

    /// Returns the signals after number `after` of the rooms for which `is_wanted` returns true: see [`SignalRing::read`].
    pub fn read_signals(
        &self,
        after: u64,
        dialect: Dialect,
        now: Tick,
        is_wanted: impl Fn(&RoomName) -> bool,
    ) -> SignalChunk {
        self.signals.lock().read(after, dialect, now, is_wanted)
    }

    /// Counts the signals that were written to one reader, and those that it does not get.
    pub fn count_signals(&self, delivered: usize, dropped: u64) {
        self.delivered.add_signals(delivered, dropped);
    }

    /// Appends `signal` for the current readers. Returns false if there are none.
    pub(super) fn push_signal(&self, signal: &Arc<Signal>, now: Tick) -> bool {
        if self.readers.lock().len() == 0 {
            return false;
        }

        let mut signals = self.signals.lock();
        signals.push(signal.clone(), now);
        self.newest_signal
            .store(signals.newest(), Ordering::Release);
        true
    }

    /// Drops the signals that have waited too long for slow readers.
    pub(super) fn expire_signals(&self, now: Tick) {
        self.signals.lock().expire(now);
    }

    /// Returns true if `batch` is a pass over this feed.
    pub fn is_source_of(&self, batch: &FanoutBatch<'_>) -> bool {
        batch.is_of(&self.log)
    }

    /// Returns a pass over the current log.
    pub fn fanout_batch(&self) -> FanoutBatch<'_> {
        FanoutBatch::new(&self.log)
            .counted(&self.delivered)
            .watching_redactions(&self.redactions)
    }

    /// Replaces those of `frames` that were deleted since `mark` with tombstones. Returns false if that is not
    /// possible: a feed keeps only its newest deletions. If there were more, the page must be read again.
    ///
    /// For a reader that is notified of deletions, call this under the lock under which it is notified. Then either
    /// the page contains the tombstone, or the notification comes after it.
    #[must_use]
    pub fn redact_page(&self, frames: &mut [Arc<Frame>], mark: DeletionMark) -> bool {
        let log = self.log.lock();
        let Some(deleted) = log.redacted_since(mark.0) else {
            return false;
        };

        for offset in deleted {
            if let Ok(found) = frames.binary_search_by_key(&offset, |frame| frame.offset()) {
                frames[found] = Arc::new(frames[found].tombstone());
            }
        }
        true
    }

    /// Appends those of `frames` that are not in the log yet: a store with several nodes may send frames twice.
    pub(super) fn append<'a>(&self, frames: impl Iterator<Item = &'a Arc<Frame>>) {
        self.append_with(frames, Log::append);
    }

    /// Appends those of `frames` that are not in the log yet, to the log of several rooms.
    pub(super) fn append_unlinked<'a>(&self, frames: impl Iterator<Item = &'a Arc<Frame>>) {
        self.append_with(frames, Log::append_unlinked);
    }

    fn append_with<'a>(
        &self,
        frames: impl Iterator<Item = &'a Arc<Frame>>,
        append: fn(&mut Log, Arc<Frame>),
    ) {
        let mut log = self.log.lock();
        for frame in frames {
            if frame.offset() > log.head() {
                append(&mut log, frame.clone());
            }
        }
        self.head.store(log.head().0, Ordering::Release);
    }

    /// Drops all messages, because those up to `offset` are not complete: see [`Log::restart_at`].
    pub(super) fn restart_at(&self, offset: Offset) {
        let mut log = self.log.lock();
        log.restart_at(offset);
        self.head.store(log.head().0, Ordering::Release);
    }

    /// Replaces the message at `offset` with a tombstone. `at` is the time of the deletion, in milliseconds since
    /// 1970 UTC. Returns true if readers must be notified.
    pub(super) fn redact(&self, offset: Offset, at: u64) -> bool {
        let mut log = self.log.lock();
        let is_redacted = log.redact(offset, at);
        self.redactions.store(log.redactions(), Ordering::Release);
        is_redacted
    }

    /// Records that `room` accepts no more messages after `offset`, which is in the log. Without effect if that is already
    /// recorded.
    pub(super) fn close(&self, room: &RoomName, offset: Offset) {
        let mut closed = self.closed.lock();
        if closed
            .iter()
            .any(|(known, at)| known == room && *at == offset)
        {
            return;
        }

        if closed.len() == MAX_CLOSED {
            closed.pop_front();
        }
        closed.push_back((room.clone(), offset));
        self.closed_count.fetch_add(1, Ordering::Release);
    }

    /// Returns the number of rooms that were ever closed.
    pub fn closed_count(&self) -> u64 {
        self.closed_count.load(Ordering::Acquire)
    }

    /// Returns the number of rooms that were closed and are no longer remembered.
    pub fn forgotten_closed(&self) -> u64 {
        let closed = self.closed.lock();
        self.closed_count() - closed.len() as u64
    }

    /// Returns the rooms that were closed after the first `seen` ones, each with its last offset, as far as a reader at
    /// `offset` has read all of their messages.
    pub fn closed_since(&self, seen: u64, offset: Offset) -> Vec<(RoomName, Offset)> {
        let closed = self.closed.lock();
        let forgotten = self.closed_count() - closed.len() as u64;
        let skipped = seen.saturating_sub(forgotten) as usize;
        let newer = closed.iter().skip(skipped);
        newer
            .take_while(|(_, last)| *last <= offset)
            .cloned()
            .collect()
    }

    /// Empties the log, because its room was deleted with all messages up to `offset`.
    pub(super) fn clear(&self, offset: Offset) {
        let mut log = self.log.lock();
        log.clear(offset);
        self.redactions.store(log.redactions(), Ordering::Release);
        drop(log);
        self.closed.lock().clear();
    }

    /// Sends `notice` to every reader. In a large room this takes a while.
    pub(super) async fn notify(&self, notice: &Notice) {
        notify_all(&[self.readers()], notice).await;
    }

    /// Returns the recent deletions up to the offset `seen`, each with its time, for a reader that resumes and may have
    /// read those messages.
    pub fn recent_deletions(&self, seen: Offset) -> Vec<(Offset, u64)> {
        self.log.lock().redacted(seen)
    }

    /// Drops all signals, and the oldest frames until the rest fits in `bytes`. Readers that lag behind get the frames
    /// from the store.
    pub(super) fn truncate(&self, bytes: usize) {
        self.signals.lock().clear();
        self.log.lock().truncate(bytes);
    }

    /// Returns its current readers.
    pub(super) fn readers(&self) -> ReaderList {
        self.readers.lock().clone()
    }

    /// Adds a reader and returns its key.
    pub(super) fn add_reader(&self, reader: Arc<dyn Subscriber>) -> usize {
        self.readers.lock().insert(reader)
    }

    /// Removes the reader with `key`.
    pub(super) fn remove_reader(&self, key: usize) {
        let removed = self.readers.lock().remove(key);
        // Dropping the reader closes its socket, which takes a moment, so this is not done under the lock.
        drop(removed);
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}
