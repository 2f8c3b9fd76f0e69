//! A scan of the rows of a room in order that skips unreadable rows.
//!
//! Rows with invalid columns are left out. If a page of the table is damaged, SQLite cannot step from one row to the
//! next. The offsets of a room have no holes, so the scan then probes one offset after the other until it finds a
//! readable row. A scan stops after [`MAX_PROBES`] probes and skipped rows, so that no read takes long even if much
//! is damaged.

use std::ops::{ControlFlow, Range, RangeInclusive};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, Row, ffi};

use crate::protocol::Epoch;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::UserId;
use crate::server::room::{Draft, Frame};

/// The largest number of offsets that one scan probes or skips one by one, which takes some tens of milliseconds.
const MAX_PROBES: usize = 4096;

/// The columns of a [`Frame`].
const COLUMNS: &str = "offset, at, sender, key, body";

/// The order in which rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// The rows of one room that a scan reads.
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    pub(super) connection: &'a Connection,
    pub(super) epoch: &'a Epoch,
    /// The room's id in the file.
    pub(super) room: i64,
    /// The offset before the room's first one.
    pub(super) base: u64,
    pub(super) direction: Direction,
}

/// The result of a scan.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// The offsets of unreadable messages, as ranges because many adjacent ones may be missing.
    pub(super) damaged: Vec<Range<u64>>,
    /// The error for one of them.
    pub(super) problem: Option<String>,
    /// The offsets that were not read because the scan used up its probes.
    pub(super) rest: Option<RangeInclusive<u64>>,
    /// The number of offsets that were probed or skipped one by one.
    probes: usize,
}

impl Scanned {
    /// Adds unreadable `offsets`, an empty or contiguous range.
    fn add(&mut self, offsets: Range<u64>) {
        match self.damaged.last_mut() {
            _ if offsets.is_empty() => {}
            Some(last) if last.end == offsets.start => last.end = offsets.end,
            Some(last) if offsets.end == last.start => last.start = offsets.start,
            _ => self.damaged.push(offsets),
        }
    }

    /// Adds `offsets` that are not in the table.
    fn add_missing(&mut self, offsets: Range<u64>) {
        if !offsets.is_empty() {
            self.problem
                .get_or_insert_with(|| "it is not in the table".to_owned());
        }
        self.add(offsets);
    }
}

