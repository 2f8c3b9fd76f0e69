//! The state of an open connection: what waits to be written, its subscriptions, its timers and its rights, and the bytes
//! that follow from them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::{CloseCode, ErrorCode, Push, RoomName, RoomSelector, UnsubscribeCode};
use crate::server::hub::{Hub, Reclaimable, Registration, TraceEvent, Tracer};
use crate::server::metrics::DisconnectReason;
use crate::server::room::{Dialect, ExcludedRooms, FanoutBatch, Tick};
use crate::server::session::{
    ArrivalTimer, CloseReason, Heartbeat, RoomReader, SendBuffer, WriteStep,
};
use crate::server::transport::Permissions;
use crate::server::transport::subscriptions::{Subscription, Subscriptions};

/// The longest time for which a stopping server writes the rest of the log to a client.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of a connection. The fields that the fan-out reads come first.
#[repr(C)]
pub(super) struct ConnectionState {
    pub(super) send_buffer: SendBuffer,
    /// The reason why nothing more can be written, if so.
    pub(super) error: Option<TransportError>,
    /// True while the store has not finished the client's last publishes. Nothing is read until then: messages that
    /// arrive meanwhile are read together, and cost one read, one transaction and one fan-out.
    pub(super) is_publishing: bool,
    /// True while a subscription of the client is being prepared. Nothing is read until then.
    pub(super) is_subscribing: bool,
    /// True while a page of history is read for the client.
    pub(super) is_reading_history: bool,
    pub(super) subscriptions: Subscriptions,
    pub(super) heartbeat: Heartbeat,
    /// The client's rights, and their expiry.
    pub(super) permissions: Permissions,
    /// The progress of the close, if the server stops.
    drain: Option<Drain>,
    /// Runs while a message has arrived in part.
    pub(super) arrival: ArrivalTimer,
    /// Buffered bytes of the partial message.
    pub(super) partial: usize,
    /// The receiver of trace events, if an operator traces the connection.
    pub(super) tracer: Option<Box<Tracer>>,
    /// The place in the registry, until the connection ends.
    pub(super) registration: Option<Registration>,
}

/// The progress of a connection whose server stops.
#[derive(Clone, Copy, Debug)]
enum Drain {
    /// A publish is pending: the client gets the ack before the drain frame with this delay.
    AfterPublish(Duration),
    /// The rest of the log is written since this time.
    Began(Tick),
}

/// Reasons for an end without a closing handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransportError {
    /// The client or the network closed the connection.
    Disconnected,
    /// The client received no bytes for [`STALL_TIMEOUT`](super::stall_timeout::STALL_TIMEOUT).
    Stalled,
}

/// The cause of a connection's end, for the log, the metrics and the span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCause {
    /// The end was sent: a Close frame, or the end of the body.
    Closed(CloseReason),
    /// The end was not sent.
    Lost(TransportError),
}

/// The reason for which a connection's task stops reading from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadStop {
    /// The connection closes or has failed.
    End,
    /// The ring of a room or pattern no longer has the next messages. They must be read from the store.
    Behind,
}

impl ConnectionState {
    /// Returns the state of a connection without subscriptions, which begins at `now`.
    pub(super) fn new(send_buffer: SendBuffer, permissions: Permissions, now: Tick) -> Self {
        Self {
            send_buffer,
            error: None,
            is_publishing: false,
            is_subscribing: false,
            is_reading_history: false,
            subscriptions: Subscriptions::default(),
            heartbeat: Heartbeat::new(now),
            permissions,
            drain: None,
            arrival: ArrivalTimer::default(),
            partial: 0,
            tracer: None,
            registration: None,
        }
    }

    /// Returns true if messages for this client must be read from the store, and can still be sent.
    pub(super) fn is_behind(&self) -> bool {
        self.subscriptions.iter().any(|one| one.cursor.is_behind())
            && self.send_buffer.reads_log()
            && self.error.is_none()
    }

    /// Returns the reason for which the connection's task stops reading from the client, if there is one.
    pub(super) fn read_stop(&self) -> Option<ReadStop> {
        if self.error.is_some() || self.send_buffer.close_reason().is_some() {
            Some(ReadStop::End)
        } else if self.is_behind() {
            Some(ReadStop::Behind)
        } else {
            None
        }
    }

    /// Returns the place in the registry, until the connection ends.
    pub(super) const fn registration(&self) -> Option<&Registration> {
        self.registration.as_ref()
    }

    /// Checks that the rules allow the client into `room`.
    ///
    /// # Errors
    /// The code and the message of the error frame.
    pub(super) fn check_rules(&self, room: &RoomName) -> Result<(), (ErrorCode, String)> {
        let denied = self
            .registration
            .as_ref()
            .and_then(|registration| registration.denied(room));
        denied.map_or(Ok(()), |(_, message)| Err((ErrorCode::NotAllowed, message)))
    }

