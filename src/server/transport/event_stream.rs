//! An event stream: messages of rooms as the body of an HTTP response (Server-Sent Events or NDJSON).
//!
//! An event stream is a [`Connection`](super::connection::Connection) like a WebSocket, whose client sends nothing. The
//! connection, and the body with it, ends when a room is closed, the server stops, or the token of the request expires.
//! Clients reconnect with a new token.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::{Context, Poll, ready};

use axum::response::Response;
use tokio::sync::OwnedSemaphorePermit;

use crate::server::room::{Dialect, Format};
use crate::server::transport::client_socket::ReceivedBytes;
use crate::server::transport::closing::finish;
use crate::server::transport::connection::OpenConnection;
use crate::server::transport::connection_state::{ReadStop, TransportError};
use crate::server::transport::handover::Handover;
use crate::server::transport::{ClientSocket, PendingConnection};

/// The most bytes of a client that are discarded after its request, for example a further request. A client that sends
/// more is disconnected.
const MAX_IGNORED_BYTES: usize = 64 * 1024;
/// The most bytes that are discarded at once.
const BYTES_AT_ONCE: usize = 4 * 1024;

/// The task of an open event stream. It exists until the end, so futures that are rarely needed are boxed.
struct EventStreamTask {
    connection: OpenConnection<ClientSocket>,
    /// The number of bytes that the client sent after its request.
    ignored: usize,
}

impl PendingConnection {
    /// Returns the response, to which the caller adds the headers, and spawns the connection's task. `dialect` is
    /// [`Dialect::Sse`] or [`Dialect::Ndjson`].
    pub fn open_stream(self, dialect: Dialect) -> Response {
        let (response, socket) = Handover::begin();
        self.open_on(socket, Format::new(dialect), |connection, early, permit| {
            let ignored = early.len();
            let task = EventStreamTask {
                connection,
                ignored,
            };
            task.run(permit)
        });

        response
    }
}

impl EventStreamTask {
    /// Runs until the connection is closed. `permit` is the permit to keep its socket open.
    ///
    /// This is not an `async fn`, which would hold its arguments twice.
    fn run(self, permit: Option<OwnedSemaphorePermit>) -> impl Future<Output = ()> + Send {
        let mut task = self;

        async move {
            while let ReadStop::Behind = poll_fn(|cx| task.poll(cx)).await {
                Box::pin(task.connection.catch_up()).await;
            }
            Box::pin(finish(task.connection, permit)).await;
        }
    }

    /// Writes when the kernel accepts bytes again, and discards bytes of the client. Ready when the connection must catch up
    /// from the store or end.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ReadStop> {
        let connection = &self.connection;
        connection.waker.register(cx.waker());

        loop {
            // The client's bytes are read even if the kernel accepts none.
            let _ = connection.poll_write(cx);
            if let Some(stop) = connection.lock().read_stop() {
                return Poll::Ready(stop);
            }

            // The read returns the same error.
            let _ = ready!(connection.output.poll_read_ready(cx));
            match connection.output.receive(&mut [0; BYTES_AT_ONCE]) {
                Ok(ReceivedBytes { payload, overhead }) => {
                    self.ignored += payload + overhead;
                    if self.ignored > MAX_IGNORED_BYTES {
                        connection.fail(TransportError::Disconnected);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // A client that closes its sending side counts as gone: the server cannot detect whether it still reads.
                Err(_) => connection.fail(TransportError::Disconnected),
            }
        }
    }
}
