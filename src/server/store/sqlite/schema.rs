//! The schema of the database: its migrations, the settings of a connection, and the values in `meta`. A file of an
//! older version is migrated when it is opened for writing. A newer version is refused.

use rusqlite::{Connection, OptionalExtension};

use crate::protocol::Epoch;
use crate::server::store::sqlite::Durability;
use crate::server::store::sqlite::state_file::Generation;

/// The id in `PRAGMA application_id` that marks a Fanfare database ("FANF").
pub(super) const APPLICATION_ID: i32 = 0x4641_4e46;
/// The migrations: each creates the tables of a version from those of the previous one. `PRAGMA user_version` has the
/// version of the file.
///
/// - `meta`: named values. `epoch` is that of all logs in the file. `generation` and `commits`, since version 4, are
///   the position of the file in its history: see [`state_file`](super::state_file). `clock` and `wall` are the last
///   saved times of the store's clock and the wall clock. `floor` is an upper bound of the offsets of dropped rooms.
///   `saved`, since version 5, is the offset up to which the rows of `rooms` are complete.
/// - `rooms`: the state of each log: see [`room_index`](super::room_index).
/// - `messages`: one row per message. Since version 5, `offset` is the position in the one sequence of all rooms, and
///   the index lists the offsets of each room. `number` counts the messages of the room without holes, from 1. `prev`
///   is the offset of the room's message before it. `at` is in milliseconds since 1970 UTC. `clock` is the time by the
///   store's clock: see [`Clock`](crate::server::store::clock::Clock). `body` is TEXT or BLOB. Since version 2 it may
///   also be INTEGER: the time at which the message was deleted. Since version 6, TEXT is JSON if `is_json` is 1, and
///   there are `kind`, `reply_to` and `edits`.
/// - `trimmed`: the offsets and numbers of messages that were trimmed, to count those that a reader has missed. A row
///   stands for a run of consecutive offsets.
/// - `keys`: the keys of trimmed messages, which are still needed to recognize a repeated publish.
/// - `lifecycles`: the state of created and closed rooms: see [`Lifecycle`](crate::server::store::Lifecycle).
///   `content_type` is NULL if the room was not created.
/// - `producers`: the newest append of each producer in each room.
/// - `deleted_rooms`: the ids of deleted rooms whose messages are still in the file.
/// - `hooks`: the states of the hooks: see [`HookState`](crate::server::store::HookState). `status` is a name of
///   [`HookStatus`](crate::server::store::HookStatus).
/// - `probe`: a table that is written to find out if the disk accepts writes again.
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
    // No table changes, but programs of version 1 cannot read tombstones.
    "",
    // Rooms whose messages have all expired are dropped, and keys are trimmed by their age.
    "
    ALTER TABLE rooms ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX keys_by_clock ON keys (clock);
",
    // Programs of version 3 do not count commits.
    "DELETE FROM meta WHERE name = 'unsynced'",
    // One sequence of offsets for all rooms. The messages get new ones, in the order in which they were stored, after
    // all old ones.
    "
    INSERT OR REPLACE INTO meta SELECT 'floor', CAST(max(
        ifnull((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'floor'), 0),
        ifnull((SELECT max(head) FROM rooms), 0)) AS TEXT);
    ALTER TABLE rooms RENAME TO old_rooms;
    ALTER TABLE messages RENAME TO old_messages;
    ALTER TABLE keys RENAME TO old_keys;
    CREATE TABLE positions (position INTEGER PRIMARY KEY, room INTEGER NOT NULL, offset INTEGER NOT NULL);
    INSERT INTO positions (room, offset) SELECT room, offset FROM (
        SELECT room, offset, max(clock) OVER (PARTITION BY room ORDER BY offset) AS latest FROM old_messages
    ) ORDER BY latest, room, offset;

    CREATE TABLE messages (
        offset INTEGER PRIMARY KEY, room INTEGER NOT NULL, number INTEGER NOT NULL, prev INTEGER NOT NULL,
        at INTEGER NOT NULL, clock INTEGER NOT NULL, sender TEXT NOT NULL, key TEXT, body NOT NULL
    );
    INSERT INTO messages
        SELECT floor + position, room, offset - base, iif(offset = base + 1, 0, floor + before),
            at, old_messages.clock, sender, key, body
        FROM (
            SELECT position, room, offset, lag(position, 1, 0) OVER (PARTITION BY room ORDER BY position) AS before
            FROM positions
        ) JOIN old_messages USING (room, offset) JOIN old_rooms ON old_rooms.id = room,
            (SELECT CAST(value AS INTEGER) AS floor FROM meta WHERE name = 'floor')
        ORDER BY position;
    CREATE INDEX messages_by_room ON messages (room);
    INSERT INTO meta SELECT 'saved', CAST(max(offset) AS TEXT) FROM messages HAVING count(*) > 0;

    CREATE TABLE rooms (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, base INTEGER NOT NULL, gone INTEGER NOT NULL,
        first INTEGER NOT NULL, head INTEGER NOT NULL, trimmed INTEGER NOT NULL, count INTEGER NOT NULL,
        bytes INTEGER NOT NULL, clock INTEGER NOT NULL
    );
    INSERT INTO rooms
        SELECT id, name, floor, floor, ifnull(min(messages.offset), 0), ifnull(max(messages.offset), floor),
            old_rooms.first - 1 - base, old_rooms.head - base, bytes, old_rooms.clock
        FROM old_rooms, (SELECT CAST(value AS INTEGER) AS floor FROM meta WHERE name = 'floor')
        LEFT JOIN messages ON messages.room = id GROUP BY id;

    CREATE TABLE trimmed (
        room INTEGER NOT NULL, offset INTEGER NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (room, offset)
    ) WITHOUT ROWID;
    INSERT INTO trimmed SELECT id, gone, trimmed FROM rooms WHERE trimmed > 0;

    CREATE TABLE keys (
        room INTEGER NOT NULL, number INTEGER NOT NULL, offset INTEGER NOT NULL, at INTEGER NOT NULL,
        clock INTEGER NOT NULL, sender TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (room, number)
    ) WITHOUT ROWID;
    INSERT INTO keys
        SELECT room, offset - old_rooms.base, rooms.base, at, old_keys.clock, sender, key
        FROM old_keys JOIN old_rooms ON old_rooms.id = room JOIN rooms ON rooms.id = room;

    DROP TABLE positions;
    DROP TABLE old_messages;
    DROP TABLE old_keys;
    DROP TABLE old_rooms;
    CREATE INDEX keys_by_clock ON keys (clock);
