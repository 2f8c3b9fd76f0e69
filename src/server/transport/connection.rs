//! An open connection that reads a room, shared by its own task and the Hub's fan-out.
//!
//! WebSockets and event streams register, begin, catch up, close and end in the same way. They differ in their
//! [`Output`]: a WebSocket writes to its socket itself, and hyper polls for the bytes of an event stream.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tracing::{debug, field, info};

use crate::protocol::{CloseCode, GapReason, Offset, Push, UserId};
use crate::server::hub::{
    Closing, ConnectionStatus, Hub, Membership, Notice, Reclaimable, Room, Subscriber, TraceEvent,
    Tracer,
};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::metrics::{self, DisconnectReason};
use crate::server::room::{FanoutBatch, Format, Tick};
use crate::server::session::{
    ArrivalTimer, CatchUpPage, ClientAccess, CloseReason, Heartbeat, HeartbeatAction,
    HeartbeatSettings, LogCursor, Rate, SendBuffer, WriteStep,
};
use crate::server::spans;
use crate::server::transport::Permissions;
use crate::server::transport::stall_timeout::STALL_TIMEOUT;

/// The longest time for which a stopping server writes the rest of the log to a client.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);
/// The time in which the smallest message must arrive.
const MIN_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The slowest link that is supported: the timeout grows by a second for each of these many bytes.
const MIN_BYTES_PER_SECOND: usize = 64 * 1024;

/// The limits and timeouts of every connection of a server.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// The largest payload of a message, in bytes.
    pub max_message: usize,
    /// Bytes queued for one connection alone at which reading from it stops.
    pub send_buffer: usize,
    /// The ping interval and the timeout.
    pub heartbeat: HeartbeatSettings,
    /// The rate limit of messages from one connection.
    pub rate: Rate,
    /// True if clients may negotiate compression (permessage-deflate).
    pub compression: bool,
}

/// Returns the time in which a message of `bytes` must arrive, from its first byte to its last.
pub fn message_timeout(bytes: usize) -> Duration {
    MIN_MESSAGE_TIMEOUT + Duration::from_secs((bytes / MIN_BYTES_PER_SECOND) as u64)
}

/// The way in which the bytes of a connection reach its client.
pub(super) trait Output: Sized + Send + Sync + 'static {
    /// The name of the protocol in traces.
    const PROTOCOL: &'static str;

    /// Passes on queued bytes and the log, as far as that is possible without waiting.
    fn write(
        connection: &Connection<Self>,
        state: &mut ConnectionState,
        batch: &mut FanoutBatch<'_>,
    );

    /// Returns true if the kernel holds unread bytes of the client.
    fn has_unread_bytes(&self) -> bool;
}

/// An open connection.
///
/// The fields have this order in memory so that the cache line with the lock also holds the start of the state, which
/// the fan-out reads first.
#[repr(C)]
pub(super) struct Connection<O> {
    state: Mutex<ConnectionState>,
    pub(super) output: O,
    pub(super) hub: Hub,
    pub(super) settings: Arc<ConnectionSettings>,
    /// The memory of queued frames and of the partial message; set under the lock of the state.
    reservation: MemoryReservation,
    /// True if an operator traces the connection, or did when the client last sent a frame.
    is_traced: AtomicBool,
    /// Wakes the task that reads the client's frames, or hyper's.
    pub(super) waker: AtomicWaker,
}

/// The state of a connection. The fields that the fan-out reads come first.
#[repr(C)]
pub(super) struct ConnectionState {
    pub(super) send_buffer: SendBuffer,
    /// The reason why nothing more can be written, if so.
    pub(super) error: Option<TransportError>,
    /// True while the store has not finished the client's last publish. Nothing is read until then: messages that
    /// arrive meanwhile are read together, and cost one read, one transaction and one fan-out.
    pub(super) is_publishing: bool,
    /// True while a page of history is read for the client.
    pub(super) is_reading_history: bool,
    pub(super) subscription: Subscription,
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
    tracer: Option<Box<Tracer>>,
}

