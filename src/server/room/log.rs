//! The newest frames of a room in memory, an append-only ring bounded by count and bytes, and the passes over its
//! readers.
//!
//! One writer appends. Each connection reads from its own offset, so that joining, live delivery and catching
//! up are the same operation. Most readers of a room are at the same offset, so a pass encodes a chunk for the first of
//! them and shares it with the others. It counts deliveries, and adds them to the shared counters once, when it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::protocol::{Offset, RoomName};
use crate::server::room::encoding::{self, Encodings};
use crate::server::room::{ExcludedRooms, Format, Frame};

/// Number of recent redactions that a log keeps, for readers that reconnect.
const MAX_REDACTIONS: usize = 64;

/// Maximum number of bytes in one write, unless a single frame is larger. Larger writes would hardly reduce
/// the cost of system calls; smaller ones keep less memory in use for a reader that stops reading.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// Limits on the frames in memory.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Number of frames, at least 1.
    pub messages: usize,
    /// Total size of the frames, in bytes. The newest frame is kept even if it alone is larger.
    pub bytes: usize,
}

/// Consecutive frames of one log, concatenated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the last frame: the reader's position after the chunk.
    pub until: Offset,
    /// Number of frames.
    pub messages: usize,
    /// The encoded frames.
    pub bytes: Bytes,
}

/// The error of a reader whose next frame has been dropped from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged {
    /// Newest dropped offset. A read after it succeeds.
    pub dropped: Offset,
}

/// The newest frames of one room.
#[derive(Debug)]
pub struct Log {
    frames: VecDeque<RingEntry>,
    /// Total size of the frames without their encodings, in bytes.
    bytes: usize,
    limits: LogLimits,
    /// Newest offset that was dropped, or that precedes the first frame.
    dropped: Offset,
    /// Newest redactions: the offset and the time, in milliseconds since 1970 UTC.
    redacted: VecDeque<(Offset, u64)>,
    /// Number of redactions since the log was created.
    redactions: u64,
}

/// A frame and its encodings.
#[derive(Debug)]
struct RingEntry {
    frame: Arc<Frame>,
    encodings: Encodings<Format>,
}

