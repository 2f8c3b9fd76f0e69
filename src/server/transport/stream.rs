//! A room's log as the body of an HTTP answer: a cursor like a WebSocket's, which HTTP pulls instead of us
//! pushing it.
//!
//! # Invariants
//!
//! - There is no queue: while HTTP takes nothing, the reader holds a place in the log and one run of bytes that
//!   it shares with others.
//! - The Hub's passes only fill that run and wake; they never wait.
//! - It is a member of the room until its body is dropped, whoever drops it.
//! - It ends with the token that it was asked for with; whoever comes back brings another.
//!
//! Absent: an end for readers that take nothing. Below HTTP the socket itself gives up
//! ([`StallTimeout`](crate::server::transport::Patient)), and then the body is dropped.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;
use tracing::{debug, field, info};

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::Position;
use crate::protocol::Push;
use crate::protocol::Recovery;
use crate::protocol::UserId;
use crate::server::hub::{
    Admission, Closing, ConnectionStatus, Hub, Membership, Notice, Room, Subscriber, TraceEvent,
    Tracer,
};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::metrics::{self, DisconnectReason};
use crate::server::room::{Dialect, FanoutBatch, Format, Tick};
use crate::server::session::{ClientAccess, CloseReason, NextChunk, Permissions, SendBuffer};
use crate::server::spans;
use crate::server::transport::patient::STUCK_AFTER;
use crate::server::transport::task::LOG_GRACE;

/// A reader over HTTP, about to read.
#[derive(Debug)]
pub struct StreamSubscriber {
    /// The place that it takes.
    pub admission: Admission,
    /// Where it is registered.
    pub hub: Hub,
    /// Who is present by it, if it wants to be.
    pub id: Option<UserId>,
    /// The id that its token proves, also when it is not present under it.
    pub proven: Option<UserId>,
    /// Where it comes from.
    pub address: IpAddr,
    /// [`Dialect::Sse`] or [`Dialect::Ndjson`].
    pub dialect: Dialect,
    /// Until when it may read.
    pub lease: Permissions,
    /// Silence after which it gets a sign of life.
    pub heartbeat: Duration,
}

/// The body of the answer. See the [module docs](self).
pub struct EventStreamBody {
    reader: Arc<StreamReader>,
    membership: Membership,
    /// Asks the store for what the ring has passed.
    catching_up: Option<BoxFuture<'static, ()>>,
}

/// What the body and the Hub's passes share.
struct StreamReader {
    hub: Hub,
    room: Arc<Room>,
    lease: Permissions,
    heartbeat: Duration,
    state: Mutex<StreamState>,
    /// What waits for this reader alone; set under the lock of its state.
    reservation: MemoryReservation,
}

struct StreamState {
    outbox: SendBuffer,
    /// There while HTTP has taken everything and waits for more.
    waiting: Option<Waker>,
    /// When HTTP last asked for more.
    asked: Tick,
    /// Who is told what passes, if anybody looks.
    tracer: Option<Box<Tracer>>,
    /// HTTP has taken everything to the end.
    has_ended: bool,
    /// When the server began to stop.
    drains: Option<Tick>,
}

impl StreamSubscriber {
    /// From here on the reader is in its room. Gives the place that it reads from, and the body.
    pub fn open(self) -> (Position, EventStreamBody) {
        let Self {
            admission,
            hub,
            id,
            proven,
            address,
            dialect,
            lease,
            heartbeat,
        } = self;
        let room = admission.room().clone();
        let start = admission.start().clone();
        let position = Position {
            epoch: room.epoch().clone(),
            offset: start.cursor,
        };
        let mut membership = hub.join(admission, id, proven);
        let (id, number) = (membership.id().map(field::display), membership.number());
        info!(id, room = %room.name(), %address, number, ?dialect, "listening");
        let state = StreamState {
            outbox: SendBuffer::corked(Format::new(dialect), start.cursor),
            waiting: None,
            asked: hub.now(),
            tracer: None,
            has_ended: false,
            drains: None,
        };
        let reader = Arc::new(StreamReader {
            hub,
            room,
            lease,
            heartbeat,
            state: Mutex::new(state),
            reservation: Memory::of_process().reserve(0),
        });
        membership.register(reader.clone());

        // Later deletions are sent to this reader.
        let mut opening = Vec::new();
        // Before the position: a client that knows the position knows of the gap before it.
        if let Some(gap) = start.gap {
            metrics::count_gap(gap.reason);
            dialect.encode_into(&Push::from(gap), &mut opening);
        }
        opening.extend_from_slice(dialect.preamble(&position).as_bytes());
        if start.recovery == Recovery::Resumed {
            for push in reader.room.deleted(start.cursor) {
                dialect.encode_into(&push, &mut opening);
            }
        }
        reader.state.lock().outbox.uncork(opening);

        (
            position,
            EventStreamBody {
                reader,
                membership,
                catching_up: None,
            },
        )
    }
}

