//! The chunks of one fan-out pass over the readers of a room.
//!
//! Most readers of a room are at the same offset, so a chunk is encoded for the first of them and shared by
//! the others. Deliveries are counted in the batch and added to the shared counters once, when it is dropped.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::protocol::Offset;
use crate::server::room::{Format, Lagged, Log};

/// Maximum number of bytes in one write, unless a single frame is larger. Larger writes would hardly reduce
/// the cost of system calls; smaller ones keep less memory in use for a reader that stops reading.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

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

/// Counters of the messages that all finished passes have delivered.
#[derive(Debug, Default)]
pub struct DeliveryCounters {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl DeliveryCounters {
    /// Returns the number of delivered messages, each counted once per reader, and their bytes.
    pub fn read(&self) -> (u64, u64) {
        (
            self.messages.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
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
            let chunk = log.read(after, self.until, format, MAX_CHUNK_BYTES)?;
            drop(log);
            *latest = chunk.map(|chunk| EncodedChunk {
                after,
                redactions,
                chunk,
            });
        }

        Ok(latest.as_ref().map(|encoded| &encoded.chunk))
    }

    /// Returns the chunk that the latest call of [`FanoutBatch::next`] returned, if that was for a reader at
    /// `after`.
    pub fn current(&self, after: Offset, format: Format) -> Option<&Chunk> {
        let encoded = self.latest[format.index()].as_ref()?;
        (encoded.after == after).then_some(&encoded.chunk)
    }
}

impl Drop for FanoutBatch<'_> {
    fn drop(&mut self) {
        if let Some(counters) = self.counters.filter(|_| self.messages > 0) {
            counters
                .messages
                .fetch_add(self.messages as u64, Ordering::Relaxed);
            counters
                .bytes
                .fetch_add(self.bytes as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::room::LogLimits;

    #[test]
    fn deliveries_are_added_to_the_counters_at_the_end_of_a_pass() {
        let limits = LogLimits {
            messages: 1,
            bytes: 1,
        };
        let log = Mutex::new(Log::new(limits, Offset(0)));
        let counters = DeliveryCounters::default();

        let mut batch = FanoutBatch::new(&log).counted(&counters);
        batch.count_delivery(2, 30);
        batch.count_delivery(1, 12);
        let during = counters.read();
        drop(batch);

        assert_eq!(during, (0, 0));
        assert_eq!(counters.read(), (3, 42));
    }
}
