//! The bytes that wait to be written to one connection, and their order.
//!
//! They come from two sources: frames for this connection alone (responses, pongs, Close), and the logs of its rooms and
//! patterns, each of which is read from a cursor. Frames of both are written whole. The bytes of the log are shared between
//! connections, so a slow reader costs a cursor and not a queue.

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::{CloseCode, GapReason, Offset, Push, RoomSelector};
use crate::server::memory::Memory;
use crate::server::room::{self, Dialect, Format, Frame, MAX_CHUNK_BYTES, Tick};
use crate::server::session::{Behind, LogCursor, LogReader};
use crate::server::wire::{self, Opcode};

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteStep {
    /// This number of bytes was accepted. There may be more to write.
    Wrote(usize),
    /// Everything is written.
    Idle,
    /// Everything is written, with a Close frame if the dialect has one: the connection ends.
    Finished,
    /// A ring has dropped the next frames. The reader continues with those from the store:
    /// [`SendBuffer::begin_page`].
    Behind,
}

/// Messages from the store for a reader whose next frames the ring has dropped.
#[derive(Debug)]
pub struct CatchUpPage {
    /// The room or the pattern.
    pub room: RoomSelector,
    /// The position of the reader.
    pub after: Offset,
    /// The oldest messages after the reader's position that can be read.
    pub frames: Vec<Arc<Frame>>,
    /// True if the store has more messages after `frames`.
    pub more: bool,
    /// The largest offset that `frames` can have. In a room, the newest offset before they were read: all later messages
    /// are in the ring. In a pattern, the offset up to which the page is complete.
    pub upper_bound: Offset,
    /// The newest trimmed offset. Later messages that are not in `frames` are damaged.
    pub gone: Offset,
    /// The number of trimmed messages after the reader's position, if known.
    pub trimmed: Option<u64>,
    /// The number of damaged messages before the first of `frames`, or among the `frames` of a pattern, if known.
    pub damaged: Option<u64>,
    /// True if `prev` of each message is the message before it: they are of one room.
    pub is_linked: bool,
}

impl CatchUpPage {
    /// Returns the offset up to which the page has all messages that the store had.
    pub fn end(&self) -> Offset {
        let last = self.frames.last().filter(|_| self.is_linked);
        last.map_or(self.upper_bound, |last| last.offset())
    }

    /// Returns the number of its messages up to `offset`.
    fn count_until(&self, offset: Offset) -> usize {
        self.frames
            .partition_point(|frame| frame.offset() <= offset)
    }

    /// Returns true if this is a page of a pattern and a reader at `offset` has all its messages.
    pub fn is_finished(&self, offset: Offset) -> bool {
        let last = self.frames.last().map(|last| last.offset());
        !self.is_linked && last <= Some(offset)
    }
}

/// The reason for which a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The server closes it with this code.
    Local(CloseCode),
    /// The client closes it, and its code is sent back (RFC 6455 section 5.5.1).
    Echo(Option<u16>),
}

/// The pending output of one connection. Its position in each log is a [`LogCursor`].
#[derive(Debug)]
pub struct SendBuffer {
    format: Format,
    /// Whole frames for this connection alone, in order.
    queue: Vec<u8>,
    /// The rest of the bytes that are being written. Bytes of the log are here only if they were written in part.
    current: Bytes,
    /// The time since which the kernel accepts no bytes.
    blocked: Option<Tick>,
    /// The reason for which the connection is closed, if it is.
    close_reason: Option<CloseReason>,
    /// True if the rest of the log is not written.
    is_log_ended: bool,
    /// True if the end of the output has been reached, with the Close frame: nothing follows.
    is_at_end: bool,
}

impl SendBuffer {
    /// Creates an empty buffer.
    pub const fn new(format: Format) -> Self {
        Self {
            format,
            queue: Vec::new(),
            current: Bytes::new(),
            blocked: None,
            close_reason: None,
            is_log_ended: false,
            is_at_end: false,
        }
    }

