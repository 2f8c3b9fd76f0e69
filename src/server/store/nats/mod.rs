//! The NATS JetStream store, for several nodes: one stream holds all rooms, and every node consumes it.
//!
//! # Invariants
//!
//! - An offset is the sequence number of the message in the stream. It grows within each room, is the same on every
//!   node, and skips the numbers of other rooms. The creation time of the stream identifies the epoch.
//! - A message belongs to a room only after the stream has delivered it. The order of the stream is the only order:
//!   a disconnected node shows fewer messages, never another order.
//! - A node derives `prev` by consuming or reading the stream without a gap. For the oldest message that is kept,
//!   `prev` is the value in the message itself if the message began the room, otherwise the number before it: a
//!   client that has received less may have missed a message.
//! - A deleted message leaves a tombstone, which every node puts in its place ([`tombstones`], [`publisher`]).
//! - A key is a `Nats-Msg-Id`, so a message that arrives at several nodes is stored once, within the duplicate window of
//!   the stream.
//! - A room waits only for its own responses from NATS, never for those of other rooms ([`room_queues`]).
//! - A batch is stored without a gap, but it may be stored only in part ([`publisher`]).
//! - The life of a room is part of its messages, so the order of the stream is also the order of its creation, its end and
//!   the appends of its producers ([`room_life`], [`room_writer`]).
//! - An ack is the ack of JetStream: as durable as the replicas and the `sync_interval` of the stream make it.
//! - A message contains the newest offset of its room that its node had seen. A node that reads the stream therefore
//!   detects removed messages just as a node that consumed the stream does ([`history`]).
//! - Each node has one consumer. Older messages are requested from the leader of the stream; these requests are
//!   bounded and their results are cached ([`history`], [`recent_messages`]).
//! - If the stream was replaced or has lost its newest messages, the process ends, because the state of its clients
//!   is no longer valid. They reconnect in another epoch.
//! - The limits of the stream are the loosest that any room needs; the node that holds a lease trims the rooms that have
//!   exceeded theirs ([`trimming`]).
//!
//! Deliberately absent: a limit on the number of remembered keys.

mod cluster;
mod codec;
mod connection;
mod consumer;
mod heads;
mod history;
mod hooks;
mod matching;
mod opening;
mod pending;
mod publisher;
mod recent_messages;
mod room_life;
mod room_queues;
mod room_state;
mod room_tasks;
mod room_writer;
mod rooms;
mod stream_config;
mod streams;
mod subjects;
mod tombstones;
mod trim_schedule;
mod trimming;
mod watched;
#[cfg(test)]
pub(super) mod test_server;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::debug;

use crate::protocol::{Epoch, Offset, RoomName, RoomPattern, RoomSelector};
use crate::server::room::Draft;
use crate::server::store::changes::{Call, ChangeSender, Changes, LogChange, StoreFuture};
use crate::server::store::panic_guard;
use crate::server::store::room_limits::RoomLimitTable;
use crate::server::store::{
    AppendConditions, AppendResult, Backend, Bounds, ClusterBackend, CreateResult, Deleted, Health,
    HookState, Lifecycle, Limit, MatchingPage, MatchingRange, NewRoom, Page, RoomChange,
    RoomFilter, Span, Store, StoreError, Stored, StoredRoom, now_millis,
};

pub use connection::{NatsError, NatsLogin, NatsServers, NatsSettings};

use cluster::{NatsBus, NatsRuleStore};
use connection::{HealthTracker, NatsConnection};
use consumer::Consumer;
use history::HistoryReader;
use hooks::NatsHooks;
use publisher::Publisher;
use room_writer::RoomWriter;
use rooms::NatsRooms;
use streams::Streams;
use trimming::Trimmer;

/// The store in a NATS stream. See the [module docs](self).
#[derive(Debug)]
pub struct NatsStore {
    rooms: Arc<NatsRooms>,
    history: Arc<HistoryReader>,
    publisher: Arc<Publisher>,
    hooks: Arc<NatsHooks>,
    cluster: ClusterBackend,
    runtime: Handle,
    /// The tasks that are aborted when the store is closed.
    tasks: Mutex<JoinSet<()>>,
    /// The task of the publisher, which ends after its queue is closed; `None` after it was awaited.
    publishing: Mutex<Option<JoinHandle<()>>>,
}

