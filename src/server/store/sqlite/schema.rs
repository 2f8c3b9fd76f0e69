//! The tables, and how they are written.

use rusqlite::{Connection, OptionalExtension};

use crate::protocol::Epoch;
use crate::server::store::sqlite::Durability;
use crate::server::store::sqlite::state_file::Generation;

/// Marks a file as ours ("FANF"), in `PRAGMA application_id`.
pub(super) const APPLICATION_ID: i32 = 0x4641_4e46;
/// What makes the tables of each version from those of the one before; the file's version is in
/// `PRAGMA user_version`.
///
/// - `meta`: `epoch` of all logs in this file;
///   `generation` and `commits`, since version 4: where in its history the file stands: see
///   [`state_file`](super::state_file);
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
    // Programs of version 3 do not count commits.
    "DELETE FROM meta WHERE name = 'unsynced'",
];
/// Pages that a connection keeps, in KiB: the ends of some hundreds of rooms.
const CACHE_KIB: i32 = 8 * 1024;

/// The values in `meta`.
#[derive(Debug)]
pub(super) struct MetaRow {
    /// `None` in a file without tables.
    pub(super) epoch: Option<Epoch>,
    pub(super) generation: Generation,
    /// The tables are those of the newest version.
    pub(super) is_current: bool,
}

/// Prepares a connection that writes. Writes nothing itself.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // Until the tables are made and the generation is begun: those are to last with any durability.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What is deleted leaves no bytes in the pages that are written anyway.
    connection.pragma_update(None, "secure_delete", "FAST")
}

/// Gives the database a write-ahead log, if it has none.
pub(super) fn enable_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_mode| Ok(()))
}

/// Sets whether commits are synced.
pub(super) fn set_durability(
    connection: &Connection,
    durability: Durability,
) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::Disk => "FULL",
        Durability::Process => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)
}

/// Brings the tables up to date, in a transaction of the caller's.
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for migration in MIGRATIONS.iter().skip(version) {
        connection.execute_batch(migration)?;
    }

    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", MIGRATIONS.len() as i64)
}

/// Returns the values in `meta`.
pub(super) fn meta(connection: &Connection) -> rusqlite::Result<MetaRow> {
    let has_tables: bool = connection.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'meta'",
        [],
        |row| row.get(0),
    )?;
    let value = |name: &str| -> rusqlite::Result<Option<String>> {
        if !has_tables {
            return Ok(None);
        }
        connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
                row.get(0)
            })
            .optional()
    };

    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let commits = value("commits")?.and_then(|commits| commits.parse().ok());
    Ok(MetaRow {
        epoch: value("epoch")?.map(Epoch::from),
        generation: Generation {
            name: value("generation")?,
            commits: commits.unwrap_or_default(),
        },
        is_current: version == MIGRATIONS.len(),
    })
}

/// Writes the generation that begins, and the number of commits before it.
pub(super) fn set_generation(
    connection: &Connection,
    generation: &Generation,
) -> rusqlite::Result<()> {
    set_value(
        connection,
        "generation",
        generation.name.as_deref().unwrap_or_default(),
    )?;
    set_commits(connection, generation.commits)
}

/// Writes the number of commits, the current transaction included.
pub(super) fn set_commits(connection: &Connection, commits: u64) -> rusqlite::Result<()> {
    set_number(connection, "commits", commits)
}

/// Writes the epoch of all logs in the file.
pub(super) fn set_epoch(connection: &Connection, epoch: &Epoch) -> rusqlite::Result<()> {
    set_value(connection, "epoch", epoch.as_str())
}

fn set_value(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
        .execute([name, value])?;
    Ok(())
}

/// Begins a new epoch, in a transaction of the caller's.
///
/// For a database that is not, or may not be, the newest state of its logs: a backup that is put back, or a file
/// with messages missing. Offsets after its newest message may have been given out before, with other messages;
/// the new epoch tells readers that resume (`recovery: lost`).
///
/// No state file vouches for the database afterwards.
pub(super) fn renew_epoch(connection: &Connection) -> rusqlite::Result<Epoch> {
    let epoch = random_epoch();

    set_epoch(connection, &epoch)?;
    connection.execute("DELETE FROM meta WHERE name = 'generation'", [])?;

    Ok(epoch)
}

/// Returns the name of a new epoch.
pub(super) fn random_epoch() -> Epoch {
    Epoch::new(fastrand::u32(..))
}

/// Returns the expression for the `base` of a row of `rooms`, which files before version 3 do not have.
pub(super) fn base_column(connection: &Connection) -> rusqlite::Result<&'static str> {
    let version: usize = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(if version < 3 { "0" } else { "base" })
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
    set_value(connection, name, &value.to_string())
}

/// Which life of the logs the file holds.
pub(super) fn epoch(connection: &Connection) -> rusqlite::Result<Epoch> {
    let query = "SELECT value FROM meta WHERE name = 'epoch'";
    connection
        .query_row(query, [], |row| row.get::<_, String>(0))
        .map(Epoch::from)
}
