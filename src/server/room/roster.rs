//! Something kept of each member of a room, by id: little for a few, quick for many.
//!
//! Most rooms have a handful of members and there may be many rooms, so a few are kept in a vector that is no
//! larger than they are. A hash map takes over where a search would be long, and gives its room back when the
//! crowd has gone.

use std::collections::HashMap;

use crate::protocol::UserId;

/// Most members that are searched one by one.
const MAX_FEW: usize = 8;

/// See the [module docs](self).
#[derive(Debug)]
pub(super) enum MemberMap<T> {
    /// At most [`MAX_FEW`].
    Few(Vec<(UserId, T)>),
    /// Any number of them; only [`MemberMap::retain`] leads back.
    #[expect(
        clippy::box_collection,
        reason = "most rooms are small, and a map in place would make each larger"
    )]
    Many(Box<HashMap<UserId, T>>),
}

impl<T> Default for MemberMap<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<T> MemberMap<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&UserId, &T)> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        few.into_iter()
            .flatten()
            .map(|(id, kept)| (id, kept))
            .chain(many.into_iter().flat_map(|many| many.iter()))
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&UserId, &mut T)> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        let few = few.into_iter().flatten().map(|(id, kept)| (&*id, kept));
        few.chain(many.into_iter().flat_map(|many| many.iter_mut()))
    }

    /// What is kept of `id`, to be read.
    pub(super) fn get(&self, id: &UserId) -> Option<&T> {
        match self {
            Self::Few(few) => few
                .iter()
                .find(|(known, _)| known == id)
                .map(|(_, kept)| kept),
            Self::Many(many) => many.get(id),
        }
    }

    /// What is kept of `id`.
    pub(super) fn get_mut(&mut self, id: &UserId) -> Option<&mut T> {
        match self {
            Self::Few(few) => few
                .iter_mut()
                .find(|(known, _)| known == id)
                .map(|(_, kept)| kept),
            Self::Many(many) => many.get_mut(id),
        }
    }

    /// What is kept of `id`, and that is `new` if nothing was.
    pub(super) fn get_or_insert(&mut self, id: &UserId, new: T) -> &mut T {
        if let Self::Few(few) = self
            && few.len() == MAX_FEW
            && few.iter().all(|(known, _)| known != id)
        {
            *self = Self::Many(Box::new(few.drain(..).collect()));
        }
        match self {
            Self::Few(few) => {
                let at = few
                    .iter()
                    .position(|(known, _)| known == id)
                    .unwrap_or_else(|| {
                        if few.is_empty() {
                            // A vector that grows by itself begins with room for four.
                            few.reserve_exact(1);
                        }
                        few.push((id.clone(), new));
                        few.len() - 1
                    });
                &mut few[at].1
            }
            Self::Many(many) => many.entry(id.clone()).or_insert(new),
        }
    }

    /// Forgets `id`.
    pub(super) fn remove(&mut self, id: &UserId) {
        match self {
            Self::Few(few) => few.retain(|(known, _)| known != id),
            Self::Many(many) => drop(many.remove(id)),
        }
    }

    /// Keeps those of which `keep` says so, and no more room than those that are left may soon need.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&UserId, &mut T) -> bool) {
        match self {
            Self::Few(few) => {
                few.retain_mut(|(id, kept)| keep(id, kept));
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

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user-{number}")).expect("a name")
    }

    #[test]
    fn the_room_that_a_crowd_took_is_given_back_when_it_has_gone() {
        let mut roster = MemberMap::default();
        (0..10_000).for_each(|number| *roster.get_or_insert(&user(number), 0) = number);
        let capacity = |roster: &MemberMap<usize>| match roster {
            MemberMap::Few(few) => few.capacity(),
            MemberMap::Many(many) => many.capacity(),
        };
        assert!(capacity(&roster) >= 10_000);
        roster.retain(|_, number| *number < 100);
        assert!(
            (100..1000).contains(&capacity(&roster)),
            "{}",
            capacity(&roster)
        );
        roster.retain(|_, number| *number < 2);
        assert!(matches!(&roster, MemberMap::Few(few) if few.len() == 2));
        roster.retain(|_, _| false);
        assert_eq!(capacity(&roster), 0);
    }

    proptest! {
        #[test]
        fn a_roster_holds_what_a_map_would(
            steps in prop::collection::vec((0usize..20, 0u8..5, any::<u8>()), 0..200),
        ) {
            let (mut roster, mut map) = (MemberMap::default(), BTreeMap::new());
            for (who, what, value) in steps {
                match what {
                    0 | 1 => {
                        let kept = *map.entry(user(who)).or_insert(value);
                        prop_assert_eq!(*roster.get_or_insert(&user(who), value), kept);
                    }
                    2 => {
                        let kept = map.get_mut(&user(who)).map(|kept| { *kept = value; *kept });
                        prop_assert_eq!(roster.get_mut(&user(who)).map(|kept| { *kept = value; *kept }), kept);
                    }
                    3 => {
                        map.remove(&user(who));
                        roster.remove(&user(who));
                    }
                    _ => {
                        map.retain(|_, kept| *kept % 3 == value % 3);
                        roster.retain(|_, kept| *kept % 3 == value % 3);
                    }
                }
                let held: BTreeMap<_, _> = roster.iter().map(|(id, kept)| (id.clone(), *kept)).collect();
                prop_assert_eq!((roster.len(), &held), (map.len(), &map));
            }
        }
    }
}
