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
//! All of the above must agree; [`state_records`](super::state_records) has the proof. After an orderly stop that is
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

/// Size of the file in bytes: a JSON object, spaces, and a line feed. Each write replaces all of it.
pub(super) const STATE_BYTES: usize = 1024;
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
pub(super) struct FileState {
    pub(super) generation: String,
    pub(super) commits: u64,
    pub(super) state_file: FileId,
    pub(super) database: FileId,
    /// The number of commits in the database file without its log; `None` while the log is being moved, or if only a
    /// part of it was moved.
    pub(super) moved_commits: Option<u64>,
    pub(super) boot: Option<String>,
    pub(super) is_closed: bool,
    /// The time of the last write in nanoseconds since 1970 UTC; `None` before the file has its final name.
    pub(super) written: Option<i64>,
    pub(super) fault: Option<FileFault>,
}

/// The position of a database in its own history, as recorded in the database.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    /// The random name of the generation; `None` in files of versions that had no state file.
    pub(super) name: Option<String>,
    pub(super) commits: u64,
}

/// The state file of the database that this process has open. See the [module docs](self).
#[derive(Debug)]
pub(super) struct StateFile {
    /// The path of the database.
    database: PathBuf,
    file: fs::File,
    state: FileState,
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

        let state = FileState {
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

pub(super) fn state_path(database: &Path) -> PathBuf {
    beside(database, ".state")
}

pub(super) fn candidate_path(database: &Path) -> PathBuf {
    beside(database, ".state-new")
}

pub(super) fn boot_id() -> Option<String> {
    let id = fs::read_to_string(BOOT_ID).ok()?;
    Some(id.trim().to_owned())
}

pub(super) fn change_time(metadata: &Metadata) -> i64 {
    nanoseconds(metadata.ctime(), metadata.ctime_nsec())
}

const fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

pub(super) fn is_close(written: i64, changed: i64) -> bool {
    u128::from(changed.abs_diff(written)) <= MAX_WRITE_TIME.as_nanos()
}
