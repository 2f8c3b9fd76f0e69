//! The record at one offset of a room: a message of the stream, or the tombstone in its place.

use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;

use super::entry::StreamEntry;

/// See the [module docs](self).
pub(super) enum Record {
    Said(StreamMessage),
    Gone(u64, StreamEntry),
}

impl Record {
    pub(super) const fn offset(&self) -> u64 {
        match self {
            Self::Said(message) => message.sequence,
            Self::Gone(offset, _) => *offset,
        }
    }

    pub(super) fn read(&self) -> (StreamEntry, Bytes) {
        match self {
            Self::Said(message) => {
                let time = (message.time.unix_timestamp_nanos() / 1_000_000) as u64;
                (
                    StreamEntry::read(Some(&message.headers), &message.payload, time),
                    message.payload.clone(),
                )
            }
            Self::Gone(_, tombstone) => (tombstone.clone(), Bytes::new()),
        }
    }

    /// Returns the last offset that may be missing before the record, if it is the oldest one kept of its room. The
    /// value is its `prev` if it began the room, otherwise the number before it.
    pub(super) fn before(&self) -> u64 {
        self.read().0.prev.map_or(self.offset() - 1, |prev| prev.0)
    }
}
