//! Messages: a draft before the store has assigned its offset, and a frame of a room's log after that. Both hold the
//! payload and no encoding: see [`Format::encode`](crate::server::room::Format::encode).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::protocol::{
    Body, Epoch, Json, Key, Kind, MessageFields, Offset, Position, Publication, RoomName, UserId,
};
use crate::server::memory::Memory;

/// The content of a message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text message.
    Text(String),
    /// A JSON message.
    Json(Json),
    /// A binary message.
    Binary(Vec<u8>),
}

/// The reason why a [`Body`] has no [`Content`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The data is not base64.
    #[error("data is not base64 (RFC 4648 section 4, with padding)")]
    NotBase64,
    /// The message is deleted.
    #[error("a deleted message has no content; allowed are text, json and data")]
    Deleted,
}

impl Content {
    /// Returns the name of its field in JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Json(_) => "json",
            Self::Binary(_) => "data",
        }
    }

    /// Returns its size, in bytes, as `--max-message` limits it.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Json(json) => json.as_str().len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

impl TryFrom<Body> for Content {
    type Error = ContentError;
    fn try_from(body: Body) -> Result<Self, ContentError> {
        match body {
            Body::Text(text) => Ok(Self::Text(text)),
            Body::Json(json) => Ok(Self::Json(json)),
            Body::Data(data) => match STANDARD.decode(data) {
                Ok(bytes) => Ok(Self::Binary(bytes)),
                Err(_) => Err(ContentError::NotBase64),
            },
            Body::Deleted(_) => Err(ContentError::Deleted),
        }
    }
}

/// The payload of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A text message.
    Text(&'a str),
    /// A JSON message: compact JSON text.
    Json(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// Returns the bytes, as plain clients get them and stores keep them.
    pub const fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) | Self::Json(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// The type of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PayloadType {
    Text,
    Json,
    Binary,
}

/// A message that the store has not yet assigned an offset.
#[derive(Clone, Debug)]
pub struct Draft {
    from: UserId,
    fields: MessageFields,
    payload_type: PayloadType,
    /// Payload, counted against the memory budget.
    payload: Bytes,
}

impl Draft {
    /// Creates a message.
    pub fn new(from: UserId, content: Content, fields: MessageFields) -> Self {
        // Without spare capacity, because only the length is counted.
        let (payload_type, payload) = match content {
            Content::Text(text) => (PayloadType::Text, text.into_boxed_str().into_boxed_bytes()),
            Content::Json(json) => (PayloadType::Json, json.into_boxed_str().into_boxed_bytes()),
            Content::Binary(bytes) => (PayloadType::Binary, bytes.into_boxed_slice()),
        };

        // Memory is reserved for the later frame too.
        let around = size_of::<Frame>() + kind_bytes(&fields);
        Self {
            from,
            fields,
            payload_type,
            payload: Memory::of_process().track(payload.into(), around),
        }
    }

    /// Creates a text message with a key or without other fields.
    pub fn text(from: UserId, key: Option<Key>, text: impl Into<String>) -> Self {
        Self::new(from, Content::Text(text.into()), MessageFields::keyed(key))
    }

    /// Creates a binary message without other fields.
    pub fn binary(from: UserId, bytes: &[u8]) -> Self {
        let content = Content::Binary(bytes.to_vec());
        Self::new(from, content, MessageFields::default())
    }

    /// Returns the sender.
    pub const fn from(&self) -> &UserId {
        &self.from
    }

    /// Returns the optional fields.
    pub const fn fields(&self) -> &MessageFields {
        &self.fields
    }

    /// Returns the deduplication key, if the sender set one.
    pub const fn key(&self) -> Option<&Key> {
        self.fields.key.as_ref()
    }

    /// Returns the payload.
    pub fn payload(&self) -> Payload<'_> {
        // A text draft is created from a `String`, so it is valid UTF-8.
        let text = || str::from_utf8(&self.payload).unwrap_or_default();
        match self.payload_type {
            PayloadType::Text => Payload::Text(text()),
            PayloadType::Json => Payload::Json(text()),
            PayloadType::Binary => Payload::Binary(&self.payload),
        }
    }

    /// Returns its size in memory, in bytes, as limits count it.
    pub fn size(&self) -> usize {
        size_of::<Self>() + kind_bytes(&self.fields) + self.payload.len()
    }
}

