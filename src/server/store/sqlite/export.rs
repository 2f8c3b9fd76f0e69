//! Export of all messages of a room from a database file. A server may write to the database meanwhile: the export
//! reads a snapshot.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::protocol::RoomName;
use crate::server::room::Frame;
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::connections::open_to_read;
use crate::server::store::sqlite::inspection::inspect;
use crate::server::store::sqlite::scan::{self, COLUMNS_SINCE_6, Direction, Scan, ScanRange};
use crate::server::store::sqlite::schema;

/// The result of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The number of exported messages.
    pub messages: u64,
    /// The number of messages that could not be read.
    pub damaged: u64,
    /// The error for one of the unreadable messages.
    pub problem: Option<String>,
}

/// The reason why an export is incomplete.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A read failed during the export.
    #[error("reading the database failed: {0}")]
    Read(String),
    /// The output could not be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl From<rusqlite::Error> for ExportError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error.to_string())
    }
}

/// Passes every kept message of `room` to `each`, oldest first, from one snapshot of the file.
///
/// # Errors
/// If the file cannot be read, or if `each` fails.
pub fn export(
    path: &Path,
    room: &RoomName,
    mut each: impl FnMut(&Frame) -> io::Result<()>,
) -> Result<Exported, ExportError> {
    inspect(path, false)?;
    let connection = open_to_read(path)?;
    let epoch = schema::epoch(&connection)?;
    let snapshot = connection.unchecked_transaction()?;
    let mut exported = Exported::default();
    let Some((id, range, columns)) = layout(&snapshot, room)? else {
        return Ok(exported);
    };

    let scan = Scan {
        connection: &snapshot,
        epoch: &epoch,
        name: room,
        room: id,
        columns: &columns,
        direction: Direction::Forward,
    };
    let mut failed = None;
    let unreadable = scan.run(range, |frame| match each(&frame) {
        Ok(()) => {
            exported.messages += 1;
            ControlFlow::Continue(())
        }
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }

    exported.damaged = unreadable.count();
    exported.problem = unreadable.problem;
    Ok(exported)
}

/// Returns the id of `room`, the range of its kept messages, and the expressions for the columns of a message; `None`
/// if the room does not exist. The tables of an older version are read without migration, so the file is not changed.
fn layout(
    connection: &Connection,
    room: &RoomName,
) -> rusqlite::Result<Option<(i64, ScanRange, String)>> {
    let version = schema::version(connection)?;
    let base = if version < 3 { "0" } else { "base" };
    let select = match version {
        ..5 => {
            format!("SELECT id, first - 1 - {base}, head - {base}, first - 1, {base} FROM rooms")
        }
        _ => "SELECT id, trimmed, count, gone, base FROM rooms".to_owned(),
    };

    let found = connection.query_row(&format!("{select} WHERE name = ?1"), [room.as_str()], |row| {
        let [trimmed, count, gone, base] = [1, 2, 3, 4].map(|column| row.get::<_, u64>(column));
        let (count, gone, base) = (count?, gone?, base?);
        let range = ScanRange {
            offsets: gone + 1..=u64::MAX,
            before: Some(trimmed?),
            after: Some(count + 1),
        };
        let columns = match version {
            ..5 => format!(
                "offset, offset - {base}, iif(offset = {base} + 1, 0, offset - 1), at, sender, key, body, {COLUMNS_SINCE_6}"
            ),
            5 => format!("offset, number, prev, at, sender, key, body, {COLUMNS_SINCE_6}"),
            _ => scan::COLUMNS.to_owned(),
        };
        Ok((row.get(0)?, range, columns))
    });
    found.optional()
}
