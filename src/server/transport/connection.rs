//! The state of one open WebSocket, shared by its own task and the Hub's fan-out.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tokio::net::TcpStream;

use crate::protocol::{CloseCode, Offset, Push};
use crate::server::hub::{
    Admission, Closing, ConnectionStatus, Hub, Notice, Reclaimable, Room, Subscriber, TraceEvent,
    Tracer,
};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::room::{Dialect, FanoutBatch, Format, Tick};
use crate::server::session::{
    ArrivalTimer, ClientAccess, CloseReason, Heartbeat, HeartbeatAction, NextChunk, Permissions,
    SendBuffer,
};
use crate::server::transport::ConnectionSettings;
use crate::server::transport::settings::message_timeout;
use crate::server::transport::stall_timeout::STALL_TIMEOUT;
use crate::server::wire::Opcode;

/// An open WebSocket in its room.
///
/// The fields have this order in memory so that the cache line with the lock also holds the start of the state, which
/// the fan-out reads first.
#[repr(C)]
pub(super) struct Connection {
    state: Mutex<ConnectionState>,
    pub(super) stream: TcpStream,
    pub(super) hub: Hub,
    pub(super) room: Arc<Room>,
    pub(super) settings: Arc<ConnectionSettings>,
    /// The memory of queued frames and of the partial message; set under the lock of the state.
    reservation: MemoryReservation,
    /// True if an operator traces the connection, or did when the client last sent a frame.
    pub(super) is_traced: AtomicBool,
    /// Wakes the connection's own task, to wait for the kernel or to end.
    pub(super) waker: AtomicWaker,
}

pub(super) struct ConnectionState {
    pub(super) send_buffer: SendBuffer,
    pub(super) heartbeat: Heartbeat,
    /// The client's rights, and their expiry.
    pub(super) permissions: Permissions,
    /// True while the store has not finished the client's last publish. Nothing is read until then: messages that arrive
    /// meanwhile are read together, and cost one read, one transaction and one fan-out.
    pub(super) is_publishing: bool,
    /// Set if the server stops while a publish is pending: the client gets the ack before the drain.
    drains_after_publish: Option<Duration>,
    /// True while a page of history is read for the client.
    pub(super) is_reading_history: bool,
    /// Runs while a message has arrived in part.
    pub(super) arrival: ArrivalTimer,
    /// Buffered bytes of the partial message.
    pub(super) partial: usize,
    /// The receiver of trace events, if an operator traces the connection.
    pub(super) tracer: Option<Box<Tracer>>,
    /// The reason why nothing more can be written, if so.
    pub(super) error: Option<TransportError>,
}

