//! Which messages are kept no longer, and what of them must still be known.

use rusqlite::{Connection, Row};

use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::UserId;
use crate::server::room::{KeyLimits, KeyWindow, Keyed};
use crate::server::store::Retention;
use crate::server::store::sqlite::ledger::Place;
use crate::server::store::sqlite::reader::unreadable;

/// Messages of a room that one transaction drops at most: so that no publish waits long behind it.
const MAX_TRIMMED: u64 = 512;

/// Drops the oldest messages of the room at `place` that are past the limits, [`MAX_TRIMMED`] at most, and moves
/// `place` on.
pub(super) fn trim(
    connection: &Connection,
    place: &mut Place,
    retention: &Retention,
    now: u64,
) -> rusqlite::Result<()> {
    if !place.is_due(retention, now) {
        return Ok(());
    }
    let mut after = *place;
    let mut select = connection.prepare_cached(
        "SELECT clock, octet_length(body) FROM messages WHERE room = ?1 AND offset >= ?2 ORDER BY offset LIMIT ?3",
    )?;
    let mut rows = select.query((place.id, place.first, MAX_TRIMMED + 1))?;
    while let Some(row) = rows.next()? {
        let length: u64 = row.get(1)?;
        after.oldest = row.get(0)?;
        if !after.is_due(retention, now) || after.first - place.first == MAX_TRIMMED {
            break;
        }
        after.first += 1;
        after.bytes = after.bytes.saturating_sub(length);
    }
    drop(rows);
    if after.first > place.first {
        keep_keys(connection, place, after.first, &retention.keys, now)?;
        connection
            .prepare_cached("DELETE FROM messages WHERE room = ?1 AND offset < ?2")?
            .execute((place.id, after.first))?;
    }
    *place = after;
    Ok(())
}

/// A message may go before its key does.
fn keep_keys(
    connection: &Connection,
    place: &Place,
    first: u64,
    limits: &KeyLimits,
    now: u64,
) -> rusqlite::Result<()> {
    let (after, since) = oldest_key(limits, place.head, now);
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO keys (room, offset, at, clock, sender, key)
             SELECT room, offset, at, clock, sender, key FROM messages
             WHERE room = ?1 AND offset < ?2 AND offset > ?3 AND clock > ?4 AND key IS NOT NULL",
        )?
        .execute((place.id, first, after, since))?;
    Ok(())
}

/// The keys of the room at `place` that are still remembered.
pub(super) fn load_keys(
    connection: &Connection,
    place: &Place,
    limits: KeyLimits,
    now: u64,
) -> rusqlite::Result<KeyWindow> {
    let (after, since) = oldest_key(&limits, place.head, now);
    let columns = "offset, at, clock, sender, key";
    let recent = "WHERE room = ?1 AND offset > ?2 AND clock > ?3 AND key IS NOT NULL";
    let mut select = connection.prepare_cached(&format!(
        "SELECT {columns} FROM keys {recent} UNION ALL SELECT {columns} FROM messages {recent} ORDER BY offset"
    ))?;
    let mut window = KeyWindow::new(limits);
    for keyed in select.query_map((place.id, after, since), keyed_of)? {
        window.remember(keyed?);
    }
    Ok(window)
}

/// Drops the keys that no room remembers any more.
pub(super) fn forget_keys(
    connection: &Connection,
    limits: &KeyLimits,
    now: u64,
) -> rusqlite::Result<()> {
    let (_, since) = oldest_key(limits, 0, now);
    connection
        .prepare_cached("DELETE FROM keys WHERE clock <= ?1")?
        .execute([since])?;
    Ok(())
}

/// A key is remembered if its offset and its clock are more than these.
fn oldest_key(limits: &KeyLimits, head: u64, now: u64) -> (u64, u64) {
    let age = u64::try_from(limits.age.as_millis()).unwrap_or(u64::MAX);
    (
        head.saturating_sub(limits.messages),
        now.saturating_sub(age),
    )
}

fn keyed_of(row: &Row<'_>) -> rusqlite::Result<Keyed> {
    Ok(Keyed {
        offset: Offset(row.get(0)?),
        at: row.get(1)?,
        clock: row.get(2)?,
        from: UserId::parse(row.get_ref(3)?.as_str()?).map_err(|error| unreadable(3, error))?,
        key: Key::parse(row.get_ref(4)?.as_str()?).map_err(|error| unreadable(4, error))?,
    })
}
