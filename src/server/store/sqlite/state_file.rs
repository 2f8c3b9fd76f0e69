//! The state file: a record beside the database that proves that the database is the newest copy.
//!
//! No offset is assigned twice in an epoch. A server that opened a database older than what was acknowledged would
//! break this unnoticed. Examples are a restored copy, a file without its write-ahead log, and a disk that was rolled
//! back. So a server keeps the epoch of the database that it opens only if it can prove that nothing acknowledged is
//! missing. Otherwise it begins a new epoch and logs the reason, and readers that resume get `lost`.
//!
//! # The record
//!
//! The state file of the database `fanfare.db` is `fanfare.db.state` in the same folder. It has a fixed size. One
//! process has it open and overwrites it in row ([`StateFile`]). It holds:
//!
//! - `generation`, a random name, new at each start. The database holds the same name ([`schema`](super::schema)); a
//!   copy from an earlier start holds another.
//! - `commits`, the number of transactions. The database counts them inside each transaction; the state file gets the
//!   number after the transaction is committed (and synced, with `--durability disk`) and before it is acknowledged.
//!   The number is not synced: the page cache outlives the process, and after a loss of power the number can only be
//!   too low. A database with a smaller number than its state file lacks acknowledged messages.
//! - the [`FileId`] of the state file itself and of the database. In a copy of the folder the files have other ids.
//! - `moved_commits`, the number of commits that the database holds without its write-ahead log. If an older database
//!   was copied over this one and the newest log was kept, the database holds fewer.
//! - `boot`, the boot id of the operating system, and `is_closed`, set at the end of an orderly stop, when everything
//!   is synced.
//! - `written`, the time of the last write to the state file, by the file system's own clock. It equals the file's
//!   ctime, which no program can set, so an older state file that was copied over this one is detected. On a machine
//!   that is too busy to write the file within [`MAX_WRITE_TIME`], the two differ. This is logged, and the next start
//!   begins a new epoch if this process is killed.
//! - `fault`, set when this process found that the files cannot be trusted: fsync failed, or another program wrote to
//!   them.
//!
//! # Proof that a database is the newest
//!
//! All of the above must agree; [`StateRecords::verify`] returns the first [`Doubt`]. After an orderly stop that is
//! enough, even after a reboot. After a kill, the operating system must not have been rebooted since: after a loss of
//! power, a file system looks like one that was rolled back to a snapshot.
//!
//! # Kills during a start or a stop
//!
//! At a start the new record is written to `fanfare.db.state-new`. Then one transaction writes the new generation
//! (and the new epoch, if any) to the database, and the file is renamed. If both files exist, the valid record is the
//! one whose generation the database holds. At a stop the log is moved into the database and synced before
//! `is_closed` is written. The log is truncated only after `moved_commits` records that it is no longer needed.
//!
//! # Undetectable rollbacks
//!
//! A rollback of the whole file system, disk or virtual machine to a snapshot is not detected if the snapshot was
//! taken after an orderly stop, or if the operating system keeps running across the rollback. The manual describes
//! the procedure for this case.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::server::small_file;
use crate::server::store::sqlite::OpenError;

/// Size of the file in bytes: a JSON object, spaces, and a line feed. Each write replaces all of it.
const STATE_BYTES: usize = 1024;
/// Longest time between the time in the state file and the time of its last write.
const MAX_WRITE_TIME: Duration = Duration::from_millis(50);
/// Attempts to write within [`MAX_WRITE_TIME`]: a busy machine may stop the process between two system calls.
const WRITE_ATTEMPTS: usize = 3;
/// The file with the boot id of the operating system (Linux).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The identity of a file: its inode and its time of creation, which no copy shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileId {
    inode: u64,
    /// The time of creation in nanoseconds since 1970 UTC; `None` if the file system does not record it.
    created: Option<u64>,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        let created = metadata
            .created()
            .ok()
            .and_then(|created| created.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| u64::try_from(since.as_nanos()).ok());
        Self {
            inode: metadata.ino(),
            created,
        }
    }
}

