//! The newest frames of a room in memory: an append-only ring, bounded by count and bytes.
//!
//! One writer appends. Each connection reads from its own offset, so that joining, live delivery and catching
//! up are the same operation.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::protocol::Offset;
use crate::server::memory::Memory;
use crate::server::room::fanout_batch::Chunk;
use crate::server::room::{Format, Frame};

/// Number of recent redactions that a log keeps, for readers that reconnect.
const MAX_REDACTIONS: usize = 64;

/// Limits on the frames in memory.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Number of frames, at least 1.
    pub messages: usize,
    /// Total size of the frames, in bytes. The newest frame is kept even if it alone is larger.
    pub bytes: usize,
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

/// A frame and its encodings, each created for its first reader and shared with the others.
#[derive(Debug)]
struct RingEntry {
    frame: Arc<Frame>,
    /// Encodings in the order of their creation; only a few formats are in use at a time.
    encodings: Vec<(Format, Bytes)>,
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
            self.frames.clear();
            self.bytes = 0;
            self.dropped = frame.prev();
        }

        self.bytes += frame.size();
        self.frames.push_back(RingEntry::new(frame));

        while self.frames.len() > 1
            && (self.frames.len() > self.limits.messages || self.bytes > self.limits.bytes)
        {
            self.drop_oldest();
        }
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

        if let Ok(index) = self
            .frames
            .binary_search_by_key(&offset, |entry| entry.frame.offset())
        {
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

    /// Returns the frames after `after` up to and including `until`, as one chunk of at most `max_bytes` bytes
    /// or of one larger frame. `None` if there are none.
    ///
    /// # Errors
    /// [`Lagged`] if a frame after `after` has been dropped.
    pub fn read(
        &mut self,
        after: Offset,
        until: Offset,
        format: Format,
        max_bytes: usize,
    ) -> Result<Option<Chunk>, Lagged> {
        if after < self.dropped {
            return Err(Lagged {
                dropped: self.dropped,
            });
        }

        let start = self
            .frames
            .partition_point(|entry| entry.frame.offset() <= after);
        let encoded = self
            .frames
            .range_mut(start..)
            .take_while(|entry| entry.frame.offset() <= until)
            .map(|entry| (entry.frame.offset(), entry.encode(format)));
        Ok(concat(encoded, max_bytes))
    }
}

impl RingEntry {
    const fn new(frame: Arc<Frame>) -> Self {
        Self {
            frame,
            encodings: Vec::new(),
        }
    }

    /// Returns the frame in `format`, encoding it on the first call.
    fn encode(&mut self, format: Format) -> Bytes {
        let cached = self.encodings.iter().find(|(cached, _)| *cached == format);
        if let Some((_, encoding)) = cached {
            return encoding.clone();
        }

        let encoding = format.encode(&self.frame);
        let encoding = Memory::of_process().hold(encoding, size_of::<(Format, Bytes)>());
        self.encodings.reserve_exact(1);
        self.encodings.push((format, encoding.clone()));
        encoding
    }

