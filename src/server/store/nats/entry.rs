//! One message as it is in the stream: what was said is the payload, all else is one header of JSON.
//!
//! A tombstone is the header of the deleted message without the words, and says when they went.
//!
//! What somebody else puts into the stream, with no such header, is a message too: `nats pub fanfare.room.lobby hi`.

use std::fmt;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::protocol::Epoch;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::room::{Draft, Frame, Payload};

/// The header.
const HEADER: &str = "Fanfare";

/// Which publish of which node a message is: by this a node knows its own when they come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct PublishId {
    /// Drawn by the node when it starts.
    pub(super) node: u64,
    /// Counted by the node, from 1.
    pub(super) number: u64,
}

impl fmt::Display for PublishId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.node, self.number)
    }
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamEntry {
    /// Who says it.
    from: UserId,
    /// The sender's key, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    /// When it came to its node, in milliseconds since 1970 UTC.
    at: u64,
    /// Bytes, not text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    binary: bool,
    /// Its publish; none if it was not published by a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<PublishId>,
    /// The offset before it, of a message that began a room in which nothing was kept: the only one whose
    /// predecessor the stream does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prev: Option<Offset>,
    /// The newest offset of the room that its node knew when it published it. So an entry of the room was there,
    /// even if somebody has removed it from the stream since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<Offset>,
    /// Only of a tombstone: when it became one, in milliseconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<u64>,
    /// Only of a tombstone: the offset behind it, if there was one then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Offset>,
}

impl StreamEntry {
    /// `draft` as it is published at `at` (milliseconds since 1970 UTC) by `ticket`.
    pub(super) fn new(draft: &Draft, at: u64, ticket: PublishId) -> Self {
        Self {
            from: draft.from().clone(),
            key: draft.key().cloned(),
            at,
            binary: matches!(draft.payload(), Payload::Binary(_)),
            by: Some(ticket),
            prev: None,
            seen: None,
            deleted: None,
            next: None,
        }
    }

    /// What stays of it when `ticket` deletes it at `deleted` (milliseconds since 1970 UTC), with `next` behind it.
    pub(super) fn into_tombstone(
        self,
        deleted: u64,
        next: Option<Offset>,
        ticket: PublishId,
    ) -> Self {
        Self {
            binary: false,
            by: Some(ticket),
            deleted: Some(deleted),
            next,
            ..self
        }
    }

    /// When what was said went, if it did.
    pub(super) const fn deleted(&self) -> Option<u64> {
        self.deleted
    }

    /// What was behind it when it was deleted.
    pub(super) const fn next(&self) -> Option<Offset> {
        self.next
    }

    /// The header alone: no id by which NATS would take it for the message itself.
    pub(super) fn header(&self) -> Result<HeaderMap, serde_json::Error> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, serde_json::to_string(self)?);
        Ok(headers)
    }

    /// The headers that say it; for what has a key also the id by which NATS de-duplicates.
    pub(super) fn headers(&self, room: &RoomName) -> Result<HeaderMap, serde_json::Error> {
        let mut headers = self.header()?;
        if self.key.is_some() {
            headers.insert(NATS_MESSAGE_ID, self.message_id(room));
        }
        Ok(headers)
    }

    /// Returns an id for NATS that no other message has, except one with the same room, sender and key.
    pub(super) fn message_id(&self, room: &RoomName) -> String {
        match (&self.key, &self.by) {
            (Some(key), _) => message_id(room, &self.from, key),
            (None, Some(ticket)) => ticket.to_string(),
            (None, None) => String::new(),
        }
    }

    /// What `headers` say of the message with `payload` that the stream got at `time`, in milliseconds since 1970.
    pub(super) fn read(headers: Option<&HeaderMap>, payload: &[u8], time: u64) -> Self {
        let header = headers.and_then(|headers| headers.get(HEADER));
        let said = header.and_then(|header| serde_json::from_str::<Self>(header.as_str()).ok());
        let is_text = std::str::from_utf8(payload).is_ok();
        match said {
            Some(said) => Self {
                binary: said.binary || !is_text,
                ..said
            },
            None => Self {
                from: UserId::anonymous(),
                key: None,
                at: time,
                binary: !is_text,
                by: None,
                prev: None,
                seen: None,
                deleted: None,
                next: None,
            },
        }
    }

    /// When it came, in milliseconds since 1970 UTC.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// The log's entry at `offset`, after `prev`.
    pub(super) fn into_frame(
        self,
        payload: &[u8],
        epoch: Epoch,
        offset: Offset,
        prev: Offset,
    ) -> Frame {
        if self.deleted.is_some() {
            let draft = Draft::text(self.from, self.key, "");
            return Frame::new(draft, epoch, offset, prev, self.at).tombstone();
        }
        let draft = if self.binary {
            Draft::binary(self.from, payload)
        } else {
            // It was looked at when it was read.
            Draft::text(
                self.from,
                self.key,
                std::str::from_utf8(payload).unwrap_or_default(),
            )
        };
        Frame::new(draft, epoch, offset, prev, self.at)
    }
}

