//! The removal of messages and keys that are past their limits. Messages are trimmed from the oldest on, in small
//! steps. The key of a removed message moves to the table `keys` until the deduplication window ends.

use rusqlite::{Connection, Row};

use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::UserId;
use crate::server::room::{DedupEntry, DedupLimits, DedupWindow};
use crate::server::store::Retention;
use crate::server::store::sqlite::room_index::RoomRow;
use crate::server::store::sqlite::scan::{is_damage, is_damaged_row, malformed};

/// The largest number of messages of a room that one transaction removes, so that no publish is delayed for long.
const MAX_TRIMMED: u64 = 512;

/// The largest number of keys that one transaction removes.
pub(super) const KEYS_AT_ONCE: usize = 4096;

/// Removes the oldest messages of the room at `row` that are past the limits, at most [`MAX_TRIMMED`], and updates
/// `row`.
pub(super) fn trim(
    connection: &Connection,
    row: &mut RoomRow,
    retention: &Retention,
    now: u64,
) -> rusqlite::Result<()> {
    if !row.is_due(retention, now) {
        return Ok(());
    }

    let last = row.head.min(row.first + MAX_TRIMMED);
    let sizes = sizes(connection, row.id, row.first, last)?;
    let after = trimmed(*row, last, sizes, retention, now);
    if after.first > row.first {
        keep_keys(connection, row, after.first, &retention.keys, now)?;
        connection
            .prepare_cached("DELETE FROM messages WHERE room = ?1 AND offset < ?2")?
            .execute((row.id, after.first))?;
    }
    *row = after;
    Ok(())
}

/// Trims a room that is partly damaged: its old rows stay in the file and are no longer read. `reader` sees the
/// messages up to `committed`.
pub(super) fn trim_damaged(
    reader: &Connection,
    row: &mut RoomRow,
    committed: u64,
    retention: &Retention,
    now: u64,
) -> rusqlite::Result<()> {
    let last = committed.min(row.first + MAX_TRIMMED);
    if last < row.first || !row.is_due(retention, now) {
        return Ok(());
    }

    let mut readable = Vec::new();
    for offset in row.first..=last {
        match sizes(reader, row.id, offset, offset) {
            Ok(size) => readable.extend(size),
            Err(error) if is_damaged_row(&error) => {}
            Err(error) => return Err(error),
        }
    }
    *row = trimmed(*row, last, readable, retention, now);
    Ok(())
}

/// Returns the state of the room at `row` after trimming. `sizes` has the messages up to `last`. Messages without a
/// size are missing or damaged, and are trimmed together with those before them.
fn trimmed(
    row: RoomRow,
    last: u64,
    sizes: Vec<MessageSize>,
    retention: &Retention,
    now: u64,
) -> RoomRow {
    let mut after = row;
    let mut sizes = sizes.into_iter().peekable();

    for offset in row.first..=last {
        let next = sizes.peek().copied();
        after.oldest = next.map_or(after.oldest, |size| size.clock);
        if !after.is_due(retention, now) || offset - row.first == MAX_TRIMMED {
            break;
        }

        after.first = offset + 1;
        if let Some(size) = sizes.next_if(|size| size.offset == offset) {
            after.bytes = after.bytes.saturating_sub(size.bytes);
        }
    }

    if after.kept() == 0 {
        // The sizes of damaged messages are unknown and were not subtracted.
        after.bytes = 0;
    }

    after
}

/// The size and age of one message.
#[derive(Clone, Copy)]
struct MessageSize {
    offset: u64,
    clock: u64,
    bytes: u64,
}

/// Reads the sizes of the messages of `room` from `first` to `last`.
fn sizes(
    connection: &Connection,
    room: i64,
    first: u64,
    last: u64,
) -> rusqlite::Result<Vec<MessageSize>> {
    let mut select = connection.prepare_cached(
        "SELECT offset, clock, octet_length(body) FROM messages
         WHERE room = ?1 AND offset BETWEEN ?2 AND ?3 ORDER BY offset",
    )?;
    let sizes = select.query_map((room, first, last), |row| {
        Ok(MessageSize {
            offset: row.get(0)?,
            clock: row.get(1)?,
            bytes: row.get(2)?,
        })
    })?;
    sizes.collect()
}