/// The reading of one room by a connection.
#[repr(C)]
pub(super) struct Subscription {
    pub(super) cursor: LogCursor,
    pub(super) room: Arc<Room>,
    /// The membership in the room, until the connection ends.
    membership: Option<Membership>,
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
    /// The client received no bytes for [`STALL_TIMEOUT`].
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

/// The ownership of an open connection, which ends when this is dropped.
pub(super) struct OpenConnection<O: Output>(Arc<Connection<O>>);

impl Subscription {
    /// Creates a subscription that reads the log of `room` after `offset`.
    pub(super) const fn new(room: Arc<Room>, offset: Offset) -> Self {
        Self {
            cursor: LogCursor::new(offset),
            room,
            membership: None,
        }
    }

    /// Returns the user id that the client's token proves.
    pub(super) fn proven_id(&self) -> Option<&UserId> {
        self.membership.as_ref()?.proven()
    }

    /// Keeps `membership` until the connection ends.
    pub(super) fn set_membership(&mut self, membership: Membership) {
        self.membership = Some(membership);
    }
}

impl<O: Output> Connection<O> {
    /// Creates a connection that writes nothing yet: see [`SendBuffer::corked`].
    pub(super) fn new(
        output: O,
        hub: Hub,
        subscription: Subscription,
        format: Format,
        permissions: Permissions,
        settings: Arc<ConnectionSettings>,
    ) -> Self {
        let state = ConnectionState {
            send_buffer: SendBuffer::corked(format),
            error: None,
            is_publishing: false,
            is_reading_history: false,
            subscription,
            heartbeat: Heartbeat::new(hub.now()),
            permissions,
            drain: None,
            arrival: ArrivalTimer::default(),
            partial: 0,
            tracer: None,
        };

        Self {
            state: Mutex::new(state),
            output,
            hub,
            settings,
            reservation: Memory::of_process().reserve(0),
            is_traced: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock()
    }

    /// Returns the room that it reads.
    pub(super) fn room(&self) -> Arc<Room> {
        self.lock().subscription.room.clone()
    }

    /// Changes the state, and then writes queued bytes and the log, as far as the client receives them.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut ConnectionState) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        self.write(&mut state);
        changed
    }

    /// Writes queued bytes and the log, unless the client receives none now.
    fn write(&self, state: &mut ConnectionState) {
        if state.can_write() {
            let room = state.subscription.room.clone();
            O::write(self, state, &mut room.fanout_batch());
        } else {
            self.waker.wake();
        }
        self.count(state);
    }

    /// Writes like [`Connection::write`] if there is more to write than the log, which the fan-out writes.
    pub(super) fn write_queued(&self, state: &mut ConnectionState) {
        let is_due = state.send_buffer.queued_bytes() > 0
            || state.send_buffer.close_reason().is_some()
            || state.error.is_some();
        if is_due {
            self.write(state);
        }
    }

    /// Updates the memory reservation to the bytes held now.
    pub(super) fn count(&self, state: &ConnectionState) {
        self.reservation
            .set(state.send_buffer.queue_capacity() + state.partial);
    }

    /// Reads the messages after `after` from the store, because the ring no longer has them. The connection stays
    /// behind if more messages were deleted during the read than the room remembers.
    pub(super) async fn catch_up(&self, after: Offset) {
        let room = self.room();
        let missed = room.catch_up(after).await;

        self.update(|state| match missed {
            Ok((mut page, mark)) => {
                // Deletions are queued under the same lock.
                if room.redact_page(&mut page.frames, mark) {
                    state
                        .on_caught_up(&page)
                        .into_iter()
                        .for_each(metrics::count_gap);
                }
            }
            // The client resumes from its position when it reconnects.
            Err(error) => {
                debug!(%error, room = %room.name(), "could not read from the store");
                state.send_buffer.end_log();
                state.close(CloseCode::TryAgainLater);
            }
        });
    }

