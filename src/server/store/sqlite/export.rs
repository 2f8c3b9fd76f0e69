//! Export of all messages of a room from a database file. A server may write to the database meanwhile: the export
//! reads a snapshot.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::OptionalExtension;

use crate::protocol::RoomName;
use crate::server::room::Frame;
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::file;
use crate::server::store::sqlite::scan::{Direction, Scan};
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
    file::inspect(path, false)?;
    let connection = file::open_to_read(path)?;
    let epoch = schema::epoch(&connection)?;
    let snapshot = connection.unchecked_transaction()?;
    // The tables of an older version are read without migration, so the file is not changed.
    let base = schema::base_column(&snapshot)?;
    let select = format!("SELECT id, first, head, {base} FROM rooms WHERE name = ?1");
    let bounds = snapshot
        .query_row(&select, [room.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let mut exported = Exported::default();
    let Some((id, first, head, base)) = bounds else {
        return Ok(exported);
    };

    let scan = Scan {
        connection: &snapshot,
        epoch: &epoch,
        room: id,
        base,
        direction: Direction::Forward,
    };
    let mut rest = Some(first..=head);
    while let Some(offsets) = rest {
        let mut failed = None;
        let scanned = scan.run(offsets, |frame| match each(&frame) {
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
        let damaged = scanned.damaged.iter();
        exported.damaged += damaged.map(|range| range.end - range.start).sum::<u64>();
        exported.problem = exported.problem.or(scanned.problem);
        rest = scanned.rest;
    }
    Ok(exported)
}
