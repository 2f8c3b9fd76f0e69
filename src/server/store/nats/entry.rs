//! One message as it is stored in the stream: the payload is the text or the bytes, and one JSON header holds
//! everything else.
//!
//! A tombstone consists of the header of the deleted message and the time of the deletion, without the payload.
//! A message without such a header, which another program published, is a message of the anonymous user. An example
//! is `nats pub fanfare.room.lobby hi`.

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

/// The name of the header.
const HEADER: &str = "Fanfare";

/// The id of one publish, by which a node recognizes its own messages when the consumer delivers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct PublishId {
    /// A random number that the node draws when it starts.
    pub(super) node: u64,
    /// The number of the publish on its node, from 1.
    pub(super) number: u64,
}

impl fmt::Display for PublishId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.node, self.number)
    }
}

/// The content of the header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamEntry {
    /// The sender.
    from: UserId,
    /// The sender's key, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    /// The time at which the message reached its node, in milliseconds since 1970 UTC.
    at: u64,
    /// True if the payload is bytes, not text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    binary: bool,
    /// The id of its publish; `None` if no node published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<PublishId>,
    /// The offset before it. Only a message that began an empty room has this field, because only then does the
    /// stream not hold the predecessor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prev: Option<Offset>,
    /// The newest offset of the room that its node had seen when it published the message. It proves that an entry
    /// existed there, even if that entry was removed from the stream later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<Offset>,
    /// The time of the deletion, in milliseconds since 1970 UTC; only tombstones have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<u64>,
    /// The next offset of the room at the time of the deletion, if there was one; only tombstones have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Offset>,
}

impl StreamEntry {
    /// Creates the entry for `draft`, published at `at` (milliseconds since 1970 UTC) with the id `ticket`.
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

    /// Converts the entry into its tombstone, published with the id `ticket`. `deleted` is the time of the deletion in
    /// milliseconds since 1970 UTC, and `next` the next offset of the room.
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

    /// Returns the time of the deletion in milliseconds since 1970 UTC; `None` if the entry is not a tombstone.
    pub(super) const fn deleted(&self) -> Option<u64> {
        self.deleted
    }

    /// Returns the next offset of the room at the time of the deletion.
    pub(super) const fn next(&self) -> Option<Offset> {
        self.next
    }

    /// Returns the header without a message id, so that NATS does not treat a tombstone as a duplicate of its message.
    pub(super) fn header(&self) -> Result<HeaderMap, serde_json::Error> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, serde_json::to_string(self)?);
        Ok(headers)
    }

    /// Returns the headers of the message; one with a key also has the id by which NATS detects duplicates.
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

    /// Parses `headers` of the message with `payload`, which was stored at `time` (milliseconds since 1970 UTC).
    /// Without a valid header the sender is the anonymous user.
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

    /// Returns the time at which the message reached its node, in milliseconds since 1970 UTC.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Converts the entry into the frame at `offset`, after `prev`.
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
            // `StreamEntry::read` has already checked that the payload is UTF-8.
            Draft::text(
                self.from,
                self.key,
                std::str::from_utf8(payload).unwrap_or_default(),
            )
        };
        Frame::new(draft, epoch, offset, prev, self.at)
    }
}

/// Returns the payload of `draft` as bytes.
pub(super) fn payload(draft: &Draft) -> Bytes {
    match draft.payload() {
        Payload::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        Payload::Binary(bytes) => Bytes::copy_from_slice(bytes),
    }
}

/// Returns a digest that is unique to the room, the sender and the key. NUL is a safe separator: neither a room name
/// nor a user id may contain it.
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