fn kind_bytes(fields: &MessageFields) -> usize {
    fields.kind.as_ref().map_or(0, |kind| kind.as_str().len())
}

/// One message of a room's log.
#[derive(Debug)]
pub struct Frame {
    room: RoomName,
    draft: Draft,
    epoch: Epoch,
    offset: Offset,
    prev: Offset,
    number: u64,
    at: u64,
    /// True for a tombstone, whose draft is empty.
    is_deleted: bool,
}

impl Frame {
    /// Creates the frame of `draft`: in `room`, in the log with `epoch`, at `offset`, after the room's frame at `prev`,
    /// stored at `at`, in milliseconds since 1970 UTC.
    pub const fn new(
        room: RoomName,
        draft: Draft,
        epoch: Epoch,
        offset: Offset,
        prev: Offset,
        at: u64,
    ) -> Self {
        Self {
            room,
            draft,
            epoch,
            offset,
            prev,
            number: 0,
            at,
            is_deleted: false,
        }
    }

    /// Returns the frame of `draft` at `offset` of `room`, directly after the one before it.
    #[cfg(test)]
    pub fn of_test(room: &RoomName, draft: Draft, offset: u64) -> Self {
        let (epoch, prev) = (Epoch::new(0), Offset(offset - 1));
        Self::new(room.clone(), draft, epoch, Offset(offset), prev, 0)
    }

    /// Sets the number of the message in its room, from 1.
    #[must_use]
    pub const fn numbered(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// Returns the frame that replaces this one when it is deleted. Of the message, it has only the sender and the key.
    pub fn tombstone(&self) -> Self {
        let Self {
            room,
            draft: Draft { from, fields, .. },
            epoch,
            offset,
            prev,
            number,
            at,
            ..
        } = self;

        let content = Content::Text(String::new());
        let draft = Draft::new(from.clone(), content, fields.of_tombstone());
        Self {
            is_deleted: true,
            ..Self::new(room.clone(), draft, epoch.clone(), *offset, *prev, *at).numbered(*number)
        }
    }

    /// Returns true if the message was deleted.
    pub const fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// Returns the room.
    pub const fn room(&self) -> &RoomName {
        &self.room
    }

    /// Returns the offset.
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// Returns the sender.
    pub const fn from(&self) -> &UserId {
        &self.draft.from
    }

    /// Returns the offset of the previous frame of the room.
    pub const fn prev(&self) -> Offset {
        self.prev
    }

    /// Returns the number of the message in its room, from 1; 0 if the store does not number messages.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns the time at which it was stored, in milliseconds since 1970 UTC.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// Returns the position of a reader that has read the log up to this frame.
    pub fn position(&self) -> Position {
        Position {
            epoch: self.epoch.clone(),
            offset: self.offset,
        }
    }

    /// Returns the optional fields; a tombstone has only the key.
    pub const fn fields(&self) -> &MessageFields {
        &self.draft.fields
    }

    /// Returns true if the server has written the message, on behalf of no client.
    pub fn is_of_server(&self) -> bool {
        self.fields().kind.as_ref().is_some_and(Kind::is_reserved)
    }

    /// Returns the payload; empty for a tombstone.
    pub fn payload(&self) -> Payload<'_> {
        self.draft.payload()
    }

    /// Returns the message as the JSON dialects carry it.
    pub fn publication(&self) -> Publication {
        let body = match self.payload() {
            _ if self.is_deleted => Body::Deleted(true),
            Payload::Text(text) => Body::Text(text.to_owned()),
            Payload::Json(json) => Body::Json(Json::from_compact(json)),
            Payload::Binary(bytes) => Body::Data(STANDARD.encode(bytes)),
        };

        Publication {
            room: self.room.clone(),
            offset: self.offset,
            prev: self.prev,
            at: self.at,
            from: self.draft.from.clone(),
            body,
            fields: self.draft.fields.clone(),
        }
    }

    /// Returns its size in memory, in bytes, as limits count it: the frame and its plain encoding.
    pub fn size(&self) -> usize {
        size_of::<Self>() - size_of::<Draft>() + self.draft.size()
    }
}
