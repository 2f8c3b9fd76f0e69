//! The writer thread, the only one that writes to the database. It stores all waiting appends in one transaction, and
//! then sends their results in one message. Between transactions it trims old messages, probes a failed disk, and
//! moves the write-ahead log into the database.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::protocol::{Offset, RoomName};
use crate::server::metrics;
use crate::server::room::{DedupLimits, DedupWindow};
use crate::server::spans::{CommitId, CommitSpan};
use crate::server::store::clock::{Clock, ClockLimits, SavedClock, now_millis};
use crate::server::store::panic_guard;
use crate::server::store::sqlite::SqliteSettings;
use crate::server::store::sqlite::batch::{Batch, BatchChanges};
use crate::server::store::sqlite::damaged_rooms::DamagedRooms;
use crate::server::store::sqlite::erase;
use crate::server::store::sqlite::fault::Fault;
use crate::server::store::sqlite::file::{File, WriteError};
use crate::server::store::sqlite::lifecycle_row;
use crate::server::store::sqlite::queue::{Deletion, Dequeued, Queue, Write};
use crate::server::store::sqlite::reader::Readers;
use crate::server::store::sqlite::retention;
use crate::server::store::sqlite::room_index::RoomIndex;
use crate::server::store::sqlite::scan::is_damage;
use crate::server::store::sqlite::schema;
use crate::server::store::{Deleted, Health, StoreError};

/// The time between two rounds of maintenance, which trim old messages and retry a failed disk.
const MAINTAIN_EVERY: Duration = Duration::from_millis(500);
/// The time until the next round if one round could not do everything.
const MAINTAIN_AGAIN: Duration = Duration::from_millis(10);
/// The largest number of rooms that one round trims.
const ROOMS_AT_ONCE: usize = 8;
/// The number of newest messages that the rows of their rooms may lack. They are read when the file is opened after the
/// process was killed, which takes some tens of milliseconds.
const UNSAVED_MESSAGES: u64 = 65_536;
/// The largest number of rows that one round saves.
const ROWS_AT_ONCE: usize = 1024;
/// The largest number of empty rooms that one round drops.
const EMPTY_ROOMS_AT_ONCE: usize = 256;
/// The number of pages in the write-ahead log at which they are moved into the database. A larger number would cause
/// longer pauses and slower reads, a smaller one more syncs (SQLite's default is 1000, for infrequent commits).
const CHECKPOINT_PAGES: usize = 4000;
/// Bytes that the probe writes: the size of one large message.
const PROBE_BYTES: i64 = 64 * 1024;

/// The state of the writer thread. See the [module docs](self).
pub(super) struct Writer {
    file: File,
    index: Arc<RoomIndex>,
    queue: Arc<Queue>,
    readers: Readers,
    key_limits: DedupLimits,
    /// The largest number of rooms.
    max_rooms: usize,
    clock: Arc<Clock>,
    health: watch::Sender<Health>,
    /// The deduplication windows by room id. A window is loaded for the room's first keyed message and dropped when
    /// it is empty.
    keys: HashMap<i64, DedupWindow>,
    /// True if the write-ahead log may contain the bytes of deleted messages.
    must_cut_log: bool,
    /// True if the file may have messages of deleted rooms.
    has_deleted: bool,
    damage: DamagedRooms,
    save_clock_at: Instant,
}

impl Writer {
    pub(super) fn new(
        file: File,
        index: Arc<RoomIndex>,
        queue: Arc<Queue>,
        readers: Readers,
        settings: &SqliteSettings,
        clock: Arc<Clock>,
        health: watch::Sender<Health>,
    ) -> Self {
        Self {
            file,
            index,
            queue,
            readers,
            key_limits: settings.retention.keys,
            max_rooms: settings.max_rooms,
            clock,
            health,
            keys: HashMap::new(),
            must_cut_log: true,
            has_deleted: true,
            damage: DamagedRooms::default(),
            save_clock_at: Instant::now(),
        }
    }

    /// Writes until the queue is closed. If this panics, the store is corrupt, and all further writes are refused.
    pub(super) fn run(self) {
        let (queue, health) = (self.queue.clone(), self.health.clone());
        if let Err(panic) = panic_guard::run(|| self.write_until_closed()) {
            let reason = format!("the thread that writes to the database panicked: {panic}");
            health.send_replace(Health::Corrupt(reason.clone()));
            error!(reason, "the store is rejecting writes");
            refuse_until_closed(&queue, &reason);
        }
    }

