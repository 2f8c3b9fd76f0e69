//! Reading pages, beside the writer: a few connections of their own, on the runtime's blocking threads.

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
use crate::server::store::sqlite::ledger::{RoomIndex, RoomRow};
use crate::server::store::sqlite::scan::{Direction, Scan, Scanned, is_damage};
use crate::server::store::{Damage, Limit, Page, Span, StoreError};

/// Pages read at the same time. More would only share the same cores and disk.
const CONNECTIONS: usize = 4;

/// See the [module docs](self).
#[derive(Clone, Debug)]
pub(super) struct Readers(Arc<ReaderPool>);

#[derive(Debug)]
struct ReaderPool {
    ledger: Arc<RoomIndex>,
    /// `None` when it is closed.
    idle: Mutex<Option<Vec<ReadConnection>>>,
    /// As many permits as there are connections. A read keeps its permit to its end, also when nobody waits for
    /// it any more.
    free: Arc<Semaphore>,
    damage: DamageLog,
}

impl Readers {
    pub(super) fn open(file: &File, ledger: Arc<RoomIndex>) -> Result<Self, OpenError> {
        let idle = (0..CONNECTIONS)
            .map(|_| file.reader())
            .collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(ReaderPool {
            ledger,
            idle: Mutex::new(Some(idle)),
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            damage: DamageLog::default(),
        })))
    }

    /// Exchanges the connections of a `file` that could not be opened for writing, and opens it so.
    ///
    /// # Errors
    /// If it still cannot be, or a page is being read; nothing is changed.
    pub(super) fn reopen(&self, file: &mut File) -> Result<(), Fault> {
        let connections = (0..CONNECTIONS)
            .map(|_| file.shared_reader())
            .collect::<Result<_, _>>()
            .map_err(|error| Fault::Refused(error.to_string()))?;
        // Held to the end: what the old connections read must not change under them.
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

    /// Reads nothing more. What is being read is read to its end.
    pub(super) fn close(&self) {
        self.0.free.close();
        self.0.idle.lock().take();
    }

    /// Reads entries of `room`, past those that are damaged.
    ///
    /// # Errors
    /// If they cannot be read now.
    pub(super) fn page(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
    ) -> impl Future<Output = Result<Page, StoreError>> + Send + 'static {
        let shared = self.0.clone();
        let room = room.clone();
        async move {
            let Some(place) = shared.ledger.place(&room) else {
                return Ok(Page::default());
            };

            let mut request = ReadRequest {
                room,
                place,
                span,
                limit,
            };
            loop {
                match shared.clone().read(request).await? {
                    Step::Done(page) => return Ok(page),
                    // Too much was damaged for one read.
                    Step::Further(rest) => request = rest,
                }
            }
        }
    }

    /// Returns what was found damaged, if anything was.
    pub(super) fn damage(&self) -> Option<Damage> {
        self.0.damage.summary()
    }
}

/// A page to be read.
#[derive(Clone)]
struct ReadRequest {
    room: RoomName,
    place: RoomRow,
    span: Span,
    limit: Limit,
}

/// The result of one read.
enum Step {
    Done(Page),
    /// Nothing but damage so far: the page is to be read from here.
    Further(ReadRequest),
}

impl ReaderPool {
    /// Reads on one of the connections, and on a thread that may wait for the disk.
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
            // Only now: without it somebody else would come for the connection.
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
        // One transaction, so that the bounds and the rows are of one moment.
        let snapshot = connection.unchecked_transaction()?;
        let Some(place) = bounds(&snapshot, request.place)? else {
            return Ok(Step::Done(Page::default()));
        };
        let (low, high, direction) = match request.span {
            Span::After(after) => (after.0.saturating_add(1), u64::MAX, Direction::Forward),
            Span::Before(before) => (0, before.0.saturating_sub(1), Direction::Backward),
            Span::Newest => (0, u64::MAX, Direction::Backward),
        };
        let offsets = low.max(place.first)..=high.min(place.head);
        let scan = Scan {
            connection: &snapshot,
            epoch: self.ledger.epoch(),
            room: place.id,
            base: place.base,
            direction,
        };

        let mut page = Page {
            gone: Some(Offset(place.first - 1)),
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
                .record(&request.room, place.id, &damaged, &problem);
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

/// Reads the bounds of the room at `place` as they are in the transaction; `None` if there is no such room.
fn bounds(transaction: &Connection, place: RoomRow) -> rusqlite::Result<Option<RoomRow>> {
    let mut select = transaction.prepare_cached("SELECT first, head FROM rooms WHERE id = ?1")?;
    let bounds = select
        .query_row([place.id], |row| {
            Ok(RoomRow {
                first: row.get(0)?,
                head: row.get(1)?,
                ..place
            })
        })
        .optional();
    match bounds {
        Err(error) if is_damage(&error) => Ok(Some(place)),
        bounds => bounds,
    }
}
