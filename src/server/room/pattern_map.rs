//! A map with patterns as keys, which finds the patterns that match a room without visiting the others.

use std::collections::{BTreeMap, HashMap};

use crate::protocol::{RoomName, RoomPattern};

/// A map from patterns to values. A search for the patterns of a room costs one look-up for each length that prefixes in
/// the map have.
#[derive(Debug)]
pub struct PatternMap<T> {
    /// The values by the length of the prefix, and then by the prefix.
    by_length: BTreeMap<usize, HashMap<Box<str>, T>>,
}

impl<T> PatternMap<T> {
    /// Returns the number of patterns.
    pub fn len(&self) -> usize {
        self.by_length.values().map(HashMap::len).sum()
    }

    /// Returns true if there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.by_length.is_empty()
    }

    /// Returns the value of `pattern`.
    pub fn get(&self, pattern: &RoomPattern) -> Option<&T> {
        let prefix = pattern.prefix();
        self.by_length.get(&prefix.len())?.get(prefix)
    }

    /// Returns the value of `pattern`, which is `default` if there was none.
    pub fn get_or_insert(&mut self, pattern: &RoomPattern, default: T) -> &mut T {
        let prefix = pattern.prefix();
        let same_length = self.by_length.entry(prefix.len()).or_default();
        same_length.entry(prefix.into()).or_insert(default)
    }

    /// Returns the values of the patterns that match `room`.
    pub fn matching(&self, room: &RoomName) -> impl Iterator<Item = &T> {
        let name = room.as_str();
        self.by_length
            .range(..=name.len())
            .filter_map(|(length, same_length)| same_length.get(name.get(..*length)?))
    }

    /// Returns all values, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.by_length.values().flat_map(HashMap::values)
    }

    /// Removes the patterns whose values `is_kept` returns false for.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&mut T) -> bool) {
        self.by_length.retain(|_, same_length| {
            same_length.retain(|_, value| is_kept(value));
            !same_length.is_empty()
        });
    }
}

impl<T> Default for PatternMap<T> {
    fn default() -> Self {
        Self {
            by_length: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_values_of_exactly_the_patterns_that_match_are_found(
            prefixes in prop::collection::btree_set("[ab]{0,3}", 0..8),
            removed in "[ab]{0,3}",
            name in "[ab]{1,4}",
        ) {
            let room = RoomName::parse(&name).expect("a name");
            let mut map = PatternMap::default();
            for prefix in &prefixes {
                let pattern = RoomPattern::parse(&format!("{prefix}*")).expect("a pattern");
                map.get_or_insert(&pattern, prefix.clone());
            }

            map.retain(|prefix| *prefix != removed);

            let mut found: Vec<_> = map.matching(&room).collect();
            found.sort_unstable();
            let kept = prefixes.iter().filter(|prefix| **prefix != removed);
            let expected: Vec<_> = kept.clone().filter(|prefix| name.starts_with(*prefix)).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(map.len(), kept.count());
        }
    }
}
