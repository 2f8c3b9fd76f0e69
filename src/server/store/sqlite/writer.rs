//! The one thread that writes: a transaction for all that waits, then word to those who wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::metrics;
use crate::server::room::{DedupWindow, Draft};
use crate::server::spans::CommitSpan;
use crate::server::store::clock::{Clock, ClockLimits, SavedClock};
use crate::server::store::guard;
use crate::server::store::sqlite::SqliteSettings;
use crate::server::store::sqlite::batch::{Batch, DamagedRooms};
use crate::server::store::sqlite::erase;
use crate::server::store::sqlite::fault::Fault;
use crate::server::store::sqlite::file::{File, WriteError};
use crate::server::store::sqlite::ledger::RoomIndex;
use crate::server::store::sqlite::queue::{Append, Deletion, Queue, Taken};
use crate::server::store::sqlite::reader::Readers;
use crate::server::store::sqlite::retention;
use crate::server::store::sqlite::scan::is_damage;
use crate::server::store::sqlite::schema;
use crate::server::store::{Deleted, Health, Report, Retention, StoreError, Stored};

/// How often it looks for what has become too old, and, while the disk takes nothing, whether it does again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How soon it looks again when there was more than one look may do.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Rooms that one look trims at most.
const ROOMS_AT_ONCE: usize = 8;
/// Empty rooms that one look drops at most.
const EMPTY_ROOMS_AT_ONCE: usize = 256;
/// Pages in the write-ahead log after which they are moved to the database: more would take longer at once and
/// make reading slower, fewer would sync more often (SQLite's own default is 1000, for commits far apart).
const CHECKPOINT_PAGES: usize = 4000;
/// Bytes that the probe writes: room for one large message.
const PROBE_BYTES: i64 = 64 * 1024;

/// See the [module docs](self).
pub(super) struct Writer {
    file: File,
    ledger: Arc<RoomIndex>,
    queue: Arc<Queue>,
    readers: Readers,
    retention: Retention,
    /// Rooms that may be kept.
    max_rooms: usize,
    clock: Arc<Clock>,
    health: watch::Sender<Health>,
    /// By room: loaded when its first keyed message comes, dropped when nothing in it is remembered.
    keys: HashMap<i64, DedupWindow>,
    /// The write-ahead log may hold bytes of what was deleted.
    must_cut_log: bool,
    damage: DamagedRooms,
    save_clock_at: Instant,
}

impl Writer {
    pub(super) fn new(
        file: File,
        ledger: Arc<RoomIndex>,
        queue: Arc<Queue>,
        readers: Readers,
        settings: &SqliteSettings,
        clock: Arc<Clock>,
        health: watch::Sender<Health>,
    ) -> Self {
        Self {
            file,
            ledger,
            queue,
            readers,
            retention: settings.retention,
            max_rooms: settings.max_rooms,
            clock,
            health,
            keys: HashMap::new(),
            must_cut_log: true,
            damage: DamagedRooms::default(),
            save_clock_at: Instant::now(),
        }
    }

    /// Writes until the queue is closed. If that panics, the store is lost, and whatever still comes is refused.
    pub(super) fn run(self) {
        let (queue, health) = (self.queue.clone(), self.health.clone());
        if let Err(panic) = guard::run(|| self.write_until_closed()) {
            let reason = format!("the thread that writes to the database panicked: {panic}");
            health.send_replace(Health::Lost(reason.clone()));
            error!(reason, "the store is rejecting writes");
            refuse_until_closed(&queue, &reason);
        }
    }

    fn write_until_closed(mut self) {
        let mut look_at = Instant::now();
        loop {
            let taken = self
                .queue
                .take(look_at.saturating_duration_since(Instant::now()));
            let is_closed = matches!(taken, Taken::Closed);
            if let Taken::Batch(appends) = taken {
                self.store(appends);
            }
            self.delete(self.queue.take_deletions());

            if self.queue.take_reclaim() {
                // They are read from the file again when they are needed.
                self.keys.clear();
            }
            if is_closed {
                break;
            }
            if look_at <= Instant::now() {
                let pause = if self.look() { LOOK_AGAIN } else { LOOK_EVERY };
                look_at = Instant::now() + pause;
            }
        }

        let is_lost = self.is_lost();
        if !is_lost && let Err(error) = self.save_clock() {
            let (Fault::Refused(reason) | Fault::Fatal(reason)) = Fault::from(error);
            warn!(reason, "could not save the clock of the store");
        }
        let Self { file, damage, .. } = self;
        // Its connection before the writer's: only the last to leave, if it may write, tidies up beside the file.
        drop(damage);
        if is_lost {
            file.abandon();
        } else {
            file.close();
        }
    }

    fn is_lost(&self) -> bool {
        matches!(*self.health.borrow(), Health::Lost(_))
    }

