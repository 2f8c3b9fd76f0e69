//! The tombstones of a room. Pure.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::codec::Record;

/// The tombstones of a room by offset: deleted messages that still occupy their place.
#[derive(Debug, Default)]
pub(super) struct Tombstones(BTreeMap<u64, Record>);

impl Tombstones {
    /// Adds `tombstone`. Returns true if there was none at its offset.
    pub(super) fn insert(&mut self, tombstone: Record) -> bool {
        self.0.insert(tombstone.offset, tombstone).is_none()
    }

    /// Returns the tombstone at `offset`.
    pub(super) fn get(&self, offset: u64) -> Option<&Record> {
        self.0.get(&offset)
    }

    /// Returns the tombstones in `range`, which is not empty, in order.
    pub(super) fn range(&self, range: RangeInclusive<u64>) -> Vec<Record> {
        self.0.range(range).map(|(_, one)| one.clone()).collect()
    }

    /// Returns the offset of the first tombstone at or after `offset`.
    pub(super) fn next(&self, offset: u64) -> Option<u64> {
        self.0.range(offset..).next().map(|(offset, _)| *offset)
    }

    /// Returns the offset of the last tombstone; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// Removes the tombstones before `first`.
    pub(super) fn trim(&mut self, first: u64) {
        self.0 = self.0.split_off(&first);
    }

    /// Returns the oldest tombstone that is kept before `oldest`, the first message in the stream. At most `places`
    /// tombstones and messages from there on are kept, and the tombstones must precede `oldest` without a gap. If the
    /// stream holds no message, they must end at `head`, the newest offset. `None` if no tombstone is kept.
    pub(super) fn oldest(
        &self,
        oldest: Option<&Record>,
        head: u64,
        places: usize,
    ) -> Option<&Record> {
        let before = oldest.map_or(u64::MAX, |oldest| oldest.offset);
        let places = places.saturating_sub(self.0.range(before..).count());
        // The offset of the following entry, and the one that it names as its predecessor.
        let mut next = oldest.map(|oldest| oldest.offset);
        let mut prev = oldest.map_or(Some(head), |oldest| Some(oldest.entry.prev?.0));
        let mut found = None;

        for (offset, tombstone) in self.0.range(..before).rev().take(places) {
            let named = tombstone.entry.next.map(|next| next.0);
            if (next.is_none() || named != next) && prev != Some(*offset) {
                break;
            }

            found = Some(tombstone);
            next = Some(*offset);
            prev = tombstone.entry.prev.map(|prev| prev.0);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::{Offset, UserId};
    use crate::server::room::Draft;
    use crate::server::store::nats::codec::{PublishId, StreamEntry};

    const ID: PublishId = PublishId { node: 1, number: 1 };

    fn record(offset: u64, prev: Option<u64>) -> Record {
        let draft = Draft::text(UserId::guest(0), None, "");
        let mut entry = StreamEntry::new(&draft, 7, ID);
        entry.prev = prev.map(Offset);
        Record {
            offset,
            entry,
            payload: Bytes::new(),
            stored_at: 7,
        }
    }

    /// Creates tombstones from their offsets, each with the next and the previous offset if those are known.
    fn tombstones(all: &[(u64, Option<u64>, Option<u64>)]) -> Tombstones {
        let mut tombstones = Tombstones::default();
        for (offset, next, prev) in all {
            let record = record(*offset, *prev);
            let entry = record.entry.into_tombstone(9, next.map(Offset), ID);
            assert!(tombstones.insert(Record { entry, ..record }));
        }
        tombstones
    }

    /// Returns the oldest kept tombstone before `oldest`, given its offset and the offset before it if that is known.
    fn oldest(
        tombstones: &Tombstones,
        oldest: Option<(u64, Option<u64>)>,
        places: usize,
    ) -> Option<u64> {
        let oldest = oldest.map(|(offset, prev)| record(offset, prev));
        let found = tombstones.oldest(oldest.as_ref(), 9, places);
        found.map(|found| found.offset)
    }

    #[test]
    fn a_room_begins_with_the_tombstones_before_its_oldest_message() {
        let some = tombstones(&[
            (2, Some(3), None),
            (4, Some(5), None),
            (5, Some(7), None),
            (8, None, None),
        ]);

        assert_eq!(oldest(&some, Some((7, None)), 10), Some(4), "3 is missing");
        assert_eq!(
            oldest(&some, Some((7, None)), 2),
            Some(5),
            "8 is one of two"
        );
        assert_eq!(oldest(&some, Some((6, None)), 10), None, "7 follows 5");
        assert_eq!(oldest(&some, Some((6, Some(5))), 10), Some(4), "6 names 5");
        assert_eq!(oldest(&some, Some((1, None)), 10), None, "1 is the oldest");
    }

    #[test]
    fn a_room_of_tombstones_begins_with_one_only_if_its_newest_entry_is_one() {
        let newest = tombstones(&[(9, None, Some(4))]);
        assert_eq!(oldest(&newest, None, 9), Some(9));

        let both = tombstones(&[(4, None, None), (9, None, Some(4))]);
        assert_eq!(oldest(&both, None, 9), Some(4));

        let older = tombstones(&[(4, None, None)]);
        assert_eq!(oldest(&older, None, 9), None, "9 is no longer kept");
    }

    #[test]
    fn tombstones_are_found_and_trimmed_by_offset() {
        let mut some = tombstones(&[(2, None, Some(0)), (4, None, None), (8, None, None)]);
        let before = |offset| some.get(offset).map(Record::before);
        assert_eq!((before(2), before(4)), (Some(0), Some(3)));

        some.trim(3);

        let offsets: Vec<_> = some.range(0..=9).iter().map(|one| one.offset).collect();
        assert_eq!(offsets, [4, 8]);
        assert_eq!((some.next(5), some.newest()), (Some(8), 8));
    }
}
