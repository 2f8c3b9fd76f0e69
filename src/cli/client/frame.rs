//! A frame of a WebSocket in the dialect `fanfare.v1`.

use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::NO_CLOSE_FRAME;
use crate::protocol::Push;

/// The content of a frame.
#[derive(Debug)]
pub(in crate::cli) enum SocketFrame {
    /// A frame of the dialect.
    Push(Push),
    /// Any other frame: pings, which the library handles, and frames of newer servers. If one was a message, the
    /// `prev` of the next message shows the gap.
    Other,
    /// The end of the connection.
    End(SocketEnd),
}

/// The end of a connection.
#[derive(Debug)]
pub(in crate::cli) struct SocketEnd {
    pub(in crate::cli) code: u16,
    /// The reason, in a few words.
    pub(in crate::cli) reason: String,
}

impl From<Option<Result<Message, Error>>> for SocketFrame {
    fn from(frame: Option<Result<Message, Error>>) -> Self {
        let (code, reason) = match frame {
            Some(Ok(Message::Text(text))) => {
                return Push::decode(&text).map_or(Self::Other, Self::Push);
            }
            Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                (u16::from(code), format!("{} {reason}", u16::from(code)))
            }
            Some(Ok(Message::Close(None))) => (NO_CLOSE_FRAME, "closed by the server".to_owned()),
            Some(Ok(_)) => return Self::Other,
            Some(Err(error)) => (NO_CLOSE_FRAME, error.to_string()),
            None => (NO_CLOSE_FRAME, "the connection broke off".to_owned()),
        };
        Self::End(SocketEnd { code, reason })
    }
}
