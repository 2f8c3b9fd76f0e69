//! A store for rooms that need not outlast the process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::{Draft, Frame, KeyLimits, KeyWindow, LogLimits};
use crate::server::store::{Bounds, Limit, Page, Report, Span, Store, StoreError, Stored};

/// How much is kept of each room.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// Count and bytes.
    pub log: LogLimits,
    /// Age.
    pub age: Duration,
    /// How long keys are remembered.
    pub keys: KeyLimits,
}

/// See the [module docs](self).
#[derive(Debug)]
pub struct MemoryStore {
    limits: MemoryLimits,
    rooms: Mutex<HashMap<RoomName, Arc<Mutex<Kept>>>>,
}

/// What is kept of one room.
#[derive(Debug)]
struct Kept {
    epoch: Epoch,
    head: Offset,
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    keys: KeyWindow,
}

impl MemoryStore {
    /// A store with nothing in it.
    pub fn new(limits: MemoryLimits) -> Self {
        Self { limits, rooms: Mutex::default() }
    }

    fn room(&self, name: &RoomName) -> Arc<Mutex<Kept>> {
        let new = || {
            Arc::new(Mutex::new(Kept {
                epoch: Epoch::new(fastrand::u32(..)),
                head: Offset(0),
                frames: VecDeque::new(),
                bytes: 0,
                keys: KeyWindow::new(self.limits.keys),
            }))
        };
        lock(&self.rooms).entry(name.clone()).or_insert_with(new).clone()
    }
}

impl Kept {
    fn store(&mut self, draft: Draft, now: u64, limits: &MemoryLimits) -> Stored {
        if let Some(key) = draft.key()
            && let Some((offset, at)) = self.keys.find(draft.from(), key, now)
        {
            return Stored::Duplicate { offset, at };
        }
        let prev = self.head;
        self.head = Offset(prev.0 + 1);
        self.keys.stored(draft.from(), draft.key(), self.head, now);
        let frame = Arc::new(Frame::new(draft, self.epoch.clone(), self.head, prev, now));
        self.bytes += frame.size();
        self.frames.push_back(frame.clone());
        self.trim(now, limits);
        Stored::New(frame)
    }

    /// Drops the oldest entries past the limits; never the newest.
    fn trim(&mut self, now: u64, limits: &MemoryLimits) {
        while let [Some(oldest), Some(_)] = [self.frames.front(), self.frames.get(1)] {
            let is_old = u128::from(now.saturating_sub(oldest.at())) > limits.age.as_millis();
            if !is_old && self.frames.len() <= limits.log.messages && self.bytes <= limits.log.bytes {
                return;
            }
            self.bytes -= oldest.size();
            self.frames.pop_front();
        }
    }

    fn page(&self, span: Span, limit: Limit) -> Page {
        let place = |offset: Offset| self.frames.partition_point(|frame| frame.offset() <= offset);
        let (start, end) = match span {
            Span::After(after) => (place(after), self.frames.len()),
            Span::Before(before) => (0, place(Offset(before.0.saturating_sub(1)))),
            Span::Newest => (0, self.frames.len()),
        };
        let due = self.frames.range(start..end);
        let (frames, more) = if matches!(span, Span::After(_)) {
            take(due, limit)
        } else {
            let (mut newest_first, more) = take(due.rev(), limit);
            newest_first.reverse();
            (newest_first, more)
        };
        Page { frames, more }
    }
}

/// As many of `frames` as `limit` allows, and whether there are more.
fn take<'a>(frames: impl Iterator<Item = &'a Arc<Frame>>, limit: Limit) -> (Vec<Arc<Frame>>, bool) {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for frame in frames {
        bytes += frame.size();
        if taken.len() == limit.messages || (bytes > limit.bytes && !taken.is_empty()) {
            return (taken, true);
        }
        taken.push(frame.clone());
    }
    (taken, false)
}

impl Store for MemoryStore {
    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError> {
        let room = self.room(room);
        let kept = lock(&room);
        let first = kept.frames.front().map_or(Offset(0), |frame| frame.offset());
        Ok(Bounds { epoch: kept.epoch.clone(), first, head: kept.head })
    }

    fn append(&self, room: &RoomName, drafts: Vec<Draft>, now: u64, report: Report) {
        let room = self.room(room);
        let mut kept = lock(&room);
        let stored = drafts.into_iter().map(|draft| kept.store(draft, now, &self.limits)).collect();
        // Under the lock: so that reports come in the order of the offsets.
        report(Ok(stored));
    }

    fn read(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
    ) -> BoxFuture<'static, Result<Page, StoreError>> {
        let room = self.room(room);
        let page = lock(&room).page(span, limit);
        ready(Ok(page)).boxed()
    }

    fn release(&self, room: &RoomName) {
        lock(&self.rooms).remove(room);
    }
}