    /// Returns true if an operator traces the connection, or did when the client last sent a frame.
    pub(super) fn is_traced(&self) -> bool {
        self.is_traced.load(Ordering::Relaxed)
    }

    /// Sends the trace events of the client's frames.
    pub(super) fn trace_frames(&self, frames: Vec<TraceEvent>) {
        if frames.is_empty() {
            return;
        }

        let mut state = self.lock();
        frames.into_iter().for_each(|frame| state.trace(frame));
        self.is_traced
            .store(state.tracer.is_some(), Ordering::Relaxed);
    }

    /// Records the end in the log, the metrics and the traces. Returns the cause, and the membership, whose drop makes
    /// the client leave the room; `None` if the connection ended before.
    pub(super) fn end(&self) -> Option<(CloseCause, Membership)> {
        let mut state = self.lock();
        let membership = state.subscription.membership.take()?;
        let cause = state.close_cause();
        let room = state.subscription.room.clone();
        drop(state);

        let id = membership.id().map(field::display);
        let address = membership.address();
        let number = membership.number();
        info!(id, room = %room.name(), %address, number, reason = %cause, "disconnected");

        let reason = cause.disconnect_reason();
        metrics::count_disconnect(reason);
        spans::ConnectionSpan {
            protocol: O::PROTOCOL,
            number,
            room: room.name(),
            address,
            since: membership.since(),
        }
        .finish(reason);

        Some((cause, membership))
    }
}

impl<O: Output> OpenConnection<O> {
    /// Takes the ownership of `connection`.
    pub(super) const fn new(connection: Arc<Connection<O>>) -> Self {
        Self(connection)
    }
}

impl<O: Output> Deref for OpenConnection<O> {
    type Target = Arc<Connection<O>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<O: Output> Drop for OpenConnection<O> {
    fn drop(&mut self) {
        drop(self.0.end());
    }
}

impl ConnectionState {
    /// Returns the offset after which the ring lacks messages for this client, if they can still be sent.
    pub(super) fn behind(&self) -> Option<Offset> {
        let is_behind = self.subscription.cursor.is_behind()
            && self.send_buffer.reads_log()
            && self.error.is_none();
        is_behind.then(|| self.subscription.cursor.offset())
    }

    /// Returns true unless the client receives no bytes now or the connection failed.
    fn can_write(&self) -> bool {
        self.send_buffer.blocked_since().is_none() && self.error.is_none()
    }

    /// Returns true while nothing is read from the client: always for an event stream, and while the store has not
    /// finished a publish or has not returned the messages that the ring no longer has.
    fn is_reading_paused(&self) -> bool {
        self.send_buffer.dialect().is_stream() || self.is_publishing || self.behind().is_some()
    }

    /// Passes the next bytes to `write`, which returns the number of bytes accepted. `batch` must be a pass over the
    /// room of the subscription.
    pub(super) fn write_next<E>(
        &mut self,
        batch: &mut FanoutBatch<'_>,
        write: impl FnOnce(&Bytes) -> Result<usize, E>,
    ) -> Result<WriteStep, E> {
        let cursor = &mut self.subscription.cursor;
        let step = self.send_buffer.write_next(cursor, batch, write)?;

        if let WriteStep::Wrote(bytes) = step {
            let offset = cursor.offset();
            self.trace(TraceEvent::Write { bytes, offset });
        }
        Ok(step)
    }

