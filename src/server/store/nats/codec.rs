//! The encoding of messages in the stream.
//!
//! The payload of a message is the text or the bytes, and one JSON header holds everything else. A tombstone consists
//! of the header of the deleted message and the time of the deletion, without the payload. A message without such a
//! header, which another program published, is a message of the anonymous user. An example is
//! `nats pub fanfare.room.lobby hi`.

use std::fmt;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::room_life::LifeEvent;
use crate::protocol::{Epoch, Json, MessageFields, Offset, RoomName, UserId};
use crate::server::room::{Content, Draft, Frame, Payload};

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
    /// The optional fields of the message.
    #[serde(flatten)]
    fields: MessageFields,
    /// The time at which the message reached its node, in milliseconds since 1970 UTC.
    pub(super) at: u64,
    /// True if the payload is bytes, not text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    binary: bool,
    /// True if the payload is compact JSON text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    json: bool,
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
    pub(super) deleted: Option<u64>,
    /// The next offset of the room at the time of the deletion, if there was one; only tombstones have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Offset>,
    /// The change of the room's life by the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) life: Option<Box<LifeEvent>>,
}

impl StreamEntry {
    /// Creates the entry for `draft`, published at `at` (milliseconds since 1970 UTC) with the id `by`.
    pub(super) fn new(draft: &Draft, at: u64, by: PublishId) -> Self {
        Self {
            from: draft.from().clone(),
            fields: draft.fields().clone(),
            binary: matches!(draft.payload(), Payload::Binary(_)),
            json: matches!(draft.payload(), Payload::Json(_)),
            by: Some(by),
            ..Self::anonymous(at)
        }
    }

    /// Creates the entry for a text of the anonymous user.
    fn anonymous(at: u64) -> Self {
        Self {
            from: UserId::anonymous(),
            fields: MessageFields::default(),
            at,
            binary: false,
            json: false,
            by: None,
            prev: None,
            seen: None,
            deleted: None,
            next: None,
            life: None,
        }
    }

    /// Creates the entry of a mark, published at `at` (milliseconds since 1970 UTC) with the id `by`, in a room whose newest
    /// offset is `head`.
    pub(super) fn mark(event: LifeEvent, head: u64, at: u64, by: PublishId) -> Self {
        Self {
            by: Some(by),
            seen: Some(Offset(head)),
            life: Some(Box::new(event)),
            ..Self::anonymous(at)
        }
    }

    /// Creates the entry of a use of a room at `at`, in milliseconds since 1970 UTC.
    pub(super) fn used(at: u64) -> Self {
        Self::anonymous(at)
    }

    /// Returns true if the message is a mark, which is not one of its room.
    pub(super) fn is_mark(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.is_mark)
    }

    /// Converts the entry into its tombstone, published with the id `by`. `deleted` is the time of the deletion in
    /// milliseconds since 1970 UTC, and `next` the next offset of the room.
    pub(super) fn into_tombstone(self, deleted: u64, next: Option<Offset>, by: PublishId) -> Self {
        Self {
            fields: self.fields.of_tombstone(),
            binary: false,
            json: false,
            by: Some(by),
            deleted: Some(deleted),
            next,
            ..self
        }
    }

    /// Returns the content of the header.
    pub(super) fn to_json(&self) -> String {
        // Only a map with keys that are not strings, or a failing serializer, is an error.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the headers of a message of `room`, which begins after `base`. Those of a message with a key include the id
    /// by which NATS detects duplicates; those of a tombstone do not, so that NATS does not treat it as a duplicate of its
    /// message.
    pub(super) fn headers(&self, room: &RoomName, base: u64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, self.to_json());
        if self.fields.key.is_some() && self.deleted.is_none() {
            headers.insert(NATS_MESSAGE_ID, self.message_id(room, base));
        }
        headers
    }

    /// Returns the message with `payload` in `room`, which begins after `base`.
    pub(super) fn to_message(&self, room: &RoomName, base: u64, payload: Bytes) -> PublishMessage {
        let headers = self.headers(room, base);
        PublishMessage::build().payload(payload).headers(headers)
    }

    /// Returns an id for NATS that no other message has, except one with the same room, sender and key. `base` is the offset
    /// after which the room begins: the keys of a deleted room are free again.
    pub(super) fn message_id(&self, room: &RoomName, base: u64) -> String {
        match (&self.fields.key, self.by) {
            // NUL is a safe separator: neither a room name nor a user id may contain it.
            (Some(key), _) => {
                let mut text = format!("{room}\0{}\0{}", self.from, key.as_str());
                if base > 0 {
                    text = format!("{base}\0{text}");
                }
                STANDARD_NO_PAD.encode(Sha1::digest(text))
            }
            (None, Some(by)) => by.to_string(),
            (None, None) => String::new(),
        }
    }
}

