//! Reading all of a room from a file, also while a server writes to it.

use std::io;
use std::path::Path;

use crate::protocol::RoomName;
use crate::server::room::Frame;
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::file;
use crate::server::store::sqlite::reader::{COLUMNS, frame_of};
use crate::server::store::sqlite::schema;

/// Why a room could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading failed on the way.
    #[error("reading the database failed: {0}")]
    Read(#[from] rusqlite::Error),
    /// What was read could not be handed on.
    #[error("{0}")]
    Write(#[from] io::Error),
}

/// Hands every message that is kept of `room` to `each`, oldest first, as the file stood at one moment. Gives how
/// many they were.
///
/// # Errors
/// If the file cannot be read, or what `each` says.
pub fn export(
    path: &Path,
    room: &RoomName,
    mut each: impl FnMut(&Frame) -> io::Result<()>,
) -> Result<u64, ExportError> {
    file::inspect(path, false)?;
    let connection = file::open_to_read(path)?;
    let epoch = schema::epoch(&connection)?;
    let mut select = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM messages JOIN rooms ON rooms.id = messages.room
         WHERE rooms.name = ?1 AND offset >= rooms.first ORDER BY offset"
    ))?;
    let mut rows = select.query([room.as_str()])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        each(&frame_of(row, &epoch)?)?;
        count += 1;
    }
    Ok(count)
}
