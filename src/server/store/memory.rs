//! A store in memory. Messages are lost when the process ends. Each room has its own queue of frames and its own
//! deduplication window, and all rooms share one clock for expiry.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::memory::Memory;
use crate::server::room::{DedupEntry, DedupWindow, Draft, Frame};
use crate::server::store::changes::{ChangeSender, Changes, LogChange, StoreFuture};
use crate::server::store::clock::Clock;
use crate::server::store::{
    Bounds, Deleted, Health, Limit, Page, Retention, Span, Store, StoreError, Stored,
};

/// A store in memory. See the [module docs](self).
#[derive(Debug)]
pub struct MemoryStore {
    retention: Retention,
    clock: Arc<Clock>,
    health: watch::Sender<Health>,
    changes: ChangeSender,
    /// The epoch of new rooms. It changes whenever a room is dropped together with its messages.
    epoch: Mutex<Epoch>,
    rooms: Mutex<HashMap<RoomName, Arc<Mutex<Kept>>>>,
}

/// The log of one room.
#[derive(Debug)]
struct Kept {
    epoch: Epoch,
    head: Offset,
    /// The messages, each with the time of the store's clock.
    frames: VecDeque<(Arc<Frame>, u64)>,
    bytes: usize,
    keys: DedupWindow,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new(retention: Retention) -> Self {
        Self::with_clock(retention, Arc::new(Clock::new()))
    }

    pub(super) fn with_clock(retention: Retention, clock: Arc<Clock>) -> Self {
        Self {
            retention,
            clock,
            health: watch::Sender::new(Health::Ready),
            changes: ChangeSender::default(),
            epoch: Mutex::new(random_epoch()),
            rooms: Mutex::default(),
        }
    }

    fn room(&self, name: &RoomName) -> Arc<Mutex<Kept>> {
        let new = || {
            Arc::new(Mutex::new(Kept {
                epoch: self.epoch.lock().clone(),
                head: Offset(0),
                frames: VecDeque::new(),
                bytes: 0,
                keys: DedupWindow::new(self.retention.keys),
            }))
        };
        let mut rooms = self.rooms.lock();
        match rooms.get(name) {
            Some(room) => room.clone(),
            None => rooms.entry(name.clone()).or_insert_with(new).clone(),
        }
    }
}

impl Kept {
    fn store(&mut self, draft: Draft, at: u64, now: u64) -> Stored {
        if let Some(key) = draft.key()
            && let Some((offset, at)) = self.keys.find(draft.from(), key)
        {
            return Stored::Duplicate { offset, at };
        }

        let prev = self.head;
        self.head = Offset(prev.0 + 1);
        if let Some(key) = draft.key().cloned() {
            let from = draft.from().clone();
            self.keys.insert(DedupEntry {
                from,
                key,
                offset: self.head,
                at,
                clock: now,
            });
        }

        let frame = Arc::new(Frame::new(draft, self.epoch.clone(), self.head, prev, at));
        self.bytes += frame.size();
        self.frames.push_back((frame.clone(), now));
        Stored::New(frame)
    }

    fn delete(&mut self, offset: Offset) -> Deleted {
        let Ok(at) = self
            .frames
            .binary_search_by_key(&offset, |(frame, _)| frame.offset())
        else {
            return Deleted::NotKept;
        };

        let frame = &mut self.frames[at].0;
        if frame.is_deleted() {
            return Deleted::Before;
        }

        let tombstone = Arc::new(frame.tombstone());
        self.bytes += tombstone.size();
        self.bytes -= frame.size();
        *frame = tombstone;
        Deleted::Now
    }

    /// Drops messages and keys that are past the limits.
    fn trim(&mut self, now: u64, retention: &Retention) {
        self.keys.expire(self.head, now);
        while let Some((oldest, stored)) = self.frames.front() {
            let is_old = u128::from(now.saturating_sub(*stored)) > retention.age.as_millis();
            let is_over = self.frames.len() > retention.messages
                || (self.bytes > retention.bytes && self.frames.len() > 1);
            if !is_old && !is_over {
                return;
            }
            self.bytes -= oldest.size();
            self.frames.pop_front();
        }
    }

