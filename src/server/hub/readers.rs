//! The readers of a room, in a list that is cheap to clone. The usual case of a single reader needs no allocation.

use std::iter;
use std::sync::Arc;

use slab::Slab;

use crate::server::hub::Subscriber;

/// The subscribers of one room. A clone is cheap and does not change. A pass iterates over a clone, so only a reader
/// that joins or leaves during the pass causes a copy.
#[derive(Clone, Default)]
pub(super) enum Readers {
    #[default]
    None,
    /// A single reader, with key 0. Most rooms have one member, and this case needs no allocation.
    One(Arc<dyn Subscriber>),
    Many(Arc<Slab<Arc<dyn Subscriber>>>),
}

impl Readers {
    /// Adds `reader` and returns its key.
    pub(super) fn insert(&mut self, reader: Arc<dyn Subscriber>) -> usize {
        *self = match std::mem::take(self) {
            Self::None => {
                *self = Self::One(reader);
                return 0;
            }
            Self::One(first) => Self::Many(Arc::new(iter::once((0, first)).collect())),
            many @ Self::Many(_) => many,
        };
        match self {
            Self::Many(many) => Arc::make_mut(many).insert(reader),
            Self::None | Self::One(_) => 0,
        }
    }

    /// Removes the reader with `key`. Removing the last one frees the memory of the list.
    pub(super) fn remove(&mut self, key: usize) -> Option<Arc<dyn Subscriber>> {
        let (removed, is_empty) = match self {
            Self::None => return None,
            Self::One(_) => {
                let Self::One(only) = std::mem::take(self) else {
                    return None;
                };
                return Some(only);
            }
            Self::Many(many) => {
                let many = Arc::make_mut(many);
                (many.try_remove(key), many.is_empty())
            }
        };
        if is_empty {
            *self = Self::None;
        }
        removed
    }

    /// Returns the number of readers.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(many) => many.len(),
        }
    }

    /// Returns an iterator over all readers, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Subscriber>> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(
            many.into_iter()
                .flat_map(|many| many.iter().map(|(_, reader)| reader)),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::hub::subscriber::TestSubscriber;

    proptest! {
        #[test]
        fn a_key_finds_its_reader_and_a_clone_stays_as_it_was(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..60),
        ) {
            let mut readers = Readers::default();
            let mut known: Vec<(usize, Arc<dyn Subscriber>)> = Vec::new();
            for (comes, which) in steps {
                let (before, count) = (readers.clone(), known.len());

                if comes || known.is_empty() {
                    let reader: Arc<dyn Subscriber> = Arc::new(TestSubscriber::new());
                    let key = readers.insert(reader.clone());
                    prop_assert!(known.iter().all(|(taken, _)| *taken != key));
                    known.push((key, reader));
                } else {
                    let (key, reader) = known.swap_remove(which.index(known.len()));
                    let removed = readers.remove(key).expect("it is there");
                    prop_assert!(Arc::ptr_eq(&removed, &reader));
                }

                prop_assert_eq!((readers.iter().count(), before.iter().count()), (known.len(), count));
            }
        }
    }
}
