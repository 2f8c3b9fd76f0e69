//! The removal of messages and keys that are past their limits. Messages are trimmed from the oldest on, in small
//! steps. The key of a removed message moves to the table `keys` until the deduplication window ends.

use rusqlite::{Connection, Row};

use crate::protocol::{Key, Offset, UserId};
use crate::server::room::{DedupEntry, DedupLimits, DedupWindow};
use crate::server::store::sqlite::room_row::RoomRow;
use crate::server::store::sqlite::scan::{is_damage, is_damaged_row, malformed};
use crate::server::store::sqlite::trimmed_runs;
use crate::server::store::trimmed_run::TrimmedRun;

/// The largest number of messages of a room that one transaction removes, so that no publish is delayed for long.
const MAX_TRIMMED: usize = 512;

/// The largest number of keys that one transaction removes.
pub(super) const KEYS_AT_ONCE: usize = 4096;

/// The size and age of one message.
#[derive(Clone, Copy)]
struct MessageSize {
    number: u64,
    clock: u64,
    bytes: u64,
}

impl MessageSize {
    /// Reads the offset and the size from a row of `offset, number, clock, octet_length(body)`.
    fn of(row: &Row<'_>) -> rusqlite::Result<(u64, Option<Self>)> {
        let size = Self {
            number: row.get(1)?,
            clock: row.get(2)?,
            bytes: row.get(3)?,
        };
        Ok((row.get(0)?, Some(size)))
    }
}

/// Removes the oldest messages of the room at `row` that are past the limits, at most [`MAX_TRIMMED`], and updates
/// `row`.
pub(super) fn trim(
    connection: &Connection,
    row: &mut RoomRow,
    key_limits: &DedupLimits,
    now: u64,
) -> rusqlite::Result<()> {
    if !row.is_due(now) {
        return Ok(());
    }

    let mut select = connection.prepare_cached(
        "SELECT offset, number, clock, octet_length(body) FROM messages
         WHERE room = ?1 AND offset > ?2 ORDER BY offset",
    )?;
    let sizes = select.query_map((row.id, row.gone), MessageSize::of)?;
    let (after, runs) = trimmed(row, row.head, sizes, now)?;

    if after.gone > row.gone {
        trimmed_runs::insert(connection, &after, &runs)?;
        keep_keys(connection, &after, key_limits, now)?;
        connection
            .prepare_cached("DELETE FROM messages WHERE room = ?1 AND offset <= ?2")?
            .execute((after.id, after.gone))?;
    }
    *row = after;
    Ok(())
}

/// Trims a room that is partly damaged: its old rows stay in the file and are no longer read. `reader` sees the
/// messages up to `committed`.
pub(super) fn trim_damaged(
    connection: &Connection,
    reader: &Connection,
    row: &mut RoomRow,
    committed: u64,
    now: u64,
) -> rusqlite::Result<()> {
    if committed <= row.gone || !row.is_due(now) {
        return Ok(());
    }

    let mut select = reader.prepare_cached(
        "SELECT offset FROM messages WHERE room = ?1 AND offset > ?2 AND offset <= ?3 ORDER BY offset LIMIT ?4",
    )?;
    let offsets = select
        .query_map((row.id, row.gone, committed, MAX_TRIMMED + 1), |row| {
            row.get(0)
        })?
        .collect::<rusqlite::Result<Vec<u64>>>();
    let offsets = match offsets {
        // The room exceeds its limits until the index is repaired.
        Err(error) if is_damage(&error) => return Ok(()),
        offsets => offsets?,
    };

    let mut select = reader.prepare_cached(
        "SELECT offset, number, clock, octet_length(body) FROM messages WHERE offset = ?1",
    )?;
    let sizes =
        offsets
            .into_iter()
            .map(|offset| match select.query_row([offset], MessageSize::of) {
                Err(error) if is_damaged_row(&error) => Ok((offset, None)),
                size => size,
            });
    let (after, runs) = trimmed(row, committed, sizes, now)?;

    trimmed_runs::insert(connection, &after, &runs)?;
    *row = after;
    Ok(())
}

