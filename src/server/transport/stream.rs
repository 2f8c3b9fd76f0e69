//! A room's log as the body of an HTTP response (Server-Sent Events or NDJSON): a cursor as for a WebSocket, but hyper
//! polls for bytes instead of being sent them.
//!
//! # Invariants
//!
//! - There is no queue. While hyper does not poll, the reader holds a cursor and one chunk of bytes that it shares with
//!   other readers.
//! - The Hub's fan-out only prepares that chunk and wakes hyper; it never waits.
//! - The reader is a member of the room until its body is dropped.
//! - The body ends when the token of the request expires. Clients reconnect with a new token.
//!
//! There is no timeout for clients that do not read. Below HTTP, [`StallTimeout`](crate::server::transport::StallTimeout)
//! closes the socket, and hyper then drops the body.

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

use crate::protocol::{CloseCode, Offset, Position, Push, Recovery, UserId};
use crate::server::hub::{
    Admission, Closing, ConnectionStatus, Hub, Membership, Notice, Room, Subscriber, TraceEvent,
    Tracer,
};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::metrics::{self, DisconnectReason};
use crate::server::room::{Dialect, FanoutBatch, Format, Tick};
use crate::server::session::{ClientAccess, CloseReason, NextChunk, Permissions, SendBuffer};
use crate::server::spans;
use crate::server::transport::stall_timeout::STALL_TIMEOUT;
use crate::server::transport::task::LOG_TIMEOUT;

/// An admitted reader of an event stream.
#[derive(Debug)]
pub struct StreamSubscriber {
    /// The admission to its room.
    pub admission: Admission,
    /// The hub in which it is registered.
    pub hub: Hub,
    /// The member that the reader counts as, if it takes part in presence.
    pub id: Option<UserId>,
    /// The user id that its token proves, also if the reader does not take part in presence.
    pub proven: Option<UserId>,
    /// The client's IP address.
    pub address: IpAddr,
    /// [`Dialect::Sse`] or [`Dialect::Ndjson`].
    pub dialect: Dialect,
    /// The reader's rights, and their expiry.
    pub permissions: Permissions,
    /// The idle time after which a heartbeat is sent.
    pub heartbeat: Duration,
}

/// The body of an event stream.
pub struct EventStreamBody {
    reader: Arc<StreamReader>,
    membership: Membership,
    /// Reads messages from the store that the ring no longer has.
    catching_up: Option<BoxFuture<'static, ()>>,
}

/// The state shared by the body and the Hub's fan-out.
struct StreamReader {
    hub: Hub,
    room: Arc<Room>,
    permissions: Permissions,
    heartbeat: Duration,
    state: Mutex<StreamState>,
    /// The memory queued for this reader alone; set under the lock of the state.
    reservation: MemoryReservation,
}

struct StreamState {
    send_buffer: SendBuffer,
    /// Wakes hyper, which has polled everything and waits for more.
    waker: Option<Waker>,
    /// The time of hyper's last poll.
    polled: Tick,
    /// The receiver of trace events, if an operator traces the reader.
    tracer: Option<Box<Tracer>>,
    /// True if hyper has polled the end of the body.
    has_ended: bool,
    /// The time at which the server began to stop.
    drain_began: Option<Tick>,
}

impl StreamSubscriber {
    /// Registers the reader in its room. Returns the position at which it starts to read, and the body.
    pub fn open(self) -> (Position, EventStreamBody) {
        let Self {
            admission,
            hub,
            id,
            proven,
            address,
            dialect,
            permissions,
            heartbeat,
        } = self;

        let room = admission.room().clone();
        let start = admission.start().clone();
        let position = Position {
            epoch: room.epoch().clone(),
            offset: start.cursor,
        };

        let mut membership = admission.join(id, proven);
        let id = membership.id().map(field::display);
        let number = membership.number();
        info!(id, room = %room.name(), %address, number, ?dialect, "listening");

        let state = StreamState {
            send_buffer: SendBuffer::corked(Format::new(dialect), start.cursor),
            waker: None,
            polled: hub.now(),
            tracer: None,
            has_ended: false,
            drain_began: None,
        };
        let reader = Arc::new(StreamReader {
            hub,
            room,
            permissions,
            heartbeat,
            state: Mutex::new(state),
            reservation: Memory::of_process().reserve(0),
        });
        membership.register(reader.clone());

        // Deletions from here on are queued for this reader.
        let mut opening = Vec::new();
        // The gap precedes the position, so a client that has the position has the gap too.
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
        reader.state.lock().send_buffer.uncork(opening);

        let body = EventStreamBody {
            reader,
            membership,
            catching_up: None,
        };
        (position, body)
    }
}

