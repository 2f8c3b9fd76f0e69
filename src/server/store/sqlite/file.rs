//! The database file: whose it is, and whether it is sound.

use std::fs::{self, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags};

use crate::protocol::Epoch;
use crate::server::store::sqlite::SqliteSettings;
use crate::server::store::sqlite::fault::Fault;
use crate::server::store::sqlite::schema::{self, APPLICATION_ID, MIGRATIONS};

/// Another program that looks at the file (a backup, a person) may hold it for so long.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the database could not be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A folder or file could not be made or opened.
    #[error("cannot open the database {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the database {path} is in use by another fanfare; stop that one, or give this one a --data of its own"
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A database of some other program.
    #[error("{path} is a database, but not one of Fanfare's; nothing was changed in it")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Made by a later version than this.
    #[error(
        "the database {path} has format {found}, and this program knows up to {known}: it is from a newer Fanfare"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: usize,
        /// The newest known.
        known: usize,
    },
    /// The disk or its rights do not let it be used.
    #[error("the database {path} cannot be used ({problem})")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        problem: String,
    },
    /// It cannot be read as a database, or the check found something.
    #[error(
        "the database {path} is damaged or cannot be read ({problem}); nothing was changed in it: restore a copy, or move it away to begin anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        problem: String,
    },
}

impl OpenError {
    fn new(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, problem) = (path.to_owned(), error.to_string());
        match Fault::from(error) {
            Fault::Refused(_) => Self::Unusable { path, problem },
            Fault::Fatal(_) => Self::Damaged { path, problem },
        }
    }
}

/// A database that is ours alone, sound, and of the newest version.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// The writer's connection.
    pub(super) connection: Connection,
    log_pages: Arc<AtomicUsize>,
    /// Locked as long as it is open. Not the database itself: closing any handle on that would drop SQLite's locks.
    _lock: fs::File,
}

impl File {
    pub(super) fn open(settings: &SqliteSettings) -> Result<Self, OpenError> {
        let path = settings.path.clone();
        let lock = lock(&path)?;
        let wrong = |error: rusqlite::Error| OpenError::new(&path, &error);
        // Looked at by a connection that may not write, so that what is wrong with it stays for people to see.
        if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            inspect(&path, settings.quick_check)?;
        }
        let mut connection = Connection::open(&path).map_err(wrong)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(wrong)?;
        schema::prepare(&mut connection, settings.durability).map_err(wrong)?;
        // The name of a new file must last too.
        if let Some(folder) = folder_of(&path) {
            let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|source| OpenError::Io {
                path: path.clone(),
                source,
            })?;
        }
        let log_pages = watch_log(&mut connection).map_err(wrong)?;
        Ok(Self {
            path,
            connection,
            log_pages,
            _lock: lock,
        })
    }

    /// Pages in the write-ahead log after the last commit.
    pub(super) fn log_pages(&self) -> usize {
        self.log_pages.load(Ordering::Relaxed)
    }

    /// Moves the write-ahead log into the database, as far as readers let it.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_row| Ok(()))
    }

    /// Moves all of the write-ahead log into the database, synced: nothing more is written.
    pub(super) fn close(&self) -> rusqlite::Result<()> {
        self.connection
            .execute("DELETE FROM meta WHERE name = 'unsynced'", [])?;
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()))
    }

    /// Which life of the logs this file holds.
    pub(super) fn epoch(&self) -> Result<Epoch, OpenError> {
        schema::epoch(&self.connection).map_err(|error| self.wrong(&error))
    }

    /// Another connection, that only reads.
    pub(super) fn reader(&self) -> Result<Connection, OpenError> {
        open_to_read(&self.path).map_err(|error| self.wrong(&error))
    }

    /// What an error of SQLite's means for opening it.
    pub(super) fn wrong(&self, error: &rusqlite::Error) -> OpenError {
        OpenError::new(&self.path, error)
    }

    /// It does not hold what it should.
    pub(super) fn damaged(&self, problem: String) -> OpenError {
        OpenError::Damaged {
            path: self.path.clone(),
            problem,
        }
    }
}

/// Makes the folder and takes the lock beside the database.
pub(super) fn lock(path: &Path) -> Result<fs::File, OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = folder_of(path) {
        // What people say is nobody else's on this machine.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(io)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = fs::File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(name)
        .map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

pub(super) fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().map(|folder| {
        if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        }
    })
}

/// A connection to a database that is there, for reading only.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Whether the file is ours and sound.
pub(super) fn inspect(path: &Path, quick_check: bool) -> Result<(), OpenError> {
    let look = || -> rusqlite::Result<(i32, usize, i64, String)> {
        let connection = open_to_read(path)?;
        let id = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let tables =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let sound = if quick_check {
            connection.pragma_query_value(None, "quick_check", |row| row.get(0))?
        } else {
            "ok".to_owned()
        };
        Ok((id, version, tables, sound))
    };
    let (id, found, tables, sound) = look().map_err(|error| OpenError::new(path, &error))?;
    let (path, known) = (path.to_owned(), MIGRATIONS.len());
    match id {
        APPLICATION_ID if found > known => Err(OpenError::TooNew { path, found, known }),
        APPLICATION_ID | 0 if sound != "ok" => Err(OpenError::Damaged {
            path,
            problem: sound,
        }),
        APPLICATION_ID => Ok(()),
        0 if tables == 0 => Ok(()),
        _ => Err(OpenError::Foreign { path }),
    }
}

/// Counts the pages in the write-ahead log. This takes the place of SQLite's own checkpoints, which keep a failed
/// fsync to themselves.
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
