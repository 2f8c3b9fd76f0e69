//! A store in memory. Messages are lost when the process ends. Each room has its own queue of frames and its own
//! deduplication window, and all rooms share one sequence of offsets and one clock for expiry.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::protocol::{Epoch, Offset, RoomName, RoomPattern, RoomSelector};
use crate::server::memory::Memory;
use crate::server::room::{DedupLimits, Draft};
use crate::server::room_rules::RoomRuleTable;
use crate::server::store::changes::{ChangeSender, Changes, LogChange, StoreFuture};
use crate::server::store::clock::{Clock, now_millis};
use crate::server::store::matching::{
    self, MatchingPage, MatchingRange, OldestFrames, RoomFilter, StoredRoom,
};
use crate::server::store::memory_room::MemoryRoom;
use crate::server::store::room_limits::RoomLimitTable;
use crate::server::store::{
    AppendConditions, AppendOutcome, AppendRefusal, AppendResult, Bounds, CreateOutcome,
    CreateResult, Deleted, Health, HookState, Lifecycle, Limit, NewRoom, Page, Retention,
    RoomChange, Span, Store, StoreError, Stored,
};

/// The settings of a [`MemoryStore`].
#[derive(Clone, Debug)]
pub struct MemorySettings {
    /// The limits of the messages that are kept.
    pub retention: Retention,
    /// The rules for rooms.
    pub rules: Arc<RoomRuleTable>,
    /// The largest number of created rooms, which are kept even if nobody uses them.
    pub max_rooms: usize,
}

#[cfg(test)]
impl MemorySettings {
    /// Returns settings for tests, without rules.
    pub(in crate::server) fn of_test(retention: Retention) -> Self {
        Self {
            retention,
            rules: Arc::default(),
            max_rooms: 10_000,
        }
    }
}

/// A store in memory. See the [module docs](self).
#[derive(Debug)]
pub struct MemoryStore {
    limits: RoomLimitTable,
    key_limits: DedupLimits,
    max_created: usize,
    clock: Arc<Clock>,
    health: watch::Sender<Health>,
    changes: ChangeSender,
    epoch: Epoch,
    /// The newest offset of all rooms. Lock order: the room first.
    newest: Mutex<u64>,
    /// Lock order: before that of a room.
    rooms: Mutex<MemoryRooms>,
    /// The number of created rooms.
    created: AtomicUsize,
    /// The states of the hooks, by name.
    hooks: Mutex<HashMap<String, HookState>>,
}

type NamedLog = (RoomName, Arc<Mutex<MemoryRoom>>);

#[derive(Debug, Default)]
struct MemoryRooms {
    logs: HashMap<RoomName, Arc<Mutex<MemoryRoom>>>,
    /// The newest offset of the rooms that were dropped. New rooms begin after it.
    floor: Offset,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new(settings: &MemorySettings) -> Self {
        Self::with_clock(settings, Arc::new(Clock::new()))
    }

    pub(super) fn with_clock(settings: &MemorySettings, clock: Arc<Clock>) -> Self {
        Self {
            limits: RoomLimitTable::new(settings.retention, settings.rules.clone()),
            key_limits: settings.retention.keys,
            max_created: settings.max_rooms,
            clock,
            health: watch::Sender::new(Health::Ready),
            changes: ChangeSender::default(),
            epoch: Epoch::new(fastrand::u32(..)),
            newest: Mutex::new(0),
            rooms: Mutex::default(),
            created: AtomicUsize::new(0),
            hooks: Mutex::default(),
        }
    }

    fn room(&self, name: &RoomName) -> Arc<Mutex<MemoryRoom>> {
        let mut rooms = self.rooms.lock();
        if let Some(room) = rooms.logs.get(name) {
            return room.clone();
        }

        let limits = self.limits.of(name, &Lifecycle::default());
        let room = MemoryRoom::new(rooms.floor, limits, self.key_limits);
        let room = Arc::new(Mutex::new(room));
        rooms.logs.insert(name.clone(), room.clone());
        room
    }

