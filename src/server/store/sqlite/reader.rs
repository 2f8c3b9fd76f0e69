//! Reads of pages, concurrent with the writer. A small pool of connections is used on the runtime's blocking threads.
//! A read that meets damaged messages continues after them.

use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

use crate::protocol::{Offset, RoomName};
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::connections::ReadConnection;
use crate::server::store::sqlite::damage::DamageLog;
use crate::server::store::sqlite::fault::Fault;
use crate::server::store::sqlite::file::File;
use crate::server::store::sqlite::room_index::RoomIndex;
use crate::server::store::sqlite::room_row::{COLUMNS, RoomRow};
use crate::server::store::sqlite::scan::{
    self, Direction, Scan, ScanRange, is_damage, is_damaged_row,
};
use crate::server::store::sqlite::trimmed_runs;
use crate::server::store::{Damage, Limit, Page, Span, StoreError};

/// The number of reads at the same time. More reads would only compete for the same cores and disk.
const CONNECTIONS: usize = 4;

/// A pool of read-only connections. See the [module docs](self).
#[derive(Clone, Debug)]
pub(super) struct Readers(pub(super) Arc<ReaderPool>);

/// The connections, and the state that reads need.
#[derive(Debug)]
pub(super) struct ReaderPool {
    pub(super) index: Arc<RoomIndex>,
    /// The idle connections; `None` after [`Readers::close`].
    idle: Mutex<Option<Vec<ReadConnection>>>,
    /// One permit per connection. A read keeps its permit until it ends, even if its caller has gone.
    free: Arc<Semaphore>,
    pub(super) damage: DamageLog,
}

impl Readers {
    pub(super) fn open(file: &File, index: Arc<RoomIndex>) -> Result<Self, OpenError> {
        let idle = (0..CONNECTIONS)
            .map(|_| file.reader())
            .collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(ReaderPool {
            index,
            idle: Mutex::new(Some(idle)),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            damage: DamageLog::default(),
        })))
    }

    /// Replaces the connections of a `file` that could not be opened for writing, and opens the file for writing.
    ///
    /// # Errors
    /// If the file still cannot be opened for writing, or a page is being read. Nothing is changed.
    pub(super) fn reopen(&self, file: &mut File) -> Result<(), Fault> {
        let connections = (0..CONNECTIONS)
            .map(|_| file.shared_reader())
            .collect::<Result<_, _>>()
            .map_err(|error| Fault::Refused(error.to_string()))?;
        // Held to the end: the files must not change while an old connection reads them.
        let _permits = self
            .0
            .free
            .try_acquire_many(CONNECTIONS as u32)
            .map_err(|_| Fault::Refused("the database is being read".to_owned()))?;

        file.reopen()?;
        if let Some(idle) = self.0.idle.lock().as_mut() {
            *idle = connections;
        }
        Ok(())
    }

    /// Refuses new reads. Reads in progress continue to their end.
    pub(super) fn close(&self) {
        self.0.free.close();
        self.0.idle.lock().take();
    }

    /// Reads entries of `room`, and skips those that are damaged.
    ///
    /// # Errors
    /// If the entries cannot be read now.
    pub(super) fn page(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send + 'static {
        let shared = self.0.clone();
        let room = room.clone();
        async move {
            let Some(row) = shared.index.row(&room) else {
                return Ok(Page::default());
            };

            let read = move |pool: &ReaderPool, connection: &Connection| {
                pool.page(connection, &room, row, span, limit)
            };
            shared.read(read).await
        }
    }

    /// Returns the number of messages of `room` up to `offset`, trimmed ones included; `None` if it is unknown.
    ///
    /// # Errors
    /// If the database cannot be read now.
    pub(super) fn count(
        &self,
        room: &RoomName,
        offset: Offset,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send + 'static {
        let shared = self.0.clone();
        let room = room.clone();

        async move {
            let Some(row) = shared.index.row(&room) else {
                return Ok(None);
            };
            let count = move |_: &ReaderPool, connection: &Connection| {
                let snapshot = connection.unchecked_transaction()?;
                let Some(row) = committed(&snapshot, row)? else {
                    return Ok(None);
                };
                match trimmed_runs::count(&snapshot, &row, offset.0) {
                    Err(error) if is_damaged_row(&error) => Ok(None),
                    count => count,
                }
            };

            shared.read(count).await
        }
    }

    /// Returns the damage found so far, if any.
    pub(super) fn damage(&self) -> Option<Damage> {
        self.0.damage.summary()
    }
}

