//! The database file: opened and checked, written in transactions, and closed. A [`File`] has the writer's connection
//! and the lock on the database. Each transaction is counted in the database and in the state file, which proves at
//! the next start that nothing is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tracing::{error, info, warn};

use crate::protocol::Epoch;
use crate::server::store::sqlite::connections::{
    BUSY_TIMEOUT, ReadConnection, open_immutable, open_to_read, open_to_write,
};
use crate::server::store::sqlite::fault::Fault;
use crate::server::store::sqlite::inspection::check_file;
use crate::server::store::sqlite::lock::{DatabaseLock, folder_of};
use crate::server::store::sqlite::open_files::{FileMismatch, OpenFiles};
use crate::server::store::sqlite::schema::{self, MIGRATIONS, MetaRow};
use crate::server::store::sqlite::state_file::{FileFault, FileId, StateFile};
use crate::server::store::sqlite::state_records::{Evidence, StateRecords};
use crate::server::store::sqlite::{Durability, OpenError, SqliteSettings};

/// The longest time for which the writer waits for readers of the write-ahead log before it truncates the log. Then
/// it retries later.
const CUT_WITHIN: Duration = Duration::from_millis(10);

/// A database that only this process writes to.
///
/// Nothing is written before [`begin`](Self::begin) has started a new generation, which needs a little disk space.
/// Until then the database can only be read.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// The path in the settings, which may lead through links.
    configured: PathBuf,
    durability: Durability,
    epoch: Epoch,
    /// The number of transactions that changed something since the database was created.
    commits: u64,
    /// Pages in the write-ahead log after the last commit.
    log_pages: Arc<AtomicUsize>,
    /// True if the connection cannot write: see [`open_immutable`].
    is_immutable: bool,
    /// The files that are open while the database is written to; `None` before the new generation is started.
    running: Option<Running>,
    /// The reason why no generation could be started when the database was opened.
    refusal: Option<String>,
    /// The writer's connection.
    connection: Connection,
    lock: Arc<DatabaseLock>,
}

/// The open files beside a database that is written to.
#[derive(Debug)]
struct Running {
    state: StateFile,
    files: OpenFiles,
}

/// The error of a failed write. Nothing was changed.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The database cannot be written to now.
    Fault(Fault),
    /// The transaction failed.
    Sqlite(rusqlite::Error),
}

impl From<Fault> for WriteError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Fault(fault) => fault,
            WriteError::Sqlite(error) => Self::from(error),
        }
    }
}

impl File {
    /// Opens the database, checks that it belongs to Fanfare and is the newest copy, and starts a generation.
    ///
    /// If the database can be read but not written to, this succeeds: see [`refusal`](Self::refusal).
    ///
    /// # Errors
    /// See [`SqliteStore::open`](super::SqliteStore::open).
    pub(super) fn open(settings: &SqliteSettings) -> Result<Self, OpenError> {
        let lock = Arc::new(DatabaseLock::acquire(&settings.path)?);
        let path = lock.path().to_owned();
        let metadata = lock.metadata()?;
        let is_immutable = metadata.len() > 0 && check_file(&path, settings.quick_check)?;

        lock.restrict_permissions();
        let wrong = |error: rusqlite::Error| OpenError::new(&path, &error);
        let connection = if is_immutable {
            open_immutable(&path).map_err(wrong)?
        } else {
            open_to_write(&path).map_err(wrong)?
        };
        let meta = schema::meta(&connection).map_err(wrong)?;
        let epoch = choose_epoch(&connection, &path, FileId::from(&metadata), &meta)?;

        let mut file = Self {
            path,
            configured: settings.path.clone(),
            durability: settings.durability,
            epoch,
            commits: meta.generation.commits,
            log_pages: Arc::default(),
            is_immutable,
            running: None,
            refusal: None,
            connection,
            lock,
        };
        file.begin_or_refuse(meta.version == MIGRATIONS.len())?;
        Ok(file)
    }

