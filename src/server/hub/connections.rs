//! The registry of connections. A connection is counted from its admission and listed from its registration.
//!
//! Operations on all connections process a few at a time, so that no client has to wait for them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Notify, watch};

use crate::protocol::{CloseCode, ErrorCode, Push, RoomSelector, UnsubscribeCode, UserId};
use crate::server::hub::presence::DirtyPresence;
use crate::server::hub::{
    Closing, Notice, Refusal, Rooms, Subscriber, SubscriberStatus, TracedConnection, Tracer,
};
use crate::server::session::IpBucket;
use crate::server::store::{Health, now_millis};

/// The number of connections processed before yielding to other tasks.
const PER_TURN: usize = 256;
/// The notice while the store is unreachable.
const UNREACHABLE: &str =
    "the store is unreachable: messages from other nodes are delayed, and publishes are refused";

/// The registry of connections. See the [module docs](self).
#[derive(Debug)]
pub struct Connections {
    max: usize,
    max_per_ip: usize,
    counts: Mutex<ConnectionCounts>,
    entries: Mutex<Slab<ConnectionEntry>>,
    /// The number of the newest connection.
    newest: AtomicU64,
    /// A notification that is sent whenever a connection leaves.
    left: Notify,
}

/// The counts of admitted connections.
#[derive(Debug, Default)]
struct ConnectionCounts {
    all: usize,
    by_host: HashMap<IpBucket, usize>,
}

/// A registered connection.
#[derive(Clone)]
pub struct ConnectionEntry {
    pub(super) subscriber: Arc<dyn Subscriber>,
    /// The number, the user and the age of the connection.
    pub info: ConnectionInfo,
    /// The client's address.
    pub address: IpAddr,
}

/// The number, the user and the age of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    number: u64,
    /// The id under which the connection is present, or that its token proves, or both.
    account: Option<UserId>,
    is_member: bool,
    is_proven: bool,
    since: u64,
}

impl Connections {
    /// Creates an empty registry for at most `max` connections in total, and `max_per_ip` from one address.
    pub(super) fn new(max: usize, max_per_ip: usize) -> Self {
        Self {
            max,
            max_per_ip,
            counts: Mutex::default(),
            entries: Mutex::default(),
            newest: AtomicU64::new(0),
            left: Notify::new(),
        }
    }

    /// Returns the number of connections.
    pub fn count(&self) -> usize {
        self.counts.lock().all
    }

    /// Returns the limits of connections in total and from one address.
    pub const fn limits(&self) -> (usize, usize) {
        (self.max, self.max_per_ip)
    }

    /// Counts a new connection from `address`.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(super) fn count_in(&self, address: IpAddr) -> Result<(), Refusal> {
        let mut counts = self.counts.lock();
        if counts.all >= self.max {
            return Err(Refusal::TooManyConnections);
        }
        let from_here = counts.by_host.entry(IpBucket::of(address)).or_default();
        if *from_here >= self.max_per_ip {
            return Err(Refusal::TooManyFromAddress);
        }