/// An entry of a room at its offset: a message of the stream, or the tombstone in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) offset: u64,
    pub(super) entry: StreamEntry,
    pub(super) payload: Bytes,
    /// The time at which NATS stored it, in milliseconds since 1970 UTC.
    pub(super) stored_at: u64,
}

impl Record {
    /// Parses `message` of a room. Without a valid header the sender is the anonymous user.
    pub(super) fn parse(message: &StreamMessage) -> Self {
        let header = message.headers.get(HEADER);
        let entry = header.and_then(|header| serde_json::from_str(header.as_str()).ok());
        let time = (message.time.unix_timestamp_nanos() / 1_000_000) as u64;

        let mut entry: StreamEntry = entry.unwrap_or_else(|| StreamEntry::anonymous(time));
        let text = std::str::from_utf8(&message.payload);
        entry.binary |= text.is_err();
        // Readers get the text as it is, so another program's must be checked.
        entry.json &= text.is_ok_and(Json::is_compact);
        Self {
            offset: message.sequence,
            entry,
            payload: message.payload.clone(),
            stored_at: time,
        }
    }

    /// Parses `message`, a tombstone for the message at `offset`; `None` if it is not a valid one.
    pub(super) fn tombstone(message: &StreamMessage, offset: u64) -> Option<Self> {
        let record = Self::parse(message);
        record.entry.deleted?;
        Some(Self { offset, ..record })
    }

    /// Returns the last offset that may be missing before the record, if it is the oldest one kept of its room. The
    /// value is its `prev` if it began the room, otherwise the number before it.
    pub(super) fn before(&self) -> u64 {
        let prev = self.entry.prev.map(|prev| prev.0);
        prev.unwrap_or(self.offset.saturating_sub(1))
    }

    /// Returns the newest earlier offset of the room that the record names, if it names any.
    pub(super) fn named_before(&self) -> Option<u64> {
        let named = self.entry.prev.max(self.entry.seen);
        named.map(|named| named.0)
    }

    /// Returns the offset before the record as far as it is known without the messages of its room: the one that it
    /// names, otherwise the number before it.
    pub(super) fn known_before(&self) -> u64 {
        self.named_before()
            .unwrap_or_else(|| self.offset.saturating_sub(1))
    }

    /// Converts the record into a frame of `room` after `prev`.
    pub(super) fn into_frame(self, room: RoomName, epoch: Epoch, prev: u64) -> Frame {
        let StreamEntry {
            from, fields, at, ..
        } = self.entry;
        let is_deleted = self.entry.deleted.is_some();
        // `Record::parse` has already checked that a payload that is not binary is UTF-8, and the JSON.
        let text = || std::str::from_utf8(&self.payload).unwrap_or_default();

        let content = if is_deleted {
            Content::Text(String::new())
        } else if self.entry.binary {
            Content::Binary(self.payload.to_vec())
        } else if self.entry.json {
            Content::Json(Json::from_compact(text()))
        } else {
            Content::Text(text().to_owned())
        };
        let draft = Draft::new(from, content, fields);
        let frame = Frame::new(room, draft, epoch, Offset(self.offset), Offset(prev), at);
        if is_deleted { frame.tombstone() } else { frame }
    }
}