    /// Excludes the rooms from which the client is banned from its patterns, and sends an `unsubscribed` for each that is
    /// excluded from now on. Returns true if the excluded rooms have changed.
    pub(super) fn apply_rules(&mut self) -> bool {
        let is_excludable = self.subscriptions.has_patterns();
        let registration = self.registration.as_ref().filter(|_| is_excludable);
        let banned = registration.map(Registration::banned_rooms);
        let banned = banned.into_iter().flatten();
        let excluded: ExcludedRooms = banned
            .filter(|room| {
                self.subscriptions
                    .iter()
                    .any(|one| one.source.matches(room))
            })
            .collect();
        if excluded == *self.subscriptions.excluded() {
            return false;
        }

        let added = self.subscriptions.exclude(excluded);
        if self.send_buffer.dialect() == Dialect::Typed {
            for room in added {
                // A subscription to the room itself ends with a frame of its own.
                if self.subscriptions.room(&room).is_none() {
                    self.push_end(room.into(), UnsubscribeCode::Banned);
                }
            }
        }
        true
    }

    /// Returns true while bytes wait for the kernel.
    pub(super) fn is_blocked(&self) -> bool {
        self.send_buffer.blocked_since().is_some() && self.error.is_none()
    }

    /// Returns true unless the client receives no bytes now or the connection failed.
    pub(super) fn can_write(&self) -> bool {
        self.send_buffer.blocked_since().is_none() && self.error.is_none()
    }

    /// Returns true while nothing is read from the client: always for an event stream, and while the store has not
    /// finished a publish or a subscription, or has not returned the messages that the ring no longer has.
    pub(super) fn is_reading_paused(&self) -> bool {
        self.send_buffer.dialect().is_stream()
            || self.is_publishing
            || self.is_subscribing
            || self.is_behind()
    }

    /// Passes the next bytes to `write`, which returns the number of bytes accepted. If `batch` is a pass over the source
    /// of the only subscription, its chunks are used.
    pub(super) fn write_next<E>(
        &mut self,
        hub: &Hub,
        mut batch: Option<&mut FanoutBatch<'_>>,
        mut write: impl FnMut(&Bytes) -> Result<usize, E>,
    ) -> Result<WriteStep, E> {
        let step = self.write_log(hub, batch.as_deref_mut(), &mut write)?;
        if step == WriteStep::Idle && self.subscriptions.have_closed() {
            // All messages of a room precede the frame about its end.
            self.push_closed();
            return self.write_log(hub, batch, &mut write);
        }
        Ok(step)
    }

    fn write_log<E>(
        &mut self,
        hub: &Hub,
        batch: Option<&mut FanoutBatch<'_>>,
        mut write: impl FnMut(&Bytes) -> Result<usize, E>,
    ) -> Result<WriteStep, E> {
        let buffer = &mut self.send_buffer;
        let mut step = match (self.subscriptions.only_complete(), batch) {
            (Some(Subscription { cursor, source, .. }), Some(batch))
                if source.feed().is_source_of(batch) =>
            {
                buffer.write_next(&mut RoomReader { cursor, batch }, &mut write)?
            }
            _ => {
                let applied = hub.rooms().applied();
                buffer.write_next(&mut self.subscriptions.merged(applied), &mut write)?
            }
        };
        if step == WriteStep::Idle && self.has_signals() {
            step = self.write_signals(hub.now(), write)?;
        }

        if let WriteStep::Wrote(bytes) = step {
            // An event stream gets a heartbeat only after a time in which nothing was sent.
            if self.send_buffer.dialect().is_stream() {
                self.heartbeat.record_activity(hub.now());
            }
            if self.tracer.is_some() {
                let offset = self.subscriptions.newest_written();
                self.trace(TraceEvent::Write { bytes, offset });
            }
        }
        Ok(step)
    }

    /// Returns true if signals wait to be written.
    pub(super) fn has_signals(&self) -> bool {
        self.send_buffer.dialect().has_signals() && self.subscriptions.has_signals()
    }

    /// Passes the next signals to `write`. Everything else must be written.
    fn write_signals<E>(
        &mut self,
        now: Tick,
        write: impl FnOnce(&Bytes) -> Result<usize, E>,
    ) -> Result<WriteStep, E> {
        let dialect = self.send_buffer.dialect();
        let Some((index, chunk)) = self.subscriptions.next_signals(dialect, now) else {
            return Ok(WriteStep::Idle);
        };

        let bytes = self.send_buffer.write_shared(&chunk.bytes, write)?;
        self.subscriptions.advance_signals(index, &chunk);
        Ok(WriteStep::Wrote(bytes))
    }