        *from_here += 1;
        counts.all += 1;
        Ok(())
    }

    /// Removes one connection from `address` from the counts.
    pub(super) fn count_out(&self, address: IpAddr) {
        let mut counts = self.counts.lock();
        counts.all -= 1;
        if let Entry::Occupied(mut from_here) = counts.by_host.entry(IpBucket::of(address)) {
            *from_here.get_mut() -= 1;
            if *from_here.get() == 0 {
                from_here.remove();
            }
        }
        drop(counts);

        self.left.notify_waiters();
    }

    /// Returns the number of a new connection, from 1.
    pub(super) fn next_number(&self) -> u64 {
        self.newest.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds `entry` and returns its key.
    pub(super) fn insert(&self, entry: ConnectionEntry) -> usize {
        self.entries.lock().insert(entry)
    }

    /// Removes the entry with `key`.
    pub(super) fn remove(&self, key: usize) {
        let removed = self.entries.lock().remove(key);
        // Dropping the entry closes its socket, which takes a moment, so this is not done under the lock.
        drop(removed);
    }

    /// Waits until there are no connections.
    pub(super) async fn all_gone(&self) {
        loop {
            let left = self.left.notified();
            if self.count() == 0 {
                return;
            }
            left.await;
        }
    }

    /// Returns the selected connections with numbers greater than `after`, at most `limit`, in the order
    /// of their numbers.
    pub async fn list(
        &self,
        after: u64,
        limit: usize,
        is_selected: impl Fn(&ConnectionEntry) -> bool,
    ) -> Listing<ConnectionEntry> {
        // One more than `limit` is kept, to detect that there are more.
        let mut lowest = BTreeMap::new();
        let pick = |entry: &ConnectionEntry| (entry.info.number > after).then(|| entry.clone());
        self.pick_each(pick, |entry| {
            if is_selected(&entry) {
                lowest.insert(entry.info.number, entry);
            }
            if lowest.len() > limit + 1 {
                lowest.pop_last();
            }
        })
        .await;

        Listing::new(lowest.into_values().collect(), limit)
    }

    /// Returns the number of messages that the slowest reader has still to get.
    pub async fn lag(&self) -> u64 {
        let mut farthest = 0;
        self.for_each_entry(|entry| farthest = entry.status().behind.max(farthest))
            .await;
        farthest
    }

    /// Closes every selected connection with `code`. Returns their number.
    pub async fn disconnect(
        &self,
        code: CloseCode,
        is_selected: impl Fn(&ConnectionEntry) -> bool,
    ) -> usize {
        let mut disconnected = 0;
        self.for_each_entry(|entry| {
            if is_selected(&entry) {
                entry.subscriber.close(Closing::Code(code));
                disconnected += 1;
            }
        })
        .await;

        disconnected
    }

    /// Ends the subscriptions of all connections to the rooms and patterns that `is_selected` returns true for. Returns the
    /// number of connections that had any.
    pub async fn unsubscribe(
        &self,
        code: UnsubscribeCode,
        is_selected: impl Fn(&ConnectionEntry, &RoomSelector) -> bool,
    ) -> usize {
        let mut unsubscribed = 0;
        self.for_each_entry(|entry| {
            let mut rooms = entry.subscriber.status().rooms;
            rooms.retain(|rooms| is_selected(&entry, rooms));

            for rooms in &rooms {
                entry.subscriber.unsubscribe(rooms, code);
            }
            unsubscribed += usize::from(!rooms.is_empty());
        })
        .await;

        unsubscribed
    }

    /// Traces the first selected connection found. Returns its events, or `None` if there is none.
    pub async fn trace(
        &self,
        is_selected: impl Fn(&ConnectionEntry) -> bool,
    ) -> Option<Receiver<TracedConnection>> {
        let mut found = None;
        self.for_each_entry(|entry| {
            if is_selected(&entry) {
                found = Some(entry.subscriber);
            }
        })
        .await;

        let (tracer, events) = Tracer::channel();
        found?.trace(tracer);
        Some(events)
    }

    /// Notifies all clients whenever the store becomes unreachable, until dropped. Clients that connect meanwhile get
    /// the notice too, and presence is sent again afterwards.
    pub(super) async fn watch_health(
        &self,
        mut health: watch::Receiver<Health>,
        rooms: &Rooms,
        dirty_presence: &DirtyPresence,
    ) {
        let mut was_unreachable = false;
        loop {
            let is_unreachable = matches!(&*health.borrow_and_update(), Health::Unreachable(_));
            if is_unreachable && !was_unreachable {
                let notice = unreachable_notice();
                self.for_each(|subscriber| subscriber.send(&notice)).await;
            } else if was_unreachable && !is_unreachable {
                for room in rooms.all() {
                    room.presence.lock().announce_again();
                    dirty_presence.mark(&room);
                }
            }
            was_unreachable = is_unreachable;

            if health.changed().await.is_err() {
                return;
            }
        }
    }

    /// Calls `visit` for every connection. Connections that come or leave meanwhile may be skipped.
    pub(super) async fn for_each(&self, visit: impl FnMut(Arc<dyn Subscriber>)) {
        self.pick_each(|entry| Some(entry.subscriber.clone()), visit)
            .await;
    }

    /// Calls `visit` for every entry. Connections that come or leave meanwhile may be skipped.
    pub(super) async fn for_each_entry(&self, visit: impl FnMut(ConnectionEntry)) {
        self.pick_each(|entry| Some(entry.clone()), visit).await;
    }

    /// Passes the results of `pick` for all connections to `visit`. Connections that come or leave meanwhile may be
    /// skipped. `pick` is called under the lock, and `visit` is not.
    async fn pick_each<T>(
        &self,
        pick: impl Fn(&ConnectionEntry) -> Option<T>,
        mut visit: impl FnMut(T),
    ) {
        let mut start = 0;

        loop {
            {
                let entries = self.entries.lock();
                if start >= entries.capacity() {
                    return;
                }

                let picked: Vec<T> = (start..start + PER_TURN)
                    .filter_map(|key| pick(entries.get(key)?))
                    .collect();
                drop(entries);
                picked.into_iter().for_each(&mut visit);
            }

            start += PER_TURN;
            tokio::task::yield_now().await;
        }
    }
}

