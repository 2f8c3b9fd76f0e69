//! An open connection that reads rooms and patterns, shared by its own task and the hub's fan-out.
//!
//! WebSockets and event streams register, subscribe, catch up, close and end in the same way. They differ in their
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

use crate::protocol::{CloseCode, ErrorCode, Push, RoomName, RoomSelector, UnsubscribeCode};
use crate::server::hub::{
    Closing, ConnectionStatus, Hub, Notice, PendingSubscription, Reclaimable, Registration, Source,
    Subscriber, TraceEvent, Tracer,
};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::metrics::{self, DisconnectReason};
use crate::server::room::{Dialect, ExcludedRooms, FanoutBatch, Format, Tick};
use crate::server::session::{
    ArrivalTimer, CloseReason, Heartbeat, HeartbeatAction, HeartbeatSettings, LogCursor, Rate,
    RoomReader, SendBuffer, WriteStep,
};
use crate::server::spans;
use crate::server::store::{Limit, PAGE_BYTES};
use crate::server::transport::Permissions;
use crate::server::transport::opening::{self, SubscriptionFrames};
use crate::server::transport::stall_timeout::STALL_TIMEOUT;
use crate::server::transport::subscriptions::{Subscription, Subscriptions};

/// The number of messages read from the store at once for a connection that has fallen behind.
const CATCH_UP_MESSAGES: usize = 256;
/// The smallest number of messages read at once from one of many rooms, and of their bytes.
const MIN_CATCH_UP: Limit = Limit {
    messages: 16,
    bytes: 8 * 1024,
};
/// The longest time for which a stopping server writes the rest of the log to a client.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);
/// The time in which the smallest message must arrive.
const MIN_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The slowest link that is supported: the timeout grows by a second for each of these many bytes.
const MIN_BYTES_PER_SECOND: usize = 64 * 1024;

/// The limits and timeouts of every connection of a server.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// The largest payload of a message in any room, in bytes.
    pub max_message: usize,
    /// Bytes queued for one connection alone at which reading from it stops.
    pub send_buffer: usize,
    /// The ping interval and the timeout.
    pub heartbeat: HeartbeatSettings,
    /// The rate limit of messages from one connection.
    pub rate: Rate,
    /// The largest number of subscriptions of one connection.
    pub max_subscriptions: usize,
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

    /// Passes on queued bytes and the logs, as far as that is possible without waiting. `batch` is the fan-out pass that
    /// this is part of, if there is one.
    fn write(
        connection: &Connection<Self>,
        state: &mut ConnectionState,
        batch: Option<&mut FanoutBatch<'_>>,
    );

    /// Returns true if the kernel holds unread bytes of the client.
    fn has_unread_bytes(&self) -> bool;

    /// Returns the number of bytes that the output holds for this connection alone.
    fn buffered_bytes(&self) -> usize;

    /// Discards the bytes that were passed on and not sent. Nothing can be written after that.
    fn clear(&self);
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
    tracer: Option<Box<Tracer>>,
    /// The place in the registry, until the connection ends.
    registration: Option<Registration>,
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

