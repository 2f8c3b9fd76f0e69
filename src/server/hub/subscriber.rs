//! The interface between the hub and an open connection. The hub calls a [`Subscriber`] to flush messages, send
//! notices, check timers and close the connection.

use std::time::Duration;

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::server::hub::{Reclaimable, Tracer};
use crate::server::room::{Dialect, FanoutBatch, Tick};

/// A connection that reads a room. None of its functions may block.
pub trait Subscriber: Send + Sync {
    /// Writes the messages after its cursor, as far as the kernel accepts them.
    fn flush(&self, reel: &mut FanoutBatch<'_>);

    /// Checks its timers: pings, expiry, stalled reads.
    fn tick(&self, now: Tick);

    /// Sends `notice`, if the client's dialect has a frame for it.
    fn send(&self, notice: &Notice<'_>);

    /// Ends the connection.
    fn close(&self, closing: Closing);

    /// Sends the events of the connection to `tracer` from now on.
    fn trace(&self, tracer: Tracer);

    /// Returns its read position and the memory it holds.
    fn status(&self) -> ConnectionStatus;

    /// Ends the connection to free the memory that it holds.
    fn evict(&self);
}

/// A notification to a client in addition to the messages.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// An encoded frame about the room, for clients of the typed dialect.
    Room(&'a [u8]),
    /// A change of the log.
    Log(&'a Push),
}

/// The way in which the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// A close with this code.
    Code(CloseCode),
    /// A close with 1001, because the server stops. The client should reconnect after this time.
    Drain(Duration),
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// The dialect in which it reads the log.
    pub dialect: Dialect,
    /// The last offset that was at least partly written to it.
    pub offset: Offset,
    /// The number of bytes that are buffered only for this connection.
    pub waiting: usize,
    /// The memory that can be reclaimed from it; `None` if it is negligible.
    pub reclaimable: Option<Reclaimable>,
}

/// A subscriber without a client that counts the notices sent to it.
#[cfg(test)]
pub(super) struct TestSubscriber {
    pub(super) on_flush: fn(),
    pub(super) notices: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl TestSubscriber {
    pub(super) fn new() -> Self {
        Self {
            on_flush: || {},
            notices: std::sync::atomic::AtomicUsize::new(0),
        }
    }
}

#[cfg(test)]
impl Subscriber for TestSubscriber {
    fn flush(&self, _: &mut FanoutBatch<'_>) {
        (self.on_flush)();
    }

    fn tick(&self, _: Tick) {}

    fn send(&self, _: &Notice<'_>) {
        self.notices
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn close(&self, _: Closing) {}

    fn trace(&self, _: Tracer) {}

    fn status(&self) -> ConnectionStatus {
        ConnectionStatus {
            dialect: Dialect::Typed,
            offset: Offset(0),
            waiting: 0,
            reclaimable: None,
        }
    }

    fn evict(&self) {}
}
