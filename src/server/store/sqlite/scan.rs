//! A scan of the messages of a room in order that skips unreadable ones.
//!
//! The index lists the offsets of the room, and each message is read on its own, so a damaged page loses only the
//! messages on it. The messages of a room are numbered without holes, so the unreadable ones are found by the numbers
//! of those around them. If the index is damaged, the table lists the offsets.

use std::ops::{ControlFlow, Range, RangeInclusive};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, Row, ffi};

use crate::protocol::{Epoch, Json, Key, Kind, MessageFields, Offset, RoomName, UserId};
use crate::server::room::{Content, Draft, Frame};

/// The columns of a [`Frame`].
pub(super) const COLUMNS: &str =
    "offset, number, prev, at, sender, key, body, is_json, kind, reply_to, edits";
/// The columns of [`COLUMNS`] that tables before version 6 do not have, as expressions for these tables.
pub(super) const COLUMNS_SINCE_6: &str = "0, NULL, NULL, NULL";

/// The order in which messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// The room that a scan reads.
#[derive(Clone, Debug)]
pub(super) struct Scan<'a> {
    pub(super) connection: &'a Connection,
    pub(super) epoch: &'a Epoch,
    pub(super) name: &'a RoomName,
    /// The room's id in the file.
    pub(super) room: i64,
    /// [`COLUMNS`], or expressions for them in a table of an older version.
    pub(super) columns: &'a str,
    pub(super) direction: Direction,
}

/// The messages that a scan reads.
#[derive(Clone, Debug)]
pub(super) struct ScanRange {
    pub(super) offsets: RangeInclusive<u64>,
    /// The number of the message before the range, 0 if there is none; `None` if it is unknown.
    pub(super) before: Option<u64>,
    /// The number of the message after the range, if there is or will be one; `None` if it is unknown.
    pub(super) after: Option<u64>,
}

/// The unreadable messages that a scan found.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    /// Their numbers, as ranges because many adjacent ones may be missing.
    pub(super) numbers: Vec<Range<u64>>,
    /// An offset at or before the first one found, after the readable message before it.
    pub(super) from: Offset,
    /// The error for one of them.
    pub(super) problem: Option<String>,
}

impl Unreadable {
    /// Adds the messages with numbers between `before` and `after`, if both are known. Their offsets are at least
    /// `from`.
    fn add(&mut self, before: Option<u64>, after: Option<u64>, from: u64) {
        let (Some(before), Some(after)) = (before, after) else {
            return;
        };
        if before + 1 >= after {
            return;
        }

        if self.numbers.is_empty() {
            self.from = Offset(from);
        }
        self.numbers.push(before + 1..after);
        self.problem
            .get_or_insert_with(|| "it is not in the table".to_owned());
    }

    /// Returns the number of messages.
    pub(super) fn count(&self) -> u64 {
        self.numbers
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }
}

