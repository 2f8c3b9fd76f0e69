//! A WebSocket of the dialect `fanfare.v1`: a stream of [`Push`]es that also sends [`Command`]s.
//!
//! One owner has both directions, so dropping it closes the connection; each of gloo's two halves would keep it open.
//! The browser drops frames without an error while a socket is closing, so only a response proves that a frame
//! arrived.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::{Either, poll_fn, select};
use futures::{Sink, SinkExt, Stream, StreamExt};
use gloo_net::websocket::futures::WebSocket;
use gloo_net::websocket::{Message, State, WebSocketError};
use gloo_timers::future::TimeoutFuture;

use crate::client::{NO_CLOSE_FRAME, OPEN_TIMEOUT};
use crate::protocol::{
    BasePath, CloseCode, Command, Push, SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX, Token,
};

/// An open connection. The stream ends with the connection.
#[expect(missing_debug_implementations, reason = "gloo's socket has none")]
pub struct Socket {
    inner: WebSocket,
    close_code: u16,
}

/// Returns the WebSocket URL of the server that this page came from: below `base`, with the query string `query`.
pub fn address(base: &BasePath, query: &str) -> String {
    let location = leptos::prelude::window().location();
    let is_secure = location
        .protocol()
        .is_ok_and(|protocol| protocol == "https:");
    let scheme = if is_secure { "wss" } else { "ws" };
    let host = location.host().unwrap_or_default();
    let path = base.join("/ws");
    format!("{scheme}://{host}{path}?{query}")
}

impl Socket {
    /// Opens a socket to `url`, with `token` if there is one.
    ///
    /// # Errors
    /// The close code. For most failures the browser reports only [`NO_CLOSE_FRAME`].
    pub async fn open(url: &str, token: Option<&Token>) -> Result<Self, u16> {
        let bearer = token.map(|token| format!("{TOKEN_SUBPROTOCOL_PREFIX}{}", token.reveal()));
        let offered: Vec<&str> = [SUBPROTOCOL].into_iter().chain(bearer.as_deref()).collect();

        let inner = WebSocket::open_with_protocols(url, &offered).map_err(|_| match token {
            // The token has characters that no token has. The server would answer with this code.
            Some(_) => CloseCode::BadToken.number(),
            None => NO_CLOSE_FRAME,
        })?;
        let mut socket = Self {
            inner,
            close_code: NO_CLOSE_FRAME,
        };

        let timeout = TimeoutFuture::new(OPEN_TIMEOUT.as_millis() as u32);
        let outcome = select(poll_fn(|task| socket.poll_open(task)), timeout).await;
        if let Either::Left((true, _)) = outcome {
            Ok(socket)
        } else {
            Err(socket.close_code)
        }
    }

    /// Returns whether the socket opened, once that is known.
    fn poll_open(&mut self, task: &mut Context<'_>) -> Poll<bool> {
        if self.inner.poll_ready_unpin(task).is_ready() && matches!(self.inner.state(), State::Open)
        {
            return Poll::Ready(true);
        }
        // The stream yields only its end before the socket is open. The end has the close code.
        self.poll_next_unpin(task).map(|_| false)
    }

    /// Passes `command` to the browser, which sends it.
    pub fn send(&mut self, command: &Command) {
        // An error means that the connection is ending. The stream reports it.
        let _ = Pin::new(&mut self.inner).start_send(Message::Text(command.encode()));
    }

    /// Returns the close code, once the stream has ended.
    pub fn close_code(&self) -> u16 {
        self.close_code
    }
}

impl Stream for Socket {
    type Item = Push;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Push>> {
        loop {
            match ready!(self.inner.poll_next_unpin(task)) {
                Some(Ok(Message::Text(text))) => {
                    // Newer servers may send frames that are unknown here. If one was a message, the `prev` of
                    // the next message shows the gap.
                    if let Ok(push) = Push::decode(&text) {
                        return Poll::Ready(Some(push));
                    }
                }
                // The dialect has no binary frames.
                Some(Ok(Message::Bytes(_))) => {}
                Some(Err(WebSocketError::ConnectionClose(closed))) => self.close_code = closed.code,
                // The close follows, and has the code.
                Some(Err(_)) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}