impl Scan<'_> {
    /// Calls `each` with the messages at `offsets` until it breaks.
    ///
    /// # Errors
    /// If the database cannot be read at all.
    pub(super) fn run(
        &self,
        offsets: RangeInclusive<u64>,
        mut each: impl FnMut(Frame) -> ControlFlow<()>,
    ) -> rusqlite::Result<Scanned> {
        let mut scanned = Scanned::default();
        let mut left = offsets;
        let mut has_read = false;
        let mut disk_error = None;

        while !left.is_empty() {
            let walked = self.walk(&mut left, &mut scanned, |frame| {
                has_read = true;
                each(frame)
            });
            match walked {
                Ok(_) => break,
                Err(error) if is_damage(&error) => {
                    scanned.problem.get_or_insert_with(|| error.to_string());
                    disk_error = disk_error.or(Some(error).filter(is_disk_error));
                }
                Err(error) => return Err(error),
            }

            // The current page is damaged: continue at the next row that can be found without it.
            let mut is_found = false;
            while !left.is_empty() && !is_found {
                if scanned.probes >= MAX_PROBES {
                    scanned.rest = Some(left.clone());
                    return Self::unless_unreadable(scanned, has_read, disk_error);
                }
                scanned.probes += 1;
                let offset = self.pass(&mut left);
                let Some(frame) = self.find(offset)? else {
                    scanned.add(offset..offset + 1);
                    continue;
                };
                (is_found, has_read) = (true, true);
                if each(frame).is_break() {
                    return Ok(scanned);
                }
            }
        }
        Self::unless_unreadable(scanned, has_read, disk_error)
    }

    /// Returns `scanned`, or the disk error if it prevented every read: then the rows themselves may be undamaged and
    /// readable later.
    fn unless_unreadable(
        scanned: Scanned,
        has_read: bool,
        disk_error: Option<Error>,
    ) -> rusqlite::Result<Scanned> {
        match disk_error {
            Some(error) if !has_read => Err(error),
            _ => Ok(scanned),
        }
    }

    /// Reads rows as long as SQLite can step to the next one, and removes the visited offsets from `left`.
    fn walk(
        &self,
        left: &mut RangeInclusive<u64>,
        scanned: &mut Scanned,
        mut each: impl FnMut(Frame) -> ControlFlow<()>,
    ) -> rusqlite::Result<ControlFlow<()>> {
        let order = match self.direction {
            Direction::Forward => "ASC",
            Direction::Backward => "DESC",
        };
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM messages WHERE room = ?1 AND offset BETWEEN ?2 AND ?3 ORDER BY offset {order}"
        ))?;
        // SQLite's integers are signed.
        let bound = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
        let mut rows = select.query((self.room, bound(*left.start()), bound(*left.end())))?;

        while let Some(row) = rows.next()? {
            // A row without a valid offset does not belong to this room.
            let Ok(offset) = row.get::<_, u64>(0) else {
                continue;
            };
            if !left.contains(&offset) {
                continue;
            }
            scanned.add_missing(self.skip_to(left, offset));
            self.pass(left);
            match frame_of(row, self.epoch, self.base) {
                Ok(frame) => {
                    if each(frame).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Err(error) => {
                    scanned.problem.get_or_insert_with(|| error.to_string());
                    scanned.add(offset..offset + 1);
                    scanned.probes += 1;
                    if scanned.probes >= MAX_PROBES {
                        scanned.rest = Some(left.clone()).filter(|rest| !rest.is_empty());
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }

        if !left.is_empty() {
            scanned.add_missing(*left.start()..*left.end() + 1);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads only the message at `offset`, if possible.
    fn find(&self, offset: u64) -> rusqlite::Result<Option<Frame>> {
        // A row next to a damaged page can be reached from the undamaged side: forward from the row before it, or
        // backward from the row after it.
        for order in ["ASC", "DESC"] {
            let mut select = self.connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM messages WHERE room = ?1 AND offset BETWEEN ?2 AND ?2 ORDER BY offset {order}"
            ))?;
            let found = select
                .query_row((self.room, offset), |row| {
                    frame_of(row, self.epoch, self.base)
                })
                .optional();
            match found {
                Err(error) if is_damaged_row(&error) => {}
                found => return found,
            }
        }
        Ok(None)
    }

    /// Removes the offsets that come before `offset` in the scan order from `left`, and returns them.
    fn skip_to(&self, left: &mut RangeInclusive<u64>, offset: u64) -> Range<u64> {
        let (start, end) = (*left.start(), *left.end());
        match self.direction {
            Direction::Forward => {
                *left = offset..=end;
                start..offset
            }
            Direction::Backward => {
                *left = start..=offset;
                offset + 1..end + 1
            }
        }
    }

    /// Removes the next offset from `left`, and returns it.
    fn pass(&self, left: &mut RangeInclusive<u64>) -> u64 {
        let due = match self.direction {
            Direction::Forward => left.next(),
            Direction::Backward => left.next_back(),
        };
        due.unwrap_or_default()
    }
}

/// Returns true if `error` concerns only a part of the file: a page that is damaged or that the disk cannot read.
pub(super) fn is_damage(error: &Error) -> bool {
    is_disk_error(error) || error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
}

/// Returns true if `error` concerns only one row, which is on a damaged page or has invalid values.
pub(super) fn is_damaged_row(error: &Error) -> bool {
    is_damage(error)
        || matches!(
            error,
            Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::InvalidColumnType(..)
                | Error::Utf8Error(..)
        )
}

/// Returns true if `error` is a read error of the disk.
fn is_disk_error(error: &Error) -> bool {
    let Error::SqliteFailure(failure, _) = error else {
        return false;
    };
    matches!(
        failure.extended_code,
        ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS
    )
}

/// Converts a row of [`COLUMNS`] to a message, in the epoch `epoch` and a room whose offsets begin after `base`.
fn frame_of(row: &Row<'_>, epoch: &Epoch, base: u64) -> rusqlite::Result<Frame> {
    let (offset, at): (u64, u64) = (row.get(0)?, row.get(1)?);
    let from = UserId::parse(row.get_ref(2)?.as_str()?).map_err(|error| malformed(2, error))?;
    let key = row
        .get_ref(3)?
        .as_str_or_null()?
        .map(Key::parse)
        .transpose();
    let key = key.map_err(|error| malformed(3, error))?;

    let draft = match row.get_ref(4)? {
        ValueRef::Blob(bytes) => Draft::binary(from, bytes),
        // An integer body is a tombstone with the time of the deletion.
        ValueRef::Integer(_) => Draft::text(from, key, ""),
        text => Draft::text(from, key, text.as_str()?),
    };

    let prev = if offset == base + 1 { 0 } else { offset - 1 };
    let frame = Frame::new(draft, epoch.clone(), Offset(offset), Offset(prev), at);
    let is_deleted = matches!(row.get_ref(4)?, ValueRef::Integer(_));
    Ok(if is_deleted { frame.tombstone() } else { frame })
}

/// Returns the error for a `column` with an invalid name or key.
pub(super) fn malformed(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