impl NatsStore {
    /// Connects to NATS, creates the streams if they do not exist, and starts to consume them.
    ///
    /// # Errors
    /// If NATS cannot be reached, rejects the login, or does not offer JetStream to this account.
    pub async fn connect(settings: &NatsSettings) -> Result<Self, NatsError> {
        let connection = NatsConnection::connect(settings).await?;
        let (bus, bus_task, signal_task) =
            NatsBus::subscribe(&connection, &settings.stream).await?;
        let NatsConnection { client, connected } = connection;
        let limits = Arc::new(RoomLimitTable::new(
            settings.retention,
            settings.rules.clone(),
        ));
        let streams = Arc::new(Streams::open(client, settings, &limits).await?);

        let changes: Arc<ChangeSender> = Arc::default();
        let rooms = Arc::new(NatsRooms::new(streams.clone(), limits, changes.clone()));
        let history = Arc::new(HistoryReader::new(rooms.clone()));
        let hooks = Arc::new(NatsHooks::new(streams.clone()));
        let (publisher, publisher_task) = Publisher::start(rooms.clone(), changes);
        let trimmer = Trimmer {
            rooms: rooms.clone(),
            writer: publisher.writer.clone(),
            leases: hooks.clone(),
        };
        let (commands, received) = mpsc::unbounded_channel();
        let rules = NatsRuleStore::new(streams.clone(), commands.clone());
        let consumer = Consumer {
            publisher: publisher.clone(),
            commands,
            connected,
        };

        let health = || streams.health.clone();
        let publishing = tokio::spawn(guarded(health(), "publisher", publisher_task));
        let mut tasks = JoinSet::new();
        tasks.spawn(guarded(health(), "consumer", consumer.run()));
        tasks.spawn(guarded(health(), "bus", bus_task));
        tasks.spawn(guarded(health(), "signal", signal_task));
        tasks.spawn(guarded(health(), "rule", rules.clone().run(received)));
        let saving = room_tasks::save_lives(rooms.clone());
        tasks.spawn(guarded(health(), "saving", saving));
        let expiry = room_tasks::load_expiring(rooms.clone());
        tasks.spawn(guarded(health(), "expiry", expiry));
        let missed = room_tasks::read_missed_events(rooms.clone());
        tasks.spawn(guarded(health(), "missed events", missed));
        tasks.spawn(guarded(health(), "trimming", trimmer.run()));

        let cluster = ClusterBackend {
            bus,
            rules: Arc::new(rules),
        };
        Ok(Self {
            hooks,
            rooms,
            history,
            publisher,
            cluster,
            runtime: Handle::current(),
            tasks: Mutex::new(tasks),
            publishing: Mutex::new(Some(publishing)),
        })
    }

    /// Returns the store and its connections to other nodes.
    pub fn into_backend(self) -> Backend {
        let cluster = Some(self.cluster.clone());
        Backend {
            store: Arc::new(self),
            cluster,
        }
    }
}

/// Runs the task `name`. If it panics, the store is marked corrupt, because the other tasks depend on it.
async fn guarded(health: Arc<HealthTracker>, name: &'static str, task: impl Future<Output = ()>) {
    if let Err(panic) = panic_guard::run_task(task).await {
        health.set_corrupt(format!("the {name} task panicked: {panic}"));
    }
}

impl Store for NatsStore {
    fn open(&self, room: &RoomName) -> StoreFuture<()> {
        let opening = self.rooms.begin(room);
        async move { Ok(opening.finish().await?) }.boxed()
    }

    fn reach(&self, offset: Offset) -> StoreFuture<()> {
        let rooms = self.rooms.clone();
        async move { Ok(rooms.wait_for(offset.0).await?) }.boxed()
    }

    fn is_searchable(&self) -> bool {
        false
    }

    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError> {
        Ok(self.rooms.bounds(room)?)
    }

    fn changes(&self) -> Changes {
        self.publisher.changes.subscribe()
    }

    fn append(&self, room: &RoomName, drafts: Vec<Draft>, at: u64) -> StoreFuture<Vec<Stored>> {
        self.publisher.append(room, drafts, at, false)
    }

    fn append_batch(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        at: u64,
    ) -> StoreFuture<Vec<Stored>> {
        let is_batch = drafts.len() > 1;
        self.publisher.append(room, drafts, at, is_batch)
    }

