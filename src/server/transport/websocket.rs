//! A WebSocket: writes to its socket, and the task that reads its frames until the end and closes it.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::protocol::{CloseCode, Push, UserId};
use crate::server::hub::TraceEvent;
use crate::server::jwks::Authenticator;
use crate::server::metrics::{self, DisconnectReason};
use crate::server::room::{FanoutBatch, Format, Tick};
use crate::server::run_clock::RunClock;
use crate::server::session::{CloseReason, ConnectionLimiter, WriteStep};
use crate::server::transport::connection::{
    CloseCause, Connection, ConnectionState, OpenConnection, Output, TransportError,
};
use crate::server::transport::reader::{FrameReader, ReadPause};
use crate::server::transport::upgrade::AcceptedSocket;
use crate::server::transport::{ClientSocket, Handshake, PendingConnection};
use crate::server::wire;

/// The time in which a client must receive the frames in its send buffer and the Close frame, and again the time in
/// which it must answer the Close frame. Then its socket is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The time in which a client must receive the rest of the log, and in which it must answer the Close frame when the
/// server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes that are read and discarded after the Close frame was sent, besides the rest of a message. The limit
/// keeps a client that floods the server from costing more after its close than before.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;

/// The client as the sender of frames.
#[derive(Debug)]
pub struct FrameSender {
    /// The user id under which it publishes.
    pub id: UserId,
    /// The limits on its messages.
    pub rate_limit: ConnectionLimiter,
    /// Verifies its later tokens.
    pub authenticator: Authenticator,
}

impl PendingConnection {
    /// Returns the answer to the handshake, and spawns the connection's task.
    pub fn open_websocket(
        self,
        handshake: Handshake,
        sender: FrameSender,
    ) -> axum::response::Response {
        let format = handshake.format();
        let (response, socket) = handshake.accept();

        tokio::spawn(async move {
            if let Some(socket) = socket.await {
                let AcceptedSocket {
                    client,
                    permit,
                    early,
                } = socket;
                let task = WebSocketTask::begin(self.open(client, format), format, sender, early);
                // A task of its own, because the size of a task is that of its largest future.
                tokio::spawn(task.run(permit));
            }
        });

        response
    }
}

/// The task of an open WebSocket. It exists until the end, so futures that are rarely needed are boxed.
pub(super) struct WebSocketTask {
    connection: OpenConnection<ClientSocket>,
    reader: FrameReader,
}

impl WebSocketTask {
    /// Handles the bytes that arrived together with the handshake (`early`).
    pub(super) fn begin(
        connection: OpenConnection<ClientSocket>,
        format: Format,
        sender: FrameSender,
        mut early: Vec<u8>,
    ) -> Self {
        let mut reader = FrameReader::new(&connection, format, sender);
        if !early.is_empty() {
            reader.handle(&connection, &mut early);
        }

        Self { connection, reader }
    }

    /// Runs until the connection is closed. `permit` is the permit to keep its socket open.
    ///
    /// This is not an `async fn`, which would hold its arguments twice.
    pub(super) fn run(
        self,
        permit: Option<OwnedSemaphorePermit>,
    ) -> impl Future<Output = ()> + Send {
        let Self {
            connection,
            mut reader,
        } = self;

        async move {
            while let ReadPause::Behind = poll_fn(|cx| reader.poll(&connection, cx)).await {
                Box::pin(connection.catch_up()).await;
            }
            drop(reader);
            connection.release_partial();

            // The cause is taken after the last write, because it records the frames that were sent.
            let clock = connection.hub.clock();
            let written = clock.timeout(STOP_TIMEOUT + CLOSE_TIMEOUT, write_rest(&connection));
            if Box::pin(written).await.is_none() {
                connection.fail(TransportError::Stalled);
            }
            let Some((cause, guards)) = connection.end() else {
                return;
            };

            // The client leaves its rooms before it answers the Close frame, unless the server stops: a stopping server
            // waits until all connections are gone.
            let is_stopping = cause == CloseCause::Closed(CloseReason::Local(CloseCode::GoingAway));
            let guards = is_stopping.then(|| Box::new(guards));
            let timeout = if is_stopping {
                STOP_TIMEOUT
            } else {
                CLOSE_TIMEOUT
            };

            if let CloseCause::Closed(_) = cause {
                let answer = wait_for_close(&connection);
                // The socket is dropped with or without an answer.
                let _ = Box::pin(clock.timeout(timeout, answer)).await;
            }
            drop(guards);
            drop(permit);
        }
    }
}