    fn write_until_closed(mut self) {
        let mut maintain_at = Instant::now();
        loop {
            let timeout = maintain_at.saturating_duration_since(Instant::now());
            match self.queue.next(timeout) {
                Dequeued::Batch(writes) => self.store(writes),
                Dequeued::Deletions(deletions) => self.delete(deletions),
                Dequeued::Nothing => {}
                Dequeued::Closed => break,
            }
            self.cut_log();

            if self.queue.take_reclaim() {
                // The windows are loaded from the file again when they are needed.
                self.keys.clear();
            }
            if maintain_at <= Instant::now() {
                let pause = if self.maintain() {
                    MAINTAIN_AGAIN
                } else {
                    MAINTAIN_EVERY
                };
                maintain_at = Instant::now() + pause;
            }
        }

        let is_corrupt = self.is_corrupt();
        if !is_corrupt && let Err(error) = self.save_all() {
            let reason = Fault::from(error).into_reason();
            warn!(
                reason,
                "could not save the clock and the rooms of the store"
            );
        }
        let Self { file, damage, .. } = self;
        // This connection must close before the writer's: only the last one, if it may write, removes the files
        // beside the database.
        drop(damage);
        if is_corrupt {
            file.abandon();
        } else {
            file.close();
        }
    }

    fn is_corrupt(&self) -> bool {
        matches!(*self.health.borrow(), Health::Corrupt(_))
    }

    fn store(&mut self, mut writes: Vec<Write>) {
        let (stored, commit) = self.commit(&mut writes);
        let failure = match stored {
            Ok(()) => {
                self.mark_healthy();
                None
            }
            Err(fault) => {
                self.mark_failed(&fault);
                Some(StoreError::Unavailable(fault.into_reason()))
            }
        };

        let mut changes = Vec::with_capacity(writes.len());
        for write in writes {
            write.finish(failure.as_ref(), commit.as_ref(), &mut changes);
        }
        self.queue.changes.send(changes);

        self.checkpoint();
    }

    /// Stores all of `writes` in one transaction or none of them, and updates metrics and traces.
    fn commit(&mut self, writes: &mut [Write]) -> (Result<(), Fault>, Option<CommitId>) {
        if let Health::Corrupt(reason) = &*self.health.borrow() {
            return (Err(Fault::Fatal(reason.clone())), None);
        }

        let span = CommitSpan::begin();
        let began = Instant::now();
        let messages = writes.iter().map(Write::messages).sum();
        let store =
            |batch: &mut Batch<'_>| writes.iter_mut().try_for_each(|write| write.apply(batch));
        let stored = self.write(store).map_err(|error| self.fault(error));

        let error = match &stored {
            Ok(()) => {
                metrics::record_commit(began.elapsed(), messages);
                None
            }
            Err(Fault::Refused(reason) | Fault::Fatal(reason)) => {
                metrics::count_store_failure();
                Some(reason.as_str())
            }
        };
        let commit = span.map(|span| span.end(messages, error));
        (stored, commit)
    }

    fn delete(&mut self, deletions: Vec<Deletion>) {
        for Deletion { call, offset, at } in deletions {
            let deleted = self.delete_one(&call.room, offset, at);
            self.must_cut_log = true;
            self.queue.changes.send_deleted(call, offset, at, deleted);
        }
    }

    /// Classifies the error of a batch. Damage among the old messages of a room is not fatal: the next batch avoids
    /// it.
    fn fault(&mut self, error: WriteError) -> Fault {
        match error {
            WriteError::Sqlite(error)
                if is_damage(&error) && self.damage.mark(|| self.file.reader().ok()) =>
            {
                Fault::Refused(format!("old messages of a room are damaged ({error})"))
            }
            error => Fault::from(error),
        }
    }

    fn delete_one(
        &mut self,
        room: &RoomName,
        offset: Offset,
        at: u64,
    ) -> Result<Deleted, StoreError> {
        if let Health::Corrupt(reason) = &*self.health.borrow() {
            return Err(StoreError::Unavailable(reason.clone()));
        }

        self.erase(room, offset, at).map_err(|error| match error {
            // A damaged message does not make the store unhealthy.
            WriteError::Sqlite(error) if is_damage(&error) => {
                let reason = format!("message {offset} of room {room} is damaged ({error})");
                StoreError::Unavailable(reason)
            }
            error => {
                let fault = Fault::from(error);
                self.mark_failed(&fault);
                StoreError::Unavailable(fault.into_reason())
            }
        })
    }

