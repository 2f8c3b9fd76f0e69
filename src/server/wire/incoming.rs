//! What a client's frames come to.

/// Something a client said, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message, valid UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping; its payload goes back in a pong.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// A Close frame with the peer's code, if it gave one. Nothing follows it.
    Close(Option<u16>),
}

impl Incoming<'_> {
    /// What it is called.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
            Self::Ping(_) => "ping",
            Self::Pong => "pong",
            Self::Close(_) => "close",
        }
    }

    /// Bytes of what was said in it; those of a pong and of a Close frame are not kept.
    pub const fn payload_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) | Self::Ping(bytes) => bytes.len(),
            Self::Pong | Self::Close(_) => 0,
        }
    }
}