    fn store(&mut self, appends: Vec<Append>) {
        let (drafts, reports): (Vec<_>, Vec<_>) = appends
            .into_iter()
            .map(
                |Append {
                     room,
                     drafts,
                     at,
                     report,
                 }| ((room, drafts, at), report),
            )
            .unzip();
        let (stored, _told_by) = if let Health::Lost(reason) = &*self.health.borrow() {
            (Err(Fault::Fatal(reason.clone())), None)
        } else {
            let span = CommitSpan::begin();
            let (began, messages) = (
                Instant::now(),
                drafts.iter().map(|(_, drafts, _)| drafts.len()).sum(),
            );
            let stored = self.write(drafts).map_err(|error| self.fault(error));
            match &stored {
                Ok(_) => metrics::record_commit(began.elapsed(), messages),
                Err(_) => metrics::count_store_failure(),
            }
            let error = stored
                .as_ref()
                .err()
                .map(|(Fault::Refused(why) | Fault::Fatal(why))| why.as_str());
            let told_by = span.map(|span| span.end(messages, error));
            (stored, told_by)
        };
        match stored {
            Ok(stored) => {
                self.is_well();
                reports
                    .into_iter()
                    .zip(stored)
                    .for_each(|(report, stored)| report(stored));
                self.checkpoint();
            }
            Err(fault) => {
                self.is_ill(&fault);
                let (Fault::Refused(reason) | Fault::Fatal(reason)) = fault;
                reports.into_iter().for_each(|report: Report| {
                    report(Err(StoreError::Unavailable(reason.clone())))
                });
            }
        }
    }

    fn delete(&mut self, deletions: Vec<Deletion>) {
        for Deletion {
            room,
            offset,
            at,
            report,
        } in deletions
        {
            let deleted = self.delete_one(&room, offset, at);
            self.must_cut_log = true;
            report(deleted);
        }
        self.cut_log();
    }

