//! A WebSocket client on tokio-tungstenite.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::eventually::soon;

/// The response that refused a handshake.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) retry_after: bool,
    pub(crate) body: String,
}

/// A WebSocket client on tokio-tungstenite, on a connection of type `S`.
#[derive(Debug)]
pub(crate) struct Peer<S = MaybeTlsStream<TcpStream>> {
    pub(crate) socket: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Sends a message.
    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        soon(self.socket.send(message.into())).await.expect("sent");
    }

    /// Sends a message; returns false if the connection has ended.
    pub(crate) async fn try_send(&mut self, message: impl Into<Message>) -> bool {
        soon(self.socket.send(message.into())).await.is_ok()
    }

    /// Returns the next text, or `None` when the connection has ended in any way.
    pub(crate) async fn text_or_end(&mut self) -> Option<String> {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Returns the next frame of any kind. The library answers pings.
    pub(crate) async fn frame(&mut self) -> Message {
        soon(self.socket.next())
            .await
            .expect("the connection is open")
            .expect("a frame")
    }

    /// Returns the next text or binary message.
    pub(crate) async fn next(&mut self) -> Message {
        // One timeout for the message, not one for each ping before it.
        soon(async {
            loop {
                let frame = self.frame().await;
                if frame.is_text() || frame.is_binary() {
                    return frame;
                }
                assert!(!frame.is_close(), "{frame:?}");
            }
        })
        .await
    }

    /// Returns the next message, which must be text.
    pub(crate) async fn text(&mut self) -> String {
        self.next().await.into_text().expect("text").to_string()
    }

    /// Publishes `count` messages of `bytes` bytes, numbered from 1, and receives each of them back. Several are on
    /// their way at a time, so that they share a commit.
    pub(crate) async fn publish_long(&mut self, count: u64, bytes: usize) {
        const AT_ONCE: usize = 50;

        let numbers: Vec<u64> = (1..=count).collect();
        for chunk in numbers.chunks(AT_ONCE) {
            for number in chunk {
                self.send(format!("{number:<bytes$}")).await;
            }
            self.texts(chunk.len()).await;
        }
    }

    /// Returns the next message, which must be JSON.
    pub(crate) async fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    /// Returns the next `count` messages, which must be text.
    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        while texts.len() < count {
            texts.push(self.text().await);
        }
        texts
    }

    /// Reads until the Close frame and returns its code.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Close(Some(close)))) => return u16::from(close.code),
                Some(Ok(_)) => {}
                other => panic!("the connection must end with a Close frame, not {other:?}"),
            }
        }
    }

    /// Closes the connection and waits for the Close frame of the server.
    pub(crate) async fn leave(mut self) {
        let close = tokio_tungstenite::tungstenite::protocol::CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        soon(self.socket.close(Some(close))).await.expect("sent");
        assert_eq!(self.close_code().await, 1000);
    }
}