    fn erase(&mut self, room: &RoomName, offset: Offset, at: u64) -> Result<Deleted, WriteError> {
        self.ensure_writable()?;
        let index = &self.index;
        let (deleted, row) = self
            .file
            .write(|transaction| erase::erase(transaction, index, room, offset, at))?;

        self.index.commit(
            row.map(|row| (room.clone(), row)),
            [],
            &HashSet::new(),
            0,
            0,
        );
        Ok(deleted)
    }

    /// Opens the database for writing, if that failed at the start.
    fn ensure_writable(&mut self) -> Result<(), Fault> {
        if !self.file.is_immutable() {
            return Ok(());
        }
        self.readers.reopen(&mut self.file)
    }

    /// Commits the transaction that `build` builds, and applies it to the memory.
    fn write<T>(
        &mut self,
        build: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, WriteError> {
        self.ensure_writable()?;
        let now = self.clock.now();

        let (value, changes) = self.file.write(|transaction| {
            let mut batch = Batch {
                connection: transaction,
                index: &self.index,
                keys: &mut self.keys,
                key_limits: self.key_limits,
                now,
                wall: now_millis(),
                damage: &mut self.damage,
                max_rooms: self.max_rooms,
                empty: None,
                changes: BatchChanges::after(self.index.newest()),
            };
            let value = build(&mut batch)?;
            Ok((value, batch.finish()?))
        })?;

        self.has_deleted |= changes.has_deleted;
        changes.apply(&self.index, &mut self.keys);
        Ok(value)
    }

    /// Trims old messages, or retries a failed disk. Returns true if there is more to do.
    fn maintain(&mut self) -> bool {
        let is_refusing = match &*self.health.borrow() {
            Health::Ready => false,
            Health::ReadOnly(_) | Health::Unreachable(_) => true,
            Health::Corrupt(_) => return false,
        };

        let done = if let Err(fault) = self.file.check() {
            Err(fault.into())
        } else if is_refusing {
            self.probe().map(|()| false)
        } else {
            self.watch_clock().and_then(|()| self.expire())
        };

        let is_more = match done {
            Ok(is_more) => {
                self.mark_healthy();
                is_more
            }
            Err(error) => {
                let fault = self.fault(error);
                self.mark_failed(&fault);
                false
            }
        };

        self.cut_log();
        self.checkpoint();
        is_more
    }

    /// Checks the wall clock, and saves the store's clock when that is due.
    fn watch_clock(&mut self) -> Result<(), WriteError> {
        self.clock.check();
        if self.save_clock_at > Instant::now() {
            return Ok(());
        }
        let every = ClockLimits::of(self.index.all_limits().shortest_age()).save_every();
        self.save_clock_at = Instant::now() + every;
        self.save_clock()
    }

    /// Saves the clock and all rows, before the file is closed.
    fn save_all(&mut self) -> Result<(), WriteError> {
        self.save_clock()?;
        self.write(|batch| batch.save_rows(u64::MAX, usize::MAX))?;
        Ok(())
    }

    fn save_clock(&mut self) -> Result<(), WriteError> {
        self.ensure_writable()?;
        let SavedClock { clock, wall } = self.clock.save();
        self.file.write(|transaction| {
            schema::set_number(transaction, "clock", clock)?;
            schema::set_number(transaction, "wall", wall)
        })
    }

    /// Removes messages, keys and rooms that are past their limits. Returns true if there are more.
    fn expire(&mut self) -> Result<bool, WriteError> {
        let now = self.clock.now();
        self.keys.retain(|_, window| {
            window.expire(0, now);
            !window.is_empty()
        });

        let uses = self.index.take_unsaved_uses(ROWS_AT_ONCE);
        let expired = self.index.expired(now, now_millis(), ROOMS_AT_ONCE);
        let due = self.index.due(now, ROOMS_AT_ONCE);
        let empty_since = now.saturating_sub(self.empty_room_age());
        let has_empty = !self.index.empty(empty_since, 1).is_empty();
        let keys = &self.key_limits;
        let has_keys = retention::has_old_keys(self.file.connection(), keys, now)?;
        let saved_until = self.index.newest().saturating_sub(UNSAVED_MESSAGES);
        let has_unsaved = !self.index.unsaved(saved_until, 1).0.is_empty();
        let is_idle = uses.is_empty() && expired.is_empty() && !self.has_deleted;
        if is_idle && due.is_empty() && !has_empty && !has_keys && !has_unsaved {
            return Ok(false);
        }

        let is_full = due.len() == ROOMS_AT_ONCE || expired.len() == ROOMS_AT_ONCE;
        let has_deleted = self.has_deleted;
        let (saved, dropped, forgotten, purged, changes) = self.write(|batch| {
            let saved = batch.save_rows(saved_until, ROWS_AT_ONCE)?;
            lifecycle_row::save_uses(batch.connection, &uses)?;
            batch.touch(due);
            for room in &expired {
                batch.delete_expired(room)?;
            }
            let purged = has_deleted && lifecycle_row::purge(batch.connection)?;
            let dropped = batch.drop_empty(empty_since, EMPTY_ROOMS_AT_ONCE)?;
            let forgotten = batch.forget_keys()?;
            Ok((saved, dropped, forgotten, purged, batch.take_log()))
        })?;
        if has_deleted {
            // Rooms that this transaction has deleted are purged by the next one.
            self.has_deleted = purged || !expired.is_empty();
            self.must_cut_log |= purged;
        }
        if !changes.is_empty() {
            self.queue.changes.send(changes);
        }

        let is_full = is_full || saved == ROWS_AT_ONCE || self.has_deleted;
        Ok(is_full || dropped == EMPTY_ROOMS_AT_ONCE || forgotten == retention::KEYS_AT_ONCE)
    }

    /// Returns the time since its last message after which an empty room is dropped: twice the age limit of messages,
    /// or the age limit of keys if that is longer. Until then, readers that resume can see that they have missed
    /// nothing.
    fn empty_room_age(&self) -> u64 {
        let age = self.index.all_limits().longest_age();
        let age = age.saturating_mul(2).max(self.key_limits.age);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }

    fn probe(&mut self) -> Result<(), WriteError> {
        self.ensure_writable()?;
        let write = "INSERT INTO probe VALUES (1, randomblob(?1)) ON CONFLICT DO UPDATE SET ballast = excluded.ballast";
        self.file
            .write(|transaction| transaction.execute(write, [PROBE_BYTES]))?;
        self.file
            .write(|transaction| transaction.execute("DELETE FROM probe", []))?;
        Ok(())
    }

    /// Moves the write-ahead log into the database if it is large enough.
    fn checkpoint(&mut self) {
        if self.file.log_pages() < CHECKPOINT_PAGES || self.is_corrupt() {
            return;
        }
        // A full disk is no reason to refuse writes yet: the log still accepted the last commit.
        match self.file.checkpoint() {
            Ok(_) => {}
            Err(Fault::Refused(reason)) => warn!(
                reason,
                "the write-ahead log cannot be moved into the database now"
            ),
            Err(fatal) => self.mark_failed(&fatal),
        }
    }

    /// Truncates the write-ahead log if messages were deleted. Retries later if readers prevent it.
    fn cut_log(&mut self) {
        if !self.must_cut_log || self.is_corrupt() {
            return;
        }
        match self.file.cut_log() {
            Ok(is_cut) => self.must_cut_log = !is_cut,
            Err(Fault::Refused(_)) => {}
            Err(fatal) => self.mark_failed(&fatal),
        }
    }

    fn mark_healthy(&self) {
        let changed = self.health.send_if_modified(|health| {
            let was_failing = *health != Health::Ready;
            *health = Health::Ready;
            was_failing
        });
        if changed {
            info!("the store takes messages again");
        }
    }

    fn mark_failed(&mut self, fault: &Fault) {
        if matches!(fault, Fault::Fatal(_)) {
            self.file.record_fault();
        }

        let (now, reason) = match fault {
            Fault::Refused(reason) => (Health::ReadOnly(reason.clone()), reason),
            Fault::Fatal(reason) => (Health::Corrupt(reason.clone()), reason),
        };

        let changed = self.health.send_if_modified(|health| {
            let changed = *health != now;
            *health = now;
            changed
        });

        if changed {
            error!(reason, "the store is rejecting writes");
        }
    }
}

/// Refuses all writes with `reason` until the queue is closed.
fn refuse_until_closed(queue: &Queue, reason: &str) {
    loop {
        match queue.next(MAINTAIN_EVERY) {
            Dequeued::Batch(writes) => queue.refuse(writes, reason),
            Dequeued::Deletions(deletions) => {
                queue.refuse(deletions.into_iter().map(Write::Delete), reason);
            }
            Dequeued::Nothing => {}
            Dequeued::Closed => return,
        }
    }
}