impl Scan<'_> {
    /// Calls `each` with the messages of `range` until it breaks.
    ///
    /// # Errors
    /// If the database cannot be read at all.
    pub(super) fn run(
        &self,
        mut range: ScanRange,
        mut each: impl FnMut(Frame) -> ControlFlow<()>,
    ) -> rusqlite::Result<Unreadable> {
        let mut unreadable = Unreadable::default();
        let mut has_read = false;
        let mut disk_error = None;

        for table in ["messages", "messages NOT INDEXED"] {
            let read = self.list(table, range.clone().offsets, |offset| {
                let frame = match self.find(offset) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return Ok(ControlFlow::Continue(())),
                    Err(error) if is_damaged_row(&error) => {
                        unreadable.problem.get_or_insert(error.to_string());
                        disk_error = disk_error.take().or(Some(error).filter(is_disk_error));
                        return Ok(ControlFlow::Continue(()));
                    }
                    Err(error) => return Err(error),
                };

                has_read = true;
                let number = Some(frame.number());
                match self.direction {
                    Direction::Forward => {
                        unreadable.add(range.before, number, *range.offsets.start());
                        range.offsets = offset + 1..=*range.offsets.end();
                        range.before = number;
                    }
                    Direction::Backward => {
                        unreadable.add(number, range.after, offset + 1);
                        range.offsets = *range.offsets.start()..=offset - 1;
                        range.after = number;
                    }
                }
                Ok(each(frame))
            });

            match read {
                Ok(ControlFlow::Break(())) => return Ok(unreadable),
                Ok(ControlFlow::Continue(())) => break,
                Err(error) if is_damage(&error) => {
                    unreadable.problem.get_or_insert(error.to_string());
                    disk_error = disk_error.or(Some(error).filter(is_disk_error));
                }
                Err(error) => return Err(error),
            }
        }

        // If the disk failed every read, the messages may be undamaged and readable later.
        if let Some(error) = disk_error.filter(|_error| !has_read) {
            return Err(error);
        }
        unreadable.add(range.before, range.after, *range.offsets.start());
        Ok(unreadable)
    }

    /// Calls `each` with the offsets of the room in `table` until it breaks.
    fn list(
        &self,
        table: &str,
        offsets: RangeInclusive<u64>,
        mut each: impl FnMut(u64) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<ControlFlow<()>> {
        let order = match self.direction {
            Direction::Forward => "ASC",
            Direction::Backward => "DESC",
        };
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT offset FROM {table} WHERE room = ?1 AND offset BETWEEN ?2 AND ?3 ORDER BY offset {order}"
        ))?;
        // SQLite's integers are signed.
        let bound = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
        let bounds = (self.room, bound(*offsets.start()), bound(*offsets.end()));

        for offset in select.query_map(bounds, |row| row.get(0))? {
            if each(offset?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads the message at `offset`.
    pub(super) fn find(&self, offset: u64) -> rusqlite::Result<Option<Frame>> {
        let columns = self.columns;
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT {columns} FROM messages WHERE offset = ?1 AND room = ?2"
        ))?;
        select
            .query_row((offset, self.room), |row| {
                frame_of(row, self.name, self.epoch)
            })
            .optional()
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

/// Converts a row of [`COLUMNS`] to a message of `room` in the epoch `epoch`.
fn frame_of(row: &Row<'_>, room: &RoomName, epoch: &Epoch) -> rusqlite::Result<Frame> {
    let (offset, number, prev) = (Offset(row.get(0)?), row.get(1)?, Offset(row.get(2)?));
    let from = UserId::parse(row.get_ref(4)?.as_str()?).map_err(|error| malformed(4, error))?;
    let key = row.get_ref(5)?.as_str_or_null()?.map(Key::parse);
    let kind = row.get_ref(8)?.as_str_or_null()?.map(Kind::parse);
    let fields = MessageFields {
        key: key.transpose().map_err(|error| malformed(5, error))?,
        kind: kind.transpose().map_err(|error| malformed(8, error))?,
        reply_to: row.get::<_, Option<u64>>(9)?.map(Offset),
        edits: row.get::<_, Option<u64>>(10)?.map(Offset),
    };

    let body = row.get_ref(6)?;
    let content = match body {
        ValueRef::Blob(bytes) => Content::Binary(bytes.to_vec()),
        // An integer body is a tombstone with the time of the deletion.
        ValueRef::Integer(_) => Content::Text(String::new()),
        text if row.get(7)? => {
            let json = Json::parse(text.as_str()?).map_err(|error| malformed(6, error))?;
            Content::Json(json)
        }
        text => Content::Text(text.as_str()?.to_owned()),
    };
    let draft = Draft::new(from, content, fields);

    let (room, epoch, at) = (room.clone(), epoch.clone(), row.get(3)?);
    let frame = Frame::new(room, draft, epoch, offset, prev, at).numbered(number);
    let is_deleted = matches!(body, ValueRef::Integer(_));
    Ok(if is_deleted { frame.tombstone() } else { frame })
}

/// Returns the error for a `column` with an invalid name or key.
pub(super) fn malformed(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
