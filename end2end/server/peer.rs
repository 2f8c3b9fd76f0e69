//! A client of tokio-tungstenite.

use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::harness::soon;

/// How a handshake was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) retry_after: bool,
    pub(crate) body: String,
}

/// A client of tokio-tungstenite.
pub(crate) struct Peer {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Peer {
    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        soon(self.socket.send(message.into())).await.expect("sent");
    }

    /// Sends without waiting for success: the server may be closing.
    pub(crate) async fn try_send(&mut self, message: impl Into<Message>) -> bool {
        soon(self.socket.send(message.into())).await.is_ok()
    }

    /// The next text, or nothing when the connection has ended, however it did.
    pub(crate) async fn text_or_end(&mut self) -> Option<String> {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next frame of any kind; pings are answered by the library.
    pub(crate) async fn frame(&mut self) -> Message {
        soon(self.socket.next())
            .await
            .expect("the connection is open")
            .expect("a frame")
    }

    /// The next text or binary message.
    pub(crate) async fn next(&mut self) -> Message {
        // Patience for the message, not for each ping before it.
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

    pub(crate) async fn text(&mut self) -> String {
        self.next().await.into_text().expect("text").to_string()
    }

    pub(crate) async fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        while texts.len() < count {
            texts.push(self.text().await);
        }
        texts
    }

    /// Reads on to the Close frame; gives its code.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Close(Some(close)))) => return u16::from(close.code),
                Some(Ok(_)) => {}
                other => panic!("the connection must end with a Close frame, not {other:?}"),
            }
        }
    }

    /// Says goodbye and waits for the answer.
    pub(crate) async fn leave(mut self) {
        let goodbye = tokio_tungstenite::tungstenite::protocol::CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        soon(self.socket.close(Some(goodbye))).await.expect("sent");
        assert_eq!(self.close_code().await, 1000);
    }
}