    /// Returns the log of `name` if the room exists. An expired room is deleted.
    fn find(&self, name: &RoomName) -> Option<Arc<Mutex<MemoryRoom>>> {
        let room = self.rooms.lock().logs.get(name)?.clone();
        let is_expired = room.lock().is_expired(self.clock.now());
        if is_expired {
            self.remove(name, |kept| kept.is_expired(self.clock.now()));
            return None;
        }

        let is_known = room.lock().is_known();
        is_known.then_some(room)
    }

    /// Changes the log of `name`, which is created if it does not exist. An expired room is deleted first.
    fn change<T>(&self, name: &RoomName, change: impl FnOnce(&mut MemoryRoom) -> T) -> T {
        loop {
            let room = self.room(name);
            let mut kept = room.lock();
            // It may have been deleted before it was locked.
            if kept.is_deleted {
                continue;
            }
            if !kept.is_expired(self.clock.now()) {
                return change(&mut kept);
            }
            drop(kept);
            self.remove(name, |kept| kept.is_expired(self.clock.now()));
        }
    }

    /// Deletes the room `name` if it exists and `is_due`. Returns true if it was deleted.
    fn remove(&self, name: &RoomName, is_due: impl FnOnce(&MemoryRoom) -> bool) -> bool {
        let mut rooms = self.rooms.lock();
        let Some(room) = rooms.logs.get(name).cloned() else {
            return false;
        };
        let mut kept = room.lock();
        if !is_due(&kept) {
            return false;
        }

        kept.is_deleted = true;
        let created = usize::from(kept.has_settings());
        self.created.fetch_sub(created, Ordering::Relaxed);
        rooms.logs.remove(name);
        rooms.floor = rooms.floor.max(kept.head);
        // Sent under the lock, so that it follows the changes of the room.
        self.changes
            .send(vec![LogChange::RoomDeleted(name.clone(), kept.head)]);
        true
    }

    /// Stores `drafts` in `room`, whose log is `kept`, and sends the changes that `finish` adds to them.
    fn store_all(
        &self,
        kept: &mut MemoryRoom,
        room: &RoomName,
        drafts: Vec<Draft>,
        at: u64,
        finish: impl FnOnce(&MemoryRoom, Vec<LogChange>) -> Vec<LogChange>,
    ) {
        let now = self.clock.now();
        let mut newest = self.newest.lock();
        let stored: Vec<_> = drafts
            .into_iter()
            .map(|draft| kept.store(room, draft, &self.epoch, &mut newest, at, now))
            .collect();

        let frames: Vec<_> = stored.iter().filter_map(Stored::frame).cloned().collect();
        let appended = (!frames.is_empty()).then(|| LogChange::Appended(room.clone(), frames));
        // Sent under the lock, so that changes are in the order of the offsets.
        self.changes
            .send(finish(kept, appended.into_iter().collect()));
        drop(newest);
        kept.trim(now);
    }

    /// Returns true if another room may be created, and counts it.
    fn count_created(&self) -> bool {
        let one_more = |created| (created < self.max_created).then_some(created + 1);
        self.created
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Returns the rooms that `is_selected`, trimmed, and the newest offset of the rooms that were dropped.
    fn select(&self, is_selected: impl Fn(&RoomName) -> bool) -> (Vec<NamedLog>, Offset) {
        let rooms = self.rooms.lock();
        let selected = rooms.logs.iter().filter(|(name, _)| is_selected(name));
        let selected: Vec<_> = selected
            .map(|(name, room)| (name.clone(), room.clone()))
            .collect();
        let floor = rooms.floor;
        drop(rooms);

        let now = self.clock.now();
        for (_, room) in &selected {
            room.lock().trim(now);
        }
        (selected, floor)
    }
}

impl Store for MemoryStore {
    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError> {
        let room = self.room(room);
        let mut kept = room.lock();
        kept.trim(self.clock.now());
        Ok(Bounds {
            epoch: self.epoch.clone(),
            first: kept.first(),
            head: kept.head,
            gone: kept.gone,
            newest: Offset(*self.newest.lock()),
            is_known: kept.is_known(),
        })
    }

    fn changes(&self) -> Changes {
        self.changes.subscribe()
    }

