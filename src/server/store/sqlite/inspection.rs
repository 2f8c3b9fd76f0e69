//! Checks of a database file before anything is written to it: it is Fanfare's, this version can read it, and it is not
//! damaged.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::connections::{BUSY_TIMEOUT, open_immutable, open_to_read};
use crate::server::store::sqlite::schema::{APPLICATION_ID, MIGRATIONS};
use crate::server::store::sqlite::state_file::beside;

/// The positions of `PRAGMA user_version` and `PRAGMA application_id` in a database file, 4 bytes each, big-endian
/// (<https://sqlite.org/fileformat2.html>).
const HEADER_VERSION: u64 = 60;
const HEADER_APPLICATION: u64 = 68;

/// Checks that the file is an undamaged Fanfare database. The connection is read-only, so that a damaged file stays
/// unchanged for inspection. Returns true if only an immutable connection can read the file.
pub(super) fn check_file(path: &Path, quick_check: bool) -> Result<bool, OpenError> {
    roll_back_journal(path)?;
    let wrong = |error: rusqlite::Error| OpenError::new(path, &error);
    match open_to_read(path).and_then(|connection| Contents::read(&connection, quick_check)) {
        Ok(contents) => contents.check(path).map(|()| false),
        // There is no space for the index of the log, but the log is empty.
        Err(error) if is_log_empty(path) && may_lack_room(&error) => open_immutable(path)
            .and_then(|connection| Contents::read(&connection, quick_check))
            .map_err(wrong)?
            .check(path)
            .map(|()| true),
        Err(error) => Err(wrong(error)),
    }
}

/// Checks that the file, which another process may have open, is an undamaged Fanfare database.
pub(super) fn inspect(path: &Path, quick_check: bool) -> Result<(), OpenError> {
    let owned = || path.to_owned();
    let metadata = fs::metadata(path).map_err(|source| OpenError::Io {
        path: owned(),
        source,
    })?;
    if !metadata.is_file() {
        return Err(OpenError::NotAFile { path: owned() });
    }

    roll_back_journal(path)?;
    let contents = open_to_read(path)
        .and_then(|connection| Contents::read(&connection, quick_check))
        .map_err(|error| OpenError::new(path, &error))?;
    let is_empty = contents.tables == 0;
    contents.check(path)?;

    if is_empty {
        return Err(OpenError::Empty { path: owned() });
    }
    Ok(())
}

fn is_log_empty(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len()) == 0
}

fn may_lack_room(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
    )
}

/// The contents of a database that show which program created it and whether it is damaged.
struct Contents {
    application: i32,
    version: usize,
    tables: i64,
    /// The first problem that a check found, or "ok".
    soundness: String,
}

impl Contents {
    fn read(connection: &Connection, quick_check: bool) -> rusqlite::Result<Self> {
        let pragma = "application_id";
        Ok(Self {
            application: connection.pragma_query_value(None, pragma, |row| row.get(0))?,
            version: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
            tables: connection
                .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
            soundness: if quick_check {
                connection.pragma_query_value(None, "quick_check", |row| row.get(0))?
            } else {
                "ok".to_owned()
            },
        })
    }

    fn check(self, path: &Path) -> Result<(), OpenError> {
        let (path, known) = (path.to_owned(), MIGRATIONS.len());
        match self.application {
            APPLICATION_ID if self.version > known => Err(OpenError::TooNew {
                path,
                found: self.version,
                known,
            }),
            APPLICATION_ID | 0 if self.soundness != "ok" => Err(OpenError::Damaged {
                path,
                problem: self.soundness,
            }),
            APPLICATION_ID => Ok(()),
            0 if self.tables == 0 => Ok(()),
            _ => Err(OpenError::Foreign { path }),
        }
    }
}

/// Rolls back the transaction of a process that was killed before the database had a write-ahead log. This requires a
/// connection that may write. Databases that belong to other programs, according to their header, are left unchanged.
fn roll_back_journal(path: &Path) -> Result<(), OpenError> {
    if fs::metadata(beside(path, "-journal")).map_or(0, |journal| journal.len()) == 0 {
        return Ok(());
    }

    let read = |at: u64| -> io::Result<[u8; 4]> {
        let mut file = fs::File::open(path)?;
        let mut value = [0; 4];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut value)?;
        Ok(value)
    };

    // If the file has no header yet, the interrupted transaction may have written all of it.
    let application = read(HEADER_APPLICATION).map_or(0, i32::from_be_bytes);
    let version = read(HEADER_VERSION).map_or(0, u32::from_be_bytes) as usize;
    let contents = Contents {
        application,
        version,
        tables: 0,
        soundness: "ok".to_owned(),
    };
    contents.check(path)?;

    let roll_back = || -> rusqlite::Result<i64> {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
    };
    roll_back().map_err(|error| OpenError::new(path, &error))?;
    Ok(())
}
