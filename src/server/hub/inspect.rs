//! What an operator sees of rooms and connections, and how one is ended: looked at a few at a time, so that
//! nobody who is being served waits for whoever looks.

use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc::Receiver;

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::hub::{Hub, Outlet, Room, Traced, Tracer};
use crate::server::room::Dialect;
use crate::server::store::{Damage, DatabaseCopy, Health, StoreError};

/// Seats looked at between two chances for other tasks.
const PER_TURN: usize = 256;

/// A registered connection: the way to it, and what is known of it for as long as it is open.
#[derive(Clone)]
pub struct Seat {
    pub(super) outlet: Arc<dyn Outlet>,
    pub(super) room: Arc<Room>,
    pub(super) number: u64,
    pub(super) id: Option<UserId>,
    pub(super) proven: Option<UserId>,
    pub(super) address: IpAddr,
    pub(super) since: u64,
}

/// How far a connection has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How it reads the log.
    pub dialect: Dialect,
    /// The last offset of the log that was written to it, if only in part.
    pub offset: Offset,
    /// Bytes that wait for it alone.
    pub waiting: usize,
}

/// A room in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Ids that are present.
    pub members: usize,
    /// Open connections, those that nobody sees included.
    pub connections: usize,
    /// The newest offset.
    pub head: Offset,
    /// Entries in memory, and their bytes.
    pub ring: (usize, usize),
}

/// Some of many, in order, and whether there are more behind them.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// These.
    pub some: Vec<T>,
    /// Whether there are more.
    pub more: bool,
}

impl Seat {
    /// The connection's number, never given twice while the server runs.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Who is present by it; `None` for a reader that nobody sees.
    pub const fn id(&self) -> Option<&UserId> {
        self.id.as_ref()
    }

    /// Returns the id that its token proves, if it came with one.
    pub const fn proven(&self) -> Option<&UserId> {
        self.proven.as_ref()
    }

    /// Returns the id that bans and kicks apply to: the proven one, else the one it is present under.
    pub fn account(&self) -> Option<&UserId> {
        self.proven.as_ref().or(self.id.as_ref())
    }

    /// Where it comes from.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The room that it is in.
    pub fn room(&self) -> &RoomName {
        self.room.name()
    }

    /// Since when, in milliseconds since 1970 UTC.
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// How far it has got, and how many offsets the room's newest is ahead of that.
    pub fn standing(&self) -> (Standing, u64) {
        let standing = self.outlet.standing();
        (
            standing,
            self.room.head().0.saturating_sub(standing.offset.0),
        )
    }
}

impl Hub {
    /// How long it has been there.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// Whether the store takes anything now.
    pub fn store_health(&self) -> Health {
        self.0.store.health().borrow().clone()
    }

    /// Copies the store's database; `None` if the store has no file.
    pub fn backup(&self) -> Option<BoxFuture<'static, Result<DatabaseCopy, StoreError>>> {
        self.0.store.backup()
    }

    /// Returns what the store has found damaged, if anything is.
    pub fn store_damage(&self) -> Option<Damage> {
        self.0.store.damage()
    }

    /// At most `limit` of the connections that `fits` says, by their numbers, from behind the number `after`.
    pub async fn seats(
        &self,
        after: u64,
        limit: usize,
        fits: impl Fn(&Seat) -> bool,
    ) -> Part<Seat> {
        // The lowest numbers seen so far, the highest of them on top; never more than are asked for, and one.
        let mut lowest = BinaryHeap::with_capacity(limit + 2);
        let pick =
            |seat: &Seat| (seat.number > after && fits(seat)).then(|| ByNumber(seat.clone()));
        self.each_seat(pick, |seat| {
            lowest.push(seat);
            if lowest.len() > limit + 1 {
                lowest.pop();
            }
        })
        .await;
        Part::of(
            lowest
                .into_sorted_vec()
                .into_iter()
                .map(|ByNumber(seat)| seat)
                .collect(),
            limit,
        )
    }

    /// How many messages the reader that is farthest behind has still to get.
    pub async fn lag(&self) -> u64 {
        let mut farthest = 0;
        self.each_seat(
            |seat| Some(seat.clone()),
            |seat| farthest = seat.standing().1.max(farthest),
        )
        .await;
        farthest
    }

    /// Ends every connection that `fits` says with `code`; gives how many they were.
    pub async fn kick(&self, code: CloseCode, fits: impl Fn(&Seat) -> bool) -> usize {
        let mut kicked = 0;
        let pick = |seat: &Seat| fits(seat).then(|| seat.outlet.clone());
        self.each_seat(pick, |outlet| {
            outlet.close(code);
            kicked += 1;
        })
        .await;
        kicked
    }

    /// What passes from now on over the connection that `fits` says; of several, over one. Nothing if there is none.
    pub async fn trace(&self, fits: impl Fn(&Seat) -> bool) -> Option<Receiver<Traced>> {
        let mut found = None;
        self.each_seat(
            |seat| fits(seat).then(|| seat.outlet.clone()),
            |outlet| found = Some(outlet),
        )
        .await;
        let (tracer, traced) = Tracer::channel();
        found?.trace(tracer);
        Some(traced)
    }

    /// At most `limit` of the rooms in memory that `fits` says, by their names, from behind the name `after`.
    pub fn rooms_after(
        &self,
        after: &str,
        limit: usize,
        fits: impl Fn(&RoomName) -> bool,
    ) -> Part<Arc<Room>> {
        let is_wanted = |room: &&Arc<Room>| room.name().as_str() > after && fits(room.name());
        let mut rooms: Vec<Arc<Room>> = self
            .0
            .rooms
            .lock()
            .iter()
            .map(|named| &named.0)
            .filter(is_wanted)
            .cloned()
            .collect();
        rooms.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        rooms.truncate(limit + 1);
        Part::of(rooms, limit)
    }

    /// Hands to `visit` what `pick` makes of every connection that is there all the while; one that comes or goes
    /// meanwhile may be missed. `pick` is called under the registry's lock, and `visit` is not.
    pub(super) async fn each_seat<T>(
        &self,
        pick: impl Fn(&Seat) -> Option<T>,
        mut visit: impl FnMut(T),
    ) {
        let mut start = 0;
        loop {
            {
                let seats = self.0.seats.lock();
                if start >= seats.capacity() {
                    return;
                }
                let some: Vec<T> = (start..start + PER_TURN)
                    .filter_map(|key| pick(seats.get(key)?))
                    .collect();
                drop(seats);
                some.into_iter().for_each(&mut visit);
            }
            start += PER_TURN;
            tokio::task::yield_now().await;
        }
    }
}

impl<T> Part<T> {
    /// The first `limit` of `found`, which has one more if there is one.
    fn of(mut found: Vec<T>, limit: usize) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        Self { some: found, more }
    }
}

/// A seat in the order of its number.
struct ByNumber(Seat);

impl PartialEq for ByNumber {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for ByNumber {}

impl PartialOrd for ByNumber {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByNumber {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.number.cmp(&other.0.number)
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat")
            .field("number", &self.number)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