    fn append(&self, room: &RoomName, drafts: Vec<Draft>, at: u64) -> StoreFuture<Vec<Stored>> {
        let (call, result) = self.changes.begin(room, drafts.len());
        // Keys must be remembered for the configured time and cannot be dropped, so keyed messages are refused while
        // memory is short.
        if Memory::of_process().is_short() && drafts.iter().any(|draft| draft.key().is_some()) {
            let reason = "no memory for more keys; try again in a moment (--memory-budget)";
            let refusal = Err(StoreError::Unavailable(reason.to_owned()));
            self.changes
                .send(vec![LogChange::AppendFinished(call, refusal)]);
            return result;
        }

        self.change(room, |kept| {
            if kept.lifecycle.is_closed {
                let refusal = Err(StoreError::RoomClosed);
                return self
                    .changes
                    .send(vec![LogChange::AppendFinished(call, refusal)]);
            }

            let now = self.clock.now();
            kept.trim(now);
            let mut newest = self.newest.lock();
            let stored = drafts
                .into_iter()
                .map(|draft| kept.store(room, draft, &self.epoch, &mut newest, at, now))
                .collect();

            // Sent under the lock, so that changes are in the order of the offsets.
            self.changes
                .send(vec![LogChange::AppendFinished(call, Ok(stored))]);
            drop(newest);
            kept.trim(now);
        });
        result
    }

    fn lifecycle(&self, room: &RoomName) -> Result<Option<Lifecycle>, StoreError> {
        let kept = self.find(room);
        Ok(kept.map(|kept| kept.lock().lifecycle.clone()))
    }

    fn create_room(&self, room: &RoomName, new: NewRoom, at: u64) -> StoreFuture<CreateResult> {
        let (call, result) = self.changes.begin(room, new.drafts.len());
        self.change(room, |kept| {
            if kept.is_known() {
                let outcome = kept.lifecycle.compare(&new);
                let head = kept.head;
                let result = Ok(CreateResult { outcome, head });
                return self.changes.send(vec![call.finish(result)]);
            }
            if !self.count_created() {
                let limit = self.max_created;
                let refusal = Err(StoreError::TooManyStreams { limit });
                return self.changes.send(vec![call.finish(refusal)]);
            }

            kept.lifecycle = Lifecycle::of(&new, self.clock.now());
            kept.limits = self.limits.of(room, &kept.lifecycle);
            self.store_all(kept, room, new.drafts, at, |kept, mut changes| {
                let head = kept.head;
                if new.is_closed {
                    changes.push(LogChange::Closed(room.clone(), head));
                }
                let outcome = CreateOutcome::Created;
                changes.push(call.finish(Ok(CreateResult { outcome, head })));
                changes
            });
        });
        result
    }

    fn append_if(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        conditions: AppendConditions,
        at: u64,
    ) -> StoreFuture<AppendResult> {
        let (call, result) = self.changes.begin(room, drafts.len());
        self.change(room, |kept| {
            let producer = conditions.producer.as_ref();
            let newest = producer.and_then(|producer| kept.producers.get(&producer.id));
            let outcome = if kept.is_known() {
                conditions.check(&kept.lifecycle, newest.copied(), !drafts.is_empty())
            } else {
                AppendOutcome::Refused(AppendRefusal::NoRoom)
            };
            if outcome != AppendOutcome::Stored {
                let result = AppendResult {
                    outcome,
                    head: kept.head,
                    is_closed: kept.lifecycle.is_closed,
                };
                return self.changes.send(vec![call.finish_append(Ok(result))]);
            }

            if let Some(producer) = producer {
                kept.producers.insert(producer.id.clone(), producer.state());
            }
            kept.lifecycle.record(&conditions, self.clock.now());
            self.store_all(kept, room, drafts, at, |kept, mut changes| {
                let (head, is_closed) = (kept.head, kept.lifecycle.is_closed);
                if is_closed {
                    changes.push(LogChange::Closed(room.clone(), head));
                }
                changes.push(call.finish_append(Ok(AppendResult {
                    outcome,
                    head,
                    is_closed,
                })));
                changes
            });
        });
        result
    }