impl ReaderPool {
    /// Runs `read` on one of the connections, on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        self: Arc<Self>,
        read: impl FnOnce(&Self, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let permit = self
            .free
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| closed())?;

        let read = tokio::task::spawn_blocking(move || {
            let connection = self.idle.lock().as_mut().and_then(Vec::pop);
            let connection = connection.ok_or_else(closed)?;
            let result = read(&self, &connection);
            if let Some(idle) = self.idle.lock().as_mut() {
                idle.push(connection);
            }
            // The permit is released last: otherwise another read could start before the connection is back.
            drop(permit);

            result.map_err(|error| {
                let problem = error.to_string();
                self.damage.record_failure(&problem);
                StoreError::Unavailable(format!("reading failed: {problem}"))
            })
        });
        read.await.map_err(|_| closed())?
    }

    /// Reads a page of `room`, whose state is at least as new as `row`.
    fn page(
        &self,
        connection: &Connection,
        room: &RoomName,
        row: RoomRow,
        span: Span,
        limit: Limit,
    ) -> rusqlite::Result<Page> {
        // One transaction, so that the bounds and the messages belong to the same snapshot.
        let snapshot = connection.unchecked_transaction()?;
        let Some(row) = committed(&snapshot, row)? else {
            return Ok(Page::default());
        };
        let (direction, range) = range(&snapshot, &row, span)?;
        let scan = Scan {
            connection: &snapshot,
            epoch: self.index.epoch(),
            name: room,
            room: row.id,
            columns: scan::COLUMNS,
            direction,
        };

        let mut page = Page {
            gone: Some(Offset(row.gone)),
            ..Page::default()
        };
        let mut bytes = 0;
        let unreadable = scan.run(range, |frame| {
            bytes += frame.size();
            if page.frames.len() == limit.messages
                || (bytes > limit.bytes && !page.frames.is_empty())
            {
                page.more = true;
                return ControlFlow::Break(());
            }
            page.frames.push(Arc::new(frame));
            ControlFlow::Continue(())
        })?;
        self.damage.record(room, row.id, &unreadable);

        if direction == Direction::Backward {
            page.frames.reverse();
        }
        Ok(page)
    }
}

/// Returns the messages of the room at `row` in `span`, and the order in which they are read.
fn range(
    transaction: &Connection,
    row: &RoomRow,
    span: Span,
) -> rusqlite::Result<(Direction, ScanRange)> {
    let number = |offset| match trimmed_runs::count(transaction, row, offset) {
        Err(error) if is_damaged_row(&error) => Ok(None),
        number => number,
    };
    let (low, high) = match span {
        Span::After(after) => (after.0.max(row.gone), u64::MAX),
        Span::Before(before) => (row.gone, before.0.saturating_sub(1)),
        Span::Newest => (row.gone, u64::MAX),
    };

    let range = ScanRange {
        offsets: low.saturating_add(1)..=high,
        before: number(low)?,
        after: number(high)?.map(|number| number + 1),
    };
    let direction = match span {
        Span::After(_) => Direction::Forward,
        Span::Before(_) | Span::Newest => Direction::Backward,
    };
    Ok((direction, range))
}

/// Reads the bounds of the room at `row` in this transaction; `None` if the room does not exist. The newest message is
/// that of `row`.
pub(super) fn committed(
    transaction: &Connection,
    row: RoomRow,
) -> rusqlite::Result<Option<RoomRow>> {
    let mut select =
        transaction.prepare_cached(&format!("SELECT {COLUMNS} FROM rooms WHERE id = ?1"))?;
    let committed = select.query_row([row.id], |found| {
        let found = RoomRow::of(found)?;
        Ok(RoomRow {
            head: found.head.max(row.head),
            count: found.count.max(row.count),
            ..found
        })
    });
    match committed.optional() {
        Err(error) if is_damage(&error) => Ok(Some(row)),
        committed => committed,
    }
}
