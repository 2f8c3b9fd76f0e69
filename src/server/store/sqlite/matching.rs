//! Reads of the messages of all rooms that a pattern matches, in the order of their offsets.
//!
//! A page is filled in two steps. First the sequence is read from the start of the page: if many of its messages match,
//! this fills the page at little cost. The number of messages that it reads is limited. If few match, each of the
//! matching rooms is read through the index, which costs a few reads per room, for any number of messages in between.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::Connection;

use crate::protocol::{Offset, RoomName, RoomSelector};
use crate::server::store::matching::{MatchingPage, MatchingRange, OldestFrames};
use crate::server::store::sqlite::reader::{ReaderPool, Readers, committed};
use crate::server::store::sqlite::room_index::RoomIndex;
use crate::server::store::sqlite::room_row::RoomRow;
use crate::server::store::sqlite::scan::{self, Direction, Scan, ScanRange, is_damaged_row};
use crate::server::store::sqlite::schema;
use crate::server::store::sqlite::trimmed_runs;
use crate::server::store::{Limit, StoreError};

/// The number of messages of the sequence that are read at most, for each matching room: reading them costs about as
/// much as finding one message of the room through the index.
const SCANNED_PER_ROOM: usize = 4;

impl Readers {
    /// Reads the oldest messages in `range` of all rooms that one of `rooms` matches.
    ///
    /// # Errors
    /// If the database cannot be read now.
    pub(super) fn matching(
        &self,
        rooms: &[RoomSelector],
        range: MatchingRange,
        limit: Limit,
    ) -> impl Future<Output = Result<MatchingPage, StoreError>> + Send + 'static {
        let (pool, rooms) = (self.0.clone(), rooms.to_vec());
        async move {
            let read = move |pool: &ReaderPool, connection: &Connection| {
                MatchingRead::page(pool, connection, &rooms, range, limit)
            };
            pool.read(read).await
        }
    }
}

impl Readers {
    /// Returns the number of kept messages after `after` of all rooms that one of `rooms` matches; `None` if a damaged page
    /// hides it.
    ///
    /// # Errors
    /// If the database cannot be read now.
    pub(super) fn count_matching(
        &self,
        rooms: &[RoomSelector],
        after: Offset,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send + 'static {
        let pool = self.0.clone();
        let rooms = rooms.to_vec();

        async move {
            let count = move |pool: &ReaderPool, connection: &Connection| {
                let snapshot = connection.unchecked_transaction()?;
                let mut count = Some(0);

                for (_, row) in due_rooms(&pool.index, &rooms, after) {
                    let Some(row) = committed(&snapshot, row)? else {
                        continue;
                    };
                    let read = number(&snapshot, &row, after.max(Offset(row.gone)))?;
                    let unread = read.and_then(|read| row.count.checked_sub(read));
                    count = count.zip(unread).map(|(all, unread)| all + unread);
                }
                Ok(count)
            };

            pool.read(count).await
        }
    }
}

/// Returns the number of messages of the room at `row` up to `offset`; `None` if it is unknown.
fn number(snapshot: &Connection, row: &RoomRow, offset: Offset) -> rusqlite::Result<Option<u64>> {
    match trimmed_runs::count(snapshot, row, offset.0) {
        Err(error) if is_damaged_row(&error) => Ok(None),
        number => number,
    }
}

/// Returns the rooms that one of `selected` matches and that have messages after `after`.
fn due_rooms(
    index: &RoomIndex,
    selected: &[RoomSelector],
    after: Offset,
) -> Vec<(RoomName, RoomRow)> {
    let is_due = |_: &RoomName, row: &RoomRow| row.head > after.0;
    let mut due = Vec::new();

    for selector in selected {
        match selector {
            RoomSelector::Room(name) => {
                let row = index.row(name).filter(|row| is_due(name, row));
                due.extend(row.map(|row| (name.clone(), row)));
            }
            RoomSelector::Pattern(pattern) => {
                due.extend(index.list(pattern, None, usize::MAX, is_due));
            }
        }
    }

    // A room is matched by several of them.
    if selected.len() > 1 {
        due.sort_unstable_by_key(|(_, row)| row.id);
        due.dedup_by_key(|(_, row)| row.id);
    }
    due
}

