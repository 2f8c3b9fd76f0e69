//! A WebSocket: its opening, its rejection, and the task that reads its frames until the end.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::protocol::{CloseCode, Push, UserId};
use crate::server::jwks::Authenticator;
use crate::server::metrics::{self, DisconnectReason};
use crate::server::room::{Format, Tick};
use crate::server::run_clock::RunClock;
use crate::server::session::ConnectionLimiter;
use crate::server::transport::closing::{CLOSE_TIMEOUT, MAX_DISCARDED_BYTES, finish};
use crate::server::transport::connection::{Connection, OpenConnection};
use crate::server::transport::connection_state::{ConnectionState, ReadStop};
use crate::server::transport::handover::HandedSocket;
use crate::server::transport::reader::FrameReader;
use crate::server::transport::{ClientSocket, Handshake, PendingConnection};
use crate::server::wire;

/// The client as the sender of frames.
#[derive(Debug)]
pub struct FrameSender {
    /// The user id under which it publishes.
    pub id: UserId,
    /// The limits on its messages.
    pub rate_limit: ConnectionLimiter,
    /// Verifies its later tokens.
    pub authenticator: Arc<Authenticator>,
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
        self.open_on(socket, format, move |connection, early, permit| {
            WebSocketTask::begin(connection, format, sender, early).run(permit)
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
            while let ReadStop::Behind = poll_fn(|cx| reader.poll(&connection, cx)).await {
                Box::pin(connection.catch_up()).await;
            }
            drop(reader);
            connection.release_partial();
            Box::pin(finish(connection, permit)).await;
        }
    }
}

impl Connection<ClientSocket> {
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
        state.count_memory();
    }
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
        let Some(HandedSocket {
            client,
            permit: _permit,
            head,
            ..
        }) = socket.await
        else {
            return metrics::count_disconnect(DisconnectReason::Lost);
        };
        let frames = [head, frames].concat();

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