impl StreamReader {
    /// Wakes HTTP, if it waits and `change` leaves it something to take.
    fn change(&self, reel: &mut FanoutBatch<'_>, change: impl FnOnce(&mut SendBuffer)) {
        let mut state = self.state.lock();
        change(&mut state.outbox);
        // While HTTP has not taken what it was given, nothing more is taken up from the log.
        let waiting = match state.waiting.take() {
            Some(waiting) if state.outbox.next(reel) == NextChunk::Idle => {
                state.waiting = Some(waiting);
                None
            }
            waiting => waiting,
        };
        self.reservation.set(state.outbox.queued());
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Continues from the store after `after`, for a reader that the ring has passed.
    async fn catch_up(self: Arc<Self>, after: Offset) {
        let missed = self.hub.catch_up(&self.room, after).await;
        let mut state = self.state.lock();
        let outbox = &mut state.outbox;
        match missed {
            Ok((mut page, mark)) => {
                // Under the lock under which deletions are queued.
                if self.room.redact(&mut page.frames, mark) {
                    outbox
                        .on_caught_up(&page)
                        .into_iter()
                        .for_each(metrics::count_gap);
                }
            }
            // The client resumes from its position when it reconnects.
            Err(error) => {
                debug!(%error, room = %self.room.name(), "could not read from the store");
                outbox.end_log();
                outbox.close(CloseReason::Local(CloseCode::TryAgainLater));
            }
        }
        self.reservation.set(state.outbox.queued());
    }
}

impl Subscriber for StreamReader {
    fn flush(&self, reel: &mut FanoutBatch<'_>) {
        self.change(reel, |_| {});
    }

    fn tick(&self, now: Tick) {
        if self.lease.access(Instant::now()) == ClientAccess::Expired {
            self.change(&mut self.room.reel(), |outbox| {
                outbox.close(CloseReason::Local(CloseCode::BadToken))
            });
        }
        let mut state = self.state.lock();
        if state
            .drains
            .is_some_and(|since| now.since(since) >= LOG_GRACE)
        {
            state.outbox.end_log();
        }
        let is_silent = state.waiting.is_some() && now.since(state.asked) >= self.heartbeat;
        drop(state);
        if is_silent {
            self.change(&mut self.room.reel(), |outbox| {
                outbox.push_encoded(outbox.dialect().heartbeat());
            });
        }
    }

    fn send(&self, notice: &Notice<'_>) {
        match notice {
            // Streams have only the log.
            Notice::Room(_) => {}
            Notice::Log(push) => {
                self.change(&mut self.room.reel(), |outbox| outbox.push_event(push))
            }
        }
    }

    fn close(&self, closing: Closing) {
        if matches!(closing, Closing::Drain(_)) {
            self.state.lock().drains = Some(self.hub.now());
        }
        self.change(&mut self.room.reel(), |outbox| match closing {
            Closing::Code(code) => outbox.close(CloseReason::Local(code)),
            Closing::Drain(reconnect_after) => {
                outbox.push_event(&Push::Drain {
                    reconnect_after_ms: reconnect_after.as_millis() as u64,
                });
                outbox.close(CloseReason::Local(CloseCode::GoingAway));
            }
        });
    }

    /// Streams share their bytes with other readers. The socket below is evicted as a holder of its own.
    fn evict(&self) {}

    fn trace(&self, tracer: Tracer) {
        self.state.lock().tracer = Some(Box::new(tracer));
    }

    fn status(&self) -> ConnectionStatus {
        let outbox = &self.state.lock().outbox;
        ConnectionStatus {
            dialect: outbox.dialect(),
            offset: outbox.cursor(),
            waiting: outbox.waiting(),
            reclaimable: None,
        }
    }
}

impl Body for EventStreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            if let Some(catching_up) = &mut this.catching_up {
                ready!(catching_up.poll_unpin(cx));
                this.catching_up = None;
            }
            let mut state = this.reader.state.lock();
            state.asked = this.reader.hub.now();
            let mut reel = this.reader.room.reel();
            match state.outbox.next(&mut reel) {
                NextChunk::Write(bytes) => {
                    let bytes = bytes.clone();
                    state.outbox.wrote(bytes.len(), &mut reel);
                    this.reader.reservation.set(state.outbox.queued());
                    let event = TraceEvent::Write {
                        bytes: bytes.len(),
                        offset: state.outbox.cursor(),
                    };
                    if let Some(tracer) = &mut state.tracer
                        && !tracer.record(event)
                    {
                        state.tracer = None;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                NextChunk::Idle => {
                    state.waiting = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                NextChunk::Finished => {
                    state.has_ended = true;
                    return Poll::Ready(None);
                }
                NextChunk::Behind(after) => {
                    drop(state);
                    this.catching_up = Some(this.reader.clone().catch_up(after).boxed());
                }
            }
        }
    }
}

impl Drop for EventStreamBody {
    fn drop(&mut self) {
        let Self {
            reader, membership, ..
        } = self;
        let state = reader.state.lock();
        let is_stuck =
            state.waiting.is_none() && reader.hub.now().since(state.asked) >= STUCK_AFTER;
        let (end, reason) = match state.outbox.close_reason() {
            // What counts is what was sent.
            Some(CloseReason::Local(code)) if state.has_ended => {
                (DisconnectReason::Closed(code), code.reason())
            }
            _ if is_stuck => (
                DisconnectReason::Closed(CloseCode::TooSlow),
                CloseCode::TooSlow.reason(),
            ),
            _ => (DisconnectReason::Lost, "connection lost"),
        };
        metrics::count_disconnect(end);
        let (id, address) = (membership.id().map(field::display), membership.address());
        let number = membership.number();
        info!(id, room = %reader.room.name(), %address, number, reason, "disconnected");
        let (room, since) = (reader.room.name(), membership.since());
        spans::ConnectionSpan {
            protocol: "http",
            number,
            room,
            address,
            since,
        }
        .finish(end);
    }
}

impl std::fmt::Debug for EventStreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("number", &self.membership.number())
            .finish_non_exhaustive()
    }
}
