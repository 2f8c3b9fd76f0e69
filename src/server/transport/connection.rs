//! One open WebSocket: what its own task and the Hub's passes share.

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

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::Push;
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
use crate::server::transport::patient::STUCK_AFTER;
use crate::server::transport::settings::message_timeout;
use crate::server::wire::Opcode;

/// See the [module docs](self).
///
/// In this order in memory: a pass that takes hold of it has then already fetched what it needs first.
#[repr(C)]
pub(super) struct Connection {
    state: Mutex<ConnectionState>,
    pub(super) stream: TcpStream,
    pub(super) hub: Hub,
    pub(super) room: Arc<Room>,
    pub(super) settings: Arc<ConnectionSettings>,
    /// Memory of the frames that wait and of the partial message; set under the lock of the state.
    reservation: MemoryReservation,
    /// Whether somebody looks at what passes, or did.
    pub(super) is_traced: AtomicBool,
    /// Wakes the connection's own task: to wait for the kernel, or to notice the end.
    pub(super) waker: AtomicWaker,
}

pub(super) struct ConnectionState {
    pub(super) outbox: SendBuffer,
    pub(super) heartbeat: Heartbeat,
    /// What its client may do, and until when.
    pub(super) lease: Permissions,
    /// The store has not finished the last publish. Nothing is read until then: what the client sends meanwhile is read at
    /// once, and then is one read, one transaction and one pass.
    pub(super) is_publishing: bool,
    /// Set if the server stops while a publish is with the store: the client gets the ack first, and then this.
    drains_after_publish: Option<Duration>,
    /// A page of history is being read for it.
    pub(super) is_asking: bool,
    /// Runs while a message has begun and is not whole.
    pub(super) arrival: ArrivalTimer,
    /// Bytes of it that are here.
    pub(super) partial: usize,
    /// Who is told what passes, if anybody looks.
    pub(super) tracer: Option<Box<Tracer>>,
    /// Why nothing more can be written, once that is so.
    pub(super) lost: Option<TransportError>,
}

