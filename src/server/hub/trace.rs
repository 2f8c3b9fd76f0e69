//! The trace of one connection for an operator: types and sizes of frames, never content.
//!
//! # Invariants
//!
//! - A connection that is not traced pays only for checking a flag.
//! - The connection never waits for the operator: events that cannot be sent are counted, and reported as missed.

use serde::Serialize;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::protocol::Offset;
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::store::now_millis;

/// The largest number of events that wait for the operator.
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
    /// A frame from the client.
    Frame {
        /// The type: `text`, `binary`, `ping`, `pong` or `close`.
        kind: &'static str,
        /// The size of its payload in bytes.
        bytes: usize,
        /// The result: `publish`, `history`, `renew`, `answer`, `pong`, `close` or `nothing`.
        led_to: &'static str,
    },
    /// A write of bytes for the client that the kernel, or HTTP, accepted.
    Write {
        /// The number of bytes.
        bytes: usize,
        /// The last offset of the log that was at least partly written so far.
        offset: Offset,
    },
    /// A pause in writing: the kernel accepts nothing now, because the client does not read or its network is down.
    Blocked,
    /// Missed events, because the operator did not read them fast enough.
    Missed {
        /// The number of missed events.
        count: u64,
    },
}

/// The sending half of a trace.
#[derive(Debug)]
pub struct Tracer {
    sender: Sender<TracedConnection>,
    missed: u64,
    /// The memory of the waiting events.
    _reservation: MemoryReservation,
}

impl Tracer {
    /// Creates a tracer and the receiver of its events.
    pub fn channel() -> (Self, Receiver<TracedConnection>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let tracer = Self {
            sender,
            missed: 0,
            _reservation: Memory::of_process().reserve(MAX_WAITING * size_of::<TracedConnection>()),
        };
        (tracer, receiver)
    }

    /// Sends `event`. Returns true if the trace still has a reader.
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