    fn delete(&self, room: &RoomName, offset: Offset, at: u64) -> StoreFuture<Deleted> {
        let publisher = self.publisher.clone();
        let (call, result) = publisher.changes.begin(room, 1);

        self.runtime.spawn(async move {
            // The consumer reports the deletion itself.
            let deleted = publisher.delete(&call.room, offset, at).await;
            let deleted = deleted.map_err(StoreError::from);
            let finished = LogChange::DeleteFinished(call, deleted);
            publisher.changes.send(vec![finished]);
        });
        result
    }

    fn lifecycle(&self, room: &RoomName) -> Result<Option<Lifecycle>, StoreError> {
        let lifecycle = self.rooms.with(room, |state| {
            state.head?;
            let exists = state.is_known() && !state.is_expired();
            Some(exists.then(|| state.life.lifecycle.clone()))
        });
        Ok(lifecycle.flatten().ok_or(NatsError::NotOpen)?)
    }

    fn create_room(&self, room: &RoomName, mut new: NewRoom, at: u64) -> StoreFuture<CreateResult> {
        let drafts = std::mem::take(&mut new.drafts);
        let create = move |writer: Arc<RoomWriter>, room, drafts| async move {
            let new = NewRoom { drafts, ..new };
            writer.create(&room, &new, at).await
        };
        self.publisher.change(room, drafts, create, Call::finish)
    }

    fn append_if(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        conditions: AppendConditions,
        at: u64,
    ) -> StoreFuture<AppendResult> {
        let append = move |writer: Arc<RoomWriter>, room, drafts: Vec<Draft>| async move {
            let appended = writer.append(&room, &drafts, &conditions, at).await;
            appended.map(|(result, _)| result)
        };
        self.publisher
            .change(room, drafts, append, Call::finish_append)
    }

    fn delete_room(&self, room: &RoomName) -> StoreFuture<bool> {
        let delete =
            |writer: Arc<RoomWriter>, room, _drafts| async move { writer.delete(&room).await };
        self.publisher
            .change(room, Vec::new(), delete, Call::finish)
    }

    fn change_room(&self, room: &RoomName, change: RoomChange) -> StoreFuture<Option<Lifecycle>> {
        let apply = move |writer: Arc<RoomWriter>, room, _drafts| async move {
            writer.change(&room, &change).await
        };
        self.publisher.change(room, Vec::new(), apply, Call::finish)
    }

    fn expires_at(&self, room: &RoomName) -> Result<Option<u64>, StoreError> {
        let expires_at = self.rooms.with(room, |state| state.expires_at());
        Ok(expires_at.ok_or(NatsError::NotOpen)?)
    }

    fn touch(&self, room: &RoomName) {
        let now = now_millis();
        let must_be_saved = self.rooms.with(room, |state| {
            let interval = state.limits().save_after();
            let next = state.life.lifecycle.used.saturating_add(interval);
            if interval == 0 || now < next || !state.is_known() || state.is_expired() {
                return None;
            }
            state.life.touch(now);
            Some(state.life.must_be_saved())
        });
        let Some(must_be_saved) = must_be_saved.flatten() else {
            return;
        };

        let (rooms, room) = (self.rooms.clone(), room.clone());
        self.runtime.spawn(async move {
            if must_be_saved {
                rooms.save_later(&room);
            }
            if let Err(error) = rooms.streams.publish_use(&room, now).await {
                debug!(%room, %error, "could not record the use of a room on the other nodes");
            }
        });
    }

    fn expire_rooms(&self) {
        let due = self.rooms.take_expiring(now_millis());
        if !due.is_empty() {
            let writer = self.publisher.writer.clone();
            self.runtime.spawn(async move { writer.expire(due).await });
        }
    }