/// Ends without a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransportError {
    /// The client closed its side, or the network did.
    Disconnected,
    /// The client took no byte for [`STUCK_AFTER`].
    Stuck,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        hub: Hub,
        admission: &Admission,
        format: Format,
        lease: Permissions,
        settings: Arc<ConnectionSettings>,
    ) -> Self {
        let room = admission.room().clone();
        let state = ConnectionState {
            outbox: SendBuffer::corked(format, admission.start().cursor),
            heartbeat: Heartbeat::new(hub.now()),
            lease,
            is_publishing: false,
            drains_after_publish: None,
            is_asking: false,
            arrival: ArrivalTimer::default(),
            partial: 0,
            tracer: None,
            lost: None,
        };
        let reservation = Memory::of_process().reserve(0);
        let (is_traced, waker) = (AtomicBool::new(false), AtomicWaker::new());
        Self {
            state: Mutex::new(state),
            stream,
            hub,
            room,
            settings,
            reservation,
            is_traced,
            waker,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock()
    }

    /// Hands to the kernel what it takes, and wakes the connection's task if that has something to do now.
    pub(super) fn write(&self, state: &mut ConnectionState, reel: &mut FanoutBatch<'_>) {
        if self.write_some(state, reel).is_err() {
            state.lost.get_or_insert(TransportError::Disconnected);
        }
        self.count(state);
        let outbox = &state.outbox;
        let has_news = outbox.close_reason().is_some()
            || outbox.blocked().is_some()
            || outbox.behind().is_some();
        if state.lost.is_some() || has_news {
            self.waker.wake();
        }
    }

    /// Changes what waits, and writes it unless the kernel takes nothing now.
    pub(super) fn with_outbox<T>(&self, change: impl FnOnce(&mut SendBuffer) -> T) -> T {
        self.update(|state| change(&mut state.outbox))
    }

    /// Changes the state, and then writes what waits unless the kernel accepts no bytes now.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut ConnectionState) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        if state.outbox.blocked().is_none() && state.lost.is_none() {
            self.write(&mut state, &mut self.room.reel());
        } else {
            self.count(&state);
            self.waker.wake();
        }

        changed
    }

    /// Records that the store has finished the last publish, and writes its results, which `answer` queues.
    pub(super) fn publish_finished(&self, answer: impl FnOnce(&mut SendBuffer)) {
        let mut state = self.lock();
        answer(&mut state.outbox);
        state.is_publishing = false;
        if let Some(reconnect_after) = state.drains_after_publish.take() {
            state.drain(reconnect_after);
        }

        self.write_own(&mut state);
    }

    /// Writes the connection's own frames if there are any, unless the kernel accepts no bytes now.
    fn write_own(&self, state: &mut ConnectionState) {
        self.count(state);
        let must_write = state.outbox.waiting() > 0 || state.outbox.close_reason().is_some();
        if state.lost.is_some() {
            self.waker.wake();
        } else if must_write && state.outbox.blocked().is_none() {
            self.write(state, &mut self.room.reel());
        } else if must_write {
            self.waker.wake();
        }
    }

    /// Counts what it holds now.
    pub(super) fn count(&self, state: &ConnectionState) {
        self.reservation.set(state.outbox.queued() + state.partial);
    }

    /// What had come of a message goes with whoever read it.
    pub(super) fn forget_partial(&self) {
        let mut state = self.lock();
        state.partial = 0;
        self.count(&state);
    }

    fn write_some(
        &self,
        state: &mut ConnectionState,
        reel: &mut FanoutBatch<'_>,
    ) -> std::io::Result<()> {
        while let NextChunk::Write(bytes) = state.outbox.next(reel) {
            match self.send(bytes) {
                Ok(taken) => {
                    state.outbox.wrote(taken, reel);
                    let offset = state.outbox.cursor();
                    state.trace(TraceEvent::Write {
                        bytes: taken,
                        offset,
                    });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.outbox.block(self.hub.now());
                    state.trace(TraceEvent::Blocked);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Straight to the kernel: at a hundred thousand writes a second it shows that tokio would look up first
    /// whether it believes the socket ready, and libc whether the thread is being cancelled.
    fn send(&self, bytes: &[u8]) -> std::io::Result<usize> {
        match rustix::net::send(&self.stream, bytes, SendFlags::empty()) {
            // Once more, for tokio to see that the socket is not ready.
            Err(Errno::AGAIN) => self.stream.try_write(bytes),
            result => Ok(result?),
        }
    }

    /// Returns whether the kernel holds unread bytes of the client.
    fn has_unread_bytes(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        // The reader handles an error, like an end.
        rustix::net::recv(&self.stream, &mut [0; 1], flags).is_ok_and(|(taken, _)| taken > 0)
    }

    /// When the kernel takes bytes again, goes on writing. Ready once nothing waits for the kernel.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<()> {
        while self.lock().outbox.blocked().is_some() {
            std::task::ready!(self.stream.poll_write_ready(cx)).ok();
            let mut state = self.lock();
            state.outbox.unblock();
            if self.write_some(&mut state, &mut self.room.reel()).is_err() {
                state.lost.get_or_insert(TransportError::Disconnected);
            }
            self.count(&state);
        }
        Poll::Ready(())
    }
}

impl ConnectionState {
    /// Returns the offset after which messages are missing in the ring, if they can still be sent.
    pub(super) fn behind(&self) -> Option<Offset> {
        self.outbox.behind().filter(|_| self.lost.is_none())
    }

    /// Returns whether nothing is read from the client until the store has answered: to a publish, or with the
    /// messages that the ring no longer has.
    const fn waits_for_store(&self) -> bool {
        self.is_publishing || self.outbox.behind().is_some()
    }

    /// Returns the memory that would be free if the connection ended.
    fn reclaimable(&self) -> Option<Reclaimable> {
        let bytes = self.outbox.reclaimable() + self.partial;
        let blocked = self.outbox.blocked().into_iter();
        let since = blocked.chain(self.arrival.since()).min()?;
        (bytes > 0 && self.lost.is_none()).then_some(Reclaimable { since, bytes })
    }

    fn drain(&mut self, reconnect_after: Duration) {
        if self.is_publishing {
            self.drains_after_publish = Some(reconnect_after);
            return;
        }

        if self.outbox.dialect() == Dialect::Typed {
            self.outbox.push_event(&Push::Drain {
                reconnect_after_ms: reconnect_after.as_millis() as u64,
            });
        }
        self.outbox.close(CloseReason::Local(CloseCode::GoingAway));
    }
}

impl Subscriber for Connection {
    fn flush(&self, reel: &mut FanoutBatch<'_>) {
        let mut state = self.lock();
        if state.outbox.blocked().is_none() && state.lost.is_none() {
            self.write(&mut state, reel);
        }
    }

    fn tick(&self, now: Tick) {
        let mut state = self.lock();
        if state
            .outbox
            .blocked()
            .is_some_and(|since| now.since(since) >= STUCK_AFTER)
        {
            state.lost.get_or_insert(TransportError::Stuck);
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
                state.outbox.push(Opcode::Ping, &[]);
                false
            }
            HeartbeatAction::Expired => true,
        };
        if is_overdue && !self.has_unread_bytes() {
            state.outbox.close(CloseReason::Local(CloseCode::Expired));
        }

        if state.lease.access(Instant::now()) == ClientAccess::Expired {
            state.outbox.close(CloseReason::Local(CloseCode::BadToken));
        }
        self.write_own(&mut state);
    }

    fn send(&self, notice: &Notice<'_>) {
        let mut encoded = Vec::new();
        let frame = match *notice {
            Notice::Room(frame) => frame,
            Notice::Log(push) => {
                Dialect::Typed.encode_into(push, &mut encoded);
                &encoded
            }
        };

        self.with_outbox(|outbox| {
            if outbox.dialect() == Dialect::Plain {
                return;
            }
            if outbox.waiting() + frame.len() > self.settings.send_buffer {
                outbox.close(CloseReason::Local(CloseCode::TooSlow));
            } else {
                outbox.push_encoded(frame);
            }
        });
    }

    fn close(&self, closing: Closing) {
        self.update(|state| match closing {
            Closing::Code(code) => state.outbox.close(CloseReason::Local(code)),
            Closing::Drain(reconnect_after) => state.drain(reconnect_after),
        });
    }

    fn evict(&self) {
        let mut state = self.lock();
        if state.outbox.blocked().is_some() {
            // No Close frame would reach it either.
            state.lost.get_or_insert(TransportError::Stuck);
            state.outbox.clear();
            self.count(&state);
            self.waker.wake();
        } else {
            state.outbox.close(CloseReason::Local(CloseCode::Expired));
            self.write(&mut state, &mut self.room.reel());
        }
    }

    fn trace(&self, tracer: Tracer) {
        self.lock().tracer = Some(Box::new(tracer));
        self.is_traced.store(true, Ordering::Relaxed);
    }

    fn status(&self) -> ConnectionStatus {
        let state = self.lock();
        ConnectionStatus {
            dialect: state.outbox.dialect(),
            offset: state.outbox.cursor(),
            waiting: state.outbox.waiting(),
            reclaimable: state.reclaimable(),
        }
    }
}
