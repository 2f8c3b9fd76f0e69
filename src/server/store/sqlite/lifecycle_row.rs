//! The tables of rooms that are created, closed and deleted, and of the newest append of each producer.
//!
//! A deleted room loses its rows in one transaction, except for its messages, which may be many. They belong to no room then,
//! and are removed in small steps.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use crate::server::store::lifecycle::{Lifecycle, ProducerPosition, ProducerState, RoomSettings};

/// Messages of deleted rooms that one transaction removes.
const MESSAGES_AT_ONCE: usize = 2048;

/// The tables with rows of a room, besides `rooms` and `messages`, and the column with its id.
const TABLES: &[&str] = &["keys", "trimmed", "producers", "lifecycles"];

/// Loads the lifecycles of all rooms, by the id of the room.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<HashMap<i64, Lifecycle>> {
    let mut select = connection.prepare(
        "SELECT room, content_type, ttl, expires_at, is_closed, writer_seq, used FROM lifecycles",
    )?;

    let lifecycles = select.query_map([], |row| {
        let settings = RoomSettings {
            content_type: row.get(1)?,
            ttl: row.get(2)?,
            expires_at: row.get(3)?,
        };

        let lifecycle = Lifecycle {
            settings: Some(settings).filter(|settings| *settings != RoomSettings::default()),
            is_closed: row.get(4)?,
            writer_seq: row.get(5)?,
            used: row.get(6)?,
        };
        Ok((row.get(0)?, lifecycle))
    })?;

    lifecycles.collect()
}

/// Saves the lifecycle of the room `id`.
pub(super) fn save(
    connection: &Connection,
    id: i64,
    lifecycle: &Lifecycle,
) -> rusqlite::Result<()> {
    let settings = lifecycle.settings.as_ref();
    connection
        .prepare_cached("INSERT OR REPLACE INTO lifecycles VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute((
            id,
            settings.and_then(|settings| settings.content_type.as_deref()),
            settings.and_then(|settings| settings.ttl),
            settings.and_then(|settings| settings.expires_at),
            lifecycle.is_closed,
            lifecycle.writer_seq.as_deref(),
            lifecycle.used,
        ))?;
    Ok(())
}

/// Saves the time of use of each room in `uses`, which has its id.
pub(super) fn save_uses(connection: &Connection, uses: &[(i64, u64)]) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "INSERT INTO lifecycles (room, is_closed, used) VALUES (?1, FALSE, ?2)
         ON CONFLICT (room) DO UPDATE SET used = excluded.used",
    )?;
    for (id, used) in uses {
        update.execute((id, used))?;
    }
    Ok(())
}

/// Reads the newest append of the producer `id` in the room `room`.
pub(super) fn producer(
    connection: &Connection,
    room: i64,
    id: &str,
) -> rusqlite::Result<Option<ProducerState>> {
    connection
        .prepare_cached("SELECT epoch, seq FROM producers WHERE room = ?1 AND id = ?2")?
        .query_row((room, id), |row| {
            Ok(ProducerState {
                epoch: row.get(0)?,
                seq: row.get(1)?,
            })
        })
        .optional()
}

/// Saves the newest append of a producer in the room `room`.
pub(super) fn save_producer(
    connection: &Connection,
    room: i64,
    position: &ProducerPosition,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO producers VALUES (?1, ?2, ?3, ?4)")?
        .execute((room, &position.id, position.epoch, position.seq))?;
    Ok(())
}

/// Creates the row of a room whose offsets begin after `base`, and returns its id. The ids of deleted rooms are not used
/// again before their messages are removed.
pub(super) fn insert_room(connection: &Connection, name: &str, base: u64) -> rusqlite::Result<i64> {
    let insert =
        "INSERT INTO rooms (id, name, base, gone, first, head, trimmed, count, bytes, clock)
        SELECT 1 + max(
            ifnull((SELECT max(id) FROM rooms), 0), ifnull((SELECT max(id) FROM deleted_rooms), 0)
        ), ?1, ?2, ?2, 0, ?2, 0, 0, 0, 0 RETURNING id";
    connection
        .prepare_cached(insert)?
        .query_row((name, base), |row| row.get(0))
}

/// Removes all rows of the room `id` except for its messages.
pub(super) fn remove_room(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    for table in TABLES {
        let delete = format!("DELETE FROM {table} WHERE room = ?1");
        connection.prepare_cached(&delete)?.execute([id])?;
    }
    connection
        .prepare_cached("DELETE FROM rooms WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

/// Marks the messages of the removed room `id` for removal.
pub(super) fn mark_deleted(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO deleted_rooms VALUES (?1)")?
        .execute([id])?;
    Ok(())
}

/// Removes messages of deleted rooms. Returns true if there may be more.
pub(super) fn purge(connection: &Connection) -> rusqlite::Result<bool> {
    let select = "SELECT id FROM deleted_rooms LIMIT 1";
    let id: Option<i64> = connection
        .prepare_cached(select)?
        .query_row([], |row| row.get(0))
        .optional()?;
    let Some(id) = id else {
        return Ok(false);
    };

    connection.pragma_update(None, "secure_delete", "ON")?;
    let delete = "DELETE FROM messages WHERE offset IN (SELECT offset FROM messages WHERE room = ?1 LIMIT ?2)";
    let removed = connection
        .prepare_cached(delete)
        .and_then(|mut delete| delete.execute((id, MESSAGES_AT_ONCE)));
    connection.pragma_update(None, "secure_delete", "FAST")?;

    if removed? < MESSAGES_AT_ONCE {
        connection
            .prepare_cached("DELETE FROM deleted_rooms WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(true)
}
