//! Backup and restore of a database. A backup can be made while a server writes to the database.
//!
//! # Invariants
//!
//! - A copy is a snapshot of the database: it contains all messages that were acknowledged before the copy began. It
//!   is one file, without a write-ahead log.
//! - A backup does not delay publishing: it reads in one transaction, beside the writer. The write-ahead log grows
//!   until the backup ends.
//! - A copy gets its final name only when it is complete and synced.
//! - A restored database begins a new epoch, because messages that came after the copy are lost. Readers that resume
//!   get `lost`.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::server::store::DatabaseCopy;
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::connections::open_to_read;
use crate::server::store::sqlite::inspection::inspect;
use crate::server::store::sqlite::lock::{DatabaseLock, SUFFIXES, folder_of};
use crate::server::store::sqlite::schema;
use crate::server::store::sqlite::state_file::beside;

/// Pages copied in one step.
const PAGES_PER_STEP: i32 = 1024;
/// Attempts at one step while the source is locked, and the pause between two attempts.
const MAX_TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// The content of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReport {
    /// The size in bytes.
    pub bytes: u64,
    /// The number of messages.
    pub messages: u64,
    /// The damage that a check of the copy found, if any. The source is damaged too.
    pub damage: Option<String>,
}

/// The result of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The content of the restored database.
    pub content: BackupReport,
    /// The new path of the database that was replaced, if there was one.
    pub replaced: Option<PathBuf>,
}

/// An error of a backup or a restore.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The target may not be replaced.
    #[error("{path} cannot be replaced by a copy, as {problem}; name another file")]
    Target {
        /// The file.
        path: PathBuf,
        /// The reason.
        problem: &'static str,
    },
    /// The backup is damaged.
    #[error("{path} is damaged ({problem}); nothing was changed")]
    Damaged {
        /// The path of the backup.
        path: PathBuf,
        /// The problem that the check found.
        problem: String,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {problem}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        problem: String,
    },
    /// Copying failed.
    #[error("cannot copy {from} to {to}: {problem}")]
    Copy {
        /// The source.
        from: PathBuf,
        /// The target.
        to: PathBuf,
        /// The error reported by SQLite.
        problem: String,
    },
}

/// Copies the database at `source`, which a server may have open, to `target`. An existing file at `target` is
/// replaced.
///
/// # Errors
/// If the source is not a Fanfare database, or the target cannot be written.
pub fn backup(source: &Path, target: &Path) -> Result<BackupReport, BackupError> {
    inspect(source, false)?;
    check_target(source, target)?;

    let part = beside(target, ".part");
    let report = copy(source, &part).and_then(|report| {
        put(&part, target)?;
        Ok(report)
    });
    if report.is_err() {
        discard(&part);
    }
    report
}

/// Checks that a copy may be written to `target`: nothing, or an earlier copy, must be there.
///
/// Files of a database in use, other files, devices and links are never replaced.
fn check_target(source: &Path, target: &Path) -> Result<(), BackupError> {
    let refuse = |problem| {
        let path = target.to_owned();
        Err(BackupError::Target { path, problem })
    };

    let source = fs::canonicalize(source).map_err(|error| io_error(source, error))?;
    let folder = fs::canonicalize(folder_of(target)).map_err(|error| io_error(target, error))?;
    let real = target.file_name().map(|name| folder.join(name));
    let own_files = SUFFIXES.map(|suffix| beside(&source, suffix));
    if own_files.iter().any(|file| real.as_ref() == Some(file)) {
        return refuse("it is a file of the database itself");
    }

    let metadata = match fs::symlink_metadata(target) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(target, error)),
    };
    if !metadata.is_file() {
        return refuse("it is not a regular file");
    }
    if SUFFIXES[1..]
        .iter()
        .any(|suffix| beside(target, suffix).exists())
    {
        return refuse("it is the database of a server");
    }
    if metadata.len() > 0 && inspect(target, false).is_err() {
        return refuse("it is not an earlier copy");
    }
    Ok(())
}

/// Removes an incomplete copy and its journal, if they exist.
fn discard(part: &Path) {
    for suffix in ["", "-journal"] {
        let _ = fs::remove_file(beside(part, suffix));
    }
}

/// Replaces the database at `target`, which no server may have open, by a copy of `backup`. The replaced database is
/// renamed and stays in the same folder.
///
/// # Errors
/// If the backup is damaged or not a Fanfare database, a server has the target open, or a file cannot be written.
pub fn restore(backup: &Path, target: &Path) -> Result<Restored, BackupError> {
    inspect(backup, true)?;
    let lock = DatabaseLock::acquire(target)?;
    let target = lock.path();

    let part = beside(target, ".restore");
    let prepared = copy(backup, &part).and_then(|content| {
        if let Some(problem) = content.damage {
            let path = backup.to_owned();
            return Err(BackupError::Damaged { path, problem });
        }
        begin_epoch(&part, target)?;
        Ok(content)
    });
    let content = prepared.inspect_err(|_error| {
        discard(&part);
    })?;

    let replaced = set_aside(target)?;
    put(&part, target)?;
    Ok(Restored { content, replaced })
}

