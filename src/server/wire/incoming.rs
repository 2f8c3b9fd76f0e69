//! The output of the decoder.

/// A complete message or control frame of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message of valid UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, whose payload is sent back in a pong.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// A Close frame with the client's code, if it has one. Nothing follows it.
    Close(Option<u16>),
}

impl Incoming<'_> {
    /// Returns the name of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
            Self::Ping(_) => "ping",
            Self::Pong => "pong",
            Self::Close(_) => "close",
        }
    }

    /// Returns the length of the payload in bytes. Payloads of pongs and Close frames are not kept and count as 0.
    pub const fn payload_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) | Self::Ping(bytes) => bytes.len(),
            Self::Pong | Self::Close(_) => 0,
        }
    }
}
