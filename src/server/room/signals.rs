//! The recent signals of a room, or of all rooms that a pattern matches: a bounded ring. Each reader keeps the number of
//! the last signal that it has read.
//!
//! # Invariants
//!
//! - Numbers only grow. A reader that has read up to [`SignalRing::newest`] has nothing to read.
//! - For each room, sender and kind there is one signal in the ring, the newest.
//! - A signal leaves the ring after [`LIFETIME`], or earlier if the ring is full. Readers that have not read it by then do
//!   not get it, and count it as dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::{Push, RoomName, Signal};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::room::encoding::{self, Encodings};
use crate::server::room::{Dialect, Tick};

/// The time for which a signal waits for readers that cannot be written to.
const LIFETIME: Duration = Duration::from_secs(5);
/// The largest number of signals in a ring.
const MAX_SIGNALS: usize = 512;
/// The largest size of the signals in a ring, in bytes.
const MAX_BYTES: usize = 256 * 1024;
/// The size of a chunk, in bytes, from which no signal is added to it.
const MAX_CHUNK_BYTES: usize = 16 * 1024;

/// The recent signals. See the [module docs](self).
#[derive(Debug, Default)]
pub struct SignalRing {
    /// In the order of their numbers.
    entries: VecDeque<SignalEntry>,
    /// Total size of the signals without their encodings, in bytes.
    bytes: usize,
    /// Number of the newest signal; 0 before the first.
    newest: u64,
}

/// A signal and its encodings.
#[derive(Debug)]
struct SignalEntry {
    number: u64,
    signal: Arc<Signal>,
    sent_at: Tick,
    encodings: Encodings<Dialect>,
    _reservation: MemoryReservation,
}

/// Encoded signals for one reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignalChunk {
    /// The number up to which the reader has read the ring after the chunk.
    pub until: u64,
    /// Number of signals in the chunk.
    pub signals: usize,
    /// Number of earlier signals that the reader does not get, because they were replaced or have left the ring.
    pub dropped: u64,
    /// The encoded signals; empty if the reader gets none.
    pub bytes: Bytes,
}

impl SignalRing {
    /// Returns the number of the newest signal.
    pub const fn newest(&self) -> u64 {
        self.newest
    }

    /// Appends `signal`, in place of an earlier one of the same room, sender and kind. Drops the oldest signals beyond the
    /// limits.
    pub fn push(&mut self, signal: Arc<Signal>, now: Tick) {
        self.expire(now);
        let is_replaced = |entry: &SignalEntry| {
            let Signal {
                room, from, kind, ..
            } = &*entry.signal;
            *from == signal.from && *kind == signal.kind && *room == signal.room
        };
        let replaced = self.entries.iter().position(is_replaced);
        if let Some(replaced) = replaced.and_then(|index| self.entries.remove(index)) {
            self.bytes -= replaced.size();
        }

        self.newest += 1;
        let entry = SignalEntry::new(self.newest, signal, now);
        self.bytes += entry.size();
        self.entries.push_back(entry);

        while self.entries.len() > MAX_SIGNALS || self.bytes > MAX_BYTES {
            self.drop_oldest();
        }
    }

    /// Drops the signals that are older than [`LIFETIME`].
    pub fn expire(&mut self, now: Tick) {
        while let Some(oldest) = self.entries.front()
            && now.since(oldest.sent_at) > LIFETIME
        {
            self.drop_oldest();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// Drops all signals.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
    }

    /// Returns the signals after number `after`, encoded in `dialect`, for a reader that wants only those of the rooms for
    /// which `is_wanted` returns true. Further signals may follow the chunk.
    pub fn read(
        &mut self,
        after: u64,
        dialect: Dialect,
        now: Tick,
        is_wanted: impl Fn(&RoomName) -> bool,
    ) -> SignalChunk {
        self.expire(now);

        let mut chunk = SignalChunk {
            until: after,
            ..SignalChunk::default()
        };
        let mut encoded = Vec::new();
        let mut bytes = 0;
        let start = self.entries.partition_point(|entry| entry.number <= after);
        let mut entries = self.entries.range_mut(start..);
        while bytes < MAX_CHUNK_BYTES
            && let Some(entry) = entries.next()
        {
            chunk.dropped += entry.number - chunk.until - 1;
            chunk.until = entry.number;
            if is_wanted(&entry.signal.room) {
                let encoding = entry.encode(dialect);
                bytes += encoding.len();
                encoded.push(encoding);
            }
        }
        if entries.len() == 0 {
            chunk.dropped += self.newest.saturating_sub(chunk.until);
            chunk.until = self.newest.max(after);
        }

        chunk.signals = encoded.len();
        chunk.bytes = encoding::concat(encoded);
        chunk
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.bytes -= oldest.size();
        }
    }
}

impl SignalEntry {
    fn new(number: u64, signal: Arc<Signal>, sent_at: Tick) -> Self {
        let bytes = size_of::<Self>() + size(&signal);

        Self {
            number,
            signal,
            sent_at,
            encodings: Encodings::new(),
            _reservation: Memory::of_process().reserve(bytes),
        }
    }

    /// Returns its size without encodings, in bytes.
    fn size(&self) -> usize {
        size_of::<Self>() + size(&self.signal)
    }

    /// Returns the signal in `dialect`, encoding it on the first call.
    fn encode(&mut self, dialect: Dialect) -> Bytes {
        self.encodings.get_or_encode(dialect, || {
            let push = Push::Signal(Signal::clone(&self.signal));
            dialect.encode(&push)
        })
    }
}