impl ConnectionEntry {
    /// Returns its status.
    pub fn status(&self) -> SubscriberStatus {
        self.subscriber.status()
    }

    /// Returns true if it reads a room or pattern that `is_selected` returns true for.
    pub fn reads(&self, is_selected: impl Fn(&RoomSelector) -> bool) -> bool {
        self.subscriber.status().rooms.iter().any(is_selected)
    }
}

impl ConnectionInfo {
    /// Describes a connection that opens now. With an `id` the client is present in its rooms. `proven` is the id that its
    /// token proves; if there are both, they are the same.
    pub(super) fn new(number: u64, id: Option<UserId>, proven: Option<UserId>) -> Self {
        Self {
            number,
            is_member: id.is_some(),
            is_proven: proven.is_some(),
            account: proven.or(id),
            since: now_millis(),
        }
    }

    /// Returns the connection's number, from 1, never reused while the server runs.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns the id under which the connection is present in its rooms; `None` for a reader that is not a member.
    pub fn id(&self) -> Option<&UserId> {
        self.account.as_ref().filter(|_| self.is_member)
    }

    /// Returns the id that the client's token proves, if it proves one. A reader that is not a member may have one too.
    pub fn proven(&self) -> Option<&UserId> {
        self.account.as_ref().filter(|_| self.is_proven)
    }

    /// Returns the id that bans and kicks apply to: the proven one, or else the one under which it is present.
    pub const fn account(&self) -> Option<&UserId> {
        self.account.as_ref()
    }

    /// Returns the time at which the connection was opened, in milliseconds since 1970 UTC.
    pub const fn since(&self) -> u64 {
        self.since
    }
}

/// Returns the notice that the store is unreachable.
pub(super) fn unreachable_notice() -> Notice {
    let code = ErrorCode::StoreUnavailable;
    Notice::new(Push::error(code, UNREACHABLE.to_owned()))
}

/// The first of many items, in order.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// The items.
    pub items: Vec<T>,
    /// True if there are more items.
    pub more: bool,
}

impl<T> Listing<T> {
    /// Creates a listing of the first `limit` items of `found`, which has one more item if there are more.
    pub(super) fn new(mut found: Vec<T>, limit: usize) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        Self { items: found, more }
    }
}

impl std::fmt::Debug for ConnectionEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionEntry")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
