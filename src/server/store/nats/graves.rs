//! The tombstones of a room by offset: deleted messages that still occupy their place. Pure.
//!
//! A stream can only remove a message as a whole. A tombstone is therefore another message, under a separate subject,
//! with everything of the deleted message except its payload. Readers put it in the place of the deleted message.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::entry::StreamEntry;
use crate::protocol::Offset;

/// See the [module docs](self).
#[derive(Debug, Default)]
pub(super) struct Tombstones(BTreeMap<u64, StreamEntry>);

/// The oldest message that the stream holds of a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstMessage {
    pub(super) sequence: u64,
    /// The offset before it, if the message contains it.
    pub(super) prev: Option<u64>,
}

impl Tombstones {
    /// Adds the tombstone at `offset`. Returns true if there was none.
    pub(super) fn dig(&mut self, offset: u64, tombstone: StreamEntry) -> bool {
        self.0.insert(offset, tombstone).is_none()
    }

    /// Returns the tombstone at `offset`.
    pub(super) fn at(&self, offset: u64) -> Option<&StreamEntry> {
        self.0.get(&offset)
    }

    /// Returns the tombstones in `range`, in order.
    pub(super) fn among(&self, range: RangeInclusive<u64>) -> Vec<(u64, StreamEntry)> {
        if range.is_empty() {
            return Vec::new();
        }
        self.0
            .range(range)
            .map(|(offset, tombstone)| (*offset, tombstone.clone()))
            .collect()
    }

    /// Returns the offset of the first tombstone at or after `offset`.
    pub(super) fn next(&self, offset: u64) -> Option<u64> {
        self.0.range(offset..).next().map(|(offset, _)| *offset)
    }

    /// Returns the offset of the last tombstone.
    pub(super) fn newest(&self) -> Option<u64> {
        self.0.last_key_value().map(|(offset, _)| *offset)
    }

    /// Removes the tombstones before `first`.
    pub(super) fn trim(&mut self, first: u64) {
        self.0 = self.0.split_off(&first);
    }

    /// Returns the offset of the oldest tombstone that is kept before `eldest`, the first message in the stream. At
    /// most `places` tombstones are kept, and only those that precede `eldest` without a gap. If the stream holds no
    /// message, they must end at `head`, the newest offset. `None` if no tombstone is kept.
    pub(super) fn edge(
        &self,
        eldest: Option<FirstMessage>,
        head: u64,
        places: usize,
    ) -> Option<u64> {
        let mut behind = eldest.map_or((None, Some(head)), |eldest| {
            (Some(eldest.sequence), eldest.prev)
        });
        let mut edge = None;

        let before = eldest.map_or(u64::MAX, |eldest| eldest.sequence);
        for (offset, tombstone) in self.0.range(..before).rev().take(places) {
            let (next, prev) = behind;
            let leads_on = next.is_some() && tombstone.next().map(|next| next.0) == next;
            if !leads_on && prev != Some(*offset) {
                break;
            }

            edge = Some(*offset);
            behind = (edge, tombstone.prev.map(|prev| prev.0));
        }
        edge
    }

    /// Returns the number of tombstones at or after `offset`.
    pub(super) fn count_from(&self, offset: u64) -> usize {
        self.0.range(offset..).count()
    }

    /// Returns the last offset that may be missing before the tombstone at `offset`, the oldest entry that is kept.
    pub(super) fn gone_before(&self, offset: u64) -> u64 {
        let said = self.at(offset).and_then(|tombstone| tombstone.prev);
        said.map_or(offset.saturating_sub(1), |Offset(prev)| prev)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::nats::entry::PublishId;

    /// Creates tombstones from their offsets, each with the next and the previous offset if those are known.
    fn graves(all: &[(u64, Option<u64>, Option<u64>)]) -> Tombstones {
        let mut graves = Tombstones::default();
        for (offset, next, prev) in all {
            let mut said = StreamEntry::read(None, b"", 7);
            said.prev = prev.map(Offset);
            let tombstone =
                said.into_tombstone(9, next.map(Offset), PublishId { node: 1, number: 1 });
            assert!(graves.dig(*offset, tombstone));
        }
        graves
    }

    fn edge(graves: &Tombstones, eldest: Option<(u64, Option<u64>)>, places: usize) -> Option<u64> {
        graves.edge(
            eldest.map(|(sequence, prev)| FirstMessage { sequence, prev }),
            9,
            places,
        )
    }

    #[test]
    fn a_room_begins_with_the_tombstones_that_lead_up_to_its_oldest_message_without_a_hole() {
        let some = graves(&[
            (2, Some(3), None),
            (4, Some(5), None),
            (5, Some(7), None),
            (8, None, None),
        ]);

        assert_eq!(
            edge(&some, Some((7, None)), 9),
            Some(4),
            "there is none at 3"
        );
        assert_eq!(edge(&some, Some((7, None)), 1), Some(5), "no more are kept");
        assert_eq!(
            edge(&some, Some((6, None)), 9),
            None,
            "5 does not lead there"
        );
        assert_eq!(
            edge(&some, Some((6, Some(5))), 9),
            Some(4),
            "but 6 says that it came behind 5"
        );
        assert_eq!(
            edge(&some, Some((1, None)), 9),
            None,
            "that one is older than all"
        );
    }

    #[test]
    fn a_room_of_tombstones_only_begins_with_one_if_the_newest_is_one() {
        assert_eq!(edge(&graves(&[(9, None, Some(4))]), None, 9), Some(9));
        assert_eq!(
            edge(&graves(&[(4, None, None), (9, None, Some(4))]), None, 9),
            Some(4)
        );
        assert_eq!(
            edge(&graves(&[(4, None, None)]), None, 9),
            None,
            "9 was kept once, and is gone"
        );
    }

    #[test]
    fn they_are_found_by_place_and_trimmed_like_any_other() {
        let mut some = graves(&[(2, None, Some(0)), (4, None, None), (8, None, None)]);
        let offsets = |found: Vec<(u64, StreamEntry)>| {
            found.into_iter().map(|(at, _)| at).collect::<Vec<_>>()
        };

        assert_eq!((some.gone_before(2), some.gone_before(4)), (0, 3));

        some.trim(3);
        assert_eq!(offsets(some.among(0..=9)), [4, 8]);
        assert_eq!(
            (some.next(5), some.newest(), some.count_from(4)),
            (Some(8), Some(8), 2)
        );
    }
}