/// Returns the size of `signal`, in bytes.
fn size(signal: &Signal) -> usize {
    let Signal {
        room,
        from,
        kind,
        json,
    } = signal;
    let texts = [room.as_str(), from.as_str(), kind.as_str(), json.as_str()];
    size_of::<Signal>() + texts.iter().map(|text| text.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Json, Kind, UserId};

    fn at(millis: u64) -> Tick {
        Tick::after_start(Duration::from_millis(millis))
    }

    fn signal(room: &str, from: &str, kind: &str, json: &str) -> Arc<Signal> {
        Arc::new(Signal {
            room: RoomName::parse(room).expect("a room"),
            from: UserId::parse(from).expect("an id"),
            kind: Kind::parse(kind).expect("a kind"),
            json: Json::from_compact(json),
        })
    }

    fn ring(signals: &[Arc<Signal>]) -> SignalRing {
        let mut ring = SignalRing::default();
        for signal in signals {
            ring.push(signal.clone(), at(0));
        }
        ring
    }

    /// Returns the contents of the signals in `chunk`, of which each is a line.
    fn contents(chunk: &SignalChunk) -> Vec<String> {
        let text = String::from_utf8(chunk.bytes.to_vec()).expect("text");
        let content = |line: &str| match Push::decode(line).expect("a frame") {
            Push::Signal(signal) => signal.json.as_str().to_owned(),
            other => panic!("{other:?} is no signal"),
        };
        text.lines().map(content).collect()
    }

    fn read(ring: &mut SignalRing, after: u64) -> SignalChunk {
        ring.read(after, Dialect::Ndjson, at(0), |_| true)
    }

    #[test]
    fn the_newest_signal_of_a_sender_and_kind_replaces_the_earlier_ones() {
        let mut ring = ring(&[
            signal("a", "ann", "cursor", "1"),
            signal("a", "bob", "cursor", "2"),
            signal("a", "ann", "cursor", "3"),
            signal("b", "ann", "cursor", "4"),
            signal("a", "ann", "cursor", "5"),
        ]);

        let chunk = read(&mut ring, 0);

        assert_eq!(contents(&chunk), ["2", "4", "5"]);
        assert_eq!((chunk.signals, chunk.dropped), (3, 2));
    }

    #[test]
    fn signals_that_no_reader_read_in_time_are_dropped() {
        let mut ring = ring(&[signal("a", "ann", "typing", "1")]);
        ring.push(signal("a", "bob", "typing", "2"), at(3000));

        let chunk = ring.read(0, Dialect::Ndjson, at(6000), |_| true);
        ring.expire(at(9000));

        assert_eq!(contents(&chunk), ["2"]);
        assert_eq!(chunk.dropped, 1);
        assert_eq!((ring.entries.capacity(), ring.bytes), (0, 0));
        assert_eq!(ring.newest(), 2);
    }

    #[test]
    fn a_chunk_ends_when_it_is_large_and_the_next_one_continues() {
        let long = format!("\"{}\"", "x".repeat(4000));
        let senders = (0..10).map(|number| format!("user-{number}"));
        let signals: Vec<_> = senders.map(|id| signal("a", &id, "k", &long)).collect();
        let mut ring = ring(&signals);

        let mut sizes = Vec::new();
        let mut after = 0;
        while after < ring.newest() {
            let chunk = read(&mut ring, after);
            sizes.push(chunk.signals);
            after = chunk.until;
        }

        assert_eq!(sizes, [5, 5]);
    }

    #[test]
    fn signals_of_rooms_that_the_reader_does_not_want_are_skipped_and_not_dropped() {
        let mut ring = ring(&[
            signal("a", "ann", "k", "1"),
            signal("b", "ann", "k", "2"),
            signal("a", "bob", "k", "3"),
        ]);

        let chunk = ring.read(0, Dialect::Ndjson, at(0), |room| room.as_str() == "b");

        assert_eq!(contents(&chunk), ["2"]);
        assert_eq!((chunk.until, chunk.dropped), (3, 0));
    }

    #[test]
    fn readers_of_one_dialect_share_the_bytes_of_a_signal() {
        let mut ring = ring(&[signal("a", "ann", "typing", "1")]);

        let one = read(&mut ring, 0).bytes;
        let other = read(&mut ring, 0).bytes;
        let event = ring.read(0, Dialect::Sse, at(0), |_| true).bytes;

        assert_eq!(one.as_ptr(), other.as_ptr());
        assert_eq!(
            event,
            "event: signal\ndata: {\"type\":\"signal\",\"room\":\"a\",\"from\":\"ann\",\"kind\":\"typing\",\"json\":1}\n\n"
        );
    }

    proptest! {
        #[test]
        fn the_ring_is_bounded_and_readers_get_the_newest_signals_and_count_the_others(
            steps in prop::collection::vec((0usize..700, 1usize..4000, 0u64..30), 0..800),
            reads in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut ring = SignalRing::default();
            let mut newest = BTreeMap::new();
            let mut cursor = 0;
            let mut accounted = 0;
            let mut now = 0;

            for (step, (sender, bytes, pause)) in steps.iter().enumerate() {
                now += pause;
                let json = format!("\"{}\"", "x".repeat(*bytes));
                ring.push(signal("a", &format!("user-{sender}"), "k", &json), at(now));
                newest.insert(*sender, step as u64 + 1);
                prop_assert!(ring.entries.len() <= MAX_SIGNALS && ring.bytes <= MAX_BYTES);

                if reads.iter().any(|read| read.index(steps.len()) == step) {
                    let chunk = ring.read(cursor, Dialect::Ndjson, at(now), |_| true);
                    accounted += chunk.signals as u64 + chunk.dropped;
                    cursor = chunk.until;
                }
            }

            prop_assert_eq!(accounted, cursor);
            let is_newest = |entry: &SignalEntry| newest.values().any(|number| *number == entry.number);
            prop_assert!(ring.entries.iter().all(is_newest));
        }
    }
}
