//! Messages: a draft before the store has assigned its offset, and a frame of a room's log after that.
//!
//! A draft is encoded once, as the WebSocket frame of the plain dialect. All other formats are encoded from it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::protocol::{Body, Epoch, Key, Offset, Position, Publication, Push, UserId};
use crate::server::memory::Memory;
use crate::server::room::{Dialect, Format};
use crate::server::wire::{self, Opcode};

/// The payload of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// A message that the store has not yet assigned an offset.
#[derive(Clone, Debug)]
pub struct Draft {
    from: UserId,
    key: Option<Key>,
    is_text: bool,
    /// WebSocket frame of the plain dialect, counted against the memory budget.
    plain: Bytes,
}

impl Draft {
    /// Creates a text message.
    pub fn text(from: UserId, key: Option<Key>, text: &str) -> Self {
        Self {
            from,
            key,
            is_text: true,
            plain: plain(Opcode::Text, text.as_bytes()),
        }
    }

    /// Creates a binary message.
    pub fn binary(from: UserId, bytes: &[u8]) -> Self {
        Self {
            from,
            key: None,
            is_text: false,
            plain: plain(Opcode::Binary, bytes),
        }
    }

    /// Returns the sender.
    pub const fn from(&self) -> &UserId {
        &self.from
    }

    /// Returns the deduplication key, if the sender set one.
    pub const fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Returns the payload.
    pub fn payload(&self) -> Payload<'_> {
        let payload = wire::payload(&self.plain);

        // A text draft is created from a `str`, so it is valid UTF-8.
        if self.is_text {
            Payload::Text(str::from_utf8(payload).unwrap_or_default())
        } else {
            Payload::Binary(payload)
        }
    }

    /// Returns its size in memory, in bytes, as limits count it.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.plain.len()
    }
}

/// Encodes `payload` for the plain dialect, and reserves memory for it and for the later [`Frame`].
fn plain(opcode: Opcode, payload: &[u8]) -> Bytes {
    Memory::of_process().hold(wire::encode(opcode, payload), size_of::<Frame>())
}

/// One message of a room's log.
#[derive(Debug)]
pub struct Frame {
    draft: Draft,
    epoch: Epoch,
    offset: Offset,
    prev: Offset,
    at: u64,
    /// True for a tombstone, whose draft is empty.
    is_deleted: bool,
}

impl Frame {
    /// Creates the frame of `draft`: in the log with `epoch`, at `offset`, after the frame at `prev`, stored at
    /// `at`, in milliseconds since 1970 UTC.
    pub const fn new(draft: Draft, epoch: Epoch, offset: Offset, prev: Offset, at: u64) -> Self {
        Self {
            draft,
            epoch,
            offset,
            prev,
            at,
            is_deleted: false,
        }
    }

    /// Returns the frame that replaces this one when it is deleted: the same without its payload.
    pub fn tombstone(&self) -> Self {
        let Self {
            draft: Draft { from, key, .. },
            epoch,
            offset,
            prev,
            at,
            ..
        } = self;

        let draft = Draft::text(from.clone(), key.clone(), "");
        Self {
            is_deleted: true,
            ..Self::new(draft, epoch.clone(), *offset, *prev, *at)
        }
    }

    /// Returns true if the message was deleted.
    pub const fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// Returns the offset.
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// Returns the offset of the previous frame.
    pub const fn prev(&self) -> Offset {
        self.prev
    }

    /// Returns the time at which it was stored, in milliseconds since 1970 UTC.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// Encodes the frame in `format`: as a WebSocket frame, an event or a line. Empty if the format cannot
    /// express it. The plain encoding is shared; others are created by each call, and
    /// [`Log`](crate::server::room::Log) caches those that readers share.
    pub fn encode(&self, format: Format) -> Bytes {
        let frame = self.encode_uncompressed(format.dialect());

        if format.is_deflated() && !frame.is_empty() {
            wire::deflated(&frame)
        } else {
            frame
        }
    }

    /// Encodes the frame in `dialect` without compression.
    fn encode_uncompressed(&self, dialect: Dialect) -> Bytes {
        let head = match dialect {
            Dialect::Plain if self.is_deleted => return Bytes::new(),
            Dialect::Plain => return self.draft.plain.clone(),
            Dialect::Typed | Dialect::Ndjson => String::new(),
            Dialect::Sse => {
                let position = Position {
                    epoch: self.epoch.clone(),
                    offset: self.offset,
                };
                format!("id: {position}\n")
            }
        };

        let mut bytes = head.into_bytes();
        dialect.encode_into(&Push::Message(self.publication()), &mut bytes);
        bytes.into()
    }

    /// Returns the message as the JSON dialects carry it.
    pub fn publication(&self) -> Publication {
        let body = match self.draft.payload() {
            _ if self.is_deleted => Body::Deleted(true),
            Payload::Text(text) => Body::Text(text.to_owned()),
            Payload::Binary(bytes) => Body::Data(STANDARD.encode(bytes)),
        };

        Publication {
            offset: self.offset,
            prev: self.prev,
            at: self.at,
            from: self.draft.from.clone(),
            body,
            key: self.draft.key.clone(),
        }
    }

    /// Returns its size in memory, in bytes, as limits count it: the frame and its plain encoding.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.draft.plain.len()
    }
}