/// What is said, as the stream's payload.
pub(super) fn payload(draft: &Draft) -> Bytes {
    match draft.payload() {
        Payload::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        Payload::Binary(bytes) => Bytes::copy_from_slice(bytes),
    }
}

/// The same for the same room, sender and key, and for nothing else: neither a room nor an id may have a NUL.
fn message_id(room: &RoomName, from: &UserId, key: &Key) -> String {
    let parts = [room.as_str(), "\0", from.as_str(), "\0", key.as_str()];
    let digest = parts
        .iter()
        .fold(Sha1::new(), |digest, part| digest.chain_update(part));
    STANDARD_NO_PAD.encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICKET: PublishId = PublishId {
        node: u64::MAX,
        number: 1,
    };

    proptest! {
        #[test]
        fn whatever_is_said_is_read_back(
            id in "\\PC{1,64}", key in prop::option::of(any::<[char; 3]>()), text: String, at: u64,
        ) {
            let Ok(from) = UserId::parse(&id) else { return Ok(()) };
            let key = key.map(|key| Key::parse(&key.iter().collect::<String>()).expect("a key"));
            let draft = Draft::text(from, key, &text);
            let entry = StreamEntry::new(&draft, at, TICKET);
            let headers = entry.headers(&RoomName::lobby()).expect("headers");
            prop_assert_eq!(headers.get(NATS_MESSAGE_ID).is_some(), draft.key().is_some());
            let payload = payload(&draft);
            let read = StreamEntry::read(Some(&headers), &payload, 0);
            prop_assert_eq!(&read, &entry);
            let frame = read.into_frame(&payload, Epoch::new(1), Offset(7), Offset(3));
            let expected = Frame::new(draft, Epoch::new(1), Offset(7), Offset(3), at);
            prop_assert_eq!(frame.publication(), expected.publication());
        }
    }

    #[test]
    fn a_tombstone_says_who_and_when_and_no_words() {
        let draft = Draft::text(UserId::guest(1), Key::parse("k").ok(), "a secret");
        let said = StreamEntry::new(&draft, 5, TICKET);
        let gone = said.clone().into_tombstone(9, Some(Offset(8)), TICKET);
        let headers = gone.header().expect("a header");
        assert!(headers.get(NATS_MESSAGE_ID).is_none());
        let read = StreamEntry::read(Some(&headers), b"", 0);
        assert_eq!(
            (&read, read.deleted(), read.next()),
            (&gone, Some(9), Some(Offset(8)))
        );
        let frame = said.into_frame(b"a secret", Epoch::new(1), Offset(7), Offset(3));
        let tombstone = read.into_frame(b"", Epoch::new(1), Offset(7), Offset(3));
        assert_eq!(tombstone.publication(), frame.tombstone().publication());
    }

    #[test]
    fn what_no_node_published_is_a_message_of_nobodys() {
        let entry = StreamEntry::read(None, b"hello", 5);
        let publication = entry
            .into_frame(b"hello", Epoch::new(1), Offset(2), Offset(1))
            .publication();
        assert_eq!((publication.from, publication.at), (UserId::anonymous(), 5));
    }

    #[test]
    fn another_room_sender_or_key_is_another_message() {
        let id = |room: &str, from: &str, key: &str| {
            let (room, from) = (
                RoomName::parse(room).expect("a name"),
                UserId::parse(from).expect("an id"),
            );
            message_id(&room, &from, &Key::parse(key).expect("a key"))
        };
        assert_eq!(id("a", "b", "c"), id("a", "b", "c"));
        let ids = [
            id("a", "b", "c"),
            id("ab", "b", "c"),
            id("a", "bc", "c"),
            id("a", "b", "\0c"),
        ];
        for (at, one) in ids.iter().enumerate() {
            assert!(ids.iter().skip(at + 1).all(|other| other != one));
        }
    }
}
