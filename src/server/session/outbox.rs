//! What waits to be written to one connection, and in which order.
//!
//! Two sources, merged only between whole frames: the connection's own frames (pong, close) and the room's
//! log, read from a cursor. The log's bytes are shared, so a slow reader holds a place, not a queue.

use bytes::Bytes;

use crate::protocol::{CloseCode, Offset};
use crate::server::room::Reel;
use crate::server::session::Moment;
use crate::server::wire::{self, Opcode};

/// What the writer should do.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Hand these bytes to the kernel and report with [`Outbox::wrote`].
    Write(&'a [u8]),
    /// Everything is written.
    Idle,
    /// Everything is written, the last of it a Close frame.
    Finished,
}

/// The last frame that a connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// We end it, for this reason.
    Ours(CloseCode),
    /// The client ended it; its own code goes back (RFC 6455 section 5.5.1).
    Echo(Option<u16>),
}

/// See the [module docs](self).
#[derive(Debug)]
pub struct Outbox {
    /// The last offset of the room's log that was taken up for writing.
    cursor: Offset,
    /// Frames for this connection alone, whole ones, in order.
    own: Vec<u8>,
    /// What is being written.
    current: Bytes,
    /// Since when the kernel takes nothing.
    blocked: Option<Moment>,
    /// Why the connection ends, once it does.
    farewell: Option<Farewell>,
    /// Whether the Close frame was taken up for writing.
    said: bool,
}

impl Outbox {
    /// Nothing to write; the log is read from after `cursor`.
    pub const fn new(cursor: Offset) -> Self {
        Self { cursor, own: Vec::new(), current: Bytes::new(), blocked: None, farewell: None, said: false }
    }

    /// Queues a frame for this connection alone; once it ends, nothing.
    pub fn push(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.farewell.is_none() {
            wire::encode_into(opcode, payload, &mut self.own);
        }
    }

    /// Ends the connection with a Close frame, after its own frames; when the server goes away also after
    /// all that the log has. The first farewell wins.
    pub const fn close(&mut self, farewell: Farewell) {
        if self.farewell.is_none() {
            self.farewell = Some(farewell);
        }
    }

    /// Why the connection ends, once it does.
    pub const fn farewell(&self) -> Option<Farewell> {
        self.farewell
    }

    /// Bytes that wait for this connection alone. (Shared bytes of the log cost nothing.)
    pub const fn waiting(&self) -> usize {
        self.own.len()
    }

    /// What to write next. A reader that the log has passed is closed as [`CloseCode::TooSlow`].
    pub fn next(&mut self, reel: &mut Reel<'_>) -> Next<'_> {
        if self.current.is_empty() {
            if !self.own.is_empty() {
                self.current = std::mem::take(&mut self.own).into();
            } else if matches!(self.farewell, None | Some(Farewell::Ours(CloseCode::GoingAway))) {
                match reel.next(self.cursor) {
                    Ok(Some(run)) => {
                        self.cursor = run.until;
                        self.current = run.bytes;
                    }
                    Ok(None) => {}
                    // A plain client cannot be told of a gap, so it is told to come back.
                    Err(_lagged) => self.close(Farewell::Ours(CloseCode::TooSlow)),
                }
            }
        }
        if self.current.is_empty() {
            match (self.farewell, self.said) {
                (None, _) => return Next::Idle,
                (Some(_), true) => return Next::Finished,
                (Some(farewell), false) => {
                    self.said = true;
                    self.current = match farewell {
                        Farewell::Ours(code) => wire::close_frame(code),
                        Farewell::Echo(code) => wire::close_echo(code),
                    };
                }
            }
        }
        Next::Write(&self.current)
    }

    /// The kernel took `bytes` of what [`Outbox::next`] gave.
    pub fn wrote(&mut self, bytes: usize) {
        self.blocked = None;
        if bytes >= self.current.len() {
            // Not `advance`: an empty slice would still hold on to the shared bytes.
            self.current = Bytes::new();
        } else {
            let _taken = self.current.split_to(bytes);
        }
    }

    /// The kernel took nothing.
    pub fn block(&mut self, now: Moment) {
        self.blocked.get_or_insert(now);
    }

    /// The kernel says that it takes bytes again.
    pub const fn unblock(&mut self) {
        self.blocked = None;
    }

    /// Since when the kernel takes nothing; `None` while it does.
    pub const fn blocked(&self) -> Option<Moment> {
        self.blocked
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::server::room::{Frame, Log, LogLimits};

    fn log(messages: usize, texts: &[&str]) -> Mutex<Log> {
        let mut log = Log::new(LogLimits { messages, bytes: usize::MAX });
        for text in texts {
            log.append(Frame::text(text));
        }
        Mutex::new(log)
    }

    /// Everything the outbox writes when the kernel takes `piece` bytes at a time; and how it ended.
    fn drain(outbox: &mut Outbox, log: &Mutex<Log>, piece: usize) -> (Vec<u8>, bool) {
        let mut written = Vec::new();
        let mut reel = Reel::new(log);
        loop {
            let taken = match outbox.next(&mut reel) {
                Next::Write(bytes) => {
                    let taken = bytes.len().min(piece);
                    written.extend_from_slice(&bytes[..taken]);
                    taken
                }
                Next::Idle => return (written, false),
                Next::Finished => return (written, true),
            };
            outbox.wrote(taken);
        }
    }

    #[test]
    fn own_frames_never_cut_a_frame_of_the_log_in_two() {
        let log = log(10, &["hello"]);
        for piece in 1..10 {
            let mut outbox = Outbox::new(Offset(0));
            let mut reel = Reel::new(&log);
            let Next::Write(bytes) = outbox.next(&mut reel) else { panic!("the log has a frame") };
            let mut written = bytes[..piece.min(6)].to_vec();
            outbox.wrote(piece.min(6));
            outbox.push(Opcode::Pong, b"!");
            let (rest, finished) = drain(&mut outbox, &log, piece);
            written.extend(rest);
            assert_eq!((written.as_slice(), finished), (&b"\x81\x05hello\x8a\x01!"[..], false));
        }
    }

    #[test]
    fn a_close_frame_is_the_last_thing_written() {
        let log = log(10, &["late"]);
        let mut outbox = Outbox::new(Offset(0));
        outbox.push(Opcode::Pong, b"!");
        outbox.close(Farewell::Ours(CloseCode::Expired));
        outbox.close(Farewell::Ours(CloseCode::TooFast));
        outbox.push(Opcode::Pong, b"after");
        let (written, finished) = drain(&mut outbox, &log, 1000);
        assert!(finished);
        assert_eq!(written, [&b"\x8a\x01!"[..], &wire::close_frame(CloseCode::Expired)].concat());
    }

    #[test]
    fn a_server_that_goes_away_first_gives_what_the_log_has() {
        let log = log(10, &["hello"]);
        let mut outbox = Outbox::new(Offset(0));
        outbox.close(Farewell::Ours(CloseCode::GoingAway));
        let (written, finished) = drain(&mut outbox, &log, 3);
        assert!(finished);
        assert_eq!(written, [&b"\x81\x05hello"[..], &wire::close_frame(CloseCode::GoingAway)].concat());
    }

    #[test]
    fn a_reader_the_log_has_passed_is_closed_as_too_slow() {
        let log = log(1, &["one", "two"]);
        let mut outbox = Outbox::new(Offset(0));
        let (written, finished) = drain(&mut outbox, &log, 1000);
        assert!(finished);
        assert_eq!(written, wire::close_frame(CloseCode::TooSlow));
    }
}
