//! Connections to a database file: to write, to read, and to read a file that nothing may be written beside.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};

use crate::server::store::sqlite::lock::DatabaseLock;
use crate::server::store::sqlite::schema;

/// The time for which the store waits while another program (a backup, a SQLite shell) locks the database.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// A read-only connection.
#[derive(Debug)]
pub(super) struct ReadConnection {
    connection: Connection,
    /// The lock on the database, which must be dropped after the connection.
    _lock: Arc<DatabaseLock>,
}

impl ReadConnection {
    /// Returns `connection` with the `lock` on its database.
    pub(super) const fn new(connection: Connection, lock: Arc<DatabaseLock>) -> Self {
        Self {
            connection,
            _lock: lock,
        }
    }
}

impl Deref for ReadConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Opens a connection to an existing database for its only writer.
pub(super) fn open_to_write(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    schema::configure(&connection)?;
    Ok(connection)
}

/// Opens a read-only connection to an existing database.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Opens a read-only connection that creates no file beside the database, for use on a full disk.
///
/// The connection ignores locks and the write-ahead log. Use it only while the log is empty and no process writes to
/// the database.
pub(super) fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let encoded = percent_encode(path.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC);
    Connection::open_with_flags(
        format!("file:{encoded}?immutable=1"),
        OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI,
    )
}