    /// Returns the dialect in which the connection reads the log.
    pub const fn dialect(&self) -> Dialect {
        self.format.dialect()
    }

    /// Queues a frame for this connection alone. Ignored if the connection is closing.
    pub fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.close_reason.is_none() {
            wire::encode_into(opcode, payload, &mut self.queue);
        }
    }

    /// Queues `push` for this connection alone, encoded in its dialect. Ignored if the connection is closing.
    pub fn push_event(&mut self, push: &Push) {
        if self.close_reason.is_none() {
            self.dialect().encode_into(push, &mut self.queue);
        }
    }

    /// Queues whole, encoded frames for this connection alone. Ignored if the connection is closing.
    pub fn push_encoded(&mut self, frame: &[u8]) {
        if self.close_reason.is_none() {
            self.queue.extend_from_slice(frame);
        }
    }

    /// Closes the connection with a Close frame after the queued frames, and after the whole log if the server shuts
    /// down ([`CloseCode::GoingAway`]). Ignored if the connection is already closing.
    pub const fn close(&mut self, close_reason: CloseReason) {
        if self.close_reason.is_none() {
            self.close_reason = Some(close_reason);
        }
    }

    /// Returns the reason for which the connection is closed; `None` while it is open.
    pub const fn close_reason(&self) -> Option<CloseReason> {
        self.close_reason
    }

    /// Stops writing the log. The connection is closed without the rest of it.
    pub const fn end_log(&mut self) {
        self.is_log_ended = true;
    }

    /// Returns true if everything was written, including the whole Close frame.
    pub fn is_finished(&self) -> bool {
        self.is_at_end && self.current.is_empty()
    }

    /// Returns true if the log is still to be written. A server that shuts down writes all of it.
    pub const fn reads_log(&self) -> bool {
        !self.is_log_ended
            && matches!(
                self.close_reason,
                None | Some(CloseReason::Local(CloseCode::GoingAway))
            )
    }

    /// Returns the number of queued bytes for this connection alone. Bytes of the log are shared and not counted.
    pub const fn queued_bytes(&self) -> usize {
        self.queue.len()
    }

    /// Returns the capacity of the queue in bytes. Bytes that are being written are counted elsewhere.
    pub const fn queue_capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Returns the number of bytes that this connection keeps in memory: the queue, and the bytes that are being written,
    /// which other connections may keep too.
    pub const fn reclaimable(&self) -> usize {
        self.queue.capacity() + self.current.len()
    }

    /// Discards all pending bytes, even in the middle of a frame. Nothing can be written after that.
    pub fn clear(&mut self) {
        self.queue = Vec::new();
        self.current = Bytes::new();
    }

    /// Passes the next bytes to `write`, which returns the number of bytes accepted. The messages come from `logs`.
    ///
    /// # Errors
    /// Returns the error of `write`. The same bytes are then the next ones.
    pub fn write_next<E>(
        &mut self,
        logs: &mut impl LogReader,
        write: impl FnOnce(&Bytes) -> Result<usize, E>,
    ) -> Result<WriteStep, E> {
        if self.current.is_empty() {
            // Nothing follows a Close frame (RFC 6455 section 5.5.1).
            if self.is_at_end {
                return Ok(WriteStep::Finished);
            }
            if !self.queue.is_empty() {
                let queue = std::mem::take(&mut self.queue).into();
                self.current = Memory::of_process().track(queue, 0);
            } else if self.reads_log() {
                match logs.next(self.format) {
                    Ok(Some(chunk)) => {
                        let bytes = self.write_shared(&chunk.bytes, write)?;
                        let (until, messages, total) =
                            (chunk.until, chunk.messages, chunk.bytes.len());
                        logs.advance(until, messages, total);
                        return Ok(WriteStep::Wrote(bytes));
                    }
                    Ok(None) => {}
                    Err(Behind) => return Ok(WriteStep::Behind),
                }
            }
        }

        if self.current.is_empty() {
            let Some(close_reason) = self.close_reason else {
                return Ok(WriteStep::Idle);
            };

            self.is_at_end = true;
            if self.format.dialect().is_stream() {
                return Ok(WriteStep::Finished);
            }
            self.current = match close_reason {
                CloseReason::Local(code) => wire::close_frame(code),
                CloseReason::Echo(code) => wire::close_echo(code),
            };
        }

        let bytes = write(&self.current)?;
        self.blocked = None;
        if bytes >= self.current.len() {
            // An empty slice from `advance` would keep the shared bytes alive.
            self.current = Bytes::new();
        } else {
            // The returned bytes are those that were written.
            let _ = self.current.split_to(bytes);
        }
        Ok(WriteStep::Wrote(bytes))
    }

    /// Passes `bytes`, which other connections may share, to `write`. The rest that is not accepted is written next.
    /// Everything before them must be written.
    ///
    /// # Errors
    /// Returns the error of `write`. Nothing was written then.
    pub fn write_shared<E>(
        &mut self,
        bytes: &Bytes,
        write: impl FnOnce(&Bytes) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let accepted = write(bytes)?;
        self.blocked = None;
        if accepted < bytes.len() {
            self.current = bytes.slice(accepted..);
        }
        Ok(accepted)
    }

    /// Moves `cursor` to the first message of `page`, and returns the reason of each gap before it. In a pattern, these are
    /// all gaps of the page, because kept messages of other rooms lie within them.
    ///
    /// The client is notified of each gap. The plain dialect has no frame for that: if messages were trimmed, the
    /// connection is closed with 4002; if they are damaged, it continues after them, because a new connection would
    /// reach the same gap again.
    pub fn begin_page(&mut self, cursor: &mut LogCursor, page: &CatchUpPage) -> Vec<GapReason> {
        cursor.catch_up();
        let mut gaps = Vec::new();
        if !self.reads_log() {
            return gaps;
        }

        let first = page.frames.first();
        if page.is_linked {
            let target = first.map_or(page.upper_bound, |first| first.prev());
            let before = first.map_or(Offset(page.upper_bound.0 + 1), |first| first.offset());
            self.skip(cursor, page, target, before, page.damaged, &mut gaps);
            return gaps;
        }

        if page.trimmed != Some(0) {
            let before = Offset(page.gone.0 + 1);
            self.push_gap(page, page.after, before, page.trimmed, GapReason::Expired);
            gaps.push(GapReason::Expired);
        }
        if page.damaged != Some(0) {
            let before = Offset(page.upper_bound.0 + 1);
            self.push_gap(page, page.after, before, page.damaged, GapReason::Damaged);
            gaps.push(GapReason::Damaged);
        }
        let start = first.map_or(page.upper_bound, |first| Offset(first.offset().0 - 1));
        cursor.advance(start.max(cursor.offset()));
        gaps
    }

    /// Continues with the messages of `page` after `cursor` and up to `until`, and returns the reason of each gap among
    /// them. The client is notified of each as by [`SendBuffer::begin_page`], which precedes this.
    pub fn continue_page(
        &mut self,
        cursor: &mut LogCursor,
        page: &CatchUpPage,
        until: Offset,
    ) -> Vec<GapReason> {
        let mut gaps = Vec::new();
        if !self.reads_log() {
            return gaps;
        }
        if !page.is_linked {
            self.continue_pattern(cursor, page, until);
            return gaps;
        }

        let mut start = page.count_until(cursor.offset());
        let end = page.count_until(until);
        let mut budget = MAX_CHUNK_BYTES;
        while start < end && budget > 0 {
            let first = &page.frames[start];
            let last = start.checked_sub(1).map(|before| &page.frames[before]);
            let damaged = last.and_then(|last| first.number().checked_sub(last.number() + 1));
            self.skip(
                cursor,
                page,
                first.prev(),
                first.offset(),
                damaged,
                &mut gaps,
            );
            // A plain client with a gap is closed.
            if !self.reads_log() {
                break;
            }

            let contiguous = until_gap(&page.frames[start..end]);
            let frames = contiguous.iter().map(|frame| &**frame);
            let Some(chunk) = room::concat_frames(frames, self.format, budget) else {
                break;
            };

            // Queued, so that a gap that follows is queued after it.
            self.queue.extend_from_slice(&chunk.bytes);
            cursor.advance(chunk.until);
            start += chunk.messages;
            if chunk.messages < contiguous.len() {
                break;
            }
            budget = budget.saturating_sub(chunk.bytes.len());
        }

        gaps
    }

    /// Continues with `page`, which has messages of several rooms. All up to `until` are queued at once: if the page were
    /// read again, those of its messages that were trimmed meanwhile would be counted with the reported ones.
    fn continue_pattern(&mut self, cursor: &mut LogCursor, page: &CatchUpPage, until: Offset) {
        let start = page.count_until(cursor.offset());
        let frames = page.frames[start..page.count_until(until)]
            .iter()
            .map(|frame| &**frame);
        if let Some(chunk) = room::concat_frames(frames, self.format, usize::MAX) {
            self.queue.extend_from_slice(&chunk.bytes);
            cursor.advance(chunk.until);
        }
    }

    /// Moves `cursor` to `target`, the offset before the message at `before`, and queues a gap for the missing
    /// messages: one for those that were trimmed, and one for those that are damaged, whose number is `damaged`.
    fn skip(
        &mut self,
        cursor: &mut LogCursor,
        page: &CatchUpPage,
        target: Offset,
        before: Offset,
        damaged: Option<u64>,
        gaps: &mut Vec<GapReason>,
    ) {
        let trimmed = target.min(page.gone);
        if trimmed > cursor.offset() {
            let end = if trimmed == target {
                before
            } else {
                Offset(trimmed.0 + 1)
            };
            self.push_gap(page, cursor.offset(), end, page.trimmed, GapReason::Lagged);
            cursor.advance(trimmed);
            gaps.push(GapReason::Lagged);
        }

        if target > cursor.offset() {
            self.push_gap(page, cursor.offset(), before, damaged, GapReason::Damaged);
            cursor.advance(target);
            gaps.push(GapReason::Damaged);
        }
    }

    /// Queues a gap of `count` messages from `after` to `before`, if the dialect has a frame for it.
    fn push_gap(
        &mut self,
        page: &CatchUpPage,
        after: Offset,
        before: Offset,
        count: Option<u64>,
        reason: GapReason,
    ) {
        match (self.dialect(), reason) {
            (Dialect::Plain, GapReason::Damaged) => {}
            (Dialect::Plain, _) => {
                self.close(CloseReason::Local(CloseCode::TooSlow));
                self.end_log();
            }
            (Dialect::Typed | Dialect::Sse | Dialect::Ndjson, _) => {
                let gap = Push::Gap {
                    room: page.room.clone(),
                    after,
                    before,
                    count,
                    reason,
                };

                // Even if the connection is closing: the gap belongs to the log.
                self.dialect().encode_into(&gap, &mut self.queue);
            }
        }
    }

    /// Records that the kernel accepted no bytes at `now`.
    pub fn block(&mut self, now: Tick) {
        self.blocked.get_or_insert(now);
    }

    /// Records that the kernel accepts bytes again.
    pub const fn unblock(&mut self) {
        self.blocked = None;
    }

    /// Returns the time since which the kernel accepts no bytes; `None` while it does.
    pub const fn blocked_since(&self) -> Option<Tick> {
        self.blocked
    }
}

/// Returns those of `frames` before the first one whose predecessor is missing.
fn until_gap(frames: &[Arc<Frame>]) -> &[Arc<Frame>] {
    let has_gap = |pair: &[Arc<Frame>]| pair[1].prev() > pair[0].offset();
    let end = frames.windows(2).position(has_gap);
    &frames[..end.map_or(frames.len(), |index| index + 1)]
}

#[cfg(test)]
mod tests;