impl Log {
    /// Creates an empty ring whose first frame will follow `head`.
    pub const fn new(limits: LogLimits, head: Offset) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            limits,
            dropped: head,
            redacted: VecDeque::new(),
            redactions: 0,
        }
    }

    /// Returns the newest offset. An empty ring returns the offset before its first frame.
    pub fn head(&self) -> Offset {
        self.frames
            .back()
            .map_or(self.dropped, |newest| newest.frame.offset())
    }

    /// Returns the number of frames after `after`. Each offset that the ring has dropped counts as one, so this is an
    /// upper bound for a reader that has lagged.
    pub fn behind(&self, after: Offset) -> u64 {
        let read = self.count_until(after);
        (self.frames.len() - read) as u64 + self.dropped.0.saturating_sub(after.0)
    }

    /// Returns the number of frames and their total size in bytes, without encodings.
    pub fn usage(&self) -> (usize, usize) {
        (self.frames.len(), self.bytes)
    }

    /// Appends `frame` and drops the oldest frames beyond the limits.
    ///
    /// If `frame` does not follow the head directly, all frames before it are dropped. Readers that have not
    /// read them are [`Lagged`] and catch up from the store.
    pub fn append(&mut self, frame: Arc<Frame>) {
        debug_assert!(
            frame.offset() > self.head(),
            "frame {} must come after the head {}",
            frame.offset(),
            self.head()
        );

        if frame.prev() > self.head() {
            self.restart_at(frame.prev());
        }
        self.append_unlinked(frame);
    }

    /// Appends `frame` like [`Log::append`], in a log of several rooms: `prev` of a frame is in its own room.
    pub fn append_unlinked(&mut self, frame: Arc<Frame>) {
        self.bytes += frame.size();
        self.frames.push_back(RingEntry::new(frame));

        while self.frames.len() > 1
            && (self.frames.len() > self.limits.messages || self.bytes > self.limits.bytes)
        {
            self.drop_oldest();
        }
    }

    /// Drops all frames. The next one follows `offset` or, if that is newer, the head. Readers that are not there yet
    /// are [`Lagged`] and catch up from the store. The redactions stay.
    pub fn restart_at(&mut self, offset: Offset) {
        self.dropped = self.head().max(offset);
        self.frames.clear();
        self.bytes = 0;
    }

    /// Drops the oldest frames until the rest and their encodings take at most `bytes` bytes.
    pub fn truncate(&mut self, bytes: usize) {
        let mut held: usize = self.frames.iter().map(RingEntry::held).sum();
        while held > bytes
            && let Some(oldest) = self.frames.front()
        {
            held -= oldest.held();
            self.drop_oldest();
        }

        self.frames.shrink_to_fit();
    }

    /// Drops all frames up to `offset`, because they were deleted. Pages of them that were read before cannot be redacted.
    pub fn clear(&mut self, offset: Offset) {
        self.restart_at(offset);
        self.redacted.clear();
        self.redactions += 1;
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.frames.pop_front() {
            self.bytes -= oldest.frame.size();
            self.dropped = oldest.frame.offset();
        }
    }

    /// Records the deletion of the message at `offset` at the time `at`, in milliseconds since 1970 UTC, and
    /// replaces its frame by a tombstone if it is in the ring.
    ///
    /// Returns false if the deletion is already recorded.
    pub fn redact(&mut self, offset: Offset, at: u64) -> bool {
        if self.redacted.iter().any(|(known, _)| *known == offset) {
            return false;
        }

        if self.redacted.len() == MAX_REDACTIONS {
            self.redacted.pop_front();
        }
        self.redacted.push_back((offset, at));
        self.redactions += 1;

        if let Some(index) = self.index_of(offset) {
            let entry = &mut self.frames[index];
            let tombstone = Arc::new(entry.frame.tombstone());
            self.bytes = self.bytes + tombstone.size() - entry.frame.size();
            *entry = RingEntry::new(tombstone);
        }

        true
    }

    /// Returns the number of redactions since the log was created.
    pub const fn redactions(&self) -> u64 {
        self.redactions
    }

    /// Returns the offsets that were redacted since [`Log::redactions`] was `redactions`. `None` if the log no
    /// longer has all of them.
    pub fn redacted_since(&self, redactions: u64) -> Option<impl Iterator<Item = Offset>> {
        let count = usize::try_from(self.redactions.checked_sub(redactions)?).ok()?;
        let start = self.redacted.len().checked_sub(count)?;
        Some(self.redacted.range(start..).map(|(offset, _)| *offset))
    }

    /// Returns the recent redactions up to `until`, each with its time in milliseconds since 1970 UTC, for a
    /// reader that has read up to `until` and reconnects.
    pub fn redacted(&self, until: Offset) -> Vec<(Offset, u64)> {
        self.redacted
            .iter()
            .filter(|(offset, _)| *offset <= until)
            .copied()
            .collect()
    }

    /// Returns the offset of the first frame after `after` that is not of an `excluded` room; `None` if there is none.
    ///
    /// # Errors
    /// [`Lagged`] if a frame after `after` has been dropped.
    pub fn next_offset(
        &self,
        after: Offset,
        excluded: &ExcludedRooms,
    ) -> Result<Option<Offset>, Lagged> {
        let start = self.index_after(after)?;
        let mut frames = self.frames.range(start..).map(|entry| &entry.frame);
        let next = frames.find(|frame| !excluded.contains(frame.room()));
        Ok(next.map(|frame| frame.offset()))
    }

    /// Returns the frames after `after`, as many as have at most `max_bytes` bytes, or one larger frame.
    ///
    /// # Errors
    /// [`Lagged`] if a frame after `after` has been dropped.
    pub fn frames(&self, after: Offset, max_bytes: usize) -> Result<Vec<Arc<Frame>>, Lagged> {
        let start = self.index_after(after)?;
        let mut bytes = 0;
        let fits = |entry: &&RingEntry| {
            let is_first = bytes == 0;
            bytes += entry.frame.size();
            is_first || bytes <= max_bytes
        };
        let frames = self.frames.range(start..).take_while(fits);
        Ok(frames.map(|entry| entry.frame.clone()).collect())
    }

    /// Returns the room of the frame at `offset`, if it is in the ring.
    pub fn room_at(&self, offset: Offset) -> Option<&RoomName> {
        let index = self.index_of(offset)?;
        Some(self.frames[index].frame.room())
    }

    /// Returns the frames after `after` up to and including `until`, without those of `excluded` rooms, as one chunk of
    /// at most `max_bytes` bytes or of one larger frame. `None` if there are none.
    ///
    /// # Errors
    /// [`Lagged`] if a frame after `after` has been dropped.
    pub fn read(
        &mut self,
        after: Offset,
        until: Offset,
        format: Format,
        max_bytes: usize,
        excluded: &ExcludedRooms,
    ) -> Result<Option<Chunk>, Lagged> {
        let start = self.index_after(after)?;
        let encoded = self
            .frames
            .range_mut(start..)
            .take_while(|entry| entry.frame.offset() <= until)
            .filter(|entry| !excluded.contains(entry.frame.room()))
            .map(|entry| (entry.frame.offset(), entry.encode(format)));
        Ok(concat(encoded, max_bytes))
    }

    /// Returns the index of the first frame after `after`.
    ///
    /// # Errors
    /// [`Lagged`] if a frame after `after` has been dropped.
    fn index_after(&self, after: Offset) -> Result<usize, Lagged> {
        let dropped = self.dropped;
        if after < dropped {
            return Err(Lagged { dropped });
        }
        Ok(self.count_until(after))
    }

    /// Returns the number of frames in the ring up to `offset`.
    fn count_until(&self, offset: Offset) -> usize {
        let is_read = |entry: &RingEntry| entry.frame.offset() <= offset;
        self.frames.partition_point(is_read)
    }

    /// Returns the index of the frame at `offset`, if it is in the ring.
    fn index_of(&self, offset: Offset) -> Option<usize> {
        let found = self
            .frames
            .binary_search_by_key(&offset, |entry| entry.frame.offset());
        found.ok()
    }
}

