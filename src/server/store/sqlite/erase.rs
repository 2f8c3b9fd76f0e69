//! The deletion of a message: a tombstone replaces it, and its bytes are removed from the file.
//!
//! A changed row leaves its old bytes in three places: in free space of its page, in unused pages, and in the
//! write-ahead log. `PRAGMA secure_delete` overwrites the first two with zeros
//! (<https://sqlite.org/pragma.html#pragma_secure_delete>). The log is moved into the database and truncated.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::protocol::{Offset, RoomName};
use crate::server::store::Deleted;
use crate::server::store::sqlite::room_index::RoomIndex;
use crate::server::store::sqlite::room_row::RoomRow;

/// Replaces the message at `offset` of `room` with a tombstone. `at` is the current time, in milliseconds since 1970
/// UTC. Also returns the new state of the room after the commit, if it changes.
pub(super) fn erase(
    transaction: &Connection,
    index: &RoomIndex,
    room: &RoomName,
    offset: Offset,
    at: u64,
) -> rusqlite::Result<(Deleted, Option<RoomRow>)> {
    let Some(mut row) = index.row(room) else {
        return Ok((Deleted::NotKept, None));
    };
    if !(row.gone + 1..=row.head).contains(&offset.0) {
        return Ok((Deleted::NotKept, None));
    }
    // Only the body is read, so that a row with an unreadable sender can still be deleted.
    let select = "SELECT typeof(body) = 'integer', octet_length(body) FROM messages WHERE offset = ?2 AND room = ?1";
    let read = |transaction: &Connection| -> rusqlite::Result<Option<(bool, u64)>> {
        let values = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        transaction
            .query_row(select, (row.id, offset.0), values)
            .optional()
    };
    let before = match read(transaction)? {
        None => return Ok((Deleted::NotKept, None)),
        Some((true, _)) => return Ok((Deleted::Before, None)),
        Some((false, bytes)) => bytes,
    };

    transaction.pragma_update(None, "secure_delete", "ON")?;
    let update =
        "UPDATE messages SET body = ?3, is_json = 0, kind = NULL, reply_to = NULL, edits = NULL
        WHERE offset = ?2 AND room = ?1";
    let updated = transaction.execute(update, (row.id, offset.0, at));
    transaction.pragma_update(None, "secure_delete", "FAST")?;
    updated?;
    let after = read(transaction)?.map_or(0, |(_, bytes)| bytes);
    row.bytes = (row.bytes + after).saturating_sub(before);

    row.save(transaction)?;
    Ok((Deleted::Now, Some(row)))
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use crate::protocol::{Offset, RoomName, UserId};
    use crate::server::room::Draft;
    use crate::server::store::sqlite::{SqliteSettings, SqliteStore};
    use crate::server::store::{Deleted, Retention, Store};

    const SECRET: &str = "correct horse battery staple";

    /// Returns true if any file in `folder` contains the secret.
    fn is_anywhere(folder: &Path) -> bool {
        fs::read_dir(folder).expect("a folder").any(|file| {
            let bytes = fs::read(file.expect("a file").path()).expect("bytes");
            bytes
                .windows(SECRET.len())
                .any(|there| there == SECRET.as_bytes())
        })
    }

    fn append(store: &SqliteStore, room: &RoomName, text: &str) {
        let draft = Draft::text(UserId::guest(1), None, text);
        block_on(store.append(room, vec![draft], 7)).expect("stored");
    }

    #[test]
    fn the_bytes_of_a_deleted_message_are_in_no_file_of_the_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.db");
        let settings = SqliteSettings {
            retention: Retention::of_test(10_000),
            ..SqliteSettings::of_test(path)
        };

        let store = SqliteStore::open(&settings).expect("opened");

        // Alternating between two rooms splits pages between them; every tenth message is longer than a page.
        let rooms = ["a", "b"].map(|name| RoomName::parse(name).expect("a name"));
        for number in 0..200 {
            let long = if number % 10 == 0 {
                "x".repeat(9000)
            } else {
                "x".repeat(number)
            };
            append(&store, &rooms[number % 2], &format!("{long}{SECRET}{long}"));
        }

        assert!(is_anywhere(folder.path()));

        for number in 0..200 {
            let offset = Offset(number + 1);
            let deleted = block_on(store.delete(&rooms[number as usize % 2], offset, 9));
            assert_eq!(deleted, Ok(Deleted::Now), "{number}");
        }

        // The log is truncated shortly after the last result is sent.
        let patience = std::time::Instant::now();
        while is_anywhere(folder.path()) {
            assert!(patience.elapsed() < Duration::from_secs(30), "it must go");
            std::thread::yield_now();
        }
    }
}
