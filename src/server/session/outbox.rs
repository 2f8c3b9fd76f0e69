//! What waits to be written to one connection, and in which order.
//!
//! Two sources, merged only between whole frames: the connection's own frames (pong, close) and the room's
//! log, read from a cursor. The log's bytes are shared, so a slow reader holds a place, not a queue.

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::CloseCode;
use crate::protocol::GapReason;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::server::memory::Memory;
use crate::server::room::{self, Dialect, FanoutBatch, Format, Frame, MAX_RUN_BYTES, Tick};
use crate::server::wire::{self, Opcode};

/// What the writer should do.
#[derive(Debug, PartialEq, Eq)]
pub enum NextChunk<'a> {
    /// Hand these bytes to the kernel and report with [`SendBuffer::wrote`].
    Write(&'a Bytes),
    /// Everything is written.
    Idle,
    /// Everything is written, ending with a Close frame if the dialect has one. This is final.
    Finished,
    /// The ring has passed this reader: read on from the store after this offset and report with
    /// [`SendBuffer::on_caught_up`].
    Behind(Offset),
}

/// Messages that the store has for a reader that the ring has passed.
#[derive(Debug)]
pub struct CatchUpPage {
    /// The oldest messages after the reader's position that can be read.
    pub frames: Vec<Arc<Frame>>,
    /// The newest offset before they were read: all later messages are in the ring.
    pub head: Offset,
    /// Messages up to this offset were trimmed; later ones that are not in `frames` are damaged.
    pub gone: Offset,
    /// Set if offsets have no holes, so that missing messages can be counted.
    pub is_dense: bool,
}

/// The last frame that a connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// We end it, for this reason.
    Ours(CloseCode),
    /// The client ended it; its own code goes back (RFC 6455 section 5.5.1).
    Echo(Option<u16>),
}

/// See the [module docs](self).
#[derive(Debug)]
pub struct SendBuffer {
    format: Format,
    /// The last offset of the room's log that was written, if only in part.
    cursor: Offset,
    /// The ring has passed `cursor`, and the store has not answered yet.
    is_behind: bool,
    /// Frames for this connection alone, whole ones, in order.
    own: Vec<u8>,
    /// What is being written, or the rest of it; of the log only such a rest.
    current: Bytes,
    /// Since when the kernel takes nothing.
    blocked: Option<Tick>,
    /// Why the connection ends, once it does.
    farewell: Option<CloseReason>,
    /// Nothing is written yet, see [`SendBuffer::corked`].
    is_corked: bool,
    /// Nothing more is read from the log.
    is_log_over: bool,
    /// The end was taken up for writing: nothing follows it.
    has_ended: bool,
}

impl SendBuffer {
    /// Nothing to write; the log is read from after `cursor`.
    pub const fn new(format: Format, cursor: Offset) -> Self {
        Self {
            format,
            cursor,
            is_behind: false,
            own: Vec::new(),
            current: Bytes::new(),
            blocked: None,
            farewell: None,
            is_corked: false,
            is_log_over: false,
            has_ended: false,
        }
    }

    /// Creates an outbox that writes nothing before [`SendBuffer::uncork`]. So a connection can be registered, and miss
    /// nothing, before its first frames are known.
    pub const fn corked(format: Format, cursor: Offset) -> Self {
        let mut outbox = Self::new(format, cursor);
        outbox.is_corked = true;
        outbox
    }

    /// Starts writing: the whole frames in `first`, and then the frames that were queued until now.
    pub fn uncork(&mut self, mut first: Vec<u8>) {
        first.append(&mut self.own);
        self.own = first;
        self.is_corked = false;
    }

    /// How this connection reads the log.
    pub const fn dialect(&self) -> Dialect {
        self.format.dialect()
    }