/// A reason to distrust the files that only the running server could observe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FileFault {
    /// A write could not be synced, or the database turned out to be damaged.
    WriteLost,
    /// Another program wrote to the files.
    ChangedWhileRunning,
}

/// The content of a state file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    generation: String,
    commits: u64,
    state_file: FileId,
    database: FileId,
    /// The number of commits in the database file without its log; `None` while the log is being moved, or if only a
    /// part of it was moved.
    moved_commits: Option<u64>,
    boot: Option<String>,
    is_closed: bool,
    /// The time of the last write in nanoseconds since 1970 UTC; `None` before the file has its final name.
    written: Option<i64>,
    fault: Option<FileFault>,
}

/// The position of a database in its own history, as recorded in the database.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    /// The random name of the generation; `None` in files of versions that had no state file.
    pub(super) name: Option<String>,
    pub(super) commits: u64,
}

/// The facts about a database that [`StateRecords::verify`] compares, read before anything is written to it.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) database: FileId,
    /// The generation, as read through the write-ahead log.
    pub(super) generation: &'a Generation,
    /// The number of commits that the database holds without its log; `None` if it cannot be read.
    pub(super) moved_commits: Option<u64>,
    /// The number of valid frames in the log; `None` if it cannot be read.
    pub(super) log_frames: Option<u64>,
}

/// A reason why a database is not proven to be the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Doubt {
    /// There is no state file with valid content.
    #[error(
        "it has no valid state file: it was moved here, restored, or written by an older version of Fanfare"
    )]
    NoStateFile,
    /// The database is older than the state file.
    #[error("it is an older copy: {missing} later commits are missing")]
    OlderCopy {
        /// The number of missing commits.
        missing: u64,
    },
    /// The database and the state file have different generations, so their order is unknown.
    #[error("it is not the database that its state file describes")]
    OtherDatabase,
    /// The end of the write-ahead log is missing.
    #[error(
        "{missing} acknowledged commits are missing: the write-ahead log was damaged, cut or removed"
    )]
    CommitsMissing {
        /// The number of missing commits.
        missing: u64,
    },
    /// The log is missing or empty, but it had commits.
    #[error("the write-ahead log was damaged, cut or removed")]
    LogMissing,
    /// The id of one of the files differs from the recorded one.
    #[error("its files were copied or restored")]
    Copied,
    /// See [`FileFault`].
    #[error("a write could not be synced to the disk, or the database was found to be damaged")]
    WriteLost,
    /// See [`FileFault`].
    #[error("another program changed it while the server was running")]
    ChangedWhileRunning,
    /// The power failed, or the file system was rolled back to a snapshot.
    #[error(
        "the system was restarted before the server could close it, which cannot be told from a disk that was rolled back"
    )]
    Rebooted,
}

/// The records beside a database: the current one and that of an interrupted start, as far as they exist.
#[derive(Debug)]
pub(super) struct StateRecords(Vec<StateRecord>);