impl Output for ClientSocket {
    const PROTOCOL: &'static str = "websocket";

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

    /// Continues to write when the kernel accepts bytes again. Ready once no bytes wait for the kernel.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<()> {
        while self.lock().send_buffer.blocked_since().is_some() {
            // The write returns the same error.
            let _ = std::task::ready!(self.output.stream().poll_write_ready(cx));

            let mut state = self.lock();
            state.send_buffer.unblock();
            self.write_some(&mut state, None);
            self.count(&state);
        }

        Poll::Ready(())
    }

    /// Records that the store has finished a publish, perhaps the last one, and writes its results, which `answer`
    /// queues.
    pub(super) fn on_published(
        &self,
        is_last: bool,
        now: Tick,
        answer: impl FnOnce(&mut ConnectionState),
    ) {
        let mut state = self.lock();
        answer(&mut state);
        if is_last {
            state.is_publishing = false;
            state.resume_drain(now);
        }
        self.write_queued(&mut state);
    }

    /// Releases the memory of the partial message, after the reader that held it was dropped.
    fn release_partial(&self) {
        let mut state = self.lock();
        state.partial = 0;
        self.count(&state);
    }

    /// Records that nothing more can be written.
    pub(super) fn fail(&self, error: TransportError) {
        self.lock().error.get_or_insert(error);
    }
}

/// Writes the send buffer, with the Close frame last. When the server stops, messages that the ring no longer has are
/// read from the store first.
async fn write_rest(connection: &Connection<ClientSocket>) {
    loop {
        poll_fn(|cx| connection.poll_write(cx)).await;

        if !connection.lock().is_behind() {
            return;
        }
        connection.catch_up().await;
    }
}

/// Waits until the client has answered the Close frame.
async fn wait_for_close(connection: &Connection<ClientSocket>) {
    let discarded = connection
        .settings
        .max_message
        .saturating_add(MAX_DISCARDED_BYTES);
    // An error means that the client is gone.
    let _ = connection.output.half_close(discarded).await;
}

/// Accepts the handshake, sends `push` if the client's dialect has such a frame, and closes with `code`. A page in a
/// browser sees the close code, but not the status of a rejected handshake.
pub fn reject(
    handshake: Handshake,
    push: Option<&Push>,
    code: CloseCode,
    clock: RunClock,
) -> axum::response::Response {
    let mut frames = Vec::new();
    if let Some(push) = push {
        handshake.format().dialect().encode_into(push, &mut frames);
    }
    frames.extend_from_slice(&wire::close_frame(code));

    let (response, socket) = handshake.accept();

    tokio::spawn(async move {
        let Some(AcceptedSocket {
            client,
            permit: _permit,
            ..
        }) = socket.await
        else {
            return metrics::count_disconnect(DisconnectReason::Lost);
        };

        // One write is enough: the frames fit in the buffer of a new socket.
        let write = async {
            client.stream().writable().await?;
            client.send(&frames)
        };
        let written = clock.timeout(CLOSE_TIMEOUT, write).await;
        let is_sent = matches!(written, Some(Ok(length)) if length == frames.len());
        metrics::count_disconnect(if is_sent {
            DisconnectReason::Closed(code)
        } else {
            DisconnectReason::Lost
        });

        // The socket is dropped with or without an answer.
        let closed = client.half_close(MAX_DISCARDED_BYTES);
        let _ = clock.timeout(CLOSE_TIMEOUT, closed).await;
    });

    response
}
