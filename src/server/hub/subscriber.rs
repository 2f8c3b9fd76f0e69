//! An open connection, as the hub knows it.

use std::time::Duration;

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::server::hub::{Reclaimable, Tracer};
use crate::server::room::{Dialect, FanoutBatch, Tick};

/// A connection that reads a room. None of these functions may wait.
pub trait Subscriber: Send + Sync {
    /// Writes the messages after its cursor, as far as the kernel accepts them.
    fn flush(&self, reel: &mut FanoutBatch<'_>);

    /// Checks its timers: pings, expiry, stuck readers.
    fn tick(&self, now: Tick);

    /// Sends `notice`, if the client's dialect has a frame for it.
    fn send(&self, notice: &Notice<'_>);

    /// Ends the connection.
    fn close(&self, closing: Closing);

    /// Sends its events to `tracer` from now on.
    fn trace(&self, tracer: Tracer);

    /// Returns how far it has read, and what it holds.
    fn status(&self) -> ConnectionStatus;

    /// Ends the connection to free the memory that it holds.
    fn evict(&self);
}

/// Something that a client is told beside the messages.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// An encoded frame about the room, for clients of the typed dialect.
    Room(&'a [u8]),
    /// A change of the log.
    Log(&'a Push),
}

/// The way in which the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// With this code.
    Code(CloseCode),
    /// With 1001, because the server stops. The client should reconnect after this time.
    Drain(Duration),
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// How it reads the log.
    pub dialect: Dialect,
    /// The last offset of the log that was written to it, if only in part.
    pub offset: Offset,
    /// Bytes that wait for it alone.
    pub waiting: usize,
    /// The memory that can be reclaimed from it; `None` if there is next to none.
    pub reclaimable: Option<Reclaimable>,
}

/// A subscriber without a client, which counts what it is sent.
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