    fn change_room(&self, room: &RoomName, change: RoomChange) -> StoreFuture<Option<Lifecycle>> {
        let (call, result) = self.changes.begin(room, 0);
        self.change(room, |kept| {
            if !kept.is_known() {
                return self.changes.send(vec![call.finish(Ok(None))]);
            }
            let (had_settings, was_closed) = (kept.has_settings(), kept.lifecycle.is_closed);
            let mut lifecycle = kept.lifecycle.clone();
            lifecycle.apply(&change, self.clock.now());
            let has_settings = lifecycle.settings.is_some();
            if has_settings && !had_settings && !self.count_created() {
                let limit = self.max_created;
                let refusal = Err(StoreError::TooManyStreams { limit });
                return self.changes.send(vec![call.finish(refusal)]);
            }

            if had_settings && !has_settings {
                self.created.fetch_sub(1, Ordering::Relaxed);
            }
            kept.limits = self.limits.of(room, &lifecycle);
            kept.lifecycle = lifecycle.clone();
            let mut changes = Vec::new();
            if lifecycle.is_closed && !was_closed {
                changes.push(LogChange::Closed(room.clone(), kept.head));
            }
            changes.push(call.finish(Ok(Some(lifecycle))));
            self.changes.send(changes);
        });
        result
    }

    fn expires_at(&self, room: &RoomName) -> Result<Option<u64>, StoreError> {
        let kept = self.find(room);
        Ok(kept.and_then(|kept| {
            let kept = kept.lock();
            kept.limits
                .expires_at(kept.used(), self.clock.now(), now_millis())
        }))
    }

    fn delete_room(&self, room: &RoomName) -> StoreFuture<bool> {
        let (call, result) = self.changes.begin(room, 0);
        let is_known = self.find(room).is_some();
        let is_deleted = is_known && self.remove(room, MemoryRoom::is_known);
        self.changes.send(vec![call.finish(Ok(is_deleted))]);
        result
    }

    fn touch(&self, room: &RoomName) {
        if let Some(kept) = self.find(room) {
            let mut kept = kept.lock();
            kept.lifecycle.used = kept.lifecycle.used.max(self.clock.now());
        }
    }

    fn expire_rooms(&self) {
        let now = self.clock.now();
        let rooms = self.rooms.lock();
        let expired = rooms
            .logs
            .iter()
            .filter(|(_, kept)| kept.lock().is_expired(now));
        let expired: Vec<RoomName> = expired.map(|(name, _)| name.clone()).collect();
        drop(rooms);

        for room in expired {
            self.remove(&room, |kept| kept.is_expired(now));
        }
    }

    fn delete(&self, room: &RoomName, offset: Offset, at: u64) -> StoreFuture<Deleted> {
        let (call, result) = self.changes.begin(room, 1);
        self.change(room, |kept| {
            let deleted = kept.delete(offset);
            self.changes.send_deleted(call, offset, at, Ok(deleted));
        });
        result
    }

    fn flush(&self) -> BoxFuture<'static, ()> {
        self.changes.flush()
    }

    fn count(&self, room: &RoomName, offset: Offset) -> StoreFuture<Option<u64>> {
        let count = self.room(room).lock().count_until(offset);
        ready(Ok(count)).boxed()
    }

    fn read(&self, room: &RoomName, span: Span, limit: Limit) -> StoreFuture<Page> {
        let room = self.room(room);
        let mut kept = room.lock();
        kept.trim(self.clock.now());
        ready(Ok(kept.page(span, limit))).boxed()
    }

    fn epoch(&self) -> Epoch {
        self.epoch.clone()
    }

    fn watch(&self, _pattern: &RoomPattern) -> Offset {
        Offset(*self.newest.lock())
    }

    fn read_matching(
        &self,
        rooms: &[RoomSelector],
        range: MatchingRange,
        limit: Limit,
    ) -> StoreFuture<MatchingPage> {
        let MatchingRange {
            after,
            known,
            until,
        } = range;
        // Read first: all messages up to this offset are in their rooms.
        let newest = (*self.newest.lock()).min(until.0);
        let (rooms, floor) = self.select(|room| matching::is_selected(rooms, room));
        let mut oldest = OldestFrames::new(limit);
        let mut trimmed = Vec::new();
        for (_, room) in &rooms {
            let kept = room.lock();
            let start = kept
                .frames
                .partition_point(|(frame, _)| frame.offset() <= after);
            let due = kept.frames.range(start..).map(|(frame, _)| frame);
            let mut due = due.take_while(|frame| frame.offset().0 <= newest);
            // The page records that more messages follow.
            let _ = due.try_for_each(|frame| oldest.add_frame(frame.clone()));
            if kept.trimmed > 0 {
                trimmed.push((room, kept.gone));
            }
        }

        let mut page = oldest.into_frames(newest);
        for (room, gone) in trimmed {
            let gone = gone.min(page.until);
            page.gone = page.gone.max(gone);
            if gone > known {
                let count = room.lock().count_between(known, gone);
                page.trimmed = page.trimmed.zip(count).map(|(all, count)| all + count);
            }
        }
        page.add_dropped(floor.0, known);
        ready(Ok(page)).boxed()
    }

