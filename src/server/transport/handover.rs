//! The handover of a client's socket from hyper to a WebSocket or an event stream.
//!
//! hyper keeps buffers for each of its connections, so a connection that leaves HTTP leaves hyper too. hyper never gets the
//! response to the last request: once all earlier responses are sent, the listener takes the socket back, and the new owner
//! sends the head of the response before its own bytes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::response::Parts;
use axum::response::Response;
use futures::stream;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::server::transport::{ClientSocket, StallTimeout};

/// Marks a response whose connection is handed over to the task that waits for its socket.
#[derive(Clone, Debug)]
pub struct Handover(Arc<Mutex<Option<oneshot::Sender<HandedSocket>>>>);

/// A socket that has left hyper.
#[derive(Debug)]
pub(super) struct HandedSocket {
    pub(super) client: ClientSocket,
    /// The permit for its file descriptor, if their number is limited.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// The head of the response, which is not sent yet.
    pub(super) head: Vec<u8>,
    /// Bytes that arrived after the request.
    pub(super) early: Vec<u8>,
}

impl Handover {
    /// Returns a marked response without headers, and a future of its socket. That is `None` if the client disconnects first, or
    /// gets another response.
    pub(super) fn begin() -> (Response, impl Future<Output = Option<HandedSocket>>) {
        let (sender, socket) = oneshot::channel();
        // A body of unknown length, which gets no `Content-Length`. It is never polled.
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let mut response = Response::new(body);
        let handover = Self(Arc::new(Mutex::new(Some(sender))));
        response.extensions_mut().insert(handover);

        (response, async { socket.await.ok() })
    }

    /// Passes `socket` to the task that waits for it. The response with `head` is not sent yet. `early` are the bytes that were
    /// read after the request.
    pub fn complete(self, head: &Parts, socket: StallTimeout, early: &[u8]) {
        let Some((client, permit)) = socket.into_parts() else {
            return;
        };
        let Some(sender) = self.0.lock().take() else {
            return;
        };

        let early = [early, &client.take_received()].concat();
        let socket = HandedSocket {
            client,
            permit,
            head: encode_head(head),
            early,
        };
        // Fails only if the runtime stops and has dropped the task.
        let _ = sender.send(socket);
    }
}

/// Returns `head` as bytes of HTTP/1.1, with a `Date`.
pub fn encode_head(head: &Parts) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        push_header(&mut bytes, name.as_str(), value.as_bytes());
    }
    // Fails only for years after 9999.
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()) {
        push_header(&mut bytes, "date", date.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");

    bytes
}

fn push_header(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}
