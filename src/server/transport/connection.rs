//! An open connection that reads rooms and patterns, shared by its own task and the hub's fan-out.
//!
//! WebSockets and event streams register, subscribe, catch up, write, close and end in the same way. They differ in their
//! dialect, and in what their task does with the client's bytes.

use std::io::ErrorKind;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use tracing::{debug, field, info};

use crate::protocol::{CloseCode, RoomSelector, UnsubscribeCode};
use crate::server::hub::{Hub, PendingSubscription, Registration, Source, TraceEvent};
use crate::server::metrics;
use crate::server::room::FanoutBatch;
use crate::server::session::{HeartbeatSettings, LogCursor, Rate, SendBuffer, WriteStep};
use crate::server::spans;
use crate::server::store::{Limit, PAGE_BYTES};
use crate::server::transport::connection_state::{CloseCause, ConnectionState, TransportError};
use crate::server::transport::opening::{self, SubscriptionFrames};
use crate::server::transport::subscriptions::{Subscription, Subscriptions};
use crate::server::transport::{ClientSocket, Permissions};

/// The number of messages read from the store at once for a connection that has fallen behind.
const CATCH_UP_MESSAGES: usize = 256;
/// The smallest number of messages read at once from one of many rooms, and of their bytes.
const MIN_CATCH_UP: Limit = Limit {
    messages: 16,
    bytes: 8 * 1024,
};
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
    /// True if an operator traces the connection, or did when the client last sent a frame.
    pub(super) is_traced: AtomicBool,
    /// Wakes the connection's task.
    pub(super) waker: AtomicWaker,
}

/// The ownership of an open connection, which ends when this is dropped.
pub(super) struct OpenConnection<O: Output>(Arc<Connection<O>>);

impl<O: Output> OpenConnection<O> {
    /// Opens a connection that sends the bytes of `send_buffer` first, before the frames of any subscription.
    pub(super) fn open(
        output: O,
        hub: Hub,
        send_buffer: SendBuffer,
        permissions: Permissions,
        settings: Arc<ConnectionSettings>,
        mut registration: Registration,
    ) -> Self {
        let connection = Arc::new(Connection {
            state: Mutex::new(ConnectionState::new(send_buffer, permissions, hub.now())),
            output,
            hub,
            settings,
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
    pub(super) fn write(&self, state: &mut ConnectionState) {
        if state.can_write() {
            O::write(self, state, None);
        } else {
            self.waker.wake();
        }
        state.count_memory();
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

        // Leaving the room takes other locks, so it comes after the update.
        ended.map(Subscription::leave).is_some()
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
        let protocol = if state.send_buffer.dialect().is_stream() {
            "http"
        } else {
            "websocket"
        };
        drop(state);

        let info = registration.info();
        let id = info.id().map(field::display);
        let address = registration.address();
        let number = info.number();
        info!(id, %address, number, reason = %cause, "disconnected");

        let reason = cause.disconnect_reason();
        metrics::count_disconnect(reason);
        spans::ConnectionSpan {
            protocol,
            number,
            room: subscriptions.only().map(|only| only.source.as_str()),
            address,
            since: info.since(),
        }
        .finish(reason);

        Some((cause, (subscriptions, registration)))
    }
}

/// The guards of an ended connection: its memberships, and its place in the registry.
type ConnectionGuards = (Subscriptions, Registration);

impl Output for ClientSocket {
    fn write(
        connection: &Connection<Self>,
        state: &mut ConnectionState,
        batch: Option<&mut FanoutBatch<'_>>,
    ) {
        connection.write_some(state, batch);

        let needs_task = state.error.is_some()
            || state.send_buffer.close_reason().is_some()
            || state.send_buffer.blocked_since().is_some()
            || state.is_behind();
        if needs_task {
            connection.waker.wake();
        }
    }

    fn has_unread_bytes(&self) -> bool {
        self.has_unread_bytes()
    }

    fn buffered_bytes(&self) -> usize {
        self.buffered_bytes()
    }

    fn clear(&self) {
        self.clear();
    }
}

impl Connection<ClientSocket> {
    /// Writes queued bytes and the log until the kernel accepts no more.
    fn write_some(&self, state: &mut ConnectionState, mut batch: Option<&mut FanoutBatch<'_>>) {
        loop {
            let written = state.write_next(&self.hub, batch.as_deref_mut(), |bytes| {
                self.output.send(bytes)
            });
            let finished = match written {
                Ok(WriteStep::Wrote(_)) => continue,
                Ok(WriteStep::Idle | WriteStep::Finished | WriteStep::Behind) => {
                    self.output.flush()
                }
                Err(error) => Err(error),
            };

            match finished {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.send_buffer.block(self.hub.now());
                    state.trace(TraceEvent::Blocked);
                }
                Err(_) => {
                    state.error.get_or_insert(TransportError::Disconnected);
                }
            }
            return;
        }
    }

    /// Continues to write when the kernel accepts bytes again. Ready once no bytes wait for the kernel, or the connection has
    /// failed.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<()> {
        while self.lock().is_blocked() {
            // The write returns the same error.
            let _ = ready!(self.output.stream().poll_write_ready(cx));

            let mut state = self.lock();
            state.send_buffer.unblock();
            self.write_some(&mut state, None);
            state.count_memory();
        }

        Poll::Ready(())
    }

    /// Records that nothing more can be written.
    pub(super) fn fail(&self, error: TransportError) {
        self.lock().error.get_or_insert(error);
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
