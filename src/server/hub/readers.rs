//! Who a room's log is written to.

use std::iter;
use std::sync::Arc;

use slab::Slab;

use crate::server::hub::Outlet;

/// The outlets of one room. A clone is cheap and stays as it is: a pass goes over one, so that whoever comes or
/// goes during the pass pays for a copy, and nobody else for anything.
#[derive(Clone, Default)]
pub(super) enum Readers {
    #[default]
    None,
    /// Most rooms have one member; it needs no memory of its own. Its key is 0.
    One(Arc<dyn Outlet>),
    Many(Arc<Slab<Arc<dyn Outlet>>>),
}

impl Readers {
    /// Adds `outlet`; gives its key.
    pub(super) fn insert(&mut self, outlet: Arc<dyn Outlet>) -> usize {
        *self = match std::mem::take(self) {
            Self::None => {
                *self = Self::One(outlet);
                return 0;
            }
            Self::One(first) => Self::Many(Arc::new(iter::once((0, first)).collect())),
            many @ Self::Many(_) => many,
        };
        match self {
            Self::Many(many) => Arc::make_mut(many).insert(outlet),
            Self::None | Self::One(_) => 0,
        }
    }

    /// Takes out the one with `key`. When the last has gone, so has the memory that a crowd took.
    pub(super) fn remove(&mut self, key: usize) -> Option<Arc<dyn Outlet>> {
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

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(many) => many.len(),
        }
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Outlet>> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(one) => (Some(one), None),
            Self::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(
            many.into_iter()
                .flat_map(|many| many.iter().map(|(_, outlet)| outlet)),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{CloseCode, Offset, Push};
    use crate::server::hub::{Standing, Tracer};
    use crate::server::room::{Dialect, FanoutBatch, Tick};

    struct Nobody;

    impl Outlet for Nobody {
        fn flush(&self, _: &mut FanoutBatch<'_>) {}
        fn tick(&self, _: Tick) {}
        fn tell(&self, _: &[u8]) {}
        fn say(&self, _: &Push) {}
        fn drain(&self, _: Duration) {}
        fn close(&self, _: CloseCode) {}
        fn trace(&self, _: Tracer) {}
        fn standing(&self) -> Standing {
            Standing {
                dialect: Dialect::Plain,
                offset: Offset(0),
                waiting: 0,
            }
        }
    }

    proptest! {
        #[test]
        fn a_key_finds_its_outlet_and_a_clone_stays_as_it_was(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..60),
        ) {
            let mut readers = Readers::default();
            let mut known: Vec<(usize, Arc<dyn Outlet>)> = Vec::new();
            for (comes, which) in steps {
                let (before, count) = (readers.clone(), known.len());
                if comes || known.is_empty() {
                    let outlet: Arc<dyn Outlet> = Arc::new(Nobody);
                    let key = readers.insert(outlet.clone());
                    prop_assert!(known.iter().all(|(taken, _)| *taken != key));
                    known.push((key, outlet));
                } else {
                    let (key, outlet) = known.swap_remove(which.index(known.len()));
                    let removed = readers.remove(key).expect("it is there");
                    prop_assert!(Arc::ptr_eq(&removed, &outlet));
                }
                prop_assert_eq!((readers.iter().count(), before.iter().count()), (known.len(), count));
            }
        }
    }
}
