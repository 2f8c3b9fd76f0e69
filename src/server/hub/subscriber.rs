//! The interface between the hub and an open connection, and the list of the readers of a room or pattern. The hub calls
//! a [`Subscriber`] to flush messages, send notices, check timers, end subscriptions and close the connection.

use std::collections::HashSet;
use std::iter;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;

use crate::protocol::{CloseCode, Offset, Push, RoomName, RoomSelector, UnsubscribeCode};
use crate::server::hub::fanout::WRITES_PER_TURN;
use crate::server::hub::{Reclaimable, Tracer};
use crate::server::room::{Dialect, FanoutBatch, Tick};

/// A connection that reads rooms and patterns. None of its functions may block.
pub trait Subscriber: Send + Sync {
    /// Writes the messages that were not written to it yet, as far as the kernel accepts them. `batch` is a pass over one
    /// of its rooms or patterns.
    fn flush(&self, batch: &mut FanoutBatch<'_>);

    /// Checks its timers: pings, expiry, stalled reads.
    fn tick(&self, now: Tick);

    /// Sends `notice`, if the client's dialect has a frame for it.
    fn send(&self, notice: &Notice);

    /// Ends the connection.
    fn close(&self, closing: Closing);

    /// Ends the subscription to `rooms`, or the connection if its dialect has no frame for that.
    fn unsubscribe(&self, rooms: &RoomSelector, code: UnsubscribeCode);

    /// Excludes the rooms from which the client is banned from its patterns, and no others.
    fn apply_rules(&self);

    /// Sends the events of the connection to `tracer` from now on.
    fn trace(&self, tracer: Tracer);

    /// Returns its rooms, its read position and the memory it holds.
    fn status(&self) -> SubscriberStatus;
}

/// A push to many clients, in addition to the messages. It is encoded once for each dialect in use.
#[derive(Debug)]
pub struct Notice {
    push: Push,
    encodings: [OnceLock<Bytes>; Dialect::COUNT],
}

impl Notice {
    /// Creates a notice of `push`.
    pub const fn new(push: Push) -> Self {
        Self {
            push,
            encodings: [const { OnceLock::new() }; Dialect::COUNT],
        }
    }

    /// Returns the push.
    pub const fn push(&self) -> &Push {
        &self.push
    }

    /// Returns the notice in `dialect`; empty if its clients do not get it. Event streams have only the log, without
    /// presence and errors.
    pub fn encoded(&self, dialect: Dialect) -> &[u8] {
        if dialect.is_stream() && !matches!(self.push, Push::Deleted { .. }) {
            return &[];
        }

        self.encodings[dialect as usize].get_or_init(|| dialect.encode(&self.push))
    }
}

/// The way in which the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// A close with this code.
    Code(CloseCode),
    /// A close with 1001, because the server stops. The client should reconnect after this time.
    Drain(Duration),
    /// An end that frees the memory of the connection, with a Close frame only if the client reads.
    Evict,
}

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberStatus {
    /// The dialect in which it reads the log.
    pub dialect: Dialect,
    /// The rooms and patterns that it reads.
    pub rooms: Vec<RoomSelector>,
    /// The last offset that was at least partly written to it.
    pub offset: Offset,
    /// The number of messages that it has not received; an upper bound if not all of them are in memory.
    pub behind: u64,
    /// The number of bytes that are buffered only for this connection.
    pub waiting: usize,
    /// The memory that can be reclaimed from it; `None` if it is negligible.
    pub reclaimable: Option<Reclaimable>,
}

/// The readers of one room or pattern. A clone is cheap and does not change. A pass iterates over a clone, so only a
/// reader that is added or removed during the pass causes a copy.
#[derive(Clone, Default)]
pub(super) enum ReaderList {
    #[default]
    None,
    /// A single reader, with key 0. Most rooms have one member, and this case needs no allocation.
    One(Arc<dyn Subscriber>),
    Many(Arc<Slab<Arc<dyn Subscriber>>>),
}

impl ReaderList {
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

    /// Ends the subscription of each reader to `room`, which was deleted.
    pub(super) async fn unsubscribe(self, room: &RoomName) {
        let room = RoomSelector::from(room.clone());
        for (number, reader) in self.iter().enumerate() {
            if number % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            reader.unsubscribe(&room, UnsubscribeCode::RoomDeleted);
        }
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

/// Sends `notice` to every reader of `lists`, once to a reader that is in several of them. In large rooms this takes a
/// while.
pub(super) async fn notify_all(lists: &[ReaderList], notice: &Notice) {
    // The lists keep the readers alive, so no address is used twice.
    let mut notified = HashSet::new();
    let mut writes = 0;

    for reader in lists.iter().flat_map(ReaderList::iter) {
        let address = Arc::as_ptr(reader).cast::<()>().addr();
        if lists.len() > 1 && !notified.insert(address) {
            continue;
        }

        writes += 1;
        if writes % WRITES_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
        reader.send(notice);
    }
}

/// A subscriber without a client that counts the notices sent to it.
#[cfg(test)]
pub(super) struct TestSubscriber {
    pub(super) on_flush: fn(),
    pub(super) notices: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl TestSubscriber {
    pub(super) fn new() -> Self {
        Self {
            on_flush: || {},
            notices: std::sync::atomic::AtomicUsize::new(0),
        }
    }
}

#[cfg(test)]
impl Subscriber for TestSubscriber {
    fn flush(&self, _: &mut FanoutBatch<'_>) {
        (self.on_flush)();
    }

    fn tick(&self, _: Tick) {}

    fn send(&self, _: &Notice) {
        self.notices
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn close(&self, _: Closing) {}

    fn unsubscribe(&self, _: &RoomSelector, _: UnsubscribeCode) {}

    fn apply_rules(&self) {}

    fn trace(&self, _: Tracer) {}

    fn status(&self) -> SubscriberStatus {
        SubscriberStatus {
            dialect: Dialect::Typed,
            rooms: Vec::new(),
            offset: Offset(0),
            behind: 0,
            waiting: 0,
            reclaimable: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn a_reader_of_several_lists_is_notified_once() {
        let readers = [(); 2].map(|()| Arc::new(TestSubscriber::new()));
        let mut lists = [ReaderList::default(), ReaderList::default()];
        for list in &mut lists {
            list.insert(readers[0].clone());
        }
        lists[1].insert(readers[1].clone());

        notify_all(&lists, &Notice::new(Push::Pong)).await;

        let notices =
            readers.map(|reader| reader.notices.load(std::sync::atomic::Ordering::Relaxed));
        assert_eq!(notices, [1, 1]);
    }

    proptest! {
        #[test]
        fn a_key_finds_its_reader_and_a_clone_stays_as_it_was(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..60),
        ) {
            let mut readers = ReaderList::default();
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
