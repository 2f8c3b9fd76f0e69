//! A room's newest frames in memory: an append-only ring, bounded by count and bytes.
//!
//! One writer appends; each connection reads from its own offset: joining, live delivery and catching up are one act.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::protocol::Offset;
use crate::server::memory::Memory;
use crate::server::room::reel::Chunk;
use crate::server::room::{Dialect, Format, Frame};

/// Erasures that are remembered of a room while the server runs, for readers that come back.
const MAX_ERASED: usize = 64;

/// How much a log keeps.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Frames, at least 1.
    pub messages: usize,
    /// Bytes of all frames together; the newest frame is kept even if it alone is larger.
    pub bytes: usize,
}

/// The ring has passed this reader: what it missed is no longer here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged {
    /// The newest offset that is no longer here; reading after it works.
    pub dropped: Offset,
}

/// See the [module docs](self).
#[derive(Debug)]
pub struct Log {
    frames: VecDeque<RingEntry>,
    /// Sum of the frames' sizes, without their encodings.
    bytes: usize,
    limits: LogLimits,
    /// Newest offset that the ring dropped, or that was there before it.
    dropped: Offset,
    /// The newest of what was erased: where, and when, in milliseconds since 1970 UTC.
    erased: VecDeque<(Offset, u64)>,
    /// The number of frames that were ever erased.
    erasures: u64,
}

/// A frame and its encodings: each made for the first reader that needs it, and shared by all that do.
#[derive(Debug)]
struct RingEntry {
    frame: Arc<Frame>,
    /// Few formats are in use, so they are searched one after the other.
    encodings: Vec<(Format, Bytes)>,
}

impl Log {
    /// A ring that goes on after `head`.
    pub const fn new(limits: LogLimits, head: Offset) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            limits,
            dropped: head,
            erased: VecDeque::new(),
            erasures: 0,
        }
    }

    /// The newest offset; that of before while nothing was appended.
    pub fn head(&self) -> Offset {
        self.frames
            .back()
            .map_or(self.dropped, |newest| newest.frame.offset())
    }

    /// How many frames it holds, and how many bytes of them.
    pub fn holds(&self) -> (usize, usize) {
        (self.frames.len(), self.bytes)
    }

    /// Adds `frame` at the end, dropping the oldest frames past the limits. If it is not the next one, all before
    /// it are dropped: whoever has not read them is [`Lagged`], and asks the store what is still there.
    pub fn append(&mut self, frame: Arc<Frame>) {
        debug_assert!(frame.offset() > self.head(), "offsets only grow");
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

    /// Drops the oldest frames until they and their encodings take no more than `bytes`, all of them if need be.
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

    /// Puts a tombstone in the place of the frame at `offset`, if that is still here. `at` is the time, in
    /// milliseconds since 1970 UTC. Whether that is news.
    pub fn redact(&mut self, offset: Offset, at: u64) -> bool {
        if self.erased.iter().any(|(erased, _)| *erased == offset) {
            return false;
        }
        if self.erased.len() == MAX_ERASED {
            self.erased.pop_front();
        }
        self.erased.push_back((offset, at));
        self.erasures += 1;
        if let Ok(place) = self
            .frames
            .binary_search_by_key(&offset, |entry| entry.frame.offset())
        {
            let entry = &mut self.frames[place];
            let tombstone = Arc::new(entry.frame.tombstone());
            self.bytes = self.bytes + tombstone.size() - entry.frame.size();
            *entry = RingEntry::new(tombstone);
        }
        true
    }

    /// Returns how many frames were erased since the server started.
    pub const fn redactions(&self) -> u64 {
        self.erasures
    }

    /// Returns the offsets erased since [`Log::redactions`] was `erasures`; `None` if they are more than are remembered.
    pub fn redacted_since(&self, erasures: u64) -> Option<impl Iterator<Item = Offset>> {
        let count = usize::try_from(self.erasures.checked_sub(erasures)?).ok()?;
        let known = self.erased.len().checked_sub(count)?;
        Some(self.erased.range(known..).map(|(offset, _)| *offset))
    }

    /// What of the offsets up to `until` was erased lately, and when: for whoever has read them and was away.
    pub fn redacted(&self, until: Offset) -> Vec<(Offset, u64)> {
        self.erased
            .iter()
            .filter(|(offset, _)| *offset <= until)
            .copied()
            .collect()
    }

    /// The frames after `after`, up to and with `until`, as one run of bytes of at least one frame and, past
    /// that, at most `max_bytes`. `None` if there are none.
    ///
    /// # Errors
    /// [`Lagged`] if a frame after `after` is no longer here.
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
        let due = self
            .frames
            .range_mut(start..)
            .take_while(|entry| entry.frame.offset() <= until)
            .map(|entry| (entry.frame.offset(), entry.encode(format)));
        Ok(concat(due, max_bytes))
    }
}