impl StateRecords {
    /// Reads the records of the database at `path`. Records with invalid content are left out.
    ///
    /// # Errors
    /// If a file exists but cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, OpenError> {
        let mut records = Vec::new();
        for path in [state_path(path), candidate_path(path)] {
            match StateRecord::read(&path) {
                Ok(record) => records.extend(record),
                Err(source) => return Err(OpenError::StateFile { path, source }),
            }
        }
        Ok(Self(records))
    }

    /// Returns the largest number of commits in a record; 0 without records.
    pub(super) fn commits(&self) -> u64 {
        let commits = self.0.iter().map(|record| record.state.commits);
        commits.max().unwrap_or_default()
    }

    /// Checks that the database holds everything that was acknowledged.
    ///
    /// # Errors
    /// If that cannot be proven.
    pub(super) fn verify(&self, evidence: &Evidence<'_>) -> Result<(), Doubt> {
        let generation = evidence.generation;
        if self.0.is_empty() {
            return Err(Doubt::NoStateFile);
        }
        let is_of_database =
            |record: &&StateRecord| generation.name.as_ref() == Some(&record.state.generation);
        let Some(record) = self.0.iter().find(is_of_database) else {
            return Err(match self.commits().saturating_sub(generation.commits) {
                0 => Doubt::OtherDatabase,
                missing => Doubt::OlderCopy { missing },
            });
        };
        let StateRecord { state, id, changed } = record;

        if state.state_file != *id || state.database != evidence.database {
            return Err(Doubt::Copied);
        }
        if generation.commits < state.commits {
            let missing = state.commits - generation.commits;
            return Err(Doubt::CommitsMissing { missing });
        }
        match state.fault {
            Some(FileFault::WriteLost) => return Err(Doubt::WriteLost),
            Some(FileFault::ChangedWhileRunning) => return Err(Doubt::ChangedWhileRunning),
            None => {}
        }
        // The log may be the newest while the database file is an older copy.
        if let Some(expected) = state.moved_commits {
            let moved = evidence.moved_commits.ok_or(Doubt::OtherDatabase)?;
            if let missing @ 1.. = expected.saturating_sub(moved) {
                return Err(Doubt::OlderCopy { missing });
            }
        }

        if state.is_closed {
            return Ok(());
        }
        if state.boot.is_none() || state.boot != boot_id() {
            return Err(Doubt::Rebooted);
        }
        if state
            .written
            .is_some_and(|written| !is_close(written, *changed))
        {
            return Err(Doubt::Copied);
        }
        // The process was killed while it moved the log into the database, which may hold only a part of it.
        if state.moved_commits.is_none() && evidence.log_frames.is_none_or(|frames| frames == 0) {
            return Err(Doubt::LogMissing);
        }
        Ok(())
    }
}

/// A state file as found on disk.
#[derive(Debug)]
struct StateRecord {
    state: State,
    id: FileId,
    /// The ctime of the file in nanoseconds since 1970 UTC.
    changed: i64,
}

impl StateRecord {
    /// Reads the file at `path`; `None` if the file does not exist or its content is invalid.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        let json = small_file::read(path, STATE_BYTES as u64)?;

        Ok(serde_json::from_slice(&json).ok().map(|state| Self {
            state,
            id: FileId::from(&metadata),
            changed: change_time(&metadata),
        }))
    }
}

/// The state file of the database that this process has open. See the [module docs](self).
#[derive(Debug)]
pub(super) struct StateFile {
    /// The path of the database.
    database: PathBuf,
    file: fs::File,
    state: State,
    /// True after a failed write, so that only the first failure is logged.
    is_failing: bool,
}