impl StreamReader {
    /// Changes the send buffer, and wakes hyper if it waits and there is a chunk for it.
    fn change(&self, batch: &mut FanoutBatch<'_>, change: impl FnOnce(&mut SendBuffer)) {
        let mut state = self.state.lock();
        change(&mut state.send_buffer);

        // Without a waker hyper has not polled the previous chunk yet, so no further one is read from the log.
        let waker = match state.waker.take() {
            Some(waker) if state.send_buffer.next(batch) == NextChunk::Idle => {
                state.waker = Some(waker);
                None
            }
            waker => waker,
        };
        self.reservation.set(state.send_buffer.queued());
        drop(state);

        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Reads the messages after `after` from the store, because the ring no longer has them.
    async fn catch_up(self: Arc<Self>, after: Offset) {
        let missed = self.room.catch_up(after).await;

        let mut state = self.state.lock();
        let send_buffer = &mut state.send_buffer;
        match missed {
            Ok((mut page, mark)) => {
                // Deletions are queued under the same lock.
                if self.room.redact_page(&mut page.frames, mark) {
                    send_buffer
                        .on_caught_up(&page)
                        .into_iter()
                        .for_each(metrics::count_gap);
                }
            }
            // The client resumes from its position when it reconnects.
            Err(error) => {
                debug!(%error, room = %self.room.name(), "could not read from the store");
                send_buffer.end_log();
                send_buffer.close(CloseReason::Local(CloseCode::TryAgainLater));
            }
        }
        self.reservation.set(state.send_buffer.queued());
    }
}

impl Subscriber for StreamReader {
    fn flush(&self, batch: &mut FanoutBatch<'_>) {
        self.change(batch, |_| {});
    }

    fn tick(&self, now: Tick) {
        if self.permissions.access(Instant::now()) == ClientAccess::Expired {
            self.change(&mut self.room.fanout_batch(), |send_buffer| {
                send_buffer.close(CloseReason::Local(CloseCode::BadToken))
            });
        }

        let mut state = self.state.lock();
        if state
            .drain_began
            .is_some_and(|began| now.since(began) >= LOG_TIMEOUT)
        {
            state.send_buffer.end_log();
        }
        let is_idle = state.waker.is_some() && now.since(state.polled) >= self.heartbeat;
        drop(state);

        if is_idle {
            self.change(&mut self.room.fanout_batch(), |send_buffer| {
                send_buffer.push_encoded(send_buffer.dialect().heartbeat());
            });
        }
    }

    fn send(&self, notice: &Notice) {
        self.change(&mut self.room.fanout_batch(), |send_buffer| {
            send_buffer.push_encoded(notice.encoded(send_buffer.dialect()));
        });
    }

    fn close(&self, closing: Closing) {
        if matches!(closing, Closing::Drain(_)) {
            self.state.lock().drain_began = Some(self.hub.now());
        }

        self.change(&mut self.room.fanout_batch(), |send_buffer| match closing {
            Closing::Code(code) => send_buffer.close(CloseReason::Local(code)),
            // Streams share their bytes with other readers, and their sockets are evicted as memory holders of their own.
            Closing::Evict => {}
            Closing::Drain(reconnect_after) => {
                send_buffer.push_event(&Push::Drain {
                    reconnect_after_ms: reconnect_after.as_millis() as u64,
                });
                send_buffer.close(CloseReason::Local(CloseCode::GoingAway));
            }
        });
    }

    fn trace(&self, tracer: Tracer) {
        self.state.lock().tracer = Some(Box::new(tracer));
    }

    fn status(&self) -> ConnectionStatus {
        let send_buffer = &self.state.lock().send_buffer;
        ConnectionStatus {
            dialect: send_buffer.dialect(),
            offset: send_buffer.cursor(),
            waiting: send_buffer.waiting(),
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
            state.polled = this.reader.hub.now();
            let mut batch = this.reader.room.fanout_batch();
            match state.send_buffer.next(&mut batch) {
                NextChunk::Write(bytes) => {
                    let bytes = bytes.clone();
                    state.send_buffer.wrote(bytes.len(), &mut batch);
                    this.reader.reservation.set(state.send_buffer.queued());

                    let event = TraceEvent::Write {
                        bytes: bytes.len(),
                        offset: state.send_buffer.cursor(),
                    };
                    if let Some(tracer) = &mut state.tracer
                        && !tracer.record(event)
                    {
                        state.tracer = None;
                    }

                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                NextChunk::Idle => {
                    state.waker = Some(cx.waker().clone());
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

        let is_stalled =
            state.waker.is_none() && reader.hub.now().since(state.polled) >= STALL_TIMEOUT;
        // A close that hyper did not poll was not sent.
        let sent_code = match state.send_buffer.close_reason() {
            Some(CloseReason::Local(code)) if state.has_ended => Some(code),
            _ if is_stalled => Some(CloseCode::TooSlow),
            _ => None,
        };
        let cause = sent_code.map_or(DisconnectReason::Lost, DisconnectReason::Closed);
        let reason = sent_code.map_or("connection lost", CloseCode::reason);
        metrics::count_disconnect(cause);

        let id = membership.id().map(field::display);
        let room = reader.room.name();
        let address = membership.address();
        let number = membership.number();
        info!(id, %room, %address, number, reason, "disconnected");
        spans::ConnectionSpan {
            protocol: "http",
            number,
            room,
            address,
            since: membership.since(),
        }
        .finish(cause);
    }
}

impl std::fmt::Debug for EventStreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStreamBody")
            .field("number", &self.membership.number())
            .finish_non_exhaustive()
    }
}
