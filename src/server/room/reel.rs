//! What one fan-out pass hands to its readers: most stand at the same place, so their bytes are joined once.

use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;

use crate::protocol::Offset;
use crate::server::room::{Dialect, Lagged, Log};

/// Bytes that one write hands to the kernel at most, unless a single frame is larger: enough to make the
/// system call the smaller part, little enough that a reader that stops in the middle pins little.
pub const MAX_RUN_BYTES: usize = 64 * 1024;

/// Frames of one log in a row, joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Offset of its last frame: where its reader stands after it.
    pub until: Offset,
    /// The frames, whole.
    pub bytes: Bytes,
}

/// One pass over a room's readers, up to the head that the log had when the pass began.
#[derive(Debug)]
pub struct Reel<'a> {
    log: &'a Mutex<Log>,
    until: Offset,
    /// For each dialect the run made last, and the place that it starts after.
    last: [Option<(Offset, Run)>; Dialect::COUNT],
}

impl<'a> Reel<'a> {
    /// A pass over `log` as it stands now.
    pub fn new(log: &'a Mutex<Log>) -> Self {
        let until = log.lock().unwrap_or_else(PoisonError::into_inner).head();
        Self { log, until, last: [const { None }; Dialect::COUNT] }
    }

    /// What a reader at `after` gets next in this pass, or `None` when it has all.
    ///
    /// # Errors
    /// [`Lagged`] if the ring has passed it.
    pub fn next(&mut self, after: Offset, dialect: Dialect) -> Result<Option<&Run>, Lagged> {
        if after >= self.until {
            return Ok(None);
        }
        let last = &mut self.last[dialect as usize];
        if last.as_ref().is_none_or(|(from, _)| *from != after) {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            let run = log.read(after, self.until, dialect, MAX_RUN_BYTES)?;
            drop(log);
            *last = run.map(|run| (after, run));
        }
        Ok(last.as_ref().map(|(_, run)| run))
    }
}