/// Returns the payload of `draft` as bytes.
pub(super) fn payload(draft: &Draft) -> Bytes {
    Bytes::copy_from_slice(draft.payload().as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Key, Kind};

    const ID: PublishId = PublishId {
        node: u64::MAX,
        number: 1,
    };

    /// Returns the message of the stream with `headers` and `payload`, at sequence 7 and stored in 1970.
    fn message(headers: HeaderMap, payload: Bytes) -> StreamMessage {
        StreamMessage {
            subject: "fanfare.room.lobby".into(),
            sequence: 7,
            headers,
            payload,
            time: std::time::UNIX_EPOCH.into(),
        }
    }

    proptest! {
        #[test]
        fn a_message_is_parsed_as_it_was_published(
            id in "\\PC{1,64}", key in prop::option::of(any::<[char; 3]>()), text: String, is_json: bool, at: u64,
        ) {
            let Ok(from) = UserId::parse(&id) else { return Ok(()) };
            let key = key.map(|key| Key::parse(&key.iter().collect::<String>()).expect("a key"));
            let fields = MessageFields {
                kind: Kind::parse("order.created").ok(),
                reply_to: Some(Offset(at)),
                ..MessageFields::keyed(key)
            };
            let json = Json::parse(&serde_json::json!([text]).to_string()).expect("JSON");
            let content = if is_json { Content::Json(json) } else { Content::Text(text) };
            let draft = Draft::new(from, content, fields);
            let entry = StreamEntry::new(&draft, at, ID);

            let headers = entry.headers(&RoomName::lobby(), 0);
            prop_assert_eq!(headers.get(NATS_MESSAGE_ID).is_some(), draft.key().is_some());
            let record = Record::parse(&message(headers, payload(&draft)));
            prop_assert_eq!(&record.entry, &entry);

            let frame = record.into_frame(RoomName::lobby(), Epoch::new(1), 3);
            let expected = Frame::new(RoomName::lobby(), draft, Epoch::new(1), Offset(7), Offset(3), at);
            prop_assert_eq!(frame.publication(), expected.publication());
        }
    }

    #[test]
    fn a_tombstone_has_the_header_of_its_message_and_no_payload() {
        let draft = Draft::text(UserId::guest(1), Key::parse("k").ok(), "a secret");
        let entry = StreamEntry::new(&draft, 5, ID);
        let headers = entry.headers(&RoomName::lobby(), 0);
        let deleted = Record::parse(&message(headers, payload(&draft)));

        let tombstone = entry.into_tombstone(9, Some(Offset(8)), ID);
        let headers = tombstone.headers(&RoomName::lobby(), 0);
        assert!(headers.get(NATS_MESSAGE_ID).is_none());
        let parsed = Record::tombstone(&message(headers, Bytes::new()), 7).expect("a tombstone");
        assert_eq!(parsed.entry, tombstone);

        let frame = deleted.into_frame(RoomName::lobby(), Epoch::new(1), 3);
        let placed = parsed.into_frame(RoomName::lobby(), Epoch::new(1), 3);
        assert_eq!(placed.publication(), frame.tombstone().publication());
    }

    #[test]
    fn a_message_of_another_program_is_one_of_the_anonymous_user() {
        let record = Record::parse(&message(HeaderMap::new(), "hello".into()));

        let publication = record
            .into_frame(RoomName::lobby(), Epoch::new(1), 1)
            .publication();

        assert_eq!((publication.from, publication.at), (UserId::anonymous(), 0));
    }

    #[test]
    fn a_payload_that_is_not_compact_json_is_a_text() {
        for (payload, is_json) in [("[1,2]", true), ("[1,\n2]", false), ("[1", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, r#"{"from":"ann","at":1,"json":true}"#);

            let record = Record::parse(&message(headers, payload.into()));

            assert_eq!(record.entry.json, is_json, "{payload}");
        }
    }

    #[test]
    fn another_room_life_sender_or_key_makes_another_message_id() {
        let id = |base: u64, room: &str, from: &str, key: &str| {
            let room = RoomName::parse(room).expect("a name");
            let from = UserId::parse(from).expect("an id");
            let draft = Draft::text(from, Key::parse(key).ok(), "");
            StreamEntry::new(&draft, 5, ID).message_id(&room, base)
        };

        assert_eq!(id(0, "a", "b", "c"), id(0, "a", "b", "c"));
        let ids = [
            id(0, "a", "b", "c"),
            id(7, "a", "b", "c"),
            id(0, "ab", "b", "c"),
            id(0, "a", "bc", "c"),
            id(0, "a", "b", "\0c"),
        ];
        for (at, one) in ids.iter().enumerate() {
            assert!(ids.iter().skip(at + 1).all(|other| other != one));
        }
    }
}