impl RingEntry {
    const fn new(frame: Arc<Frame>) -> Self {
        Self {
            frame,
            encodings: Encodings::new(),
        }
    }

    /// Returns the frame in `format`, encoding it on the first call.
    fn encode(&mut self, format: Format) -> Bytes {
        self.encodings
            .get_or_encode(format, || format.encode(&self.frame))
    }

    /// Returns the size of the frame and its encodings, in bytes.
    fn held(&self) -> usize {
        self.frame.size() + self.encodings.bytes()
    }
}

/// Counters of the messages that all finished passes have delivered, and of signals.
#[derive(Debug, Default)]
pub struct DeliveryCounters {
    messages: AtomicU64,
    bytes: AtomicU64,
    signals: AtomicU64,
    dropped_signals: AtomicU64,
}

impl DeliveryCounters {
    /// Counts a delivery of `messages` messages in `bytes` bytes to one reader.
    pub fn add(&self, messages: usize, bytes: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns the number of delivered messages, each counted once per reader, and their bytes.
    pub fn read(&self) -> (u64, u64) {
        (
            self.messages.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// Counts `delivered` signals that were written to one reader, and `dropped` others that it does not get.
    pub fn add_signals(&self, delivered: usize, dropped: u64) {
        self.signals.fetch_add(delivered as u64, Ordering::Relaxed);
        if dropped > 0 {
            self.dropped_signals.fetch_add(dropped, Ordering::Relaxed);
        }
    }

    /// Returns the number of delivered signals and that of dropped ones, each counted once per reader.
    pub fn read_signals(&self) -> (u64, u64) {
        (
            self.signals.load(Ordering::Relaxed),
            self.dropped_signals.load(Ordering::Relaxed),
        )
    }
}

/// A chunk with the state of the log from which it was encoded.
#[derive(Clone, Debug)]
struct EncodedChunk {
    after: Offset,
    redactions: u64,
    chunk: Chunk,
}

/// One pass over the readers of a room, up to the head of the log at the start of the pass.
#[derive(Debug)]
pub struct FanoutBatch<'a> {
    log: &'a Mutex<Log>,
    until: Offset,
    /// The latest chunk of each format.
    latest: [Option<EncodedChunk>; Format::COUNT],
    /// The log's number of redactions, if it is watched. A chunk from before the latest redaction is encoded
    /// again.
    redactions: Option<&'a AtomicU64>,
    /// Counters to which the deliveries are added at the end of the pass.
    counters: Option<&'a DeliveryCounters>,
    messages: usize,
    bytes: usize,
}

impl<'a> FanoutBatch<'a> {
    /// Creates a pass over `log` up to its current head.
    pub fn new(log: &'a Mutex<Log>) -> Self {
        let until = log.lock().head();
        Self {
            log,
            until,
            latest: [const { None }; Format::COUNT],
            redactions: None,
            counters: None,
            messages: 0,
            bytes: 0,
        }
    }

    /// Adds the deliveries of this pass to `counters` when it ends.
    pub const fn counted(mut self, counters: &'a DeliveryCounters) -> Self {
        self.counters = Some(counters);
        self
    }

    /// Sets the counter that shows redactions during the pass. `redactions` must grow after each redaction of
    /// the log and before readers are notified.
    pub const fn watching_redactions(mut self, redactions: &'a AtomicU64) -> Self {
        self.redactions = Some(redactions);
        self
    }

    /// Returns true if this is a pass over `log`.
    pub fn is_of(&self, log: &Mutex<Log>) -> bool {
        std::ptr::eq(self.log, log)
    }

    /// Counts a delivery of `messages` messages in `bytes` bytes to one reader.
    pub const fn count_delivery(&mut self, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes;
    }

    /// Returns the next chunk for a reader at `after`; `None` if the reader is at the end of the pass.
    ///
    /// # Errors
    /// [`Lagged`] if the ring has dropped the next frame.
    pub fn next(&mut self, after: Offset, format: Format) -> Result<Option<&Chunk>, Lagged> {
        if after >= self.until {
            return Ok(None);
        }

        // Loaded before the log is read, so that a redaction during the read makes the chunk stale.
        let redactions = self
            .redactions
            .map_or(0, |redactions| redactions.load(Ordering::Acquire));
        let latest = &mut self.latest[format.index()];
        let is_stale =
            |encoded: &EncodedChunk| encoded.after != after || encoded.redactions != redactions;

        if latest.as_ref().is_none_or(is_stale) {
            let mut log = self.log.lock();
            let all = &ExcludedRooms::NONE;
            let chunk = log.read(after, self.until, format, MAX_CHUNK_BYTES, all)?;
            drop(log);
            *latest = chunk.map(|chunk| EncodedChunk {
                after,
                redactions,
                chunk,
            });
        }

        Ok(latest.as_ref().map(|encoded| &encoded.chunk))
    }
}

impl Drop for FanoutBatch<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.counters.filter(|_| self.messages > 0) {
            counters.add(self.messages, self.bytes);
        }
    }
}

/// Encodes `frames` as one chunk of at most `max_bytes` bytes or of one larger frame. `None` without frames.
pub fn concat_frames<'a>(
    frames: impl Iterator<Item = &'a Frame>,
    format: Format,
    max_bytes: usize,
) -> Option<Chunk> {
    let encoded = frames.map(|frame| (frame.offset(), format.encode(frame)));
    concat(encoded, max_bytes)
}

/// Concatenates encoded frames to one chunk of at most `max_bytes` bytes or of one larger frame.
fn concat(encoded: impl Iterator<Item = (Offset, Bytes)>, max_bytes: usize) -> Option<Chunk> {
    let mut total = 0;
    let mut frames = Vec::new();
    let mut until = None;
    for (offset, frame) in encoded {
        total += frame.len();
        if total > max_bytes && !frames.is_empty() {
            break;
        }
        frames.push(frame);
        until = Some(offset);
    }

    Some(Chunk {
        until: until?,
        messages: frames.len(),
        bytes: encoding::concat(frames),
    })
}

#[cfg(test)]
mod tests;