/// Copies `source` to the new file `part` and checks the copy.
fn copy(source: &Path, part: &Path) -> Result<BackupReport, BackupError> {
    create(part)?;
    let failed = |error: rusqlite::Error| BackupError::Copy {
        from: source.to_owned(),
        to: part.to_owned(),
        problem: error.to_string(),
    };

    let source = open_to_read(source).map_err(failed)?;
    let mut target = Connection::open(part).map_err(failed)?;
    // One transaction covers all steps: if a commit changed the source between two steps, the copy would start over.
    let snapshot = source.unchecked_transaction().map_err(failed)?;
    copy_pages(&snapshot, &mut target).map_err(failed)?;
    drop(snapshot);

    // The copy must be one file, even if the source has a write-ahead log.
    target
        .pragma_update_and_check(None, "journal_mode", "DELETE", |_mode| Ok(()))
        .map_err(failed)?;
    let check: String = target
        .pragma_query_value(None, "quick_check", |row| row.get(0))
        .unwrap_or_else(|error| error.to_string());
    let count = target.query_row("SELECT count(*) FROM messages", [], |row| row.get(0));
    // If the check has found damage, the messages may be impossible to count.
    let messages = count.unwrap_or_default();
    drop(target);

    let synced = fs::File::open(part).and_then(|file| {
        file.sync_all()?;
        file.metadata()
    });
    let metadata = synced.map_err(|error| io_error(part, error))?;
    Ok(BackupReport {
        bytes: metadata.len(),
        messages,
        damage: Some(check).filter(|check| check != "ok"),
    })
}

fn copy_pages(source: &Connection, target: &mut Connection) -> rusqlite::Result<()> {
    // The transaction begins with the first read.
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_row| Ok(()))?;

    let backup = Backup::new(source, target)?;
    let mut tries = 0;

    loop {
        match backup.step(PAGES_PER_STEP)? {
            StepResult::Done => return Ok(()),
            StepResult::Busy | StepResult::Locked if tries < MAX_TRIES => {
                tries += 1;
                std::thread::sleep(PAUSE);
            }
            StepResult::Busy | StepResult::Locked => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(rusqlite::Error::SqliteFailure(busy, None));
            }
            _ => tries = 0,
        }
    }
}

/// Begins a new epoch in the copy at `part`.
fn begin_epoch(part: &Path, target: &Path) -> Result<(), BackupError> {
    let write = || -> rusqlite::Result<()> {
        let connection = Connection::open(part)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        schema::renew_epoch(&connection).map(drop)
    };
    write().map_err(|error| BackupError::Copy {
        from: part.to_owned(),
        to: target.to_owned(),
        problem: error.to_string(),
    })
}

/// Renames the database at `path` and the files beside it to an unused name, and returns that name.
fn set_aside(path: &Path) -> Result<Option<PathBuf>, BackupError> {
    if fs::metadata(path).is_ok_and(|file| file.len() == 0) || !path.exists() {
        return Ok(None);
    }
    let aside = (1..)
        .map(|number| beside(path, &format!(".replaced-{number}")))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| beside(path, ".replaced"));

    // The database itself is the last.
    for suffix in SUFFIXES.iter().rev() {
        let (from, to) = (beside(path, suffix), beside(&aside, suffix));
        match fs::rename(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(&to, error)),
        }
    }
    Ok(Some(aside))
}

/// Renames the file `part` to `target` and syncs the folder.
fn put(part: &Path, target: &Path) -> Result<(), BackupError> {
    let folder = folder_of(target);
    fs::rename(part, target)
        .and_then(|()| fs::File::open(folder)?.sync_all())
        .map_err(|error| io_error(target, error))
}

/// Creates an empty file that only its owner may read. Replaces one that an earlier copy left.
fn create(path: &Path) -> Result<(), BackupError> {
    discard(path);
    // A symbolic link at this path is not followed.
    fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| io_error(path, error))
}

fn io_error(path: &Path, error: io::Error) -> BackupError {
    BackupError::Io {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}

/// Creates a copy of the database at `source` that has no name, so that it is removed when the returned handle is
/// closed.
///
/// # Errors
/// If there is no space for the copy in the folder of the database, or the database cannot be read.
pub(super) fn copy_unnamed(source: &Path) -> Result<DatabaseCopy, BackupError> {
    let part = beside(source, ".backup-part");
    let copied = copy(source, &part).and_then(|report| {
        let file = fs::File::open(&part).map_err(|error| io_error(&part, error))?;
        let bytes = report.bytes;
        Ok(DatabaseCopy { file, bytes })
    });

    // The open handle keeps the data of the copy. If copying failed, the partial file is removed here too.
    discard(&part);
    copied
}
