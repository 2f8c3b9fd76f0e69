//! What stands at an offset: a message as the stream has it, or the tombstone in its place.

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

    /// The last offset that may be gone before it, if it is the oldest that is kept of its room: what it says
    /// itself, if it began the room, else the number before it.
    pub(super) fn before(&self) -> u64 {
        self.read().0.prev.map_or(self.offset() - 1, |prev| prev.0)
    }
}
