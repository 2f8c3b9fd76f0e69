//! What is told of the messages, and whether all is well in the end.

use anyhow::bail;

use crate::cli::output::{self, OutputError, note};
use crate::cli::text;
use crate::client::{SendOutcome, Settled};
use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::Push;

/// See the [module docs](self).
pub(super) struct Report {
    /// Whether they are lines, so that their numbers say something.
    are_lines: bool,
    prints_acks: bool,
    failed: u64,
    /// The reason why no more acks are printed. The rest is still sent.
    unprinted: Option<OutputError>,
    /// The newest that was stored, in the life of the log that it was stored in.
    newest: (Option<Epoch>, Offset),
}

impl Report {
    /// A report of lines, or of the one message there is.
    pub(super) fn new(are_lines: bool, prints_acks: bool) -> Self {
        Self {
            are_lines,
            prints_acks,
            failed: 0,
            unprinted: None,
            newest: (None, Offset(0)),
        }
    }

    /// From now on offsets are of the log's life `epoch`.
    pub(super) fn enter(&mut self, epoch: &Epoch) {
        if self.newest.0.as_ref() != Some(epoch) {
            self.newest = (Some(epoch.clone()), Offset(0));
        }
    }

    /// A message has found its end.
    pub(super) fn settled(&mut self, settled: Settled) {
        let Settled { id, key, outcome } = settled;
        match outcome {
            SendOutcome::Stored { offset, duplicate } => {
                if self.prints_acks && self.unprinted.is_none() {
                    let ack = Push::Ack {
                        key,
                        offset,
                        duplicate,
                    };
                    let line = text::escape_json(&ack.encode()) + "\n";
                    self.unprinted = output::print(line).err();
                }
                if offset < self.newest.1 {
                    // Only if the server could store nothing for a moment, while others were on their way.
                    self.failed(id, "it is stored, but behind a later one");
                }
                self.newest.1 = self.newest.1.max(offset);
            }
            SendOutcome::Refused { message, .. } => self.failed(id, &message),
            SendOutcome::TooLong(limit) => self.failed(
                id,
                &format!("it is longer than the {limit} bytes allowed: not sent"),
            ),
        }
    }

    /// The message `number` is not where it should be.
    pub(super) fn failed(&mut self, number: u64, why: &str) {
        self.failed += 1;
        if self.are_lines {
            note(&format!("line {number}: {why}"));
        } else {
            note(why);
        }
    }

    /// Returns whether everything is stored, in order, and all was printed.
    ///
    /// # Errors
    /// How much is not.
    pub(super) fn verdict(self) -> anyhow::Result<()> {
        match self.failed {
            0 => Ok(self.unprinted.map_or(Ok(()), Err)?),
            1 => bail!("1 message was not sent as it should have been"),
            failed => bail!("{failed} messages were not sent as they should have been"),
        }
    }
}