impl StateFile {
    /// Creates the record of a new generation beside the current one. `metadata` and `commits` are those of the
    /// database.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn create(database: &Path, metadata: &Metadata, commits: u64) -> io::Result<Self> {
        let path = candidate_path(database);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let file = fs::File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&path)?;

        let state = State {
            generation: format!("{:016x}", fastrand::u64(..)),
            commits,
            state_file: FileId::from(&file.metadata()?),
            database: FileId::from(metadata),
            moved_commits: None,
            boot: boot_id(),
            is_closed: false,
            written: None,
            fault: None,
        };
        let mut created = Self {
            database: database.to_owned(),
            file,
            state,
            is_failing: false,
        };
        created.write()?;
        Ok(created)
    }

    /// Returns the generation to write to the database.
    pub(super) fn generation(&self) -> Generation {
        Generation {
            name: Some(self.state.generation.clone()),
            commits: self.state.commits,
        }
    }

    /// Replaces the current record by this one. The database must already hold its generation.
    pub(super) fn put_in_force(&mut self) -> io::Result<()> {
        fs::rename(candidate_path(&self.database), state_path(&self.database))?;
        self.state.written = Some(0);
        self.write()
    }

    /// Records the number of committed transactions, before they are acknowledged.
    pub(super) fn set_commits(&mut self, commits: u64) {
        self.state.commits = commits;
        self.write_or_log();
    }

    /// Records the number of commits that the database holds without its log; `None` before the log is moved.
    pub(super) fn set_moved_commits(&mut self, commits: Option<u64>) {
        if self.state.moved_commits != commits {
            self.state.moved_commits = commits;
            self.write_or_log();
        }
    }

    /// Records permanently that the files cannot be trusted.
    pub(super) fn set_fault(&mut self, fault: FileFault) {
        if self.state.fault.is_none() {
            self.state.fault = Some(fault);
            self.write_or_log();
            if let Err(error) = self.file.sync_all() {
                self.log(&error);
            }
        }
    }

    /// Records an orderly stop: the database holds everything, synced.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.state.is_closed = true;
        self.write()?;
        self.file.sync_all()
    }

    /// Overwrites the file. If the recorded time is inexact, this is logged but is not an error: the record itself is
    /// written.
    fn write(&mut self) -> io::Result<()> {
        for _attempt in 0..WRITE_ATTEMPTS {
            if self.write_once()? {
                self.is_failing = false;
                return Ok(());
            }
        }

        let problem = format!(
            "{WRITE_ATTEMPTS} writes took longer than {MAX_WRITE_TIME:?} each: the machine or the disk is too slow"
        );
        self.log(&io::Error::new(io::ErrorKind::TimedOut, problem));
        Ok(())
    }

    /// Overwrites the file. Returns true if the time in the record is that of the write. The time is taken from the
    /// file system, whose clock may differ from the system clock.
    fn write_once(&mut self) -> io::Result<bool> {
        if self.state.written.is_some() {
            self.file.write_all_at(b"\n", STATE_BYTES as u64 - 1)?;
            self.state.written = Some(change_time(&self.file.metadata()?));
        }
        let mut bytes = serde_json::to_vec(&self.state)?;
        bytes.resize(STATE_BYTES - 1, b' ');
        bytes.push(b'\n');
        self.file.write_all_at(&bytes, 0)?;

        let changed = change_time(&self.file.metadata()?);
        let written = self.state.written;
        Ok(written.is_none_or(|written| is_close(written, changed)))
    }

    /// Writes the record and logs a failure. An outdated record only causes the next start to begin a new epoch.
    fn write_or_log(&mut self) {
        if let Err(error) = self.write() {
            self.log(&error);
        }
    }

    fn log(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let path = state_path(&self.database);
            tracing::warn!(path = %path.display(), %error, "could not write the state file; the next start may begin a new epoch");
        }
    }
}

/// Returns the path of the file beside `database` with the suffix `suffix`.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    name.into()
}

fn state_path(database: &Path) -> PathBuf {
    beside(database, ".state")
}

fn candidate_path(database: &Path) -> PathBuf {
    beside(database, ".state-new")
}

fn boot_id() -> Option<String> {
    let id = fs::read_to_string(BOOT_ID).ok()?;
    Some(id.trim().to_owned())
}

fn change_time(metadata: &Metadata) -> i64 {
    nanoseconds(metadata.ctime(), metadata.ctime_nsec())
}

const fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

