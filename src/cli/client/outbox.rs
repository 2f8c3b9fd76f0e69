//! What is to be said and is not stored yet.
//!
//! # Invariants
//!
//! - Lines go out in the order in which they came, several at once, and each stays here until it is settled:
//!   stored, or refused for good. What a broken connection left open goes out again with the same key.
//! - While a line that was refused for a moment waits for its second try, no later line goes out; nor beside that try,
//!   which may be refused too. The stream goes on when one is stored.
//!
//! Pure: no clock, no I/O.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::pace::Pace;
use crate::protocol::Command;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::protocol::UserId;

/// Lines here at once: enough that the server can store many in one go.
const MOST_LINES: usize = 256;
/// Bytes of them, so that long lines do not fill the memory; one line may be longer.
const MOST_BYTES: usize = 1024 * 1024;
/// How long to be silent after a refusal that invites another try.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// See the [module docs](self).
#[derive(Debug)]
pub(in crate::cli) struct Outbox {
    me: UserId,
    /// Those without an end, in order.
    lines: VecDeque<Line>,
    /// Of `lines`.
    bytes: usize,
    /// Of this connection's server; nothing while there is no connection.
    pace: Option<Pace>,
    /// After a refusal: not before this, nor before all that is on its way is answered.
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Line {
    number: u64,
    key: Key,
    text: String,
    /// Whether it is on its way on this connection.
    is_sent: bool,
    /// Whether it was refused for a moment, and no second try has got through since.
    was_refused: bool,
}

/// A line that has found its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Settled {
    /// Its number, as it was given.
    pub(in crate::cli) number: u64,
    pub(in crate::cli) key: Key,
    pub(in crate::cli) outcome: Outcome,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Outcome {
    /// It is stored, perhaps since an earlier try.
    Stored { offset: Offset, duplicate: bool },
    /// It never will be, and why.
    Refused(String),
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Next {
    /// Say this.
    Send(Command),
    /// Ask again after this long.
    Wait(Duration),
    /// Nothing, before the server says something.
    Idle,
}

impl Outbox {
    /// An outbox of whoever is called `me`.
    pub(in crate::cli) const fn new(me: UserId) -> Self {
        Self {
            me,
            lines: VecDeque::new(),
            bytes: 0,
            pace: None,
            paused_until: None,
        }
    }

    /// Whether every line has found its end.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many lines have not found their end.
    pub(in crate::cli) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether another line should be taken now.
    pub(in crate::cli) fn has_room(&self) -> bool {
        self.lines.len() < MOST_LINES && self.bytes < MOST_BYTES
    }

    /// Takes the line `number`. `key` is its own, and used for no other.
    pub(in crate::cli) fn push(&mut self, number: u64, key: Key, text: String) {
        self.bytes += text.len();
        self.lines.push_back(Line {
            number,
            key,
            text,
            is_sent: false,
            was_refused: false,
        });
    }

    /// What goes out next; what is handed out counts as sent.
    pub(in crate::cli) fn next(&mut self, now: Instant) -> Next {
        let Some(pace) = &self.pace else {
            return Next::Idle;
        };
        let unanswered = self.lines.iter().filter(|line| line.is_sent).count();
        if let Some(until) = self.paused_until {
            match until.saturating_duration_since(now) {
                _ if unanswered > 0 => return Next::Idle,
                Duration::ZERO => self.paused_until = None,
                left => return Next::Wait(left),
            }
        }
        // A second try is on its way: alone, for it may be refused too.
        if self
            .lines
            .iter()
            .any(|line| line.is_sent && line.was_refused)
        {
            return Next::Idle;
        }
        let Some(line) = self.lines.iter_mut().find(|line| !line.is_sent) else {
            return Next::Idle;
        };
        match pace.wait(unanswered, now) {
            Some(Duration::ZERO) => {
                line.is_sent = true;
                Next::Send(Command::Say {
                    text: line.text.clone(),
                    key: Some(line.key.clone()),
                })
            }
            Some(wait) => Next::Wait(wait),
            None => Next::Idle,
        }
    }

    /// The connection is gone; what was on its way goes out again on the next.
    pub(in crate::cli) fn cut_off(&mut self) {
        self.pace = None;
        self.paused_until = None;
        self.lines.iter_mut().for_each(|line| line.is_sent = false);
    }

    /// Takes the server's next frame; hands out the line that it settles.
    pub(in crate::cli) fn hear(&mut self, push: &Push, now: Instant) -> Option<Settled> {
        match push {
            Push::Welcome(welcome) => {
                self.pace = Some(Pace::new(welcome.message_rate, welcome.message_burst, now));
                None
            }
            Push::Ack {
                key,
                offset,
                duplicate,
            } => {
                let number = self.answered(key, now)?;
                Some(stored(number, key, *offset, *duplicate))
            }
            // Stored by a connection that broke before it could say so. On this one the line has not gone out,
            // or its `ack` is to come.
            Push::Message(publication) if publication.from == self.me => {
                let key = publication.key.as_ref()?;
                let at = self
                    .lines
                    .iter()
                    .position(|line| !line.is_sent && line.key == *key)?;
                Some(stored(
                    self.remove(at)?.number,
                    key,
                    publication.offset,
                    true,
                ))
            }
            Push::Error {
                key: Some(key),
                retry: true,
                ..
            } => {
                let line = self
                    .lines
                    .iter_mut()
                    .find(|line| line.is_sent && line.key == *key)?;
                line.is_sent = false;
                line.was_refused = true;
                self.paused_until = Some(now + REFUSED_PAUSE);
                None
            }
            Push::Error {
                key: Some(key),
                message,
                ..
            } => {
                let number = self.answered(key, now)?;
                Some(Settled {
                    number,
                    key: key.clone(),
                    outcome: Outcome::Refused(message.clone()),
                })
            }
            _ => None,
        }
    }

    /// The server has answered for good what was said under `key`; its line's number.
    fn answered(&mut self, key: &Key, now: Instant) -> Option<u64> {
        let at = self.lines.iter().position(|line| line.key == *key)?;
        let line = self.remove(at)?;
        if let Some(pace) = self.pace.as_mut().filter(|_| line.is_sent) {
            pace.answered(now);
        }
        if line.was_refused {
            self.lines
                .iter_mut()
                .for_each(|line| line.was_refused = false);
        }
        Some(line.number)
    }

    fn remove(&mut self, at: usize) -> Option<Line> {
        let line = self.lines.remove(at)?;
        self.bytes -= line.text.len();
        Some(line)
    }
}

fn stored(number: u64, key: &Key, offset: Offset, duplicate: bool) -> Settled {
    Settled {
        number,
        key: key.clone(),
        outcome: Outcome::Stored { offset, duplicate },
    }
}

#[cfg(test)]
mod tests;