/// Saves the keys of messages before `first` that are still remembered: a message may be removed before its key.
fn keep_keys(
    connection: &Connection,
    row: &RoomRow,
    first: u64,
    limits: &DedupLimits,
    now: u64,
) -> rusqlite::Result<()> {
    let (after, since) = oldest_key(limits, row.head, now);

    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO keys (room, offset, at, clock, sender, key)
             SELECT room, offset, at, clock, sender, key FROM messages
             WHERE room = ?1 AND offset < ?2 AND offset > ?3 AND clock > ?4 AND key IS NOT NULL",
        )?
        .execute((row.id, first, after, since))?;

    // No room keeps more keys than its deduplication window.
    connection
        .prepare_cached("DELETE FROM keys WHERE room = ?1 AND offset <= ?2")?
        .execute((row.id, after))?;

    Ok(())
}

/// Loads the keys of the room at `row` that are still remembered. With `is_damaged`, unreadable keys are left out,
/// and on a damaged page all older ones too.
pub(super) fn load_keys(
    connection: &Connection,
    row: &RoomRow,
    limits: DedupLimits,
    now: u64,
    is_damaged: bool,
) -> rusqlite::Result<DedupWindow> {
    let (after, since) = oldest_key(&limits, row.head, now);
    let mut keys = Vec::new();
    for table in ["messages", "keys"] {
        let mut select = connection.prepare_cached(&format!(
            "SELECT offset, at, clock, sender, key FROM {table}
             WHERE room = ?1 AND offset > ?2 AND clock > ?3 AND key IS NOT NULL ORDER BY offset DESC"
        ))?;
        for keyed in select.query_map((row.id, after, since), keyed_of)? {
            match keyed {
                Ok(keyed) => keys.push(keyed),
                Err(error) if is_damaged && is_damage(&error) => break,
                Err(error) if !is_damage(&error) && is_damaged_row(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    keys.sort_unstable_by_key(|keyed| keyed.offset);

    let mut window = DedupWindow::new(limits);
    keys.into_iter().for_each(|keyed| window.insert(keyed));
    Ok(window)
}

/// Returns true if there are keys that are too old for all rooms.
pub(super) fn has_old_keys(
    connection: &Connection,
    limits: &DedupLimits,
    now: u64,
) -> rusqlite::Result<bool> {
    let (_, since) = oldest_key(limits, 0, now);
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM keys WHERE clock <= ?1)")?
        .query_row([since], |row| row.get(0))
}

/// Removes keys that are too old for all rooms, at most [`KEYS_AT_ONCE`]. Returns the number of removed keys.
pub(super) fn forget_keys(
    connection: &Connection,
    limits: &DedupLimits,
    now: u64,
) -> rusqlite::Result<usize> {
    let (_, since) = oldest_key(limits, 0, now);

    connection
        .prepare_cached(
            "DELETE FROM keys WHERE (room, offset) IN
             (SELECT room, offset FROM keys WHERE clock <= ?1 ORDER BY clock LIMIT ?2)",
        )?
        .execute((since, KEYS_AT_ONCE))
}

/// Returns the limits of remembered keys: the offset and the clock of a remembered key are both greater.
fn oldest_key(limits: &DedupLimits, head: u64, now: u64) -> (u64, u64) {
    let age = u64::try_from(limits.age.as_millis()).unwrap_or(u64::MAX);
    (
        head.saturating_sub(limits.messages),
        now.saturating_sub(age),
    )
}

fn keyed_of(row: &Row<'_>) -> rusqlite::Result<DedupEntry> {
    Ok(DedupEntry {
        offset: Offset(row.get(0)?),
        at: row.get(1)?,
        clock: row.get(2)?,
        from: UserId::parse(row.get_ref(3)?.as_str()?).map_err(|error| malformed(3, error))?,
        key: Key::parse(row.get_ref(4)?.as_str()?).map_err(|error| malformed(4, error))?,
    })
}
