//! Reads of pages, concurrent with the writer. A small pool of connections is used on the runtime's blocking threads.
//! A read that meets damaged messages continues after them.

use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Semaphore;

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::damage::DamageLog;
use crate::server::store::sqlite::fault::Fault;
use crate::server::store::sqlite::file::{File, ReadConnection};
use crate::server::store::sqlite::room_index::{RoomIndex, RoomRow};
use crate::server::store::sqlite::scan::{Direction, Scan, Scanned, is_damage};
use crate::server::store::{Damage, Limit, Page, Span, StoreError};

/// The number of reads at the same time. More reads would only compete for the same cores and disk.
const CONNECTIONS: usize = 4;

/// A pool of read-only connections. See the [module docs](self).
#[derive(Clone, Debug)]
pub(super) struct Readers(Arc<ReaderPool>);

#[derive(Debug)]
struct ReaderPool {
    index: Arc<RoomIndex>,
    /// The idle connections; `None` after [`Readers::close`].
    idle: Mutex<Option<Vec<ReadConnection>>>,
    /// One permit per connection. A read keeps its permit until it ends, even if its caller has gone.
    free: Arc<Semaphore>,
    damage: DamageLog,
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

            let mut request = ReadRequest {
                room,
                row,
                span,
                limit,
            };
            loop {
                match shared.clone().read(request).await? {
                    Step::Done(page) => return Ok(page),
                    // One read found too many damaged messages; continue with the rest.
                    Step::Further(rest) => request = rest,
                }
            }
        }
    }

    /// Returns the damage found so far, if any.
    pub(super) fn damage(&self) -> Option<Damage> {
        self.0.damage.summary()
    }
}

/// A request to read a page.
#[derive(Clone)]
struct ReadRequest {
    room: RoomName,
    row: RoomRow,
    span: Span,
    limit: Limit,
}

/// The result of one read.
enum Step {
    Done(Page),
    /// A read that found only damage so far, and the request for the rest.
    Further(ReadRequest),
}

impl ReaderPool {
    /// Reads on one of the connections, on a thread that may block.
    async fn read(self: Arc<Self>, request: ReadRequest) -> Result<Step, StoreError> {
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
            let step = self.read_on(&connection, request);
            if let Some(idle) = self.idle.lock().as_mut() {
                idle.push(connection);
            }
            // The permit is released last: otherwise another read could start before the connection is back.
            drop(permit);

            step.map_err(|error| {
                let problem = error.to_string();
                self.damage.record_failure(&problem);
                StoreError::Unavailable(format!("reading failed: {problem}"))
            })
        });
        read.await.map_err(|_| closed())?
    }

    fn read_on(&self, connection: &Connection, request: ReadRequest) -> rusqlite::Result<Step> {
        // One transaction, so that the bounds and the rows belong to the same snapshot.
        let snapshot = connection.unchecked_transaction()?;
        let Some(row) = bounds(&snapshot, request.row)? else {
            return Ok(Step::Done(Page::default()));
        };
        let (low, high, direction) = match request.span {
            Span::After(after) => (after.0.saturating_add(1), u64::MAX, Direction::Forward),
            Span::Before(before) => (0, before.0.saturating_sub(1), Direction::Backward),
            Span::Newest => (0, u64::MAX, Direction::Backward),
        };
        let offsets = low.max(row.first)..=high.min(row.head);
        let scan = Scan {
            connection: &snapshot,
            epoch: self.index.epoch(),
            room: row.id,
            base: row.base,
            direction,
        };

        let mut page = Page {
            gone: Some(Offset(row.first - 1)),
            ..Page::default()
        };
        let mut bytes = 0;
        let Scanned {
            damaged,
            problem,
            rest,
            ..
        } = scan.run(offsets, |frame| {
            bytes += frame.size();
            if page.frames.len() == request.limit.messages
                || (bytes > request.limit.bytes && !page.frames.is_empty())
            {
                page.more = true;
                return ControlFlow::Break(());
            }
            page.frames.push(Arc::new(frame));
            ControlFlow::Continue(())
        })?;
        if let Some(problem) = problem {
            self.damage
                .record(&request.room, row.id, &damaged, &problem);
        }

        if let Some(rest) = rest {
            if page.frames.is_empty() {
                let span = match direction {
                    Direction::Forward => Span::After(Offset(rest.start() - 1)),
                    Direction::Backward => Span::Before(Offset(rest.end() + 1)),
                };
                return Ok(Step::Further(ReadRequest { span, ..request }));
            }
            page.more = true;
        }
        if direction == Direction::Backward {
            page.frames.reverse();
        }
        Ok(Step::Done(page))
    }
}

/// Reads the state of the room at `row` in this transaction; `None` if the room does not exist.
fn bounds(transaction: &Connection, row: RoomRow) -> rusqlite::Result<Option<RoomRow>> {
    let mut select = transaction.prepare_cached("SELECT first, head FROM rooms WHERE id = ?1")?;
    let bounds = select
        .query_row([row.id], |found| {
            Ok(RoomRow {
                first: found.get(0)?,
                head: found.get(1)?,
                ..row
            })
        })
        .optional();
    match bounds {
        Err(error) if is_damage(&error) => Ok(Some(row)),
        bounds => bounds,
    }
}