    fn begin_or_refuse(&mut self, is_readable: bool) -> Result<(), OpenError> {
        let begun = if self.is_immutable {
            self.reopen()
        } else {
            self.begin()
        };

        match begun {
            Ok(()) => Ok(()),
            Err(Fault::Refused(reason)) if is_readable => {
                self.refusal = Some(reason);
                Ok(())
            }
            Err(Fault::Refused(problem)) => Err(OpenError::Unusable {
                path: self.path.clone(),
                problem,
            }),
            Err(Fault::Fatal(problem)) => Err(self.damaged(problem)),
        }
    }

    /// Returns the reason why nothing could be written when the database was opened, if any.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Returns true if the connections do not see what a writer writes.
    pub(super) const fn is_immutable(&self) -> bool {
        self.is_immutable
    }

    /// Replaces the read-only connection by one that can write, and starts a generation with it. No connection from
    /// [`reader`](Self::reader) may be in use; open new ones afterwards.
    pub(super) fn reopen(&mut self) -> Result<(), Fault> {
        let connection = open_to_write(&self.path)?;
        // This read fails if there is no space for the index of the log.
        schema::meta(&connection)?;
        let immutable = std::mem::replace(&mut self.connection, connection);

        let begun = self.begin();
        if begun.is_ok() {
            self.is_immutable = false;
        } else {
            self.connection = immutable;
        }
        begun
    }

    /// Starts a new generation: migrates the schema, and writes the epoch and the generation. Does nothing if a
    /// generation is already running.
    fn begin(&mut self) -> Result<(), Fault> {
        if self.running.is_some() {
            return Ok(());
        }
        schema::enable_log(&self.connection)?;
        let mut state = StateFile::create(&self.path, &fs::metadata(&self.path)?, self.commits)?;

        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        schema::migrate(&transaction)?;
        schema::set_epoch(&transaction, &self.epoch)?;
        schema::set_generation(&transaction, &state.generation())?;
        transaction.commit()?;

        state.put_in_force()?;
        // The directory entries of new files must survive a crash too.
        fs::File::open(folder_of(&self.path))?.sync_all()?;
        schema::set_durability(&self.connection, self.durability)?;
        self.log_pages = watch_log(&mut self.connection)?;
        self.running = Some(Running {
            state,
            files: OpenFiles::new(&self.path, &self.configured)?,
        });
        Ok(())
    }

    /// Runs `change` in a transaction and commits it.
    ///
    /// A transaction that changes something is counted, in the database and then in the state file: see
    /// [`state_file`](crate::server::store::sqlite::state_file).
    pub(super) fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, WriteError> {
        self.begin()?;
        self.check()?;

        let next = self.commits + 1;
        let write = || -> rusqlite::Result<_> {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let before = transaction.total_changes();
            let value = change(&transaction)?;
            let is_changed = transaction.total_changes() > before;
            if is_changed {
                schema::set_commits(&transaction, next)?;
            }
            transaction.commit()?;
            Ok((value, is_changed))
        };
        let written = write();

        if let Some(Running { state, files }) = &mut self.running {
            files.committed();
            if let Ok((_, true)) = written {
                self.commits = next;
                state.set_commits(next);
            }
        }
        Ok(written?.0)
    }

    /// Checks that the files at the paths are still the ones that this process opened and last wrote.
    pub(super) fn check(&mut self) -> Result<(), Fault> {
        let Some(Running { state, files }) = &mut self.running else {
            return Ok(());
        };
        files.check().map_err(|mismatch| {
            if matches!(mismatch, FileMismatch::Changed { .. }) {
                state.set_fault(FileFault::ChangedWhileRunning);
            }
            Fault::Refused(mismatch.to_string())
        })
    }

    /// Returns the number of pages in the write-ahead log after the last commit.
    pub(super) fn log_pages(&self) -> usize {
        self.log_pages.load(Ordering::Relaxed)
    }