impl RingEntry {
    const fn new(frame: Arc<Frame>) -> Self {
        Self {
            frame,
            encodings: Vec::new(),
        }
    }

    /// Returns the frame in `format`, encoding it for the first reader.
    fn encode(&mut self, format: Format) -> Bytes {
        if format == Format::new(Dialect::Plain) {
            return self.frame.encode(format);
        }
        let known = self.encodings.iter().find(|(known, _)| *known == format);
        if let Some((_, encoding)) = known {
            return encoding.clone();
        }

        let mut encoding = self.frame.encode(format);
        // Not unique: the plain form itself, which is counted already.
        if encoding.is_unique() {
            encoding = Memory::of_process().hold(encoding, size_of::<(Format, Bytes)>());
        }
        self.encodings.reserve_exact(1);
        self.encodings.push((format, encoding.clone()));
        encoding
    }

    /// Returns how many bytes it and its encodings take.
    fn held(&self) -> usize {
        let encodings = self.encodings.iter();
        self.frame.size() + encodings.map(|(_, bytes)| bytes.len()).sum::<usize>()
    }
}

/// Encodes `frames` as one run of bytes of at least one frame and, past that, at most `max_bytes`.
pub fn concat_frames<'a>(
    frames: impl Iterator<Item = &'a Frame>,
    format: Format,
    max_bytes: usize,
) -> Option<Chunk> {
    let encoded = frames.map(|frame| (frame.offset(), frame.encode(format)));
    concat(encoded, max_bytes)
}

