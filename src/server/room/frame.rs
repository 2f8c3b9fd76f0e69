//! What somebody said, encoded once and shared by all who read it.

use bytes::Bytes;

use crate::server::wire::{self, Opcode};

/// One publication, ready for the wire. It gets its offset when a [`Log`](super::Log) takes it.
#[derive(Clone, Debug)]
pub struct Frame {
    plain: Bytes,
}

impl Frame {
    /// A text message.
    pub fn text(text: &str) -> Self {
        Self { plain: wire::encode(Opcode::Text, text.as_bytes()) }
    }

    /// A binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self { plain: wire::encode(Opcode::Binary, bytes) }
    }

    /// The whole WebSocket frame of the plain dialect.
    pub const fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// What it holds of memory, in bytes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.plain.len()
    }
}
