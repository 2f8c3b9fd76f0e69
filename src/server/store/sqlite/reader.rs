//! Reading pages, beside the writer: a few connections of their own, on the runtime's blocking threads.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use tokio::sync::Semaphore;

use crate::protocol::Epoch;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::room::{Draft, Frame};
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::file::File;
use crate::server::store::sqlite::ledger::{Ledger, Place};
use crate::server::store::{Limit, Page, Span, StoreError};

/// Pages read at the same time. More would only share the same cores and disk.
const CONNECTIONS: usize = 4;

/// The columns that make a [`Frame`].
pub(super) const COLUMNS: &str = "offset, at, sender, key, body";

/// See the [module docs](self).
#[derive(Clone, Debug)]
pub(super) struct Readers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ledger: Arc<Ledger>,
    /// `None` when it is closed.
    idle: Mutex<Option<Vec<Connection>>>,
    /// As many permits as there are connections.
    free: Semaphore,
}

impl Readers {
    pub(super) fn open(file: &File, ledger: Arc<Ledger>) -> Result<Self, OpenError> {
        let idle = (0..CONNECTIONS)
            .map(|_| file.reader())
            .collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Shared {
            ledger,
            idle: Mutex::new(Some(idle)),
            free: Semaphore::new(CONNECTIONS),
        })))
    }

    /// Reads nothing more. What is being read is read to its end.
    pub(super) fn close(&self) {
        self.0.free.close();
        self.0.lock().take();
    }

    /// Entries of `room`.
    ///
    /// # Errors
    /// If they cannot be read now.
    pub(super) fn page(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send + 'static {
        let readers = self.0.clone();
        let place = readers.ledger.place(room);
        async move {
            let Some(place) = place else {
                return Ok(Page::default());
            };
            let gone = || StoreError::Unavailable("it is closed".to_owned());
            let _permit = readers.free.acquire().await.map_err(|_| gone())?;
            let shared = readers.clone();
            let read = tokio::task::spawn_blocking(move || {
                let connection = shared.lock().as_mut().and_then(Vec::pop).ok_or_else(gone)?;
                let page = read(&connection, shared.ledger.epoch(), place, span, limit);
                if let Some(idle) = shared.lock().as_mut() {
                    idle.push(connection);
                }
                page.map_err(|error| StoreError::Unavailable(format!("reading failed: {error}")))
            });
            read.await.map_err(|_| gone())?
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(
    connection: &Connection,
    epoch: &Epoch,
    place: Place,
    span: Span,
    limit: Limit,
) -> rusqlite::Result<Page> {
    let (low, high, order) = match span {
        Span::After(after) => (after.0.saturating_add(1), u64::MAX, "ASC"),
        Span::Before(before) => (0, before.0.saturating_sub(1), "DESC"),
        Span::Newest => (0, u64::MAX, "DESC"),
    };
    // What was trimmed since `place` was looked up is not there; what lies before `first` is trimmed or about to be.
    let low = low.max(place.first);
    // SQLite's integers have a sign.
    let bound = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    let mut select = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages WHERE room = ?1 AND offset BETWEEN ?2 AND ?3 ORDER BY offset {order}"
    ))?;
    let mut rows = select.query((place.id, bound(low), bound(high)))?;
    let (mut frames, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        let frame = frame_of(row, epoch)?;
        bytes += frame.size();
        if frames.len() == limit.messages || (bytes > limit.bytes && !frames.is_empty()) {
            more = true;
            break;
        }
        frames.push(Arc::new(frame));
    }
    if order == "DESC" {
        frames.reverse();
    }
    Ok(Page { frames, more })
}

/// The entry in a row of [`COLUMNS`], of the log's life `epoch`.
pub(super) fn frame_of(row: &Row<'_>, epoch: &Epoch) -> rusqlite::Result<Frame> {
    let (offset, at): (u64, u64) = (row.get(0)?, row.get(1)?);
    let from = UserId::parse(row.get_ref(2)?.as_str()?).map_err(|error| unreadable(2, error))?;
    let key = row
        .get_ref(3)?
        .as_str_or_null()?
        .map(Key::parse)
        .transpose();
    let key = key.map_err(|error| unreadable(3, error))?;
    let draft = match row.get_ref(4)? {
        ValueRef::Blob(bytes) => Draft::binary(from, bytes),
        // A tombstone: the time of its deletion.
        ValueRef::Integer(_) => Draft::text(from, key, ""),
        text => Draft::text(from, key, text.as_str()?),
    };
    let frame = Frame::new(draft, epoch.clone(), Offset(offset), Offset(offset - 1), at);
    let is_deleted = matches!(row.get_ref(4)?, ValueRef::Integer(_));
    Ok(if is_deleted { frame.tombstone() } else { frame })
}

/// A name or key that is none.
pub(super) fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