/// Returns the largest offset that a dropped room may have had that one of `selected` matches. `floor` is that of all
/// dropped rooms.
fn selected_floor(index: &RoomIndex, selected: &[RoomSelector], floor: u64) -> u64 {
    let floor = floor.max(index.floor());
    let floors = selected.iter().map(|selector| match selector {
        RoomSelector::Room(name) => index.row(name).map_or(floor, |row| row.base),
        RoomSelector::Pattern(_) => floor,
    });
    floors.max().unwrap_or_default()
}

/// One read of a page, in one transaction.
struct MatchingRead<'a> {
    pool: &'a ReaderPool,
    snapshot: &'a Connection,
    /// The matching rooms with messages after the start of the page.
    rooms: &'a [(RoomName, RoomRow)],
    /// The newest offset that the page can have.
    newest: u64,
}

impl MatchingRead<'_> {
    fn page(
        pool: &ReaderPool,
        connection: &Connection,
        selected: &[RoomSelector],
        range: MatchingRange,
        limit: Limit,
    ) -> rusqlite::Result<MatchingPage> {
        let MatchingRange {
            after,
            known,
            until,
        } = range;
        // The snapshot has all messages up to `newest`. The index may be older or newer than the snapshot, so the bounds
        // of the rooms are read from the snapshot. Newer messages are beyond the page, and rooms that only one of the
        // two has keep no messages in the page.
        let newest = pool.index.newest().min(until.0);
        let snapshot = connection.unchecked_transaction()?;
        let floor = schema::floor(&snapshot)?;
        let due = due_rooms(&pool.index, selected, after);
        let floor = selected_floor(&pool.index, selected, floor);
        let mut rooms = Vec::with_capacity(due.len());
        for (name, row) in due {
            rooms.extend(committed(&snapshot, row)?.map(|row| (name, row)));
        }

        let read = MatchingRead {
            pool,
            snapshot: &snapshot,
            rooms: &rooms,
            newest,
        };
        let mut oldest = OldestFrames::new(limit);
        let scanned = read.scan_sequence(after.0, limit, &mut oldest)?;
        let mut is_damaged = false;
        if scanned < newest {
            is_damaged = read.scan_rooms(scanned, &mut oldest)?;
        }

        let mut page = oldest.into_frames(newest.max(after.0));
        read.add_trimmed(&mut page, known)?;
        page.add_dropped(floor, known);
        if is_damaged || read.lacks_messages(&page, after) {
            read.add_damaged(&mut page, after)?;
        }
        Ok(page)
    }

    /// Adds messages of the sequence after `after` to `oldest`. Returns the offset up to which it is complete.
    fn scan_sequence(
        &self,
        after: u64,
        limit: Limit,
        oldest: &mut OldestFrames,
    ) -> rusqlite::Result<u64> {
        let rooms = self.rooms.iter().map(|(name, row)| (row.id, (name, row)));
        let rooms: HashMap<i64, (&RoomName, &RoomRow)> = rooms.collect();
        let budget = SCANNED_PER_ROOM
            .saturating_mul(rooms.len())
            .saturating_add(limit.messages.saturating_mul(2));
        let mut select = self.snapshot.prepare_cached(
            "SELECT offset, room FROM messages WHERE offset > ?1 AND offset <= ?2 ORDER BY offset",
        )?;
        let mut rows = select.query((after, self.newest))?;

        let mut scanned = after;
        for _ in 0..budget {
            let found = match rows.next() {
                Ok(None) => return Ok(self.newest),
                Ok(Some(row)) => Ok((row.get(0)?, row.get(1)?)),
                Err(error) => Err(error),
            };
            let (offset, room): (u64, i64) = match found {
                // The index has the offsets of the messages on a damaged page.
                Err(error) if is_damaged_row(&error) => return Ok(scanned),
                found => found?,
            };

            // A damaged room keeps rows that were trimmed.
            let room = rooms.get(&room).filter(|(_, row)| offset > row.gone);
            if let Some((name, row)) = room {
                let frame = match self.scan(name, row).find(offset) {
                    Err(error) if is_damaged_row(&error) => return Ok(scanned),
                    frame => frame?,
                };
                if frame.is_some_and(|frame| oldest.add_frame(Arc::new(frame)).is_break()) {
                    return Ok(self.newest);
                }
            }
            scanned = offset;
        }
        Ok(scanned)
    }

    /// Adds messages of the matching rooms after `after` to `oldest`, one room after the other. Returns true if messages
    /// could not be read.
    fn scan_rooms(&self, after: u64, oldest: &mut OldestFrames) -> rusqlite::Result<bool> {
        let start = |row: &RoomRow| after.max(row.gone) + 1;
        let mut rooms: Vec<_> = self.rooms.iter().collect();
        rooms.sort_unstable_by_key(|(_, row)| start(row).max(row.first));
        let mut is_damaged = false;

        for (name, row) in rooms {
            let start = start(row);
            if start > self.newest || oldest.is_past(start.max(row.first)) {
                continue;
            }
            let range = ScanRange {
                offsets: start..=self.newest,
                before: None,
                after: None,
            };
            let scan = self.scan(name, row);
            let unreadable = scan.run(range, |frame| oldest.add_frame(Arc::new(frame)))?;
            is_damaged |= unreadable.problem.is_some();
        }
        Ok(is_damaged)
    }

    /// Counts the trimmed messages after `known` in `page`.
    fn add_trimmed(&self, page: &mut MatchingPage, known: Offset) -> rusqlite::Result<()> {
        for (_, row) in self.rooms.iter().filter(|(_, row)| row.trimmed > 0) {
            let gone = Offset(row.gone).min(page.until);
            page.gone = page.gone.max(gone);
            if gone > known {
                let before = self.number(row, known)?;
                let count = self.number(row, gone)?.zip(before);
                let count = count.and_then(|(all, before)| all.checked_sub(before));
                page.trimmed = page.trimmed.zip(count).map(|(all, count)| all + count);
            }
        }
        Ok(())
    }

    /// Returns true if the links between the messages of `page` show that others after `after` are missing.
    fn lacks_messages(&self, page: &MatchingPage, after: Offset) -> bool {
        let gone = self.rooms.iter();
        let mut read: HashMap<&RoomName, Offset> = gone
            .map(|(name, row)| (name, after.max(Offset(row.gone))))
            .collect();
        page.frames.iter().any(|frame| {
            let last = read.insert(frame.room(), frame.offset());
            last.is_some_and(|last| frame.prev() > last)
        })
    }

    /// Counts the messages after `after` in `page` that cannot be read.
    fn add_damaged(&self, page: &mut MatchingPage, after: Offset) -> rusqlite::Result<()> {
        for (name, row) in self.rooms {
            let start = after.max(Offset(row.gone));
            if start >= page.until {
                continue;
            }
            let range = ScanRange {
                offsets: start.0 + 1..=page.until.0,
                before: self.number(row, start)?,
                after: self.number(row, page.until)?.map(|number| number + 1),
            };
            let scan = self.scan(name, row);
            let unreadable = scan.run(range, |_frame| ControlFlow::Continue(()))?;
            page.damaged += unreadable.count();
            self.pool.damage.record(name, row.id, &unreadable);
        }
        Ok(())
    }

    fn number(&self, row: &RoomRow, offset: Offset) -> rusqlite::Result<Option<u64>> {
        number(self.snapshot, row, offset)
    }

    fn scan<'s>(&'s self, name: &'s RoomName, row: &RoomRow) -> Scan<'s> {
        Scan {
            connection: self.snapshot,
            epoch: self.pool.index.epoch(),
            name,
            room: row.id,
            columns: scan::COLUMNS,
            direction: Direction::Forward,
        }
    }
}