impl<O: Output> OpenConnection<O> {
    /// Opens a connection whose first frames, before those of any subscription, are `first`.
    pub(super) fn open(
        output: O,
        hub: Hub,
        format: Format,
        permissions: Permissions,
        settings: Arc<ConnectionSettings>,
        mut registration: Registration,
        first: Option<&Push>,
    ) -> Self {
        let mut send_buffer = SendBuffer::new(format);
        if let Some(first) = first {
            send_buffer.push_event(first);
        }
        let state = ConnectionState {
            send_buffer,
            error: None,
            is_publishing: false,
            is_subscribing: false,
            is_reading_history: false,
            subscriptions: Subscriptions::default(),
            heartbeat: Heartbeat::new(hub.now()),
            permissions,
            drain: None,
            arrival: ArrivalTimer::default(),
            partial: 0,
            tracer: None,
            registration: None,
        };

        let connection = Arc::new(Connection {
            state: Mutex::new(state),
            output,
            hub,
            settings,
            reservation: Memory::of_process().reserve(0),
            is_traced: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        registration.register(connection.clone());
        connection.lock().registration = Some(registration);
        Self(connection)
    }
}

impl<O: Output> Connection<O> {
    pub(super) fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock()
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
            O::write(self, state, None);
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

    /// Subscribes the client to the rooms and patterns of `entries`. It gets the frames about the subscriptions, and then
    /// the messages. An earlier subscription to one of them is replaced. Without effect if the connection has ended.
    pub(super) fn subscribe(self: &Arc<Self>, subscriptions: Vec<PendingSubscription>) {
        let position = opening::position(&subscriptions);
        let mut state = self.lock();
        // The frames about a subscription would not be sent after the end, but a stopping server sends the log.
        if state.send_buffer.close_reason().is_some() {
            return;
        }
        let Some(registration) = state.registration.take() else {
            return;
        };

        // All in one critical section: changes of the rooms that are sent to this reader from now on wait for the lock,
        // and follow the frames that describe the rooms.
        let mut replaced = Vec::new();
        for pending in subscriptions {
            let source = pending.source().clone();
            // The rules may have changed since the request was checked.
            if let Some(room) = source.room()
                && let Some((code, _)) = registration.denied(room.name())
            {
                state.push_end(source.selector(), code);
                continue;
            }

            let frames = SubscriptionFrames::of(&pending);
            let start = pending.start();
            let cursor = match source {
                Source::Room(_) => LogCursor::new(start.cursor),
                Source::Pattern(_) => LogCursor::in_pattern(start.cursor, start.known),
            };
            let membership = pending.join(&registration, self.clone());
            replaced.extend(state.subscriptions.remove(source.as_str()));
            frames.push(&source, &mut state.send_buffer);
            state
                .subscriptions
                .push(Subscription::new(source, cursor, membership));
        }
        state.registration = Some(registration);
        // The rules that name rooms of patterns are applied before the first message is written.
        let _ = state.apply_rules();

        // A gap precedes the position, so a client that has the position has the gap too.
        if let Some(position) = position {
            let preamble = state.send_buffer.dialect().preamble(&position);
            state.send_buffer.push_encoded(preamble.as_bytes());
        }
        self.write(&mut state);
        drop(state);

        // Leaving a room takes other locks.
        drop(replaced);
    }

    /// Ends the subscription to `room`, and sends the reason. Closes the connection if its dialect has no frame for that.
    /// Returns false if there is no such subscription.
    pub(super) fn end_subscription(&self, room: RoomSelector, code: UnsubscribeCode) -> bool {
        let ended = self.update(|state| {
            let ended = state.subscriptions.remove(room.as_str())?;
            state.push_end(room, code);
            Some(ended)
        });

        // Leaving the room takes other locks, so the subscription is dropped only here.
        ended.is_some()
    }

    /// Reads the next messages from the store, for the rooms and patterns whose rings no longer have them. One of them
    /// stays behind if more of its messages were deleted during the read than its feed remembers.
    pub(super) async fn catch_up(&self) {
        let (behind, is_merged) = {
            let state = self.lock();
            (state.subscriptions.behind(), state.subscriptions.len() > 1)
        };
        let rooms = behind.len().max(1);
        let limit = Limit {
            messages: (CATCH_UP_MESSAGES / rooms).max(MIN_CATCH_UP.messages),
            bytes: (PAGE_BYTES / rooms).max(MIN_CATCH_UP.bytes),
        };

        let mut pages = Vec::new();
        for (source, cursor) in behind {
            let read = source.catch_up(cursor.offset(), cursor.known(), limit);
            match read.await {
                Ok((page, mark)) => pages.push((source, page, mark)),
                // The client resumes from its position when it reconnects.
                Err(error) => {
                    debug!(%error, room = source.as_str(), "could not read from the store");
                    return self.update(|state| {
                        state.send_buffer.end_log();
                        state.close(CloseCode::TryAgainLater);
                    });
                }
            }
        }

        // Messages of several rooms are written up to the offset to which the changes are applied.
        if is_merged {
            let ends = pages.iter().map(|(_, page, _)| page.end());
            self.hub
                .wait_until_applied(ends.max().unwrap_or_default())
                .await;
        }

        self.update(|state| {
            // Under the lock under which the client is notified of deletions.
            pages.retain_mut(|(source, page, mark)| {
                let excluded = state.subscriptions.excluded();
                let is_current = source.feed().redact_page(&mut page.frames, *mark);
                page.frames.retain(|frame| !excluded.contains(frame.room()));
                is_current
            });
            let pages = pages.into_iter().map(|(_, page, _)| page).collect();
            let applied = self.hub.rooms().applied();
            let ConnectionState {
                send_buffer,
                subscriptions,
                ..
            } = state;
            let gaps = subscriptions.on_caught_up(send_buffer, pages, applied);
            gaps.into_iter().for_each(metrics::count_gap);
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

    /// Records the end in the log, the metrics and the traces. Returns the cause, and the guards whose drop makes the
    /// client leave its rooms and the registry; `None` if the connection ended before.
    pub(super) fn end(&self) -> Option<(CloseCause, ConnectionGuards)> {
        let mut state = self.lock();
        let registration = state.registration.take()?;
        let subscriptions = state.subscriptions.take();
        let cause = state.close_cause();
        drop(state);

        let id = registration.id().map(field::display);
        let address = registration.address();
        let number = registration.number();
        info!(id, %address, number, reason = %cause, "disconnected");

        let reason = cause.disconnect_reason();
        metrics::count_disconnect(reason);
        spans::ConnectionSpan {
            protocol: O::PROTOCOL,
            number,
            room: subscriptions.only().map(|only| only.source.as_str()),
            address,
            since: registration.since(),
        }
        .finish(reason);

        Some((cause, (subscriptions, registration)))
    }
}

/// The guards of an ended connection: its memberships, and its place in the registry.
type ConnectionGuards = (Subscriptions, Registration);

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
    /// Returns true if messages for this client must be read from the store, and can still be sent.
    pub(super) fn is_behind(&self) -> bool {
        self.subscriptions.iter().any(|one| one.cursor.is_behind())
            && self.send_buffer.reads_log()
            && self.error.is_none()
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
    fn apply_rules(&mut self) -> bool {
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

    /// Returns true unless the client receives no bytes now or the connection failed.
    fn can_write(&self) -> bool {
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

        if let WriteStep::Wrote(bytes) = step
            && self.tracer.is_some()
        {
            let offset = self.subscriptions.newest_written();
            self.trace(TraceEvent::Write { bytes, offset });
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
    fn push_end(&mut self, room: RoomSelector, code: UnsubscribeCode) {
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
    fn close(&mut self, code: CloseCode) {
        self.send_buffer.close(CloseReason::Local(code));
    }

    /// Returns the memory that would be free if the connection ended, with the `output_bytes` of its output. Event streams share their bytes with other
    /// readers, and their sockets are memory holders of their own.
    fn reclaimable(&self, output_bytes: usize) -> Option<Reclaimable> {
        if self.send_buffer.dialect().is_stream() {
            return None;
        }

        let bytes = self.send_buffer.reclaimable() + self.partial + output_bytes;
        let blocked = self.send_buffer.blocked_since().into_iter();
        let since = blocked.chain(self.arrival.since()).min()?;

        (bytes > 0 && self.error.is_none()).then_some(Reclaimable { since, bytes })
    }

    /// Returns the cause of the end as the client saw it: an end that was not sent does not count.
    fn close_cause(&self) -> CloseCause {
        let is_stalled = self.error == Some(TransportError::Stalled);
        match (self.send_buffer.close_reason(), self.error) {
            (Some(reason), _) if self.send_buffer.is_finished() && !is_stalled => {
                CloseCause::Closed(reason)
            }
            (_, error) => CloseCause::Lost(error.unwrap_or(TransportError::Disconnected)),
        }
    }
}

impl<O: Output> Subscriber for Connection<O> {
    fn flush(&self, batch: &mut FanoutBatch<'_>) {
        let mut state = self.lock();
        if state.can_write() {
            O::write(self, &mut state, Some(batch));
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

        if state.permissions.is_expired(Instant::now()) {
            state.close(CloseCode::BadToken);
        }
        if let Some(Drain::Began(since)) = state.drain
            && now.since(since) >= LOG_TIMEOUT
        {
            state.send_buffer.end_log();
        }

        // Bans may have ended.
        if !state.subscriptions.excluded().is_empty() && state.apply_rules() {
            self.write(&mut state);
        } else {
            self.write_queued(&mut state);
        }
    }

    fn send(&self, notice: &Notice) {
        let mut state = self.lock();
        let frame = notice.encoded(state.send_buffer.dialect());
        // The notice goes to the readers that there were when it began. The subscription may have ended since.
        let subscriptions = &state.subscriptions;
        let is_meant = match notice.push() {
            Push::Deleted { room, .. } => subscriptions.first_match(room).is_some(),
            Push::Presence { room, .. } => subscriptions.room(room).is_some(),
            _ => true,
        };
        if frame.is_empty() || !is_meant {
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
                self.output.clear();
            }
            Closing::Evict => state.close(CloseCode::Expired),
        });
    }

    fn unsubscribe(&self, rooms: &RoomSelector, code: UnsubscribeCode) {
        // The subscription may have ended in the meantime.
        let _ = self.end_subscription(rooms.clone(), code);
    }

    fn apply_rules(&self) {
        // The state is written in either case.
        let _ = self.update(ConnectionState::apply_rules);
    }

    fn trace(&self, tracer: Tracer) {
        self.lock().tracer = Some(Box::new(tracer));
        self.is_traced.store(true, Ordering::Relaxed);
    }

    fn status(&self) -> ConnectionStatus {
        let state = self.lock();
        ConnectionStatus {
            dialect: state.send_buffer.dialect(),
            rooms: state
                .subscriptions
                .iter()
                .map(|one| one.source.selector())
                .collect(),
            offset: state.subscriptions.newest_written(),
            behind: state
                .subscriptions
                .iter()
                .map(|one| one.source.feed().behind(one.cursor.offset()))
                .sum(),
            waiting: state.send_buffer.queued_bytes(),
            reclaimable: state.reclaimable(self.output.buffered_bytes()),
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