    /// Moves the write-ahead log into the database as far as readers allow. Returns true if all of it was moved.
    pub(super) fn checkpoint(&mut self) -> Result<bool, Fault> {
        self.move_log("PRAGMA wal_checkpoint(PASSIVE)")
    }

    fn move_log(&mut self, pragma: &str) -> Result<bool, Fault> {
        self.check()?;
        let Some(Running { state, .. }) = &mut self.running else {
            return Ok(false);
        };

        state.set_moved_commits(None);
        let moved = self.connection.query_row(pragma, [], |row| {
            Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        });
        if let Some(Running { state, files }) = &mut self.running {
            files.moved_log();
            if let Ok(true) = moved {
                state.set_moved_commits(Some(self.commits));
            }
        }
        Ok(moved?)
    }

    /// Moves all of the write-ahead log into the database and truncates the log. Returns `false` if readers prevented
    /// it.
    pub(super) fn cut_log(&mut self) -> Result<bool, Fault> {
        self.cut_log_within(CUT_WITHIN)
    }

    fn cut_log_within(&mut self, patience: Duration) -> Result<bool, Fault> {
        self.connection.busy_timeout(patience)?;
        let is_cut = self.try_cut_log();
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        is_cut
    }

    fn try_cut_log(&mut self) -> Result<bool, Fault> {
        // Two steps, so that the log is truncated only when it is no longer needed, even if the process is killed in
        // between.
        if !self.move_log("PRAGMA wal_checkpoint(FULL)")? {
            return Ok(false);
        }
        let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy = self
            .connection
            .query_row(truncate, [], |row| row.get::<_, bool>(0));

        if let Some(Running { files, .. }) = &mut self.running {
            files.moved_log();
        }
        Ok(!busy?)
    }

    /// Closes the database after moving all of the write-ahead log into it, synced.
    pub(super) fn close(mut self) {
        let is_cut = self.cut_log_within(BUSY_TIMEOUT);

        match (is_cut, &mut self.running) {
            (Ok(true), Some(Running { state, .. })) => {
                if let Err(error) = state.close() {
                    warn!(%error, "could not record an orderly stop in the state file");
                }
            }
            (Ok(_), Some(_)) => {
                warn!("kept the write-ahead log beside the database: a reader is using it");
            }
            // No generation was started, so nothing was written.
            (Ok(_), None) => {}
            (Err(fault), _) => {
                if let Fault::Fatal(_) = fault {
                    self.record_fault();
                }
                let reason = fault.into_reason();
                error!(reason, "could not empty the write-ahead log");
                self.abandon();
            }
        }
    }

    /// Closes the database without changing any file, as if the process were killed.
    ///
    /// An orderly close of the last connection would move the log into the database and remove the file at the log's
    /// path, even if that is another file.
    pub(super) fn abandon(self) {
        let Self {
            connection, lock, ..
        } = self;
        std::mem::forget(connection);
        drop(lock);
    }

    /// Returns the epoch of all logs in this file.
    pub(super) const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Returns the writer's connection for reading.
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Opens another read-only connection.
    pub(super) fn reader(&self) -> Result<ReadConnection, OpenError> {
        if self.is_immutable {
            self.guard(open_immutable(&self.path))
        } else {
            self.shared_reader()
        }
    }

    /// Opens another read-only connection that also sees what other connections write.
    pub(super) fn shared_reader(&self) -> Result<ReadConnection, OpenError> {
        self.guard(open_to_read(&self.path))
    }

    fn guard(&self, opened: rusqlite::Result<Connection>) -> Result<ReadConnection, OpenError> {
        let connection = opened.map_err(|error| self.wrong(&error))?;
        Ok(ReadConnection::new(connection, self.lock.clone()))
    }

    /// Records a fatal error: the next start begins a new epoch.
    pub(super) fn record_fault(&mut self) {
        if let Some(Running { state, .. }) = &mut self.running {
            state.set_fault(FileFault::WriteLost);
        }
    }