/// Concatenates encoded frames to one run of at least one frame and, past that, at most `max_bytes`.
fn concat(encoded: impl Iterator<Item = (Offset, Bytes)>, max_bytes: usize) -> Option<Chunk> {
    let mut total = 0;
    let chosen: Vec<(Offset, Bytes)> = encoded
        .enumerate()
        .take_while(|(at, (_, frame))| {
            total += frame.len();
            *at == 0 || total <= max_bytes
        })
        .map(|(_, frame)| frame)
        .collect();

    let (until, _) = *chosen.last()?;
    let bytes = match chosen.as_slice() {
        [(_, only)] => only.clone(),
        many => {
            let length = many.iter().map(|(_, frame)| frame.len()).sum();
            let mut joined = BytesMut::with_capacity(length);
            many.iter()
                .for_each(|(_, frame)| joined.extend_from_slice(frame));
            Memory::of_process().hold(joined.freeze(), 0)
        }
    };
    Some(Chunk {
        until,
        messages: chosen.len(),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Epoch, UserId};
    use crate::server::room::Draft;

    const PLAIN: Format = Format::new(Dialect::Plain);

    /// Text of one letter that encodes to three bytes, so that runs can be counted.
    fn letter(offset: u64) -> Arc<Frame> {
        let text = char::from(b'a' + (offset % 26) as u8).to_string();
        let draft = Draft::text(UserId::guest(0), None, &text);
        Arc::new(Frame::new(
            draft,
            Epoch::new(0),
            Offset(offset),
            Offset(offset - 1),
            0,
        ))
    }

    fn log_of(messages: usize, appended: u64) -> Log {
        let mut log = Log::new(
            LogLimits {
                messages,
                bytes: usize::MAX,
            },
            Offset(0),
        );
        for offset in 1..=appended {
            log.append(letter(offset));
            assert_eq!(log.head(), Offset(offset));
        }
        log
    }

    fn read(log: &mut Log, after: u64, budget: usize) -> Result<Option<Chunk>, Lagged> {
        let head = log.head();
        log.read(Offset(after), head, PLAIN, budget)
    }

    #[test]
    fn a_reader_gets_what_came_after_its_place_as_one_run() {
        let mut log = log_of(10, 3);
        let run = read(&mut log, 1, 1000).expect("kept").expect("two frames");
        assert_eq!(
            (run.until, &run.bytes[..]),
            (Offset(3), &b"\x81\x01c\x81\x01d"[..])
        );
        assert_eq!(read(&mut log, 3, 1000), Ok(None));
    }

    #[test]
    fn a_run_never_exceeds_its_budget_but_always_moves_on() {
        let mut log = log_of(10, 3);
        let mut run = |budget| {
            read(&mut log, 0, budget)
                .expect("kept")
                .expect("some")
                .until
        };
        assert_eq!(
            [run(0), run(3), run(5), run(6), run(9)],
            [1, 1, 1, 2, 3].map(Offset)
        );
    }

    #[test]
    fn a_reader_the_ring_has_passed_is_told_so() {
        let mut log = log_of(2, 5);
        assert_eq!(read(&mut log, 2, 1000), Err(Lagged { dropped: Offset(3) }));
        assert!(read(&mut log, 3, 1000).is_ok());
    }

    #[test]
    fn a_ring_that_goes_on_after_a_restart_has_nothing_from_before() {
        let mut log = Log::new(
            LogLimits {
                messages: 2,
                bytes: usize::MAX,
            },
            Offset(7),
        );
        assert_eq!(
            (log.head(), read(&mut log, 6, 1000)),
            (Offset(7), Err(Lagged { dropped: Offset(7) }))
        );
        log.append(letter(8));
        assert_eq!(
            read(&mut log, 7, 1000).map(|run| run.map(|run| run.until)),
            Ok(Some(Offset(8)))
        );
    }

    #[test]
    fn a_reader_before_a_hole_is_told_that_it_lagged() {
        let mut log = log_of(10, 3);
        log.append(letter(9));
        assert_eq!(read(&mut log, 3, 1000), Err(Lagged { dropped: Offset(8) }));
        assert_eq!(
            read(&mut log, 8, 1000).map(|run| run.map(|run| run.until)),
            Ok(Some(Offset(9)))
        );
    }

    #[test]
    fn of_an_erased_frame_readers_get_its_place_and_plain_ones_nothing() {
        let mut log = log_of(10, 3);
        let (_, before) = log.holds();
        assert_eq!(
            [2, 9, 2].map(|offset| log.redact(Offset(offset), 7)),
            [true, true, false],
            "each once"
        );
        assert_eq!(
            (log.redacted(Offset(1)), log.redacted(Offset(3))),
            (vec![], vec![(Offset(2), 7)])
        );
        assert_eq!(log.holds(), (3, before - 1), "one letter less");
        let run = read(&mut log, 0, 1000).expect("kept").expect("some");
        assert_eq!(
            (run.until, &run.bytes[..]),
            (Offset(3), &b"\x81\x01b\x81\x01d"[..])
        );
        let run = log
            .read(Offset(1), Offset(2), Format::new(Dialect::Ndjson), 0)
            .expect("kept")
            .expect("one");
        assert!(
            run.bytes.ends_with(b"\"deleted\":true}\n"),
            "{:?}",
            run.bytes
        );
        let only = log
            .read(Offset(1), Offset(2), PLAIN, 0)
            .expect("kept")
            .expect("a place");
        assert_eq!((only.until, only.bytes.len()), (Offset(2), 0));
    }

    #[test]
    fn the_newest_frame_is_kept_however_large_it_is() {
        let mut log = Log::new(
            LogLimits {
                messages: 10,
                bytes: 100,
            },
            Offset(0),
        );
        log.append(letter(1));
        let large = Draft::binary(UserId::guest(0), &[0; 1000]);
        log.append(Arc::new(Frame::new(
            large,
            Epoch::new(0),
            Offset(2),
            Offset(1),
            0,
        )));
        assert_eq!(
            read(&mut log, 1, 1).map(|run| run.map(|run| run.until)),
            Ok(Some(Offset(2)))
        );
    }

    #[test]
    fn a_log_that_is_shortened_stands_where_it_stood() {
        let mut log = log_of(10, 3);
        let (_, bytes) = log.holds();
        log.truncate(bytes - 1);
        assert_eq!(
            (log.head(), read(&mut log, 0, 1000)),
            (Offset(3), Err(Lagged { dropped: Offset(1) }))
        );
        log.truncate(0);
        assert_eq!(
            (log.head(), log.holds(), read(&mut log, 3, 1000)),
            (Offset(3), (0, 0), Ok(None))
        );
        log.append(letter(4));
        assert_eq!(
            read(&mut log, 3, 1000).map(|run| run.map(|run| run.until)),
            Ok(Some(Offset(4)))
        );
    }

    proptest! {
        /// Readers that read at any time, with any budget, beside a writer and a ring of any size.
        #[test]
        fn every_reader_sees_a_gapless_ordered_run_or_is_told_it_lagged(
            capacity in 1usize..20,
            steps in prop::collection::vec((0usize..4, 0usize..40), 1..200),
        ) {
            let mut log = log_of(capacity, 0);
            let mut readers = [0; 3];
            for (who, budget) in steps {
                let Some(after) = readers.get_mut(who) else {
                    log.append(letter(log.head().0 + 1));
                    continue;
                };
                match read(&mut log, *after, budget) {
                    Ok(None) => prop_assert_eq!(*after, log.head().0),
                    Ok(Some(run)) => {
                        let expected: Vec<u8> = (*after + 1..=run.until.0)
                            .flat_map(|offset| letter(offset).encode(PLAIN).to_vec())
                            .collect();
                        prop_assert_eq!(&run.bytes[..], &expected[..]);
                        *after = run.until.0;
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