    /// Returns the size of the frame and its encodings, in bytes.
    fn held(&self) -> usize {
        let encodings = self.encodings.iter();
        self.frame.size() + encodings.map(|(_, bytes)| bytes.len()).sum::<usize>()
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
    let chunk: Vec<(Offset, Bytes)> = encoded
        .enumerate()
        .take_while(|(index, (_, frame))| {
            total += frame.len();
            *index == 0 || total <= max_bytes
        })
        .map(|(_, frame)| frame)
        .collect();

    let (until, _) = *chunk.last()?;
    let bytes = match chunk.as_slice() {
        [(_, single)] => single.clone(),
        frames => {
            let length = frames.iter().map(|(_, frame)| frame.len()).sum();
            let mut bytes = BytesMut::with_capacity(length);
            for (_, frame) in frames {
                bytes.extend_from_slice(frame);
            }
            Memory::of_process().hold(bytes.freeze(), 0)
        }
    };

    Some(Chunk {
        until,
        messages: chunk.len(),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Epoch, UserId};
    use crate::server::room::{Dialect, Draft};

    const PLAIN: Format = Format::new(Dialect::Plain);

    fn frame(offset: u64, draft: Draft) -> Arc<Frame> {
        Arc::new(Frame::new(
            draft,
            Epoch::new(0),
            Offset(offset),
            Offset(offset - 1),
            0,
        ))
    }

    /// Returns a frame of one letter, which the plain dialect encodes to three bytes.
    fn letter(offset: u64) -> Arc<Frame> {
        let text = char::from(b'a' + (offset % 26) as u8).to_string();
        frame(offset, Draft::text(UserId::guest(0), None, &text))
    }

    fn empty_log(messages: usize, head: u64) -> Log {
        let limits = LogLimits {
            messages,
            bytes: usize::MAX,
        };
        Log::new(limits, Offset(head))
    }

    fn log_of(messages: usize, appended: u64) -> Log {
        let mut log = empty_log(messages, 0);
        for offset in 1..=appended {
            log.append(letter(offset));
            assert_eq!(log.head(), Offset(offset));
        }
        log
    }

    fn read(log: &mut Log, after: u64, max_bytes: usize) -> Result<Option<Chunk>, Lagged> {
        let head = log.head();
        log.read(Offset(after), head, PLAIN, max_bytes)
    }

    /// Returns the offset of the last frame of a chunk after `after`.
    fn read_until(log: &mut Log, after: u64, max_bytes: usize) -> Result<Option<Offset>, Lagged> {
        read(log, after, max_bytes).map(|chunk| chunk.map(|chunk| chunk.until))
    }

    const fn lagged(dropped: u64) -> Lagged {
        Lagged {
            dropped: Offset(dropped),
        }
    }

    #[test]
    fn a_reader_receives_the_frames_after_its_offset_as_one_chunk() {
        let mut log = log_of(10, 3);

        let chunk = read(&mut log, 1, 1000)
            .expect("in the ring")
            .expect("two frames");

        assert_eq!(chunk.until, Offset(3));
        assert_eq!(&chunk.bytes[..], b"\x81\x01c\x81\x01d");
        assert_eq!(read(&mut log, 3, 1000), Ok(None));
    }

    #[test]
    fn a_chunk_has_at_least_one_frame_and_otherwise_at_most_the_maximum_size() {
        let mut log = log_of(10, 3);

        let until = [0, 3, 5, 6, 9].map(|max_bytes| read_until(&mut log, 0, max_bytes));

        assert_eq!(
            until,
            [1, 1, 1, 2, 3].map(|offset| Ok(Some(Offset(offset))))
        );
    }

    #[test]
    fn a_reader_whose_next_frame_was_dropped_has_lagged() {
        let mut log = log_of(2, 5);

        assert_eq!(read(&mut log, 2, 1000), Err(lagged(3)));
        assert!(read(&mut log, 3, 1000).is_ok());
    }

    #[test]
    fn a_ring_that_continues_after_a_restart_has_no_earlier_frames() {
        let mut log = empty_log(2, 7);

        assert_eq!(log.head(), Offset(7));
        assert_eq!(read(&mut log, 6, 1000), Err(lagged(7)));

        log.append(letter(8));
        assert_eq!(read_until(&mut log, 7, 1000), Ok(Some(Offset(8))));
    }

    #[test]
    fn a_reader_before_a_hole_has_lagged() {
        let mut log = log_of(10, 3);

        log.append(letter(9));

        assert_eq!(read(&mut log, 3, 1000), Err(lagged(8)));
        assert_eq!(read_until(&mut log, 8, 1000), Ok(Some(Offset(9))));
    }

    #[test]
    fn a_message_is_redacted_once() {
        let mut log = log_of(10, 3);

        let results = [2, 9, 2].map(|offset| log.redact(Offset(offset), 7));

        assert_eq!(results, [true, true, false]);
        assert!(log.redacted(Offset(1)).is_empty());
        assert_eq!(log.redacted(Offset(3)), [(Offset(2), 7)]);
    }

    #[test]
    fn a_redacted_frame_is_a_tombstone_in_json_and_empty_in_the_plain_dialect() {
        let mut log = log_of(10, 3);
        let (_, bytes) = log.usage();

        log.redact(Offset(2), 7);

        assert_eq!(log.usage(), (3, bytes - 1), "one letter less");
        let all = read(&mut log, 0, 1000)
            .expect("in the ring")
            .expect("three frames");
        assert_eq!(all.until, Offset(3));
        assert_eq!(&all.bytes[..], b"\x81\x01b\x81\x01d");
        let mut redacted = |format| {
            log.read(Offset(1), Offset(2), format, 0)
                .expect("in the ring")
                .expect("one frame")
        };
        let line = redacted(Format::new(Dialect::Ndjson));
        assert!(
            line.bytes.ends_with(b"\"deleted\":true}\n"),
            "{:?}",
            line.bytes
        );
        let plain = redacted(PLAIN);
        assert_eq!(plain.until, Offset(2));
        assert_eq!(plain.bytes.len(), 0);
    }

    #[test]
    fn the_newest_frame_is_kept_even_if_it_exceeds_the_limit() {
        let limits = LogLimits {
            messages: 10,
            bytes: 100,
        };
        let mut log = Log::new(limits, Offset(0));
        log.append(letter(1));

        log.append(frame(2, Draft::binary(UserId::guest(0), &[0; 1000])));

        assert_eq!(read_until(&mut log, 1, 1), Ok(Some(Offset(2))));
    }

    #[test]
    fn a_truncated_log_keeps_its_head() {
        let mut log = log_of(10, 3);
        let (_, bytes) = log.usage();

        log.truncate(bytes - 1);
        assert_eq!(log.head(), Offset(3));
        assert_eq!(read(&mut log, 0, 1000), Err(lagged(1)));

        log.truncate(0);
        assert_eq!(log.head(), Offset(3));
        assert_eq!(log.usage(), (0, 0));
        assert_eq!(read(&mut log, 3, 1000), Ok(None));

        log.append(letter(4));
        assert_eq!(read_until(&mut log, 3, 1000), Ok(Some(Offset(4))));
    }

    proptest! {
        /// Readers that read at any time and with any chunk size, with a writer and a ring of any size.
        #[test]
        fn every_reader_receives_all_frames_in_order_or_the_lagged_error(
            capacity in 1usize..20,
            steps in prop::collection::vec((0usize..4, 0usize..40), 1..200),
        ) {
            let mut log = log_of(capacity, 0);
            let mut readers = [0; 3];

            for (reader, max_bytes) in steps {
                let Some(after) = readers.get_mut(reader) else {
                    log.append(letter(log.head().0 + 1));
                    continue;
                };

                match read(&mut log, *after, max_bytes) {
                    Ok(None) => prop_assert_eq!(*after, log.head().0),
                    Ok(Some(chunk)) => {
                        let expected: Vec<u8> = (*after + 1..=chunk.until.0)
                            .flat_map(|offset| PLAIN.encode(&letter(offset)).to_vec())
                            .collect();
                        prop_assert_eq!(&chunk.bytes[..], &expected[..]);
                        *after = chunk.until.0;
                    }
                    Err(lagged) => {
                        prop_assert!(lagged.dropped.0 > *after);
                        prop_assert_eq!(lagged.dropped.0 + capacity as u64, log.head().0);
                        *after = lagged.dropped.0;
                    }
                }
            }
        }
    }
}
