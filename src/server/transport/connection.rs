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
use crate::server::hub::{Admission, Burden, Due, Hub, Outlet, Passed, Room, Standing, Tracer};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::room::{Dialect, FanoutBatch, Format, Tick};
use crate::server::session::{
    ArrivalTimer, ClientAccess, CloseReason, Heartbeat, HeartbeatAction, NextChunk, Permissions,
    SendBuffer,
};
use crate::server::transport::ConnectionSettings;
use crate::server::transport::patient::STUCK_AFTER;
use crate::server::transport::reader::PublishState;
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
    /// Whether what it said last is still with the store.
    pub(super) saying: PublishState,
    /// What the store has answered, until the next is read: a pass then takes up both.
    pub(super) due: Option<Due>,
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
            saying: PublishState::Nothing,
            due: None,
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
                    state.trace(Passed::Write {
                        bytes: taken,
                        offset,
                    });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    state.outbox.block(self.hub.now());
                    state.trace(Passed::Blocked);
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
        !matches!(self.saying, PublishState::Nothing) || self.outbox.behind().is_some()
    }
}

impl Outlet for Connection {
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
            state.outbox.close(CloseReason::Ours(CloseCode::Expired));
        }

        if state.lease.access(Instant::now()) == ClientAccess::Expired {
            state.outbox.close(CloseReason::Ours(CloseCode::BadToken));
        }
        self.count(&state);
        let must_write = state.outbox.waiting() > 0 || state.outbox.close_reason().is_some();
        if state.lost.is_some() {
            self.waker.wake();
        } else if must_write && state.outbox.blocked().is_none() {
            self.write(&mut state, &mut self.room.reel());
        } else if must_write {
            self.waker.wake();
        }
    }

    fn say(&self, push: &Push) {
        let mut frame = Vec::new();
        Dialect::Typed.encode_into(push, &mut frame);
        self.tell(&frame);
    }

    fn tell(&self, frame: &[u8]) {
        self.with_outbox(|outbox| {
            if outbox.dialect() == Dialect::Plain {
                return;
            }
            if outbox.waiting() + frame.len() > self.settings.send_buffer {
                outbox.close(CloseReason::Ours(CloseCode::TooSlow));
            } else {
                outbox.push_encoded(frame);
            }
        });
    }

    fn drain(&self, reconnect_after: Duration) {
        self.with_outbox(|outbox| {
            if outbox.dialect() == Dialect::Typed {
                outbox.push_event(&Push::Drain {
                    reconnect_after_ms: reconnect_after.as_millis() as u64,
                });
            }
            outbox.close(CloseReason::Ours(CloseCode::GoingAway));
        });
    }

    fn close(&self, code: CloseCode) {
        self.with_outbox(|outbox| outbox.close(CloseReason::Ours(code)));
    }

    fn burden(&self) -> Option<Burden> {
        let state = self.lock();
        let bytes = state.outbox.reclaimable() + state.partial;
        let since = state
            .outbox
            .blocked()
            .into_iter()
            .chain(state.arrival.since())
            .min()?;
        (bytes > 0 && state.lost.is_none()).then_some(Burden { since, bytes })
    }

    fn shed(&self) {
        let mut state = self.lock();
        if state.outbox.blocked().is_some() {
            // No Close frame would reach it either.
            state.lost.get_or_insert(TransportError::Stuck);
            state.outbox.clear();
            self.count(&state);
            self.waker.wake();
        } else {
            state.outbox.close(CloseReason::Ours(CloseCode::Expired));
            self.write(&mut state, &mut self.room.reel());
        }
    }

    fn trace(&self, tracer: Tracer) {
        self.lock().tracer = Some(Box::new(tracer));
        self.is_traced.store(true, Ordering::Relaxed);
    }

    fn standing(&self) -> Standing {
        let outbox = &self.lock().outbox;
        Standing {
            dialect: outbox.dialect(),
            offset: outbox.cursor(),
            waiting: outbox.waiting(),
        }
    }
}