    /// Queues a frame for this connection alone; once it ends, nothing.
    pub fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.farewell.is_none() {
            wire::encode_into(opcode, payload, &mut self.own);
        }
    }

    /// Queues `push` for this connection alone, as its dialect writes it.
    pub fn push_event(&mut self, push: &Push) {
        if self.farewell.is_none() {
            self.dialect().encode_into(push, &mut self.own);
        }
    }

    /// Queues whole frames that were encoded before.
    pub fn push_encoded(&mut self, frame: &[u8]) {
        if self.farewell.is_none() {
            self.own.extend_from_slice(frame);
        }
    }

    /// Ends the connection with a Close frame, after its own frames; when the server goes away also after
    /// all that the log has. The first farewell wins.
    pub const fn close(&mut self, farewell: CloseReason) {
        if self.farewell.is_none() {
            self.farewell = Some(farewell);
        }
    }

    /// Why the connection ends, once it does.
    pub const fn close_reason(&self) -> Option<CloseReason> {
        self.farewell
    }

    /// Stops writing the log, even if it has more: the connection ends without the rest.
    pub const fn end_log(&mut self) {
        self.is_log_over = true;
        self.is_behind = false;
    }

    /// Returns whether everything was written, to the last byte of the Close frame.
    pub fn is_finished(&self) -> bool {
        self.has_ended && self.current.is_empty()
    }

    /// Returns whether the log is still read. A server that goes away first gives what it has.
    const fn reads_log(&self) -> bool {
        !self.is_log_over
            && matches!(
                self.farewell,
                None | Some(CloseReason::Ours(CloseCode::GoingAway))
            )
    }

    /// Bytes that wait for this connection alone. (Shared bytes of the log cost nothing.)
    pub const fn waiting(&self) -> usize {
        self.own.len()
    }

    /// Returns how many bytes the queue of frames for this connection takes. What is being written is counted by itself.
    pub const fn queued(&self) -> usize {
        self.own.capacity()
    }

    /// Returns how many bytes would be free if this connection went: the queue, and the rest of what is being written
    /// unless another connection refers to it too.
    pub fn reclaimable(&self) -> usize {
        let is_own = !self.current.is_empty() && self.current.is_unique();
        self.own.capacity() + if is_own { self.current.len() } else { 0 }
    }

    /// Forgets what waits, in the middle of a frame if need be: nothing can be written after that.
    pub fn clear(&mut self) {
        self.own = Vec::new();
        self.current = Bytes::new();
    }

    /// The last offset of the log that was written, if only in part.
    pub const fn cursor(&self) -> Offset {
        self.cursor
    }

    /// Where the ring has passed this reader and the store has not answered yet.
    pub const fn behind(&self) -> Option<Offset> {
        if self.is_behind {
            Some(self.cursor)
        } else {
            None
        }
    }

    /// What to write next.
    pub fn next<'a>(&'a mut self, reel: &'a mut FanoutBatch<'_>) -> NextChunk<'a> {
        if self.is_corked {
            return NextChunk::Idle;
        }

        if self.current.is_empty() {
            // Nothing follows a Close frame (RFC 6455 section 5.5.1).
            if self.has_ended {
                return NextChunk::Finished;
            }
            if !self.own.is_empty() {
                let own = std::mem::take(&mut self.own).into();
                self.current = Memory::of_process().hold(own, 0);
            } else if self.reads_log() {
                if self.is_behind {
                    return NextChunk::Behind(self.cursor);
                }
                match reel.next(self.cursor, self.format) {
                    Ok(Some(run)) => return NextChunk::Write(&run.bytes),
                    Ok(None) => {}
                    Err(_lagged) => {
                        self.is_behind = true;
                        return NextChunk::Behind(self.cursor);
                    }
                }
            }
        }

        if self.current.is_empty() {
            let Some(farewell) = self.farewell else {
                return NextChunk::Idle;
            };
            self.has_ended = true;
            if self.format.dialect().is_stream() {
                return NextChunk::Finished;
            }
            self.current = match farewell {
                CloseReason::Ours(code) => wire::close_frame(code),
                CloseReason::Echo(code) => wire::close_echo(code),
            };
        }

        NextChunk::Write(&self.current)
    }

    /// Continues with `page`, what the store has after the cursor, and returns the reason of each gap in it.
    ///
    /// Clients are notified of each gap. Plain clients cannot be: where messages were trimmed they are closed with
    /// 4002; where messages are damaged they continue after them, because they would meet the same gap again.
    pub fn on_caught_up(&mut self, page: &CatchUpPage) -> Vec<GapReason> {
        if !std::mem::take(&mut self.is_behind) || !self.reads_log() {
            return Vec::new();
        }

        let mut gaps = Vec::new();
        let Some(first) = page.frames.first() else {
            let before = Offset(page.head.0 + 1);
            self.skip(page, page.head, before, &mut gaps);
            return gaps;
        };
        self.skip(page, first.prev(), first.offset(), &mut gaps);

        let mut rest = page.frames.as_slice();
        let mut budget = MAX_RUN_BYTES;
        while !rest.is_empty() && self.reads_log() {
            let (unbroken, behind) = split_at_gap(rest);
            let frames = unbroken.iter().map(|frame| &**frame);
            let Some(run) = room::concat_frames(frames, self.format, budget) else {
                break;
            };
            // Behind what waits for this connection alone, or a gap would be sent after it.
            self.own.extend_from_slice(&run.bytes);
            self.cursor = run.until;

            budget = budget.saturating_sub(run.bytes.len());
            if run.messages < unbroken.len() || budget == 0 {
                break;
            }
            if let Some(next) = behind.first() {
                self.skip(page, next.prev(), next.offset(), &mut gaps);
            }
            rest = behind;
        }
        gaps
    }

    /// Moves the cursor to `seen`, the position before the message at `before`, and queues a gap for the missing
    /// messages: one for those that were trimmed, and one for those that are damaged.
    fn skip(
        &mut self,
        page: &CatchUpPage,
        seen: Offset,
        before: Offset,
        gaps: &mut Vec<GapReason>,
    ) {
        let trimmed = seen.min(page.gone);
        if trimmed > self.cursor {
            let behind = if trimmed == seen {
                before
            } else {
                Offset(trimmed.0 + 1)
            };
            self.push_gap(behind, page.is_dense, GapReason::Lagged);
            self.cursor = trimmed;
            gaps.push(GapReason::Lagged);
        }

        if seen > self.cursor {
            self.push_gap(before, page.is_dense, GapReason::Damaged);
            self.cursor = seen;
            gaps.push(GapReason::Damaged);
        }
    }

    /// Queues a gap from the cursor to `before`, where the dialect has a frame for it.
    fn push_gap(&mut self, before: Offset, is_dense: bool, reason: GapReason) {
        let after = self.cursor;

        match (self.dialect(), reason) {
            (Dialect::Plain, GapReason::Damaged) => {}
            (Dialect::Plain, _) => {
                self.close(CloseReason::Ours(CloseCode::TooSlow));
                self.end_log();
            }
            (Dialect::Typed | Dialect::Sse | Dialect::Ndjson, _) => {
                let count = before.0.checked_sub(after.0 + 1).filter(|_| is_dense);
                let gap = Push::Gap {
                    after,
                    before,
                    count,
                    reason,
                };
                // Also behind a farewell: it belongs to the log.
                self.dialect().encode_into(&gap, &mut self.own);
            }
        }
    }

    /// The kernel took `bytes` of what [`SendBuffer::next`] gave from the same `reel`.
    pub fn wrote(&mut self, bytes: usize, reel: &mut FanoutBatch<'_>) {
        self.blocked = None;
        if self.current.is_empty() {
            if let Some(run) = reel.current(self.cursor, self.format) {
                self.cursor = run.until;
                if bytes < run.bytes.len() {
                    self.current = run.bytes.slice(bytes..);
                }
                let (messages, bytes) = (run.messages, run.bytes.len());
                reel.count_delivery(messages, bytes);
            }
        } else if bytes >= self.current.len() {
            // Not `advance`: an empty slice would still hold on to the shared bytes.
            self.current = Bytes::new();
        } else {
            // These bytes are sent.
            let _ = self.current.split_to(bytes);
        }
    }

    /// The kernel took nothing.
    pub fn block(&mut self, now: Tick) {
        self.blocked.get_or_insert(now);
    }

    /// The kernel says that it takes bytes again.
    pub const fn unblock(&mut self) {
        self.blocked = None;
    }

    /// Since when the kernel takes nothing; `None` while it does.
    pub const fn blocked(&self) -> Option<Tick> {
        self.blocked
    }
}

/// Splits `frames` before the first one whose predecessor is missing.
fn split_at_gap(frames: &[Arc<Frame>]) -> (&[Arc<Frame>], &[Arc<Frame>]) {
    let is_broken = |pair: &[Arc<Frame>]| pair[1].prev() > pair[0].offset();
    let unbroken = frames
        .windows(2)
        .position(is_broken)
        .map_or(frames.len(), |at| at + 1);
    frames.split_at(unbroken)
}

#[cfg(test)]
mod tests;