    /// Continues with `page`, the messages from the store after the cursor, and returns the reason of each gap in it.
    pub(super) fn on_caught_up(&mut self, page: &CatchUpPage) -> Vec<GapReason> {
        let cursor = &mut self.subscription.cursor;
        self.send_buffer.on_caught_up(cursor, page)
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

    /// Closes the connection with `code`, unless it is closing already.
    fn close(&mut self, code: CloseCode) {
        self.send_buffer.close(CloseReason::Local(code));
    }

    /// Returns the memory that would be free if the connection ended. Event streams share their bytes with other
    /// readers, and their sockets are memory holders of their own.
    fn reclaimable(&self) -> Option<Reclaimable> {
        if self.send_buffer.dialect().is_stream() {
            return None;
        }

        let bytes = self.send_buffer.reclaimable() + self.partial;
        let blocked = self.send_buffer.blocked_since().into_iter();
        let since = blocked.chain(self.arrival.since()).min()?;

        (bytes > 0 && self.error.is_none()).then_some(Reclaimable { since, bytes })
    }

    /// Returns the cause of the end as the client saw it: an end that was not sent does not count.
    fn close_cause(&self) -> CloseCause {
        match (self.send_buffer.close_reason(), self.error) {
            (Some(reason), _) if self.send_buffer.is_finished() => CloseCause::Closed(reason),
            (_, error) => CloseCause::Lost(error.unwrap_or(TransportError::Disconnected)),
        }
    }
}

impl<O: Output> Subscriber for Connection<O> {
    fn flush(&self, batch: &mut FanoutBatch<'_>) {
        let mut state = self.lock();
        if state.can_write() {
            O::write(self, &mut state, batch);
            self.count(&state);
        }
    }

    fn tick(&self, now: Tick) {
        let settings = &self.settings;
        let mut state = self.lock();

        let blocked_since = state.send_buffer.blocked_since();
        if blocked_since.is_some_and(|since| now.since(since) >= STALL_TIMEOUT) {
            state.error.get_or_insert(TransportError::Stalled);
        }

        let is_read = !state.is_reading_paused();
        if !is_read {
            state.arrival.restart(now);
        }
        let is_overdue = match state.heartbeat.check(now, &settings.heartbeat, is_read) {
            HeartbeatAction::Alive => {
                let timeout = message_timeout(settings.max_message);
                state.arrival.is_overdue(now, timeout)
            }
            HeartbeatAction::Ping => {
                let ping = state.send_buffer.dialect().heartbeat();
                state.send_buffer.push_encoded(ping);
                false
            }
            HeartbeatAction::Expired => true,
        };
        if is_overdue && !self.output.has_unread_bytes() {
            state.close(CloseCode::Expired);
        }

        if state.permissions.access(Instant::now()) == ClientAccess::Expired {
            state.close(CloseCode::BadToken);
        }
        if let Some(Drain::Began(since)) = state.drain
            && now.since(since) >= LOG_TIMEOUT
        {
            state.send_buffer.end_log();
        }

        self.write_queued(&mut state);
    }

    fn send(&self, notice: &Notice) {
        let mut state = self.lock();
        let frame = notice.encoded(state.send_buffer.dialect());
        if frame.is_empty() {
            return;
        }

        if state.send_buffer.queued_bytes() + frame.len() > self.settings.send_buffer {
            state.close(CloseCode::TooSlow);
        } else {
            state.send_buffer.push_encoded(frame);
        }
        self.write(&mut state);
    }

    fn close(&self, closing: Closing) {
        self.update(|state| match closing {
            Closing::Code(code) => state.close(code),
            Closing::Drain(reconnect_after) => state.drain(reconnect_after, self.hub.now()),
            // A Close frame would not be delivered either.
            Closing::Evict if state.send_buffer.blocked_since().is_some() => {
                state.error.get_or_insert(TransportError::Stalled);
                state.send_buffer.clear();
            }
            Closing::Evict => state.close(CloseCode::Expired),
        });
    }

    fn trace(&self, tracer: Tracer) {
        self.lock().tracer = Some(Box::new(tracer));
        self.is_traced.store(true, Ordering::Relaxed);
    }

    fn status(&self) -> ConnectionStatus {
        let state = self.lock();
        ConnectionStatus {
            dialect: state.send_buffer.dialect(),
            offset: state.subscription.cursor.offset(),
            waiting: state.send_buffer.queued_bytes(),
            reclaimable: state.reclaimable(),
        }
    }
}

impl CloseCause {
    const fn disconnect_reason(self) -> DisconnectReason {
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
