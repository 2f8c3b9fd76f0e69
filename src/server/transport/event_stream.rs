//! Messages of rooms as the body of an HTTP response (Server-Sent Events or NDJSON): a [`Connection`] like a WebSocket, but
//! hyper polls it for bytes.
//!
//! # Invariants
//!
//! - There is no queue of messages. While hyper does not poll, the reader holds a cursor; hyper holds at most one chunk
//!   of bytes, which it shares with other readers.
//! - The hub's fan-out only wakes hyper; it never waits.
//! - The subscriptions last until the body is dropped.
//! - The body ends when the token of the request expires. Clients reconnect with a new token.
//!
//! There is no timeout for clients that do not read. Below HTTP, [`StallTimeout`](crate::server::transport::StallTimeout)
//! closes the socket, and hyper then drops the body.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::{Body, Frame};

use crate::server::room::{Dialect, FanoutBatch, Format};
use crate::server::session::WriteStep;
use crate::server::transport::PendingConnection;
use crate::server::transport::connection::{Connection, ConnectionState, OpenConnection, Output};

/// The output to hyper, which accepts bytes when it polls the body. Between polls the send buffer is blocked, unless
/// hyper has polled everything and waits for more.
pub(super) struct HyperBody;

/// The body of an event stream.
pub struct EventStreamBody {
    connection: OpenConnection<HyperBody>,
    /// Reads messages from the store that the ring no longer has.
    catching_up: Option<BoxFuture<'static, ()>>,
}

impl PendingConnection {
    /// Opens an event stream, and returns its body. `dialect` is [`Dialect::Sse`] or [`Dialect::Ndjson`].
    pub fn open_stream(self, dialect: Dialect) -> EventStreamBody {
        EventStreamBody {
            connection: self.open(HyperBody, Format::new(dialect)),
            catching_up: None,
        }
    }
}

impl Output for HyperBody {
    const PROTOCOL: &'static str = "http";

    /// Wakes hyper if there is something to poll.
    fn write(
        connection: &Connection<Self>,
        state: &mut ConnectionState,
        batch: Option<&mut FanoutBatch<'_>>,
    ) {
        let reads_log = state.send_buffer.reads_log();
        let has_messages = || {
            let subscriptions = &state.subscriptions;
            reads_log
                && (subscriptions.has_pending(batch.as_deref()) || subscriptions.have_closed())
        };
        if state.send_buffer.has_output() || has_messages() || state.has_signals() {
            state.send_buffer.block(state.heartbeat.active_at());
            connection.waker.wake();
        }
    }

    fn has_unread_bytes(&self) -> bool {
        false
    }

    fn buffered_bytes(&self) -> usize {
        0
    }

    fn clear(&self) {}
}

impl Body for EventStreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self {
            connection,
            catching_up,
        } = &mut *self;

        loop {
            if let Some(reading) = catching_up {
                ready!(reading.poll_unpin(cx));
                *catching_up = None;
            }

            let now = connection.hub.now();
            let mut state = connection.lock();
            state.heartbeat.record_activity(now);
            // A client that was stalled reads again.
            state.error = None;

            let mut chunk = Bytes::new();
            let Ok(step) = state.write_next(&connection.hub, None, |bytes| {
                chunk = bytes.clone();
                Ok::<usize, Infallible>(bytes.len())
            });
            connection.count(&state);

            state.send_buffer.unblock();
            if step == WriteStep::Idle {
                connection.waker.register(cx.waker());
                return Poll::Pending;
            }
            state.send_buffer.block(now);
            drop(state);

            match step {
                WriteStep::Wrote(_) | WriteStep::Idle => {
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                WriteStep::Finished => return Poll::Ready(None),
                WriteStep::Behind => {
                    let connection = Arc::clone(connection);
                    let reading = async move { connection.catch_up().await };
                    *catching_up = Some(reading.boxed());
                }
            }
        }
    }
}

impl fmt::Debug for EventStreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStreamBody").finish_non_exhaustive()
    }
}
