//! A room's history in memory: an append-only ring of encoded frames, bounded by count and bytes.
//!
//! One writer appends; every connection reads from its own offset. Joining, live delivery and catching up
//! are therefore one act: reading from a place.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::protocol::Offset;
use crate::server::room::Frame;
use crate::server::room::reel::Run;

/// How much a [`Log`] keeps.
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
    /// The newest offset that was dropped; reading after it works.
    pub dropped: Offset,
}

/// See the [module docs](self).
#[derive(Debug)]
pub struct Log {
    frames: VecDeque<(Offset, Frame)>,
    /// Sum of the frames' sizes.
    bytes: usize,
    limits: LogLimits,
    /// Newest offset given out; 0 while nothing was.
    head: Offset,
    /// Newest offset that the ring dropped; 0 while nothing was.
    dropped: Offset,
}

impl Log {
    /// An empty log.
    pub const fn new(limits: LogLimits) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, limits, head: Offset(0), dropped: Offset(0) }
    }

    /// The newest offset given out; 0 while nothing was.
    pub const fn head(&self) -> Offset {
        self.head
    }

    /// Adds `frame` at the end, dropping the oldest frames past the limits.
    pub fn append(&mut self, frame: Frame) -> Offset {
        self.head.0 += 1;
        self.bytes += frame.size();
        self.frames.push_back((self.head, frame));
        while self.frames.len() > self.limits.messages || self.bytes > self.limits.bytes {
            if self.frames.len() == 1 {
                break;
            }
            let Some((offset, oldest)) = self.frames.pop_front() else { break };
            self.bytes -= oldest.size();
            self.dropped = offset;
        }
        self.head
    }

    /// The frames after `after`, up to and with `until`, as one run of bytes of at least one frame and, past
    /// that, at most `max_bytes`. `None` if there are none.
    ///
    /// # Errors
    /// [`Lagged`] if a frame after `after` is no longer here.
    pub fn read(&self, after: Offset, until: Offset, max_bytes: usize) -> Result<Option<Run>, Lagged> {
        if after < self.dropped {
            return Err(Lagged { dropped: self.dropped });
        }
        let start = self.frames.partition_point(|(offset, _)| *offset <= after);
        let mut bytes = 0;
        let mut end = start;
        for (offset, frame) in self.frames.range(start..) {
            bytes += frame.plain().len();
            if *offset > until || (bytes > max_bytes && end > start) {
                break;
            }
            end += 1;
        }
        let Some((offset, last)) = self.frames.range(start..end).next_back() else { return Ok(None) };
        let bytes = if end - start == 1 { last.plain().clone() } else { self.join(start, end) };
        Ok(Some(Run { until: *offset, bytes }))
    }

    fn join(&self, start: usize, end: usize) -> Bytes {
        let frames = || self.frames.range(start..end).map(|(_, frame)| frame.plain());
        let mut joined = BytesMut::with_capacity(frames().map(Bytes::len).sum());
        frames().for_each(|frame| joined.extend_from_slice(frame));
        joined.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text of one letter that encodes to three bytes, so that runs can be counted.
    fn letter(offset: u64) -> Frame {
        Frame::text(&char::from(b'a' + (offset % 26) as u8).to_string())
    }

    fn log_of(messages: usize, appended: u64) -> Log {
        let mut log = Log::new(LogLimits { messages, bytes: usize::MAX });
        for offset in 1..=appended {
            assert_eq!(log.append(letter(offset)), Offset(offset));
        }
        log
    }

    #[test]
    fn a_reader_gets_what_came_after_its_place_as_one_run() {
        let log = log_of(10, 3);
        let run = log.read(Offset(1), Offset(3), 1000).expect("kept").expect("two frames");
        assert_eq!((run.until, &run.bytes[..]), (Offset(3), &b"\x81\x01c\x81\x01d"[..]));
        assert!(log.read(Offset(3), Offset(3), 1000).expect("kept").is_none());
    }

    #[test]
    fn a_run_never_exceeds_its_budget_but_always_moves_on() {
        let log = log_of(10, 3);
        let run = |budget| log.read(Offset(0), Offset(3), budget).expect("kept").expect("some").until;
        assert_eq!([run(0), run(3), run(5), run(6), run(9)], [1, 1, 1, 2, 3].map(Offset));
    }

    #[test]
    fn a_reader_the_ring_has_passed_is_told_so() {
        let log = log_of(2, 5);
        assert_eq!(log.read(Offset(2), Offset(5), 1000).err(), Some(Lagged { dropped: Offset(3) }));
        assert!(log.read(Offset(3), Offset(5), 1000).is_ok());
    }

    #[test]
    fn the_newest_frame_is_kept_however_large_it_is() {
        let mut log = Log::new(LogLimits { messages: 10, bytes: 100 });
        log.append(letter(1));
        log.append(Frame::binary(&[0; 1000]));
        assert_eq!(
            log.read(Offset(1), Offset(2), 1).map(|run| run.map(|run| run.until)),
            Ok(Some(Offset(2)))
        );
    }

    proptest! {
        /// Readers that read at any time, with any budget, beside a writer and a ring of any size.
        #[test]
        fn every_reader_sees_a_gapless_ordered_run_or_is_told_it_lagged(
            capacity in 1usize..20,
            steps in prop::collection::vec((0usize..4, 0usize..40), 1..200),
        ) {
            let mut log = Log::new(LogLimits { messages: capacity, bytes: usize::MAX });
            let mut readers = [Offset(0); 3];
            for (who, budget) in steps {
                let Some(after) = readers.get_mut(who) else {
                    log.append(letter(log.head().0 + 1));
                    continue;
                };
                match log.read(*after, log.head(), budget) {
                    Ok(None) => prop_assert_eq!(*after, log.head()),
                    Ok(Some(run)) => {
                        let expected: Vec<u8> = (after.0 + 1..=run.until.0)
                            .flat_map(|offset| letter(offset).plain().to_vec())
                            .collect();
                        prop_assert_eq!(&run.bytes[..], &expected[..]);
                        *after = run.until;
                    }
                    Err(lagged) => {
                        prop_assert!(lagged.dropped > *after && lagged.dropped.0 + capacity as u64 == log.head().0);
                        *after = lagged.dropped;
                    }
                }
            }
        }
    }
}
