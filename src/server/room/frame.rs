//! One publication, encoded once for each format in use and shared by all who read it.

use std::sync::OnceLock;

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
use crate::server::room::{Dialect, Format};
use crate::server::wire::{self, Opcode};

/// What was said, as it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
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
    /// The whole WebSocket frame of the plain dialect.
    plain: Bytes,
}

impl Draft {
    /// A text message.
    pub fn text(from: UserId, key: Option<Key>, text: &str) -> Self {
        Self {
            from,
            key,
            is_text: true,
            plain: wire::encode(Opcode::Text, text.as_bytes()),
        }
    }

    /// A binary message.
    pub fn binary(from: UserId, bytes: &[u8]) -> Self {
        Self {
            from,
            key: None,
            is_text: false,
            plain: wire::encode(Opcode::Binary, bytes),
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
    pub fn said(&self) -> Said<'_> {
        let payload = wire::payload(&self.plain);
        // It came in as text, so it is.
        if self.is_text {
            Said::Text(str::from_utf8(payload).unwrap_or_default())
        } else {
            Said::Binary(payload)
        }
    }

    /// What it counts for where bytes are limited: itself and what is said.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.plain.len()
    }
}

/// A deleted entry in the plain dialect.
static NOTHING: Bytes = Bytes::new();

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
    typed: OnceLock<Bytes>,
    /// Boxed: few frames are ever read by a stream.
    streamed: OnceLock<Box<Streamed>>,
    /// Boxed for the same reason.
    deflated: OnceLock<Box<Deflated>>,
}

/// A frame as streams over HTTP read it.
#[derive(Debug, Default)]
struct Streamed {
    sse: OnceLock<Bytes>,
    ndjson: OnceLock<Bytes>,
}

/// A frame as WebSockets read it that agreed upon compression.
#[derive(Debug, Default)]
struct Deflated {
    plain: OnceLock<Bytes>,
    typed: OnceLock<Bytes>,
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
            typed: OnceLock::new(),
            streamed: OnceLock::new(),
            deflated: OnceLock::new(),
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

    /// All of it in `format`: a WebSocket frame, an event, a line; nothing where the format has no words for it.
    /// What is not plain is made when the first reader needs it.
    pub fn encoded(&self, format: Format) -> &Bytes {
        let dialect = format.dialect();
        if !format.is_deflated() || (self.is_deleted && dialect == Dialect::Plain) {
            return self.encoded_as(dialect);
        }
        let deflated = self.deflated.get_or_init(Box::default);
        let cell = if dialect == Dialect::Typed {
            &deflated.typed
        } else {
            &deflated.plain
        };
        cell.get_or_init(|| wire::deflated(self.encoded_as(dialect)))
    }

    fn encoded_as(&self, dialect: Dialect) -> &Bytes {
        match dialect {
            Dialect::Plain if self.is_deleted => &NOTHING,
            Dialect::Plain => &self.draft.plain,
            Dialect::Typed => self
                .typed
                .get_or_init(|| self.encode(dialect, String::new())),
            Dialect::Sse => self.streamed.get_or_init(Box::default).sse.get_or_init(|| {
                let position = Position {
                    epoch: self.epoch.clone(),
                    offset: self.offset,
                };
                self.encode(dialect, format!("id: {position}\n"))
            }),
            Dialect::Ndjson => self
                .streamed
                .get_or_init(Box::default)
                .ndjson
                .get_or_init(|| self.encode(dialect, String::new())),
        }
    }

    /// The entry in `dialect`, behind `head`.
    fn encode(&self, dialect: Dialect, head: String) -> Bytes {
        let mut bytes = head.into_bytes();
        dialect.encode_into(&Push::Message(self.publication()), &mut bytes);
        bytes.into()
    }

    /// The entry, decoded.
    pub fn publication(&self) -> Publication {
        let body = match self.draft.said() {
            _ if self.is_deleted => Body::Deleted(true),
            Said::Text(text) => Body::Text(text.to_owned()),
            Said::Binary(bytes) => Body::Data(STANDARD.encode(bytes)),
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

    /// What it counts for where bytes are limited: itself and what was said, in the plain dialect. Each other
    /// one, where it is in use, holds about as much again.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.draft.plain.len()
    }
}