    /// Returns the meaning of an error of a batch. Damage among the old messages of a room is no reason to stop: the
    /// next batch goes around it.
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
        if let Health::Lost(reason) = &*self.health.borrow() {
            return Err(StoreError::Unavailable(reason.clone()));
        }
        self.erase(room, offset, at).map_err(|error| match error {
            // A damaged message is no reason to stop.
            WriteError::Sqlite(error) if is_damage(&error) => {
                let reason = format!("message {offset} of room {room} is damaged ({error})");
                StoreError::Unavailable(reason)
            }
            error => {
                let fault = Fault::from(error);
                self.is_ill(&fault);
                let (Fault::Refused(reason) | Fault::Fatal(reason)) = fault;
                StoreError::Unavailable(reason)
            }
        })
    }

    fn erase(&mut self, room: &RoomName, offset: Offset, at: u64) -> Result<Deleted, WriteError> {
        self.ensure_writable()?;
        let ledger = &self.ledger;
        let (deleted, place) = self
            .file
            .write(|transaction| erase::erase(transaction, ledger, room, offset, at))?;

        self.ledger
            .commit(place.map(|place| (room.clone(), place)), &[], 0);
        Ok(deleted)
    }

    /// Opens the database for writing, if that could not be done at the start.
    fn ensure_writable(&mut self) -> Result<(), Fault> {
        if !self.file.is_immutable() {
            return Ok(());
        }
        self.readers.reopen(&mut self.file)
    }

    /// Stores all of `appends` in one transaction, or nothing of them.
    fn write(
        &mut self,
        appends: Vec<(RoomName, Vec<Draft>, u64)>,
    ) -> Result<Vec<Result<Vec<Stored>, StoreError>>, WriteError> {
        self.ensure_writable()?;
        let now = self.clock.now();

        let (stored, changes) = self.file.write(|transaction| {
            let mut batch = Batch::new(
                transaction,
                &self.ledger,
                &mut self.keys,
                self.retention,
                now,
                &mut self.damage,
                self.max_rooms,
            );
            let stored = appends
                .into_iter()
                .map(|(room, drafts, at)| batch.append(room, drafts, at))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((stored, batch.finish()?))
        })?;

        changes.apply(&self.ledger, &mut self.keys);
        Ok(stored)
    }

    /// What is done without being asked: what is too old goes; a disk that took nothing is tried again. Whether
    /// there is more of it.
    fn look(&mut self) -> bool {
        let is_refusing = match &*self.health.borrow() {
            Health::Ready => false,
            Health::Refusing(_) | Health::Away(_) => true,
            Health::Lost(_) => return false,
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
                self.is_well();
                is_more
            }
            Err(error) => {
                let fault = self.fault(error);
                self.is_ill(&fault);
                false
            }
        };
        self.cut_log();
        self.checkpoint();
        is_more
    }

    /// Looks at the wall clock, and saves the store's clock when that is due.
    fn watch_clock(&mut self) -> Result<(), WriteError> {
        self.clock.check();
        if self.save_clock_at > Instant::now() {
            return Ok(());
        }
        let every = ClockLimits::of(self.retention.age).save_every();
        self.save_clock_at = Instant::now() + every;
        self.save_clock()
    }

    fn save_clock(&mut self) -> Result<(), WriteError> {
        self.ensure_writable()?;
        let SavedClock { clock, wall } = self.clock.save();
        self.file.write(|transaction| {
            schema::set_number(transaction, "clock", clock)?;
            schema::set_number(transaction, "wall", wall)
        })
    }

    /// Drops messages, keys and rooms that are past their limits. Returns whether there are more.
    fn expire(&mut self) -> Result<bool, WriteError> {
        let now = self.clock.now();
        self.keys.retain(|_, window| {
            window.forget(Offset(0), now);
            !window.is_empty()
        });

        let due = self.ledger.due(&self.retention, now, ROOMS_AT_ONCE);
        let empty_since = now.saturating_sub(self.empty_room_age());
        let has_empty = !self.ledger.empty(empty_since, 1).is_empty();
        let keys = &self.retention.keys;
        let has_keys = retention::has_old_keys(self.file.connection(), keys, now)?;
        if due.is_empty() && !has_empty && !has_keys {
            return Ok(false);
        }

        let is_full = due.len() == ROOMS_AT_ONCE;
        let (dropped, forgotten, changes) = self.file.write(|transaction| {
            let mut batch = Batch::new(
                transaction,
                &self.ledger,
                &mut self.keys,
                self.retention,
                now,
                &mut self.damage,
                self.max_rooms,
            );
            batch.touch(due);
            let dropped = batch.drop_empty(empty_since, EMPTY_ROOMS_AT_ONCE)?;
            let changes = batch.finish()?;
            let forgotten = retention::forget_keys(transaction, &self.retention.keys, now)?;
            Ok((dropped, forgotten, changes))
        })?;

        changes.apply(&self.ledger, &mut self.keys);
        Ok(is_full || dropped == EMPTY_ROOMS_AT_ONCE || forgotten == retention::KEYS_AT_ONCE)
    }

    /// Returns the time without messages after which an empty room is dropped: as long again as its last message was
    /// kept, so that readers that come back meanwhile learn that they have missed nothing.
    fn empty_room_age(&self) -> u64 {
        let age = self
            .retention
            .age
            .saturating_mul(2)
            .max(self.retention.keys.age);
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

    /// Moves the write-ahead log into the database, when there is enough of it.
    fn checkpoint(&mut self) {
        if self.file.log_pages() < CHECKPOINT_PAGES || self.is_lost() {
            return;
        }
        // A full disk is no reason to refuse anything yet: the log still took the last commit.
        match self.file.checkpoint() {
            Ok(_) => {}
            Err(Fault::Refused(reason)) => warn!(
                reason,
                "the write-ahead log cannot be moved into the database now"
            ),
            Err(fatal) => self.is_ill(&fatal),
        }
    }

    /// Cuts the write-ahead log to nothing, if something was deleted; or later, if readers are in the way.
    fn cut_log(&mut self) {
        if !self.must_cut_log || self.is_lost() {
            return;
        }
        match self.file.cut_log() {
            Ok(is_cut) => self.must_cut_log = !is_cut,
            Err(Fault::Refused(_)) => {}
            Err(fatal) => self.is_ill(&fatal),
        }
    }

    fn is_well(&self) {
        let changed = self.health.send_if_modified(|health| {
            let was_ill = *health != Health::Ready;
            *health = Health::Ready;
            was_ill
        });
        if changed {
            info!("the store takes messages again");
        }
    }

    fn is_ill(&mut self, fault: &Fault) {
        if matches!(fault, Fault::Fatal(_)) {
            self.file.record_fault();
        }
        let (now, reason) = match fault {
            Fault::Refused(reason) => (Health::Refusing(reason.clone()), reason),
            Fault::Fatal(reason) => (Health::Lost(reason.clone()), reason),
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

/// Refuses all that comes, for `reason`, until the queue is closed.
fn refuse_until_closed(queue: &Queue, reason: &str) {
    let refusal = || StoreError::Unavailable(reason.to_owned());
    loop {
        let taken = queue.take(LOOK_EVERY);
        for deletion in queue.take_deletions() {
            (deletion.report)(Err(refusal()));
        }
        match taken {
            Taken::Batch(appends) => appends
                .into_iter()
                .for_each(|append| (append.report)(Err(refusal()))),
            Taken::Nothing => {}
            Taken::Closed => return,
        }
    }
}