    /// Converts an SQLite error to the error for opening the database.
    pub(super) fn wrong(&self, error: &rusqlite::Error) -> OpenError {
        OpenError::new(&self.path, error)
    }

    /// Returns the error for a database with invalid content.
    pub(super) fn damaged(&self, problem: String) -> OpenError {
        OpenError::Damaged {
            path: self.path.clone(),
            problem,
        }
    }
}

/// Returns the epoch to continue in: that of the database if it is provably the newest copy, otherwise a new one.
///
/// # Errors
/// If a state file cannot be read.
fn choose_epoch(
    connection: &Connection,
    path: &Path,
    database: FileId,
    meta: &MetaRow,
) -> Result<Epoch, OpenError> {
    let records = StateRecords::read(path)?;
    let shown = path.display();
    let Some(epoch) = &meta.epoch else {
        if let missing @ 1.. = records.commits() {
            warn!(path = %shown, missing, "the database file is missing, with all its commits; creating a new one");
        }
        return Ok(schema::random_epoch());
    };

    let evidence = Evidence {
        database,
        generation: &meta.generation,
        moved_commits: moved_commits(path),
        log_frames: log_frames(connection),
    };
    let (before, epoch) = (epoch, schema::random_epoch());
    match records.verify(&evidence) {
        Ok(()) if meta.version >= schema::ONE_SEQUENCE => return Ok(before.clone()),
        Ok(()) => {
            info!(path = %shown, version = meta.version, %before, %epoch, "the messages of an older version get new offsets; a new epoch begins, and clients that resume get recovery \"lost\"");
        }
        Err(doubt) => {
            warn!(path = %shown, reason = %doubt, %before, %epoch, "the database may be older than what was acknowledged; a new epoch begins, and clients that resume get recovery \"lost\"");
        }
    }
    Ok(epoch)
}

/// Returns the number of commits in the database file without its write-ahead log; `None` if it cannot be read.
fn moved_commits(path: &Path) -> Option<u64> {
    let connection = open_immutable(path).ok()?;
    Some(schema::meta(&connection).ok()?.generation.commits)
}

/// Returns the number of valid frames in the write-ahead log; `None` if it cannot be read.
fn log_frames(connection: &Connection) -> Option<u64> {
    let frames: i64 = connection
        .query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))
        .ok()?;
    u64::try_from(frames).ok()
}

/// Counts the pages in the write-ahead log after each commit. This replaces SQLite's automatic checkpoints, which do
/// not report a failed fsync.
fn watch_log(connection: &mut Connection) -> rusqlite::Result<Arc<AtomicUsize>> {
    let pages = Arc::new(AtomicUsize::new(0));
    let seen = pages.clone();
    connection.wal_hook(Some(move |_log: &mut Wal, pages| {
        seen.store(
            usize::try_from(pages).unwrap_or_default(),
            Ordering::Relaxed,
        );
        Ok(())
    }))?;
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_file_of_an_older_version_begins_a_new_epoch_because_its_offsets_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.db");
        fs::write(&path, include_bytes!("../tests/databases/version-4.db")).expect("written");
        let metadata = fs::metadata(&path).expect("a file");
        let mut state = StateFile::create(&path, &metadata, 0).expect("created");
        let connection = Connection::open(&path).expect("opened");
        schema::set_generation(&connection, &state.generation()).expect("written");
        let before = schema::epoch(&connection).expect("an epoch");
        drop(connection);
        state.put_in_force().expect("renamed");
        state.close().expect("written");

        let settings = SqliteSettings::of_test(path);
        let open = || {
            let file = File::open(&settings).expect("opened");
            let epoch = file.epoch().clone();
            file.close();
            epoch
        };

        let migrated = open();
        assert_ne!(migrated, before);
        assert_eq!(open(), migrated);
    }
}
