//! One WebSocket in the dialect `fanfare.v1`: [`Push`]es come out as a stream, [`Command`]s go in.
//!
//! One owner holds both directions, so dropping it closes the connection; gloo's two halves would each keep
//! it open. A frame handed to a socket that is already closing vanishes in the browser without an error:
//! whoever sends must wait for the answer to know.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::{Either, poll_fn, select};
use futures::{Sink, SinkExt, Stream, StreamExt};
use gloo_net::websocket::futures::WebSocket;
use gloo_net::websocket::{Message, State, WebSocketError};
use gloo_timers::future::TimeoutFuture;

use super::base;
use super::frame;
use crate::protocol::CloseCode;
use crate::protocol::Command;
use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::protocol::RoomName;
use crate::protocol::SUBPROTOCOL;
use crate::protocol::TOKEN_SUBPROTOCOL_PREFIX;
use crate::protocol::Token;
use crate::protocol::UserId;

/// A connection that is not made by then is given up: a browser alone would wait for minutes.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// RFC 6455 section 7.1.5: the connection ended without a Close frame.
const NO_CLOSE_FRAME: u16 = 1006;

/// An open connection. As a stream it ends when the connection does.
#[expect(missing_debug_implementations, reason = "gloo's socket has none")]
pub struct Socket {
    inner: WebSocket,
    close_code: u16,
}

/// Where `id`, if it may choose one, joins `room`, on the server that this page came from; with a position, to read on from there.
pub fn address(room: &RoomName, id: Option<&UserId>, position: Option<(&Epoch, Offset)>) -> String {
    let location = leptos::prelude::window().location();
    let scheme = if location
        .protocol()
        .is_ok_and(|protocol| protocol == "https:")
    {
        "wss"
    } else {
        "ws"
    };
    let host = location.host().unwrap_or_default();
    // A room's name is made of characters that need no encoding.
    let path = base::join("/ws");
    let mut address = format!("{scheme}://{host}{path}?room={room}");
    if let Some(id) = id {
        address += "&id=";
        address += &String::from(js_sys::encode_uri_component(id.as_str()));
    }
    let Some((epoch, after)) = position else {
        return address;
    };
    let epoch = js_sys::encode_uri_component(epoch.as_str());
    format!("{address}&after={after}&epoch={epoch}")
}

impl Socket {
    /// Connects, with `token` if there is one.
    ///
    /// # Errors
    /// The close code, if it did not come to a connection. A browser tells little more than
    /// [`NO_CLOSE_FRAME`] then.
    pub async fn open(url: &str, token: Option<&Token>) -> Result<Self, u16> {
        let offered = js_sys::Array::of1(&SUBPROTOCOL.into());
        if let Some(token) = token {
            offered.push(&(TOKEN_SUBPROTOCOL_PREFIX.to_owned() + token.reveal()).into());
        }
        // Not by gloo, whose way to offer two takes all of serde_json into the page.
        let opened = web_sys::WebSocket::new_with_str_sequence(url, &offered).ok();
        let inner = opened
            .and_then(|opened| WebSocket::try_from(opened).ok())
            .ok_or(match token {
                // It has characters that no token has; the server would say the same.
                Some(_) => CloseCode::BadToken.number(),
                None => NO_CLOSE_FRAME,
            })?;
        let mut socket = Self {
            inner,
            close_code: NO_CLOSE_FRAME,
        };
        let timeout = TimeoutFuture::new(OPEN_WITHIN.as_millis() as u32);
        let outcome = select(poll_fn(|task| socket.poll_open(task)), timeout).await;
        if let Either::Left((true, _)) = outcome {
            Ok(socket)
        } else {
            Err(socket.close_code)
        }
    }

    /// Whether it opened, once that is decided.
    fn poll_open(&mut self, task: &mut Context<'_>) -> Poll<bool> {
        if self.inner.poll_ready_unpin(task).is_ready() && matches!(self.inner.state(), State::Open)
        {
            return Poll::Ready(true);
        }
        // Nothing but the end can come before the opening; it brings the close code with it.
        self.poll_next_unpin(task).map(|_| false)
    }

    /// Hands `command` to the browser, which sends it when it can.
    pub fn send(&mut self, command: &Command) {
        // An error means that the connection is ending, and the stream is about to say so.
        let _ = Pin::new(&mut self.inner).start_send(Message::Text(frame::encode(command)));
    }

    /// What the connection was closed with, once the stream has ended.
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
                    // A newer server may say what this page does not know, and that must not end the
                    // connection. Nothing is lost in silence: behind a message that could not be read, the
                    // next one's `prev` shows the gap.
                    if let Some(push) = frame::decode(&text) {
                        return Poll::Ready(Some(push));
                    }
                }
                // The dialect has no binary frames.
                Some(Ok(Message::Bytes(_))) => {}
                Some(Err(WebSocketError::ConnectionClose(closed))) => self.close_code = closed.code,
                // Always followed by the close, which knows more.
                Some(Err(_)) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}