    fn page(&self, span: Span, limit: Limit) -> Page {
        let place = |offset: Offset| {
            self.frames
                .partition_point(|(frame, _)| frame.offset() <= offset)
        };
        let (start, end) = match span {
            Span::After(after) => (place(after), self.frames.len()),
            Span::Before(before) => (0, place(Offset(before.0.saturating_sub(1)))),
            Span::Newest => (0, self.frames.len()),
        };
        let due = self.frames.range(start..end).map(|(frame, _)| frame);
        let page = if matches!(span, Span::After(_)) {
            Page::oldest(due, limit)
        } else {
            Page::newest(due.rev(), limit)
        };

        let first = self.frames.front().map(|(frame, _)| frame.prev());
        Page {
            gone: Some(first.unwrap_or(self.head)),
            ..page
        }
    }
}

impl Store for MemoryStore {
    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError> {
        let room = self.room(room);
        let mut kept = room.lock();
        kept.trim(self.clock.now(), &self.retention);
        let first = kept
            .frames
            .front()
            .map_or(Offset(0), |(frame, _)| frame.offset());
        Ok(Bounds::dense(kept.epoch.clone(), first, kept.head))
    }

    fn changes(&self) -> Changes {
        self.changes.subscribe()
    }

    fn append(&self, room: &RoomName, drafts: Vec<Draft>, at: u64) -> StoreFuture<Vec<Stored>> {
        let (call, result) = self.changes.begin(room, drafts.len());
        // Keys must be remembered for the configured time and cannot be dropped, so keyed messages are refused while
        // memory is short.
        if Memory::of_process().is_tight() && drafts.iter().any(|draft| draft.key().is_some()) {
            let reason = "no memory for more keys; try again in a moment (--memory-budget)";
            let refusal = Err(StoreError::Unavailable(reason.to_owned()));
            self.changes
                .send(vec![LogChange::AppendFinished(call, refusal)]);
            return result;
        }

        let room = self.room(room);
        let mut kept = room.lock();
        let now = self.clock.now();
        kept.trim(now, &self.retention);
        let stored = drafts
            .into_iter()
            .map(|draft| kept.store(draft, at, now))
            .collect();
        kept.trim(now, &self.retention);

        // Sent under the lock, so that changes are in the order of the offsets.
        self.changes
            .send(vec![LogChange::AppendFinished(call, Ok(stored))]);
        result
    }

    fn delete(&self, room: &RoomName, offset: Offset, at: u64) -> StoreFuture<Deleted> {
        let (call, result) = self.changes.begin(room, 1);
        let room = self.room(room);
        let mut kept = room.lock();
        let deleted = kept.delete(offset);

        self.changes.send_deleted(call, offset, at, Ok(deleted));
        result
    }

    fn flush(&self) -> BoxFuture<'static, ()> {
        self.changes.flush()
    }

    fn read(&self, room: &RoomName, span: Span, limit: Limit) -> StoreFuture<Page> {
        let room = self.room(room);
        let mut kept = room.lock();
        kept.trim(self.clock.now(), &self.retention);
        ready(Ok(kept.page(span, limit))).boxed()
    }

    /// Trims each room to its share of `bytes`. The newest message is always kept.
    fn reclaim(&self, bytes: usize) {
        let rooms: Vec<_> = self.rooms.lock().values().cloned().collect();
        let retention = Retention {
            bytes: self.retention.bytes.min(bytes / rooms.len().max(1)),
            ..self.retention
        };

        let now = self.clock.now();
        for room in rooms {
            room.lock().trim(now, &retention);
        }
    }

    fn release(&self, room: &RoomName) {
        let Some(kept) = self.rooms.lock().remove(room) else {
            return;
        };
        // The readers of a room that never had messages have lost nothing.
        if kept.lock().head > Offset(0) {
            *self.epoch.lock() = random_epoch();
        }
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn close(&self) {}
}

fn random_epoch() -> Epoch {
    Epoch::new(fastrand::u32(..))
}