/// Returns the state of the room at `row` after trimming, and the first message of each run of trimmed offsets.
/// `sizes` has the offsets of the messages up to `last`, oldest first, with their sizes. A message that is missing or
/// damaged is trimmed together with those before it.
fn trimmed(
    row: &RoomRow,
    last: u64,
    sizes: impl Iterator<Item = rusqlite::Result<(u64, Option<MessageSize>)>>,
    now: u64,
) -> rusqlite::Result<(RoomRow, Vec<TrimmedRun>)> {
    let mut after = *row;
    let mut runs = Vec::new();

    for (count, size) in sizes.enumerate() {
        let (offset, size) = size?;
        let skipped = size.map_or(0, |size| size.number.saturating_sub(after.trimmed + 1));
        after.trimmed += skipped;
        after.first = offset;
        after.oldest = size.map_or(after.oldest, |size| size.clock);
        if !after.is_due(now) || count == MAX_TRIMMED {
            return Ok((after, runs));
        }

        let number = after.trimmed + 1;
        let is_next = skipped == 0 && number > 1 && offset == after.gone + 1;
        if !is_next {
            runs.push(TrimmedRun { offset, number });
        }
        (after.gone, after.trimmed) = (offset, number);
        after.bytes -= size.map_or(0, |size| size.bytes).min(after.bytes);
    }

    // No message up to `last` is left.
    if last == after.head {
        (after.gone, after.trimmed) = (after.head, after.count);
    }
    if after.kept() > 0 {
        after.first = after.gone + 1;
    } else {
        // The sizes of damaged messages are unknown and were not subtracted.
        (after.first, after.bytes) = (0, 0);
    }
    Ok((after, runs))
}

/// Saves the keys of the messages up to `row.gone` that are still remembered: a message may be removed before its key.
fn keep_keys(
    connection: &Connection,
    row: &RoomRow,
    limits: &DedupLimits,
    now: u64,
) -> rusqlite::Result<()> {
    let (after, since) = oldest_key(limits, row.count, now);

    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO keys (room, number, offset, at, clock, sender, key)
             SELECT room, number, offset, at, clock, sender, key FROM messages
             WHERE room = ?1 AND offset <= ?2 AND number > ?3 AND clock > ?4 AND key IS NOT NULL",
        )?
        .execute((row.id, row.gone, after, since))?;

    // No room keeps more keys than its deduplication window.
    connection
        .prepare_cached("DELETE FROM keys WHERE room = ?1 AND number <= ?2")?
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
    let (after, since) = oldest_key(&limits, row.count, now);
    let mut keys = Vec::new();
    for (table, order) in [("messages", "offset"), ("keys", "number")] {
        let mut select = connection.prepare_cached(&format!(
            "SELECT number, clock, offset, at, sender, key FROM {table}
             WHERE room = ?1 AND offset >= ?2 ORDER BY {order} DESC"
        ))?;
        let mut rows = select.query((row.id, row.base))?;
        loop {
            let keyed = match rows.next() {
                Ok(None) => break,
                Ok(Some(row)) => keyed_of(row),
                Err(error) => Err(error),
            };
            match keyed {
                Ok((number, clock, _)) if number <= after || clock <= since => break,
                Ok((.., keyed)) => keys.extend(keyed),
                Err(error) if is_damaged && is_damage(&error) => break,
                Err(error) if !is_damage(&error) && is_damaged_row(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    keys.sort_unstable_by_key(|keyed| keyed.number);

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
            "DELETE FROM keys WHERE (room, number) IN
             (SELECT room, number FROM keys WHERE clock <= ?1 ORDER BY clock LIMIT ?2)",
        )?
        .execute((since, KEYS_AT_ONCE))
}

/// Returns the limits of remembered keys in a room of `count` messages: the number and the clock of a remembered key
/// are both greater.
fn oldest_key(limits: &DedupLimits, count: u64, now: u64) -> (u64, u64) {
    let age = u64::try_from(limits.age.as_millis()).unwrap_or(u64::MAX);
    (
        count.saturating_sub(limits.messages),
        now.saturating_sub(age),
    )
}

/// Reads the number and the clock of a message, and its key if it has one.
fn keyed_of(row: &Row<'_>) -> rusqlite::Result<(u64, u64, Option<DedupEntry>)> {
    let (number, clock) = (row.get(0)?, row.get(1)?);
    let Some(key) = row.get_ref(5)?.as_str_or_null()? else {
        return Ok((number, clock, None));
    };

    let entry = DedupEntry {
        number,
        clock,
        offset: Offset(row.get(2)?),
        at: row.get(3)?,
        from: UserId::parse(row.get_ref(4)?.as_str()?).map_err(|error| malformed(4, error))?,
        key: Key::parse(key).map_err(|error| malformed(5, error))?,
    };
    Ok((number, clock, Some(entry)))
}
