//! The tables, and how they are written.

use std::fs;

use rusqlite::{Connection, OptionalExtension};

use crate::protocol::Epoch;
use crate::server::store::sqlite::Durability;

/// Marks a file as ours ("FANF"), in `PRAGMA application_id`.
pub(super) const APPLICATION_ID: i32 = 0x4641_4e46;
/// What makes the tables of each version from those of the one before; the file's version is in
/// `PRAGMA user_version`.
///
/// - `meta`: `epoch` of all logs in this file; `unsynced`, while a server writes without fsync: in which life of
///   the operating system.
///   `clock` and `wall`: the store's clock and the wall clock that went with it, as they were last saved;
///   `floor`: no room that was dropped had an offset above it, so that rooms that are new begin there.
/// - `rooms`: where each log stands. `first` is `head + 1` when nothing is kept. `bytes` are those kept. `clock`
///   is the store's own time of the newest message: see [`Clock`](crate::server::store::clock::Clock).
///   The room's offsets begin after `base`: those up to it may have been given when an earlier room had its name.
/// - `messages`: a body is TEXT or BLOB, as it was said; or INTEGER, since version 2: it was deleted then. `at` is milliseconds since 1970 UTC.
/// - `keys`: what is still needed of messages that are no longer kept, to know a repeated send.
/// - `probe`: written to find out whether the disk takes anything again.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE rooms (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
        first INTEGER NOT NULL, head INTEGER NOT NULL, bytes INTEGER NOT NULL, clock INTEGER NOT NULL
    );
    CREATE TABLE messages (
        room INTEGER NOT NULL, offset INTEGER NOT NULL, at INTEGER NOT NULL, clock INTEGER NOT NULL,
        sender TEXT NOT NULL, key TEXT, body NOT NULL,
        PRIMARY KEY (room, offset)
    ) WITHOUT ROWID;
    CREATE TABLE keys (
        room INTEGER NOT NULL, offset INTEGER NOT NULL, at INTEGER NOT NULL, clock INTEGER NOT NULL,
        sender TEXT NOT NULL, key TEXT NOT NULL,
        PRIMARY KEY (room, offset)
    ) WITHOUT ROWID;
    CREATE TABLE probe (id INTEGER PRIMARY KEY, ballast BLOB NOT NULL);
",
    // Nothing is made: but programs of version 1 could not read a tombstone.
    "",
    // Rooms whose messages have all expired are dropped, and keys are trimmed by their age.
    "
    ALTER TABLE rooms ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX keys_by_clock ON keys (clock);
",
];
/// Pages that a connection keeps, in KiB: the ends of some hundreds of rooms.
const CACHE_KIB: i32 = 8 * 1024;

/// Sets how it is written and brings its tables up to date.
pub(super) fn prepare(connection: &mut Connection, durability: Durability) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_mode| Ok(()))?;
    // Before the tables are made: they are to last too.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What is deleted leaves no bytes in the pages that are written anyway.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let transaction = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    begin_epoch(&transaction, durability)?;
    transaction.commit()?;
    if durability == Durability::Process {
        connection.pragma_update(None, "synchronous", "NORMAL")?;
    }
    Ok(())
}

/// Makes the first epoch; and a new one, if the newest messages may have been lost with the operating system: their
/// offsets will be given again.
fn begin_epoch(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let meta = |name: &str| {
        let query = "SELECT value FROM meta WHERE name = ?1";
        connection
            .query_row(query, [name], |row| row.get::<_, String>(0))
            .optional()
    };
    // Where the system does not tell its lives apart, each may be another.
    let life = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let is_torn = meta("unsynced")?.is_some_and(|written_in| life.as_ref() != Some(&written_in));
    if is_torn || meta("epoch")?.is_none() {
        renew_epoch(connection)?;
    }
    match durability {
        Durability::Process => connection.execute(
            "INSERT OR REPLACE INTO meta VALUES ('unsynced', ?1)",
            [life.unwrap_or_default()],
        )?,
        Durability::Disk => connection.execute("DELETE FROM meta WHERE name = 'unsynced'", [])?,
    };
    Ok(())
}

/// Begins a new epoch, in a transaction of the caller's.
///
/// For a database that is not, or may not be, the newest state of its logs: a backup that is put back, or a file
/// with messages missing. Offsets after its newest message may have been given out before, with other messages;
/// the new epoch tells readers that resume (`recovery: lost`).
pub(super) fn renew_epoch(connection: &Connection) -> rusqlite::Result<Epoch> {
    let epoch = Epoch::new(fastrand::u32(..));

    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES ('epoch', ?1)",
        [epoch.as_str()],
    )?;

    Ok(epoch)
}

/// Reads the offset after which new rooms begin.
pub(super) fn floor(connection: &Connection) -> rusqlite::Result<u64> {
    let floor = number(connection, "floor")?;
    Ok(floor.unwrap_or_default())
}

/// Reads a number in `meta`.
pub(super) fn number(connection: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    let query = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = ?1";
    connection
        .query_row(query, [name], |row| row.get(0))
        .optional()
}

/// Writes a number in `meta`.
pub(super) fn set_number(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
        .execute((name, value.to_string()))?;
    Ok(())
}

/// Which life of the logs the file holds.
pub(super) fn epoch(connection: &Connection) -> rusqlite::Result<Epoch> {
    let query = "SELECT value FROM meta WHERE name = 'epoch'";
    connection
        .query_row(query, [], |row| row.get::<_, String>(0))
        .map(Epoch::from)
}