/// What these locks guard is consistent between statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Key;
    use crate::protocol::UserId;

    fn store(messages: usize) -> MemoryStore {
        MemoryStore::new(MemoryLimits {
            log: LogLimits { messages, bytes: usize::MAX },
            age: Duration::from_secs(60),
            keys: KeyLimits { messages: 1000, age: Duration::from_secs(600) },
        })
    }

    fn append(store: &MemoryStore, key: Option<&str>, now: u64) -> (u64, bool) {
        let key = key.and_then(|key| Key::parse(key).ok());
        let drafts = vec![Draft::text(UserId::guest(1), key, "hello")];
        let (sender, receiver) = std::sync::mpsc::channel();
        store.append(
            &RoomName::lobby(),
            drafts,
            now,
            Box::new(move |stored| sender.send(stored).expect("heard")),
        );
        match receiver.recv().expect("told").expect("stored").remove(0) {
            Stored::New(frame) => (frame.offset().0, false),
            Stored::Duplicate { offset, .. } => (offset.0, true),
        }
    }

    fn offsets(store: &MemoryStore, span: Span, messages: usize) -> (Vec<u64>, bool) {
        offsets_within(store, span, Limit { messages, bytes: usize::MAX })
    }

    fn offsets_within(store: &MemoryStore, span: Span, limit: Limit) -> (Vec<u64>, bool) {
        let page =
            store.read(&RoomName::lobby(), span, limit).now_or_never().expect("ready").expect("a page");
        (page.frames.iter().map(|frame| frame.offset().0).collect(), page.more)
    }

    #[test]
    fn a_repeated_key_is_stored_once() {
        let store = store(100);
        assert_eq!(append(&store, Some("a"), 0), (1, false));
        assert_eq!(append(&store, Some("b"), 0), (2, false));
        assert_eq!(append(&store, Some("a"), 1), (1, true));
        assert_eq!(offsets(&store, Span::Newest, 9), (vec![1, 2], false));
    }

    #[test]
    fn pages_are_read_from_either_end() {
        let store = store(5);
        for _message in 0..8 {
            append(&store, None, 0);
        }
        assert_eq!(offsets(&store, Span::Newest, 2), (vec![7, 8], true));
        assert_eq!(offsets(&store, Span::Before(Offset(7)), 2), (vec![5, 6], true));
        assert_eq!(offsets(&store, Span::Before(Offset(6)), 2), (vec![4, 5], false));
        assert_eq!(offsets(&store, Span::Before(Offset(4)), 2), (vec![], false));
        assert_eq!(offsets(&store, Span::After(Offset(0)), 2), (vec![4, 5], true));
        assert_eq!(offsets(&store, Span::After(Offset(6)), 2), (vec![7, 8], false));
        let bounds = store.bounds(&RoomName::lobby()).expect("bounds");
        assert_eq!((bounds.first, bounds.head), (Offset(4), Offset(8)));
    }

    #[test]
    fn a_page_is_bounded_by_bytes_too_but_never_empty() {
        let store = store(5);
        for _message in 0..3 {
            append(&store, None, 0);
        }
        let within = |bytes| Limit { messages: 9, bytes };
        assert_eq!(offsets_within(&store, Span::Newest, within(1)), (vec![3], true));
        assert_eq!(offsets_within(&store, Span::After(Offset(0)), within(1)), (vec![1], true));
        let two = 2 * (size_of::<Frame>() + 7);
        assert_eq!(offsets_within(&store, Span::Newest, within(two)), (vec![2, 3], true));
    }

    #[test]
    fn what_is_too_old_goes_but_never_the_newest() {
        let store = store(100);
        append(&store, None, 0);
        append(&store, None, 50_000);
        append(&store, None, 61_000);
        assert_eq!(offsets(&store, Span::Newest, 9), (vec![2, 3], false));
        append(&store, None, 500_000);
        assert_eq!(offsets(&store, Span::Newest, 9), (vec![4], false));
    }

    proptest! {
        #[test]
        fn offsets_grow_by_one_whatever_is_repeated_or_trimmed(
            keys in prop::collection::vec(prop::option::of(0u8..5), 1..60), messages in 1usize..10,
        ) {
            let store = store(messages);
            let mut first_of = HashMap::new();
            let mut head = 0;
            for key in keys {
                let (offset, duplicate) = append(&store, key.map(|key| key.to_string()).as_deref(), 0);
                match key.and_then(|key| first_of.get(&key)) {
                    Some(first) => prop_assert_eq!((offset, duplicate), (*first, true)),
                    None => {
                        head += 1;
                        prop_assert_eq!((offset, duplicate), (head, false));
                        if let Some(key) = key { first_of.insert(key, offset); }
                    }
                }
            }
        }
    }
}