/// Reasons for an end without a closing handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransportError {
    /// The client or the network closed the connection.
    Disconnected,
    /// The client received no bytes for [`STALL_TIMEOUT`].
    Stalled,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        hub: Hub,
        admission: &Admission,
        format: Format,
        permissions: Permissions,
        settings: Arc<ConnectionSettings>,
    ) -> Self {
        let room = admission.room().clone();

        let state = ConnectionState {
            send_buffer: SendBuffer::corked(format, admission.start().cursor),
            heartbeat: Heartbeat::new(hub.now()),
            permissions,
            is_publishing: false,
            drains_after_publish: None,
            is_reading_history: false,
            arrival: ArrivalTimer::default(),
            partial: 0,
            tracer: None,
            error: None,
        };

        Self {
            state: Mutex::new(state),
            stream,
            hub,
            room,
            settings,
            reservation: Memory::of_process().reserve(0),
            is_traced: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock()
    }

    /// Writes queued bytes until the kernel accepts no more. Wakes the connection's task if it has to wait, read from
    /// the store or end.
    pub(super) fn write(&self, state: &mut ConnectionState, batch: &mut FanoutBatch<'_>) {
        if self.write_some(state, batch).is_err() {
            state.error.get_or_insert(TransportError::Disconnected);
        }
        self.count(state);

        let send_buffer = &state.send_buffer;
        let needs_task = state.error.is_some()
            || send_buffer.close_reason().is_some()
            || send_buffer.blocked().is_some()
            || send_buffer.behind().is_some();
        if needs_task {
            self.waker.wake();
        }
    }

    /// Changes the send buffer, and then writes it unless the kernel accepts no bytes now.
    pub(super) fn with_send_buffer<T>(&self, change: impl FnOnce(&mut SendBuffer) -> T) -> T {
        self.update(|state| change(&mut state.send_buffer))
    }

    /// Changes the state, and then writes queued bytes unless the kernel accepts no bytes now.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut ConnectionState) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);

        if state.can_write() {
            self.write(&mut state, &mut self.room.fanout_batch());
        } else {
            self.count(&state);
            self.waker.wake();
        }

        changed
    }

    /// Records that the store has finished the last publish, and writes its results, which `answer` queues.
    pub(super) fn publish_finished(&self, answer: impl FnOnce(&mut SendBuffer)) {
        let mut state = self.lock();
        answer(&mut state.send_buffer);
        state.is_publishing = false;
        if let Some(reconnect_after) = state.drains_after_publish.take() {
            state.drain(reconnect_after);
        }

        self.write_own(&mut state);
    }

    /// Writes the connection's own frames, if there are any, unless the kernel accepts no bytes now.
    fn write_own(&self, state: &mut ConnectionState) {
        self.count(state);

        let must_write =
            state.send_buffer.waiting() > 0 || state.send_buffer.close_reason().is_some();
        if must_write && state.can_write() {
            self.write(state, &mut self.room.fanout_batch());
        } else if must_write || state.error.is_some() {
            self.waker.wake();
        }
    }

    /// Updates the memory reservation to the bytes held now.
    pub(super) fn count(&self, state: &ConnectionState) {
        self.reservation
            .set(state.send_buffer.queued() + state.partial);
    }

    /// Releases the memory of the partial message, after the reader that held it was dropped.
    pub(super) fn release_partial(&self) {
        let mut state = self.lock();
        state.partial = 0;
        self.count(&state);
    }

    fn write_some(
        &self,
        state: &mut ConnectionState,
        batch: &mut FanoutBatch<'_>,
    ) -> std::io::Result<()> {
        while let NextChunk::Write(bytes) = state.send_buffer.next(batch) {
            match self.send(bytes) {
                Ok(bytes) => {
                    state.send_buffer.wrote(bytes, batch);

                    let offset = state.send_buffer.cursor();
                    state.trace(TraceEvent::Write { bytes, offset });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.send_buffer.block(self.hub.now());
                    state.trace(TraceEvent::Blocked);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Calls send(2), and returns the number of bytes accepted.
    ///
    /// Bypasses tokio and libc: at 100,000 writes a second, tokio's readiness check and libc's cancellation point are
    /// measurable.
    fn send(&self, bytes: &[u8]) -> std::io::Result<usize> {
        match rustix::net::send(&self.stream, bytes, SendFlags::empty()) {
            // The second try clears tokio's readiness flag.
            Err(Errno::AGAIN) => self.stream.try_write(bytes),
            result => Ok(result?),
        }
    }

    /// Returns true if the kernel holds unread bytes of the client.
    fn has_unread_bytes(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        // Errors are left to the reader.
        rustix::net::recv(&self.stream, &mut [0; 1], flags).is_ok_and(|(length, _)| length > 0)
    }

    /// Continues to write when the kernel accepts bytes again. Ready once no bytes wait for the kernel.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<()> {
        while self.lock().send_buffer.blocked().is_some() {
            // The write returns the same error.
            let _ = std::task::ready!(self.stream.poll_write_ready(cx));

            let mut state = self.lock();
            state.send_buffer.unblock();
            if self
                .write_some(&mut state, &mut self.room.fanout_batch())
                .is_err()
            {
                state.error.get_or_insert(TransportError::Disconnected);
            }
            self.count(&state);
        }

        Poll::Ready(())
    }
}

impl ConnectionState {
    /// Returns the offset after which the ring lacks messages for this client, if they can still be sent.
    pub(super) fn behind(&self) -> Option<Offset> {
        self.send_buffer.behind().filter(|_| self.error.is_none())
    }

    /// Returns true unless the kernel accepts no bytes now or the connection failed.
    fn can_write(&self) -> bool {
        self.send_buffer.blocked().is_none() && self.error.is_none()
    }

    /// Returns true while nothing is read from the client because the store has not answered a publish, or has not
    /// returned the messages that the ring no longer has.
    const fn waits_for_store(&self) -> bool {
        self.is_publishing || self.send_buffer.behind().is_some()
    }

    /// Returns the memory that would be free if the connection ended.
    fn reclaimable(&self) -> Option<Reclaimable> {
        let bytes = self.send_buffer.reclaimable() + self.partial;
        let blocked = self.send_buffer.blocked().into_iter();
        let since = blocked.chain(self.arrival.since()).min()?;

        (bytes > 0 && self.error.is_none()).then_some(Reclaimable { since, bytes })
    }

    /// Queues the drain frame and the Close frame, after a pending publish.
    fn drain(&mut self, reconnect_after: Duration) {
        if self.is_publishing {
            self.drains_after_publish = Some(reconnect_after);
            return;
        }

        if self.send_buffer.dialect() == Dialect::Typed {
            self.send_buffer.push_event(&Push::Drain {
                reconnect_after_ms: reconnect_after.as_millis() as u64,
            });
        }
        self.send_buffer
            .close(CloseReason::Local(CloseCode::GoingAway));
    }
}

impl Subscriber for Connection {
    fn flush(&self, batch: &mut FanoutBatch<'_>) {
        let mut state = self.lock();
        if state.can_write() {
            self.write(&mut state, batch);
        }
    }

    fn tick(&self, now: Tick) {
        let mut state = self.lock();

        let blocked_since = state.send_buffer.blocked();
        if blocked_since.is_some_and(|since| now.since(since) >= STALL_TIMEOUT) {
            state.error.get_or_insert(TransportError::Stalled);
        }

        let is_read = !state.waits_for_store();
        if !is_read {
            state.arrival.restart(now);
        }
        let is_overdue = match state
            .heartbeat
            .check(now, &self.settings.heartbeat, is_read)
        {
            HeartbeatAction::Alive => state
                .arrival
                .is_overdue(now, message_timeout(self.settings.max_message)),
            HeartbeatAction::Ping => {
                state.send_buffer.push(Opcode::Ping, &[]);
                false
            }
            HeartbeatAction::Expired => true,
        };
        if is_overdue && !self.has_unread_bytes() {
            state
                .send_buffer
                .close(CloseReason::Local(CloseCode::Expired));
        }

        if state.permissions.access(Instant::now()) == ClientAccess::Expired {
            state
                .send_buffer
                .close(CloseReason::Local(CloseCode::BadToken));
        }

        self.write_own(&mut state);
    }

    fn send(&self, notice: &Notice) {
        self.with_send_buffer(|send_buffer| {
            let frame = notice.encoded(send_buffer.dialect());
            if send_buffer.waiting() + frame.len() > self.settings.send_buffer {
                send_buffer.close(CloseReason::Local(CloseCode::TooSlow));
            } else {
                send_buffer.push_encoded(frame);
            }
        });
    }

    fn close(&self, closing: Closing) {
        self.update(|state| match closing {
            Closing::Code(code) => state.send_buffer.close(CloseReason::Local(code)),
            Closing::Drain(reconnect_after) => state.drain(reconnect_after),
            // A Close frame would not be delivered either.
            Closing::Evict if state.send_buffer.blocked().is_some() => {
                state.error.get_or_insert(TransportError::Stalled);
                state.send_buffer.clear();
            }
            Closing::Evict => {
                let expired = CloseReason::Local(CloseCode::Expired);
                state.send_buffer.close(expired);
            }
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
            offset: state.send_buffer.cursor(),
            waiting: state.send_buffer.waiting(),
            reclaimable: state.reclaimable(),
        }
    }
}
