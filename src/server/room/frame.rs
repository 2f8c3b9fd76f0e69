//! One publication: a draft as its sender wrote it, and a frame as the store has numbered it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::protocol::Body;
use crate::protocol::Epoch;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::Position;
use crate::protocol::Publication;
use crate::protocol::Push;
use crate::protocol::UserId;
use crate::server::memory::Memory;
use crate::server::room::{Dialect, Format};
use crate::server::wire::{self, Opcode};

/// What was said, as it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

/// What somebody says, before the store has numbered it.
#[derive(Clone, Debug)]
pub struct Draft {
    from: UserId,
    key: Option<Key>,
    is_text: bool,
    /// The whole WebSocket frame of the plain dialect, counted against the memory budget.
    plain: Bytes,
}

impl Draft {
    /// A text message.
    pub fn text(from: UserId, key: Option<Key>, text: &str) -> Self {
        Self {
            from,
            key,
            is_text: true,
            plain: plain(Opcode::Text, text.as_bytes()),
        }
    }

    /// A binary message.
    pub fn binary(from: UserId, bytes: &[u8]) -> Self {
        Self {
            from,
            key: None,
            is_text: false,
            plain: plain(Opcode::Binary, bytes),
        }
    }

    /// Who says it.
    pub const fn from(&self) -> &UserId {
        &self.from
    }

    /// The sender's key, where it gave one.
    pub const fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// What is said.
    pub fn payload(&self) -> Payload<'_> {
        let payload = wire::payload(&self.plain);
        // It came in as text, so it is.
        if self.is_text {
            Payload::Text(str::from_utf8(payload).unwrap_or_default())
        } else {
            Payload::Binary(payload)
        }
    }

    /// What it counts for where bytes are limited: itself and what is said.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.plain.len()
    }
}

/// Encodes a payload for the plain dialect, and reserves its memory and that of the frame it will be part of.
fn plain(opcode: Opcode, payload: &[u8]) -> Bytes {
    Memory::of_process().hold(wire::encode(opcode, payload), size_of::<Frame>())
}

/// One entry of a room's log.
#[derive(Debug)]
pub struct Frame {
    draft: Draft,
    epoch: Epoch,
    offset: Offset,
    prev: Offset,
    at: u64,
    /// What was said is gone; the draft says nothing.
    is_deleted: bool,
}

impl Frame {
    /// `draft` as the store has numbered it: the log's life, its offset there, the one before it, and the time
    /// in milliseconds since 1970 UTC.
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

    /// What stays in its place when it is deleted: everything but what was said.
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

    /// Whether what was said is gone.
    pub const fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// Its number.
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// The number of the one before it.
    pub const fn prev(&self) -> Offset {
        self.prev
    }

    /// When it was stored, in milliseconds since 1970 UTC.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// Encodes it in `format`: a WebSocket frame, an event or a line; empty where the format cannot express it. The plain
    /// form is shared, any other is made anew; [`Log`](crate::server::room::Log) keeps those that readers share.
    pub fn encode(&self, format: Format) -> Bytes {
        let frame = self.encode_whole(format.dialect());

        if format.is_deflated() && !frame.is_empty() {
            wire::deflated(&frame)
        } else {
            frame
        }
    }

    /// Encodes it in `dialect`, uncompressed.
    fn encode_whole(&self, dialect: Dialect) -> Bytes {
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

    /// The entry, decoded.
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

    /// Returns its size where bytes are limited: that of the frame and its plain form.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.draft.plain.len()
    }
}