    /// Sends `event` to the operator who traces the connection, if any.
    pub(super) fn trace(&mut self, event: TraceEvent) {
        if let Some(tracer) = &mut self.tracer
            && !tracer.record(event)
        {
            self.tracer = None;
        }
    }

    /// Continues the drain that waited for a publish, if there is one.
    pub(super) fn resume_drain(&mut self, now: Tick) {
        if let Some(Drain::AfterPublish(reconnect_after)) = self.drain {
            self.drain(reconnect_after, now);
        }
    }

    /// Queues the drain frame and the end, after a pending publish.
    pub(super) fn drain(&mut self, reconnect_after: Duration, now: Tick) {
        if self.is_publishing {
            self.drain = Some(Drain::AfterPublish(reconnect_after));
            return;
        }

        self.drain = Some(Drain::Began(now));
        self.send_buffer.push_event(&Push::Drain {
            reconnect_after_ms: reconnect_after.as_millis() as u64,
        });
        self.close(CloseCode::GoingAway);
    }

    /// Ends the log of a connection whose server stops, if it has been written for too long at `now`.
    pub(super) fn check_drain(&mut self, now: Tick) {
        if let Some(Drain::Began(since)) = self.drain
            && now.since(since) >= LOG_TIMEOUT
        {
            self.send_buffer.end_log();
        }
    }

    /// Queues the frames about the closed rooms whose messages are all written. A connection that has nothing else to read,
    /// and cannot subscribe to other rooms, ends after them.
    fn push_closed(&mut self) {
        for (room, offset) in self.subscriptions.take_closed() {
            self.send_buffer.push_event(&Push::Closed { room, offset });
        }
        if self.send_buffer.dialect() != Dialect::Typed && self.subscriptions.are_at_end() {
            self.close(CloseCode::Done);
        }
    }

    /// Queues the end of the subscription to `room`, or of the connection if its dialect has no frame for that.
    pub(super) fn push_end(&mut self, room: RoomSelector, code: UnsubscribeCode) {
        if self.send_buffer.dialect() == Dialect::Typed {
            self.send_buffer.push_event(&Push::Unsubscribed {
                room,
                code,
                message: code.explanation().to_owned(),
            });
        } else {
            self.close(code.close_code());
        }
    }

    /// Closes the connection with `code`, unless it is closing already.
    pub(super) fn close(&mut self, code: CloseCode) {
        self.send_buffer.close(CloseReason::Local(code));
    }

    /// Counts the queued frames and the partial message as memory of the process.
    pub(super) fn count_memory(&self) {
        if let Some(registration) = &self.registration {
            registration.count_memory(self.send_buffer.queue_capacity() + self.partial);
        }
    }

    /// Returns the memory that would be free if the connection ended, with the `output_bytes` of its output.
    pub(super) fn reclaimable(&self, output_bytes: usize) -> Option<Reclaimable> {
        let bytes = self.send_buffer.reclaimable() + self.partial + output_bytes;
        let blocked = self.send_buffer.blocked_since().into_iter();
        let since = blocked.chain(self.arrival.since()).min()?;

        (bytes > 0 && self.error.is_none()).then_some(Reclaimable { since, bytes })
    }

    /// Returns the cause of the end as the client saw it: an end that was not sent does not count.
    pub(super) fn close_cause(&self) -> CloseCause {
        let is_stalled = self.error == Some(TransportError::Stalled);
        match (self.send_buffer.close_reason(), self.error) {
            (Some(reason), _) if self.send_buffer.is_finished() && !is_stalled => {
                CloseCause::Closed(reason)
            }
            (_, error) => CloseCause::Lost(error.unwrap_or(TransportError::Disconnected)),
        }
    }
}

impl CloseCause {
    pub(super) const fn disconnect_reason(self) -> DisconnectReason {
        match self {
            Self::Closed(CloseReason::Local(code)) => DisconnectReason::Closed(code),
            Self::Closed(CloseReason::Echo(_)) => DisconnectReason::Client,
            Self::Lost(TransportError::Stalled) => DisconnectReason::Closed(CloseCode::TooSlow),
            Self::Lost(TransportError::Disconnected) => DisconnectReason::Lost,
        }
    }
}

impl fmt::Display for CloseCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = match self {
            Self::Closed(CloseReason::Local(code)) => *code,
            Self::Closed(CloseReason::Echo(Some(code))) => {
                return write!(f, "client closed with {code}");
            }
            Self::Closed(CloseReason::Echo(None)) => return f.write_str("client closed"),
            Self::Lost(TransportError::Disconnected) => return f.write_str("connection lost"),
            Self::Lost(TransportError::Stalled) => CloseCode::TooSlow,
        };
        write!(f, "{} {}", code.number(), code.reason())
    }
}