",
    // Messages have a kind, refer to others, and may be JSON.
    "
    ALTER TABLE messages ADD COLUMN is_json INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE messages ADD COLUMN kind TEXT;
    ALTER TABLE messages ADD COLUMN reply_to INTEGER;
    ALTER TABLE messages ADD COLUMN edits INTEGER;
",
    // Rooms are created, closed and deleted.
    "
    CREATE TABLE lifecycles (
        room INTEGER PRIMARY KEY, content_type TEXT, ttl INTEGER, expires_at INTEGER, is_closed INTEGER NOT NULL,
        writer_seq TEXT, used INTEGER NOT NULL
    );
    CREATE TABLE producers (
        room INTEGER NOT NULL, id TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (room, id)
    ) WITHOUT ROWID;
    CREATE TABLE deleted_rooms (id INTEGER PRIMARY KEY);
",
    // Hooks have a stored position.
    "
    CREATE TABLE hooks (
        name TEXT PRIMARY KEY, epoch TEXT NOT NULL, offset INTEGER NOT NULL, status TEXT NOT NULL
    ) WITHOUT ROWID;
",
];
/// The first version with one sequence of offsets for all rooms. The offsets of older files change.
pub(super) const ONE_SEQUENCE: usize = 5;
/// The page cache of a connection in KiB, enough for the newest pages of some hundreds of rooms.
const CACHE_KIB: i32 = 8 * 1024;

/// The values in `meta`.
#[derive(Debug)]
pub(super) struct MetaRow {
    /// The epoch of the file; `None` if it has no tables.
    pub(super) epoch: Option<Epoch>,
    pub(super) generation: Generation,
    /// The version of the tables.
    pub(super) version: usize,
}

/// Configures a connection that writes. Writes nothing itself.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    // The migrations and the new generation are synced with any durability. [`set_durability`] applies afterwards.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // Deleted content is overwritten in pages that are written anyway.
    connection.pragma_update(None, "secure_delete", "FAST")
}

/// Enables the write-ahead log, if it is not enabled yet.
pub(super) fn enable_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_mode| Ok(()))
}

/// Sets the durability of commits.
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

/// Migrates the tables to the newest version, in the caller's transaction.
pub(super) fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    for migration in MIGRATIONS.iter().skip(version(connection)?) {
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

    let commits = value("commits")?.and_then(|commits| commits.parse().ok());
    Ok(MetaRow {
        epoch: value("epoch")?.map(Epoch::from),
        generation: Generation {
            name: value("generation")?,
            commits: commits.unwrap_or_default(),
        },
        version: version(connection)?,
    })
}

/// Writes the name of the new generation, and the number of commits before it.
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

/// Begins a new epoch, in the caller's transaction.
///
/// Use this for a database that is not, or may not be, the newest state of its logs: a restored backup, or a file
/// with missing messages. Offsets after its newest message may have been assigned to other messages before. The new
/// epoch signals that to readers that resume (`recovery: lost`).
///
/// Afterwards no state file matches the database.
pub(super) fn renew_epoch(connection: &Connection) -> rusqlite::Result<Epoch> {
    let epoch = random_epoch();

    set_epoch(connection, &epoch)?;
    connection.execute("DELETE FROM meta WHERE name = 'generation'", [])?;

    Ok(epoch)
}

/// Returns a random name for a new epoch.
pub(super) fn random_epoch() -> Epoch {
    Epoch::new(fastrand::u32(..))
}

/// Returns the version of the tables.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Reads the offset after which new rooms begin.
pub(super) fn floor(connection: &Connection) -> rusqlite::Result<u64> {
    let floor = number(connection, "floor")?;
    Ok(floor.unwrap_or_default())
}

/// Reads the number called `name` from `meta`.
pub(super) fn number(connection: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    let query = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = ?1";
    connection
        .query_row(query, [name], |row| row.get(0))
        .optional()
}

/// Writes the number called `name` to `meta`.
pub(super) fn set_number(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    set_value(connection, name, &value.to_string())
}

/// Reads the epoch of all logs in the file.
pub(super) fn epoch(connection: &Connection) -> rusqlite::Result<Epoch> {
    let query = "SELECT value FROM meta WHERE name = 'epoch'";
    connection
        .query_row(query, [], |row| row.get::<_, String>(0))
        .map(Epoch::from)
}