fn is_close(written: i64, changed: i64) -> bool {
    u128::from(changed.abs_diff(written)) <= MAX_WRITE_TIME.as_nanos()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A database with five commits, left by a server that was killed.
    struct Killed {
        folder: TempDir,
        generation: Generation,
    }

    impl Killed {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let database = folder.path().join("test.db");
            fs::write(&database, "pages").expect("written");
            let found = fs::metadata(&database).expect("found");

            let mut state = StateFile::create(&database, &found, 0).expect("created");
            state.put_in_force().expect("renamed");
            state.set_commits(5);

            let generation = Generation {
                commits: 5,
                ..state.generation()
            };
            Self { folder, generation }
        }

        fn database(&self) -> PathBuf {
            self.folder.path().join("test.db")
        }

        /// Changes the record to another state that a server could have left.
        fn change(&self, change: impl FnOnce(&mut State)) {
            let path = state_path(&self.database());
            let record = StateRecord::read(&path).expect("readable");
            let mut record = record.expect("a record");
            change(&mut record.state);
            fs::write(&path, serde_json::to_vec(&record.state).expect("JSON")).expect("written");
        }

        fn verify_with(&self, moved_commits: u64, log_frames: u64) -> Result<(), Doubt> {
            let metadata = fs::metadata(self.database()).expect("found");
            let records = StateRecords::read(&self.database()).expect("readable");
            records.verify(&Evidence {
                database: FileId::from(&metadata),
                generation: &self.generation,
                moved_commits: Some(moved_commits),
                log_frames: Some(log_frames),
            })
        }

        fn verify(&self) -> Result<(), Doubt> {
            self.verify_with(0, 9)
        }
    }

    #[test]
    fn a_database_is_the_newest_after_a_kill_in_the_same_life_of_the_system() {
        let killed = Killed::new();
        assert_eq!(killed.verify(), Ok(()));

        killed.change(|state| state.boot = Some("another".to_owned()));
        assert_eq!(killed.verify(), Err(Doubt::Rebooted));

        killed.change(|state| state.boot = None);
        assert_eq!(killed.verify(), Err(Doubt::Rebooted));
    }

    #[test]
    fn a_record_that_was_written_at_another_time_than_the_file_is_a_copy() {
        let killed = Killed::new();
        killed.change(|state| {
            state.written = state.written.map(|written| written - 1_000_000_000);
        });
        assert_eq!(killed.verify(), Err(Doubt::Copied));
    }

    #[test]
    fn the_number_of_commits_that_a_database_misses_is_reported() {
        let mut killed = Killed::new();
        killed.generation.commits = 3;
        assert_eq!(killed.verify(), Err(Doubt::CommitsMissing { missing: 2 }));

        killed.generation.name = Some("earlier".to_owned());
        assert_eq!(killed.verify(), Err(Doubt::OlderCopy { missing: 2 }));
    }

    #[test]
    fn a_log_may_be_gone_when_the_database_holds_it_but_not_while_it_was_moved() {
        let killed = Killed::new();
        assert_eq!(killed.verify_with(5, 9), Ok(()));
        assert_eq!(killed.verify_with(5, 0), Err(Doubt::LogMissing));

        killed.change(|state| state.moved_commits = Some(5));
        assert_eq!(killed.verify_with(5, 0), Ok(()));
    }

    #[test]
    fn a_database_that_is_older_than_its_log_is_an_older_copy() {
        let killed = Killed::new();
        killed.change(|state| state.moved_commits = Some(4));

        assert_eq!(killed.verify_with(4, 9), Ok(()));
        assert_eq!(killed.verify_with(5, 0), Ok(()), "another program moved it");
        assert_eq!(
            killed.verify_with(1, 9),
            Err(Doubt::OlderCopy { missing: 3 })
        );
    }

    #[test]
    fn a_state_file_that_cannot_be_read_is_an_error_with_its_path_and_an_invalid_one_is_none() {
        let killed = Killed::new();
        let path = state_path(&killed.database());

        fs::write(&path, "{").expect("written");
        assert_eq!(killed.verify(), Err(Doubt::NoStateFile));

        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder");
        let error = StateRecords::read(&killed.database()).expect_err("a folder");
        assert!(matches!(&error, OpenError::StateFile { path: named, .. } if *named == path));
    }

    #[test]
    fn a_kill_before_the_new_record_has_its_name_changes_nothing() {
        let killed = Killed::new();
        let database = killed.database();
        let found = fs::metadata(&database).expect("found");
        let next = StateFile::create(&database, &found, 5).expect("created");

        assert_eq!(
            killed.verify(),
            Ok(()),
            "the database has the old generation"
        );
        let killed = Killed {
            generation: next.generation(),
            ..killed
        };
        assert_eq!(killed.verify(), Ok(()), "it has the new one");
    }
}
