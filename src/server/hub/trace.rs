//! What passes over one connection, for an operator who looks at it. Sizes and kinds, never what was said.
//!
//! # Invariants
//!
//! - A connection that nobody looks at pays for one look at a flag or an empty place.
//! - The connection never waits for who looks: what that does not take is counted, and told as missed.

use serde::Serialize;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::protocol::Offset;
use crate::server::hub::publish::now_millis;
use crate::server::memory::{Memory, MemoryReservation};

/// Events that wait for who looks.
const MAX_WAITING: usize = 1024;

/// One event, and when it was, in milliseconds since 1970 UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Traced {
    /// When.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub passed: Passed,
}

/// Something that passed over a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Passed {
    /// The client sent a frame.
    Frame {
        /// `text`, `binary`, `ping`, `pong` or `close`.
        kind: &'static str,
        /// Bytes of its payload.
        bytes: usize,
        /// What it led to: `publish`, `history`, `renew`, `answer`, `pong`, `close` or `nothing`.
        led_to: &'static str,
    },
    /// The kernel, or HTTP, took bytes for the client.
    Write {
        /// How many.
        bytes: usize,
        /// The last offset of the log that was among all written so far, if only in part.
        offset: Offset,
    },
    /// The kernel takes nothing now: the client does not read, or its network does not carry.
    Blocked,
    /// So many events were missed, because they were not taken as fast as they came.
    Missed {
        /// How many.
        count: u64,
    },
}

/// Where a connection's events go.
#[derive(Debug)]
pub struct Tracer {
    sender: Sender<Traced>,
    missed: u64,
    /// The events that may wait.
    _reservation: MemoryReservation,
}

impl Tracer {
    /// A tracer, and what it tells.
    pub fn channel() -> (Self, Receiver<Traced>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let tracer = Self {
            sender,
            missed: 0,
            _reservation: Memory::of_process().reserve(MAX_WAITING * size_of::<Traced>()),
        };
        (tracer, receiver)
    }

    /// Tells that `passed`. Whether anybody still looks.
    pub fn tell(&mut self, passed: Passed) -> bool {
        if self.missed > 0 && self.send(Passed::Missed { count: self.missed }) {
            self.missed = 0;
        }
        if !self.send(passed) {
            self.missed += 1;
        }
        !self.sender.is_closed()
    }

    fn send(&self, passed: Passed) -> bool {
        self.sender
            .try_send(Traced {
                at: now_millis(),
                passed,
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_keep_up_is_told_how_much_was_missed_and_whoever_leaves_ends_it() {
        let (mut tracer, mut traced) = Tracer::channel();
        for _event in 0..MAX_WAITING + 3 {
            assert!(tracer.tell(Passed::Blocked));
        }
        for _event in 0..MAX_WAITING {
            assert_eq!(
                traced.try_recv().map(|traced| traced.passed),
                Ok(Passed::Blocked)
            );
        }
        assert!(tracer.tell(Passed::Blocked));
        assert_eq!(
            traced.try_recv().map(|traced| traced.passed),
            Ok(Passed::Missed { count: 3 })
        );
        drop(traced);
        assert!(!tracer.tell(Passed::Blocked));
    }
}