    fn count_matching(&self, rooms: &[RoomSelector], after: Offset) -> StoreFuture<Option<u64>> {
        let (rooms, _) = self.select(|room| matching::is_selected(rooms, room));
        let count = |(_, room): &NamedLog| {
            let kept = room.lock();
            let read = kept
                .frames
                .partition_point(|(frame, _)| frame.offset() <= after);
            (kept.frames.len() - read) as u64
        };
        ready(Ok(Some(rooms.iter().map(count).sum()))).boxed()
    }

    fn load_hook(&self, name: &str) -> StoreFuture<Option<HookState>> {
        ready(Ok(self.hooks.lock().get(name).cloned())).boxed()
    }

    fn save_hook(&self, name: &str, state: HookState) -> StoreFuture<()> {
        self.hooks.lock().insert(name.to_owned(), state);
        ready(Ok(())).boxed()
    }

    fn matching_bounds(&self, pattern: &RoomPattern) -> StoreFuture<Bounds> {
        let (rooms, floor) = self.select(|room| pattern.matches(room));
        let mut bounds = Bounds {
            epoch: self.epoch.clone(),
            first: Offset(0),
            head: Offset(0),
            gone: floor,
            newest: Offset(0),
            is_known: false,
        };
        for (_, room) in &rooms {
            let kept = room.lock();
            if kept.count() > 0 {
                bounds.include(kept.first(), kept.head, kept.gone);
            }
        }

        bounds.newest = Offset(*self.newest.lock());
        ready(Ok(bounds)).boxed()
    }

    fn list_rooms(
        &self,
        pattern: &RoomPattern,
        after: Option<&RoomName>,
        limit: usize,
        filter: RoomFilter,
    ) -> StoreFuture<Vec<StoredRoom>> {
        let is_selected =
            |room: &RoomName| pattern.matches(room) && Some(room) > after && filter(room);
        let (mut rooms, _) = self.select(is_selected);
        rooms.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));

        let summary = |(room, kept): NamedLog| {
            let kept = kept.lock();
            kept.is_known().then(|| StoredRoom {
                room,
                first: kept.first(),
                head: kept.head,
                count: Some(kept.frames.len() as u64),
                lifecycle: kept.lifecycle.clone(),
                expires_at: kept
                    .limits
                    .expires_at(kept.used(), self.clock.now(), now_millis()),
            })
        };
        let rooms = rooms.into_iter().filter_map(summary).take(limit);
        ready(Ok(rooms.collect())).boxed()
    }

    /// Trims each room, also created ones, to its share of `bytes`. The newest message is always kept.
    fn reclaim(&self, bytes: usize) {
        let rooms: Vec<_> = self.rooms.lock().logs.values().cloned().collect();
        let share = bytes / rooms.len().max(1);

        let now = self.clock.now();
        for room in rooms {
            let mut kept = room.lock();
            kept.trim(now);
            let limits = kept.limits.with_bytes(share);
            kept.trim_to(&limits, now);
        }
    }

    /// Drops the room, unless it was created.
    fn release(&self, room: &RoomName) {
        let mut rooms = self.rooms.lock();
        let has_settings = |kept: &Arc<Mutex<MemoryRoom>>| kept.lock().has_settings();
        if rooms.logs.get(room).is_some_and(has_settings) {
            return;
        }
        if let Some(kept) = rooms.logs.remove(room) {
            let mut kept = kept.lock();
            kept.is_deleted = true;
            rooms.floor = rooms.floor.max(kept.head);
        }
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    fn close(&self) {}
}
