//! A map from the members of a room to a value each, small for few members and fast for many.
//!
//! There may be many rooms, and most have a handful of members, so up to eight are kept in a vector of exact
//! size. A larger room uses a hash map, which shrinks again when its members leave.

use std::collections::HashMap;

use crate::protocol::UserId;

/// Maximum number of members in a vector, which is searched linearly.
const MAX_FEW: usize = 8;

/// A map from user ids to values.
#[derive(Debug)]
pub(super) enum MemberMap<T> {
    /// At most [`MAX_FEW`] members.
    Few(Vec<(UserId, T)>),
    /// Any number of members; only [`MemberMap::retain`] changes it back to a vector.
    #[expect(
        clippy::box_collection,
        reason = "most rooms are small, and an unboxed map would make each of them larger"
    )]
    Many(Box<HashMap<UserId, T>>),
}

impl<T> Default for MemberMap<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<T> MemberMap<T> {
    /// Returns the number of members.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// Returns all members in arbitrary order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&UserId, &T)> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        few.into_iter()
            .flatten()
            .map(|(id, value)| (id, value))
            .chain(many.into_iter().flat_map(|many| many.iter()))
    }

    /// Returns all members in arbitrary order, with mutable values.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&UserId, &mut T)> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        let few = few.into_iter().flatten().map(|(id, value)| (&*id, value));
        few.chain(many.into_iter().flat_map(|many| many.iter_mut()))
    }

    /// Returns the value of `id`.
    pub(super) fn get(&self, id: &UserId) -> Option<&T> {
        match self {
            Self::Few(few) => few
                .iter()
                .find(|(member, _)| member == id)
                .map(|(_, value)| value),
            Self::Many(many) => many.get(id),
        }
    }

    /// Returns the mutable value of `id`.
    pub(super) fn get_mut(&mut self, id: &UserId) -> Option<&mut T> {
        match self {
            Self::Few(few) => few
                .iter_mut()
                .find(|(member, _)| member == id)
                .map(|(_, value)| value),
            Self::Many(many) => many.get_mut(id),
        }
    }

    /// Returns the value of `id`, after inserting `new` if it has none.
    pub(super) fn get_or_insert(&mut self, id: &UserId, new: T) -> &mut T {
        if let Self::Few(few) = self
            && few.len() == MAX_FEW
            && few.iter().all(|(member, _)| member != id)
        {
            *self = Self::Many(Box::new(few.drain(..).collect()));
        }

        match self {
            Self::Few(few) => {
                let index = few
                    .iter()
                    .position(|(member, _)| member == id)
                    .unwrap_or_else(|| {
                        if few.is_empty() {
                            // A vector's own growth starts with a capacity of four.
                            few.reserve_exact(1);
                        }
                        few.push((id.clone(), new));
                        few.len() - 1
                    });
                &mut few[index].1
            }
            Self::Many(many) => many.entry(id.clone()).or_insert(new),
        }
    }

    /// Removes `id`.
    pub(super) fn remove(&mut self, id: &UserId) {
        match self {
            Self::Few(few) => few.retain(|(member, _)| member != id),
            Self::Many(many) => drop(many.remove(id)),
        }
    }

    /// Removes the members for which `keep` returns false, and releases most of the unused capacity.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&UserId, &mut T) -> bool) {
        match self {
            Self::Few(few) => {
                few.retain_mut(|(id, value)| keep(id, value));
                if few.is_empty() {
                    *few = Vec::new();
                }
            }
            Self::Many(many) => {
                many.retain(keep);
                if many.len() <= MAX_FEW {
                    *self = Self::Few(many.drain().collect());
                } else if many.capacity() / 4 > many.len() {
                    many.shrink_to(many.len() * 2);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::samples::numbered_user as user;

    #[test]
    fn the_memory_of_many_members_is_released_when_they_leave() {
        let mut members = MemberMap::default();
        (0..10_000).for_each(|number| *members.get_or_insert(&user(number), 0) = number);
        let capacity = |members: &MemberMap<usize>| match members {
            MemberMap::Few(few) => few.capacity(),
            MemberMap::Many(many) => many.capacity(),
        };
        assert!(capacity(&members) >= 10_000);

        members.retain(|_, number| *number < 100);
        let capacity_of_100 = capacity(&members);
        assert!((100..1000).contains(&capacity_of_100), "{capacity_of_100}");

        members.retain(|_, number| *number < 2);
        assert!(matches!(&members, MemberMap::Few(few) if few.len() == 2));

        members.retain(|_, _| false);
        assert_eq!(capacity(&members), 0);
    }

    proptest! {
        #[test]
        fn a_member_map_has_the_contents_of_a_tree_map(
            steps in prop::collection::vec((0usize..20, 0u8..5, any::<u8>()), 0..200),
        ) {
            let mut members = MemberMap::default();
            let mut model = BTreeMap::new();
            let set = |old: &mut u8, new| {
                *old = new;
                new
            };

            for (number, operation, value) in steps {
                let id = user(number);
                match operation {
                    0 | 1 => {
                        let expected = *model.entry(id.clone()).or_insert(value);
                        prop_assert_eq!(*members.get_or_insert(&id, value), expected);
                    }
                    2 => {
                        let expected = model.get_mut(&id).map(|old| set(old, value));
                        prop_assert_eq!(members.get_mut(&id).map(|old| set(old, value)), expected);
                    }
                    3 => {
                        model.remove(&id);
                        members.remove(&id);
                    }
                    _ => {
                        model.retain(|_, old| *old % 3 == value % 3);
                        members.retain(|_, old| *old % 3 == value % 3);
                    }
                }

                let contents: BTreeMap<_, _> =
                    members.iter().map(|(id, value)| (id.clone(), *value)).collect();
                prop_assert_eq!(members.len(), model.len());
                prop_assert_eq!(&contents, &model);
            }
        }
    }
}
