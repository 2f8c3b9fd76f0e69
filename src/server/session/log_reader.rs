//! The reading of logs by a connection: a cursor in the log of each room or pattern, and the source of the next messages.

use crate::protocol::Offset;
use crate::server::room::{Chunk, FanoutBatch, Format};

/// The position of a connection in the log of one room or pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCursor {
    /// The newest offset that was written, at least in part.
    offset: Offset,
    /// In a pattern, trimmed messages up to this offset are not reported to the client.
    known: Offset,
    /// The lowest offset that the next message can have, if that is more than `offset`.
    next: Offset,
    /// True if the ring has dropped frames after `offset`, and they are not read from the store yet.
    is_behind: bool,
}

/// The error of a reader whose next messages are no longer in the ring. It continues with those from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;

/// The source of a connection's next messages: the logs that it reads, and its positions in them.
pub trait LogReader {
    /// Returns the next messages in `format`; `None` if there are none.
    ///
    /// # Errors
    /// [`Behind`] if a ring has dropped the next message.
    fn next(&mut self, format: Format) -> Result<Option<&Chunk>, Behind>;

    /// Moves past `until`, the end of the last chunk, which had this number of `messages` and `bytes`.
    fn advance(&mut self, until: Offset, messages: usize, bytes: usize);
}

/// A reader of one room or pattern in a fan-out pass over it.
#[derive(Debug)]
pub struct RoomReader<'a, 'b> {
    /// The position of the reader.
    pub cursor: &'a mut LogCursor,
    /// The pass.
    pub batch: &'a mut FanoutBatch<'b>,
}

impl LogCursor {
    /// Creates a cursor that reads the log after `offset`.
    pub const fn new(offset: Offset) -> Self {
        Self::in_pattern(offset, offset)
    }

    /// Creates a cursor that reads the logs of all rooms of a pattern after `offset`. Trimmed messages up to `known` are
    /// not reported.
    pub const fn in_pattern(offset: Offset, known: Offset) -> Self {
        Self {
            offset,
            known,
            next: offset,
            is_behind: false,
        }
    }

    /// Returns the offset up to which trimmed messages of a pattern are not reported.
    pub fn known(&self) -> Offset {
        self.known.max(self.offset)
    }

    /// Returns the newest offset that was written, at least in part.
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// Returns the lowest offset that the next message can have.
    pub fn next(&self) -> Offset {
        self.next.max(Offset(self.offset.0 + 1))
    }

    /// Records that the next message is not before `next`.
    pub const fn expect(&mut self, next: Offset) {
        self.next = next;
    }

    /// Moves to `offset`.
    pub const fn advance(&mut self, offset: Offset) {
        self.offset = offset;
    }

    /// Returns true if the ring has dropped the next frames, and they are not read from the store yet.
    pub const fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Records that the ring has dropped the next frames.
    pub const fn fall_behind(&mut self) {
        self.is_behind = true;
    }

    /// Records that the frames were read from the store.
    pub const fn catch_up(&mut self) {
        self.is_behind = false;
    }
}

impl LogReader for RoomReader<'_, '_> {
    fn next(&mut self, format: Format) -> Result<Option<&Chunk>, Behind> {
        if self.cursor.is_behind {
            return Err(Behind);
        }

        self.batch
            .next(self.cursor.offset, format)
            .map_err(|_lagged| {
                self.cursor.is_behind = true;
                Behind
            })
    }

    fn advance(&mut self, until: Offset, messages: usize, bytes: usize) {
        self.cursor.offset = until;
        self.batch.count_delivery(messages, bytes);
    }
}