    fn flush(&self) -> BoxFuture<'static, ()> {
        self.publisher.changes.flush()
    }

    fn wait_until_applied(&self) -> BoxFuture<'static, ()> {
        let publisher = self.publisher.clone();
        async move {
            publisher.rooms.wait_until_sent().await;
            publisher.changes.barrier().await;
        }
        .boxed()
    }

    fn read(&self, room: &RoomName, span: Span, limit: Limit) -> StoreFuture<Page> {
        let (opened, history, room) = (self.open(room), self.history.clone(), room.clone());
        async move {
            opened.await?;
            Ok(history.page(&room, span, limit).await?)
        }
        .boxed()
    }

    fn epoch(&self) -> Epoch {
        self.rooms.streams.epoch.clone()
    }

    fn watch(&self, pattern: &RoomPattern) -> Offset {
        Offset(self.rooms.watch(pattern) + 1)
    }

    fn unwatch(&self, pattern: &RoomPattern) {
        self.rooms.unwatch(pattern);
    }

    fn read_matching(
        &self,
        rooms: &[RoomSelector],
        range: MatchingRange,
        limit: Limit,
    ) -> StoreFuture<MatchingPage> {
        let (history, rooms) = (self.history.clone(), rooms.to_vec());
        async move { Ok(history.matching(&rooms, range, limit).await?) }.boxed()
    }

    fn matching_bounds(&self, _pattern: &RoomPattern) -> StoreFuture<Bounds> {
        let history = self.history.clone();
        async move { Ok(history.stream_bounds().await?) }.boxed()
    }

    fn list_rooms(
        &self,
        pattern: &RoomPattern,
        after: Option<&RoomName>,
        limit: usize,
        filter: RoomFilter,
    ) -> StoreFuture<Vec<StoredRoom>> {
        let (history, pattern, after) = (self.history.clone(), pattern.clone(), after.cloned());
        let filter = move |room: &RoomName| {
            pattern.matches(room) && Some(room) > after.as_ref() && filter(room)
        };
        async move { Ok(history.list_rooms(filter, limit).await?) }.boxed()
    }

    fn load_hook(&self, name: &str) -> StoreFuture<Option<HookState>> {
        let (hooks, name) = (self.hooks.clone(), name.to_owned());
        async move { hooks.load(&name).await }.boxed()
    }

    fn save_hook(&self, name: &str, state: HookState) -> StoreFuture<()> {
        let (hooks, name) = (self.hooks.clone(), name.to_owned());
        async move { hooks.save(&name, state).await }.boxed()
    }

    fn has_hook_moved(&self, name: &str) -> StoreFuture<bool> {
        let (hooks, name) = (self.hooks.clone(), name.to_owned());
        async move { hooks.has_moved(&name).await }.boxed()
    }

    fn has_leases(&self) -> bool {
        true
    }

    fn hold_lease(&self, name: &str) -> StoreFuture<bool> {
        let (hooks, name) = (self.hooks.clone(), name.to_owned());
        async move { hooks.hold(&name).await }.boxed()
    }

    fn release_lease(&self, name: &str) -> StoreFuture<()> {
        let (hooks, name) = (self.hooks.clone(), name.to_owned());
        async move { hooks.release(&name).await }.boxed()
    }

    fn release(&self, room: &RoomName) {
        self.rooms.release(room);
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.rooms.streams.health.watch()
    }

    fn close(&self) {
        self.publisher.close();
        let publishing = self.publishing.lock().take();
        // After a panic the store is already marked corrupt.
        let _ = publishing.map(|publishing| self.runtime.block_on(publishing));
        self.tasks.lock().abort_all();
    }
}

impl Drop for NatsStore {
    fn drop(&mut self) {
        self.publisher.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_server::NatsServer;

    fn room(number: usize) -> RoomName {
        RoomName::parse(&format!("room-{number}")).expect("a name")
    }

    #[tokio::test]
    async fn a_panic_in_a_task_marks_the_store_as_corrupt() {
        let health = Arc::new(HealthTracker::default());

        guarded(health.clone(), "publisher", async { panic!("a fault") }).await;

        let reason = "the publisher task panicked: a fault".to_owned();
        assert_eq!(*health.watch().borrow(), Health::Corrupt(reason));
    }

    #[tokio::test]
    async fn a_room_whose_opening_fails_or_is_aborted_leaves_nothing() {
        const NAMES: usize = 20;
        let mut server = NatsServer::start();
        let connected = NatsStore::connect(&server.settings()).await;
        let store = connected.expect("connected");

        for number in 0..NAMES {
            let mut opening = store.open(&room(number));
            assert!(futures::poll!(&mut opening).is_pending());
        }
        assert_eq!(store.rooms.len(), 0, "the aborted ones");

        store.open(&room(0)).await.expect("opened");
        store.open(&room(1)).await.expect("opened");

        let again = store.open(&room(2));
        store.release(&room(1));
        store.release(&room(2));
        assert_eq!(store.rooms.len(), 2, "one of them is still being opened");
        drop(again);
        assert_eq!(store.rooms.len(), 1);

        server.kill();
        let failing = (1..NAMES).map(|number| store.open(&room(number)));
        let failed = futures::future::join_all(failing).await;
        assert!(failed.iter().all(Result::is_err));
        assert_eq!(store.rooms.len(), 1, "the failed ones");
    }
}
