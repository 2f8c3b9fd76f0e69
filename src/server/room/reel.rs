//! What one fan-out pass hands to its readers: most stand at the same place, so their bytes are joined once.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::protocol::Offset;
use crate::server::room::{Format, Lagged, Log};

/// Bytes that one write hands to the kernel at most, unless a single frame is larger: enough to make the
/// system call the smaller part, little enough that a reader that stops in the middle pins little.
pub const MAX_RUN_BYTES: usize = 64 * 1024;

/// Frames of one log in a row, joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of its last frame: where its reader stands after it.
    pub until: Offset,
    /// How many they are.
    pub messages: usize,
    /// The frames, whole.
    pub bytes: Bytes,
}

/// What was handed to readers, by all passes that are over.
#[derive(Debug, Default)]
pub struct DeliveryCounters {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl DeliveryCounters {
    /// Messages, once for each reader, and their bytes.
    pub fn read(&self) -> (u64, u64) {
        (
            self.messages.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

/// A run, and from where and when it was made.
#[derive(Clone, Debug)]
struct EncodedChunk {
    after: Offset,
    erasures: u64,
    run: Chunk,
}

/// One pass over a room's readers, up to the head that the log had when the pass began.
#[derive(Debug)]
pub struct FanoutBatch<'a> {
    log: &'a Mutex<Log>,
    until: Offset,
    /// The last run of each format.
    last: [Option<EncodedChunk>; Format::COUNT],
    /// The number of erased frames of the log, if known: a run from before the last erasure is encoded again.
    erasures: Option<&'a AtomicU64>,
    /// Where it is counted what it handed out, if anywhere; once, at its end.
    tally: Option<&'a DeliveryCounters>,
    messages: usize,
    bytes: usize,
}

impl<'a> FanoutBatch<'a> {
    /// A pass over `log` as it stands now.
    pub fn new(log: &'a Mutex<Log>) -> Self {
        let until = log.lock().head();
        Self {
            log,
            until,
            last: [const { None }; Format::COUNT],
            erasures: None,
            tally: None,
            messages: 0,
            bytes: 0,
        }
    }

    /// The same, counted in `tally`.
    pub const fn counted(mut self, tally: &'a DeliveryCounters) -> Self {
        self.tally = Some(tally);
        self
    }

    /// Sets the counter of a log whose frames may be erased meanwhile: `erasures` grows after each erasure, before
    /// readers are notified.
    pub const fn watching_redactions(mut self, erasures: &'a AtomicU64) -> Self {
        self.erasures = Some(erasures);
        self
    }

    /// A reader was handed a run of so many messages and bytes.
    pub const fn count_delivery(&mut self, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes += bytes;
    }

    /// What a reader at `after` gets next in this pass, or `None` when it has all.
    ///
    /// # Errors
    /// [`Lagged`] if the ring has passed it.
    pub fn next(&mut self, after: Offset, format: Format) -> Result<Option<&Chunk>, Lagged> {
        if after >= self.until {
            return Ok(None);
        }
        // Before the log is read: what is erased after that makes the run stale.
        let erasures = self
            .erasures
            .map_or(0, |erasures| erasures.load(Ordering::Acquire));
        let last = &mut self.last[format.index()];
        let is_stale = |made: &EncodedChunk| made.after != after || made.erasures != erasures;

        if last.as_ref().is_none_or(is_stale) {
            let mut log = self.log.lock();
            let run = log.read(after, self.until, format, MAX_RUN_BYTES)?;
            drop(log);
            *last = run.map(|run| EncodedChunk {
                after,
                erasures,
                run,
            });
        }

        Ok(last.as_ref().map(|made| &made.run))
    }

    /// Returns the run that [`FanoutBatch::next`] gave last to a reader at `after`.
    pub fn current(&self, after: Offset, format: Format) -> Option<&Chunk> {
        let made = self.last[format.index()].as_ref()?;
        (made.after == after).then_some(&made.run)
    }
}

impl Drop for FanoutBatch<'_> {
    fn drop(&mut self) {
        if let Some(tally) = self.tally.filter(|_| self.messages > 0) {
            tally
                .messages
                .fetch_add(self.messages as u64, Ordering::Relaxed);
            tally.bytes.fetch_add(self.bytes as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::room::LogLimits;

    #[test]
    fn what_a_pass_handed_out_is_counted_when_it_is_over() {
        let log = Mutex::new(Log::new(
            LogLimits {
                messages: 1,
                bytes: 1,
            },
            Offset(0),
        ));
        let tally = DeliveryCounters::default();
        let mut reel = FanoutBatch::new(&log).counted(&tally);
        reel.count_delivery(2, 30);
        reel.count_delivery(1, 12);
        assert_eq!(tally.read(), (0, 0));
        drop(reel);
        assert_eq!(tally.read(), (3, 42));
    }
}
