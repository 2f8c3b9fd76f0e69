//! The report of sent messages, and the result of the command.

use anyhow::bail;

use crate::cli::format;
use crate::cli::output::{self, OutputError, note};
use crate::client::{SendOutcome, Settled};
use crate::protocol::{Epoch, Offset, Push, RoomName};

/// The report of one run.
pub(super) struct SendReport {
    room: RoomName,
    /// True if the messages are lines with numbers.
    are_lines: bool,
    prints_acks: bool,
    failed: u64,
    /// The reason why no more acks are printed. Sending continues.
    unprinted: Option<OutputError>,
    /// The newest stored offset, and its epoch.
    newest: (Option<Epoch>, Offset),
}

impl SendReport {
    /// Creates the report of lines to `room`, or of one message.
    pub(super) fn new(room: RoomName, are_lines: bool, prints_acks: bool) -> Self {
        Self {
            room,
            are_lines,
            prints_acks,
            failed: 0,
            unprinted: None,
            newest: (None, Offset(0)),
        }
    }

    /// Records the epoch of the offsets that follow.
    pub(super) fn enter(&mut self, epoch: &Epoch) {
        if self.newest.0.as_ref() != Some(epoch) {
            self.newest = (Some(epoch.clone()), Offset(0));
        }
    }

    /// Records the outcome of a message.
    pub(super) fn settled(&mut self, settled: Settled) {
        let Settled { id, key, outcome } = settled;

        match outcome {
            SendOutcome::Stored { offset, duplicate } => {
                if self.prints_acks && self.unprinted.is_none() {
                    let ack = Push::Ack {
                        room: self.room.clone(),
                        key,
                        offset,
                        duplicate,
                    };

                    let line = format::escape_json(&ack.encode()) + "\n";
                    self.unprinted = output::print(line).err();
                }

                if offset < self.newest.1 {
                    // The server refused messages temporarily while others were in flight.
                    self.failed(id, "it is stored, but after a later one");
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

    /// Records that the message `number` failed.
    pub(super) fn failed(&mut self, number: u64, why: &str) {
        self.failed += 1;
        if self.are_lines {
            note(&format!("line {number}: {why}"));
        } else {
            note(why);
        }
    }

    /// Returns success if every message is stored in order, and every ack was printed.
    ///
    /// # Errors
    /// The number of messages that failed.
    pub(super) fn verdict(self) -> anyhow::Result<()> {
        match self.failed {
            0 => Ok(self.unprinted.map_or(Ok(()), Err)?),
            1 => bail!("1 message was not sent as it should have been"),
            failed => bail!("{failed} messages were not sent as they should have been"),
        }
    }
}
