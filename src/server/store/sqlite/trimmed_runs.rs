//! The numbers of trimmed messages, in the table `trimmed`, and with them the number of messages that a reader has
//! missed.

use rusqlite::{Connection, OptionalExtension};

use crate::server::store::sqlite::room_row::RoomRow;
use crate::server::store::trimmed_run::{MAX_REMEMBERED, TrimmedRun, count_until};

/// The largest number of forgotten runs that one call removes.
const RUNS_AT_ONCE: usize = 1024;

/// Adds `runs`, which are newer than all earlier ones of the room at `row`, and forgets the oldest.
pub(super) fn insert(
    connection: &Connection,
    row: &RoomRow,
    runs: &[TrimmedRun],
) -> rusqlite::Result<()> {
    if runs.is_empty() {
        return Ok(());
    }

    let mut insert =
        connection.prepare_cached("INSERT OR REPLACE INTO trimmed VALUES (?1, ?2, ?3)")?;
    for run in runs {
        insert.execute((row.id, run.offset, run.number))?;
    }

    let forgotten = row.trimmed.saturating_sub(MAX_REMEMBERED);
    connection
        .prepare_cached(
            "DELETE FROM trimmed WHERE room = ?1 AND offset < (SELECT max(offset) FROM (
                 SELECT offset, number FROM trimmed WHERE room = ?1 ORDER BY offset LIMIT ?3
             ) WHERE number <= ?2)",
        )?
        .execute((row.id, forgotten, RUNS_AT_ONCE))?;
    Ok(())
}

/// Returns the number of messages of the room at `row` up to `offset`, trimmed ones included; `None` if it is unknown.
pub(super) fn count(
    connection: &Connection,
    row: &RoomRow,
    offset: u64,
) -> rusqlite::Result<Option<u64>> {
    if offset >= row.head {
        return Ok(Some(row.count));
    }
    if offset >= row.gone {
        let newest = "SELECT number FROM messages WHERE room = ?1 AND offset > ?2 AND offset <= ?3
            ORDER BY offset DESC LIMIT 1";
        let mut select = connection.prepare_cached(newest)?;
        let number = select.query_row((row.id, row.gone, offset), |row| row.get(0));
        return Ok(Some(number.optional()?.unwrap_or(row.trimmed)));
    }
    if offset < row.base {
        return Ok(None);
    }

    let mut run = connection.prepare_cached(
        "SELECT offset, number FROM trimmed WHERE room = ?1 AND offset <= ?2 ORDER BY offset DESC LIMIT 1",
    )?;
    let run = run.query_row((row.id, offset), |row| {
        Ok(TrimmedRun {
            offset: row.get(0)?,
            number: row.get(1)?,
        })
    });
    let mut next = connection.prepare_cached(
        "SELECT number FROM trimmed WHERE room = ?1 AND offset > ?2 ORDER BY offset LIMIT 1",
    )?;
    let next = next.query_row((row.id, offset), |row| row.get(0));
    Ok(count_until(
        offset,
        run.optional()?,
        next.optional()?,
        row.trimmed,
    ))
}
