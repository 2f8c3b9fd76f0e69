//! The events of one connection, for an operator who watches it: types and sizes, never content.
//!
//! # Invariants
//!
//! - A connection that is not watched pays for one check of a flag.
//! - The connection never waits for the operator: events that cannot be sent are counted, and reported as missed.

use serde::Serialize;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::protocol::Offset;
use crate::server::hub::now_millis;
use crate::server::memory::{Memory, MemoryReservation};

/// Events that may wait for the operator.
const MAX_WAITING: usize = 1024;

/// An event of a connection, with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TracedConnection {
    /// The time, in milliseconds since 1970 UTC.
    pub at: u64,
    /// The event.
    #[serde(flatten)]
    pub event: TraceEvent,
}

/// An event of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TraceEvent {
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
    /// Events were missed, because they were not read as fast as they came.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The sending half of a trace.
#[derive(Debug)]
pub struct Tracer {
    sender: Sender<TracedConnection>,
    missed: u64,
    /// The events that may wait.
    _reservation: MemoryReservation,
}

impl Tracer {
    /// Returns a tracer and its events.
    pub fn channel() -> (Self, Receiver<TracedConnection>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let tracer = Self {
            sender,
            missed: 0,
            _reservation: Memory::of_process().reserve(MAX_WAITING * size_of::<TracedConnection>()),
        };
        (tracer, receiver)
    }

    /// Sends `event`. Returns whether the trace is still read.
    pub fn record(&mut self, event: TraceEvent) -> bool {
        if self.missed > 0 && self.send(TraceEvent::Missed { count: self.missed }) {
            self.missed = 0;
        }
        if !self.send(event) {
            self.missed += 1;
        }
        !self.sender.is_closed()
    }

    fn send(&self, event: TraceEvent) -> bool {
        self.sender
            .try_send(TracedConnection {
                at: now_millis(),
                event,
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_does_not_keep_up_gets_the_number_of_missed_events_and_one_that_leaves_ends_the_trace()
     {
        let (mut tracer, mut traced) = Tracer::channel();
        for _event in 0..MAX_WAITING + 3 {
            assert!(tracer.record(TraceEvent::Blocked));
        }
        for _event in 0..MAX_WAITING {
            assert_eq!(
                traced.try_recv().map(|traced| traced.event),
                Ok(TraceEvent::Blocked)
            );
        }
        assert!(tracer.record(TraceEvent::Blocked));
        assert_eq!(
            traced.try_recv().map(|traced| traced.event),
            Ok(TraceEvent::Missed { count: 3 })
        );
        drop(traced);
        assert!(!tracer.record(TraceEvent::Blocked));
    }
}
