//! A model test of resuming with several rooms and patterns on one connection.
//!
//! Messages are published in several rooms, and trimmed. Clients subscribe and unsubscribe, read in part, drop their
//! connections and resume, from one offset or from one for each subscription. The server is restarted or reset in between.
//! A client always gets every message of its rooms once and in the order of the offsets, or an exact gap. The model is a
//! plain list of messages.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::protocol::{Body, Epoch, Publication, Recovery, RoomSelector, Subscribed};
use crate::server::room::{DedupLimits, FanoutBatch};
use crate::server::session::WriteStep;
use crate::server::store::{
    Durability, MemorySettings, MemoryStore, Retention, SqliteSettings, SqliteStore,
};
use crate::server::transport::connection::{Connection, Output};
use crate::server::transport::connection_state::ConnectionState;

const CLIENTS: usize = 3;
const ROOMS: [&str; 4] = ["a", "b-1", "b-2", "c"];
const SELECTORS: [&str; 6] = ["a", "b-1", "b-2", "c", "b-*", "*"];
/// More rounds of reading from the store than any client needs.
const MAX_ROUNDS: usize = 10_000;

#[derive(Clone, Debug)]
enum RecoveryStep {
    /// This number of messages in a room, published at once.
    Publish(usize, u8),
    /// A client that accepts this number of bytes.
    Read(usize, usize),
    /// A client that reads all that there is.
    ReadAll(usize),
    /// A client that subscribes, from its own position, from the oldest message or for new messages.
    Subscribe(usize, usize, SubscribeFrom),
    Unsubscribe(usize, usize),
    Drop(usize),
    /// A client that resumes all its subscriptions.
    Resume(usize),
    /// A restart of the server on the same file.
    Restart,
    /// A restart with a lost file.
    Reset,
}

#[derive(Clone, Copy, Debug)]
enum SubscribeFrom {
    Own,
    Oldest,
    Newest,
}

fn step() -> impl Strategy<Value = RecoveryStep> {
    let client = 0..CLIENTS;
    let selector = 0..SELECTORS.len();
    let from = prop_oneof![
        2 => Just(SubscribeFrom::Own),
        1 => Just(SubscribeFrom::Oldest),
        1 => Just(SubscribeFrom::Newest),
    ];

    prop_oneof![
        8 => (0..ROOMS.len(), 1u8..6).prop_map(|(room, count)| RecoveryStep::Publish(room, count)),
        8 => (client.clone(), 1usize..1500).prop_map(|(client, bytes)| RecoveryStep::Read(client, bytes)),
        2 => client.clone().prop_map(RecoveryStep::ReadAll),
        5 => (client.clone(), selector.clone(), from)
            .prop_map(|(client, selector, from)| RecoveryStep::Subscribe(client, selector, from)),
        1 => (client.clone(), selector)
            .prop_map(|(client, selector)| RecoveryStep::Unsubscribe(client, selector)),
        2 => client.clone().prop_map(RecoveryStep::Drop),
        4 => client.prop_map(RecoveryStep::Resume),
        1 => Just(RecoveryStep::Restart),
        1 => Just(RecoveryStep::Reset),
    ]
}

/// An output that accepts as many bytes as the client reads.
#[derive(Default)]
struct Window {
    accepted: AtomicUsize,
    received: Mutex<Vec<u8>>,
}

/// The error of a window that accepts no more bytes.
struct WindowFull;

impl Window {
    fn accept(&self, bytes: &[u8]) -> Result<usize, WindowFull> {
        let accepted = self.accepted.load(Ordering::Relaxed).min(bytes.len());
        if accepted == 0 {
            return Err(WindowFull);
        }

        self.accepted.fetch_sub(accepted, Ordering::Relaxed);
        self.received.lock().extend_from_slice(&bytes[..accepted]);
        Ok(accepted)
    }

    /// Removes the frames that have arrived as a whole, and returns them.
    fn take_pushes(&self) -> Vec<Push> {
        let mut received = self.received.lock();
        let mut pushes = Vec::new();
        let mut rest = received.as_slice();
        while let Some((_, payload, next)) = next_frame(rest) {
            let text = std::str::from_utf8(payload).expect("text");
            pushes.push(Push::decode(text).expect("a push"));
            rest = next;
        }

        *received = rest.to_vec();
        pushes
    }
}

impl Output for Window {
    fn write(
        connection: &Connection<Self>,
        state: &mut ConnectionState,
        mut batch: Option<&mut FanoutBatch<'_>>,
    ) {
        while let Ok(WriteStep::Wrote(_)) =
            state.write_next(&connection.hub, batch.as_deref_mut(), |bytes| {
                connection.output.accept(bytes)
            })
        {}
    }

    fn has_unread_bytes(&self) -> bool {
        false
    }

    fn buffered_bytes(&self) -> usize {
        0
    }

    fn clear(&self) {}
}

/// A server, and all messages ever published to it.
struct ModelServer {
    retention: Retention,
    /// The folder of the database; `None` for a store in memory.
    folder: Option<TempDir>,
    ring: usize,
    hub: Hub,
    /// The messages of each epoch, by offset.
    published: HashMap<String, BTreeMap<u64, ModelMessage>>,
    count: u64,
}

struct ModelMessage {
    room: RoomName,
    /// The offset of the room's message before it.
    prev: u64,
    text: String,
}

fn selector(text: &str) -> RoomSelector {
    RoomSelector::parse(text).expect("valid")
}

impl ModelServer {
    /// Starts a server that keeps `kept` messages of each room, and `ring` of them in memory.
    fn start(kept: usize, ring: usize, is_durable: bool) -> Self {
        let age = Duration::from_secs(3600);
        let keys = DedupLimits { messages: 10, age };
        let retention = Retention {
            messages: kept,
            bytes: usize::MAX,
            age,
            keys,
        };
        let folder = is_durable.then(|| tempfile::tempdir().expect("a folder"));

        Self {
            hub: Self::open(retention, folder.as_ref(), ring),
            retention,
            folder,
            ring,
            published: HashMap::new(),
            count: 0,
        }
    }

    fn open(retention: Retention, folder: Option<&TempDir>, ring: usize) -> Hub {
        let hub = match folder {
            None => {
                let store = MemoryStore::new(&MemorySettings::of_test(retention));
                Hub::unlimited(store, ring, RunClock::new())
            }
            Some(folder) => {
                let store = SqliteStore::open(&SqliteSettings {
                    path: folder.path().join("test.db"),
                    durability: Durability::Process,
                    retention,
                    rules: Arc::default(),
                    max_rooms: 10_000,
                    quick_check: false,
                });
                Hub::unlimited(store.expect("opened"), ring, RunClock::new())
            }
        };

        tokio::spawn({
            let hub = hub.clone();
            async move { hub.run().await }
        });

        hub
    }

    fn restart(&mut self, is_reset: bool) {
        self.hub.store().close();
        if let Some(folder) = self.folder.as_ref().filter(|_| is_reset) {
            for file in std::fs::read_dir(folder.path()).expect("a folder") {
                std::fs::remove_file(file.expect("a file").path()).expect("removed");
            }
        }
        self.hub = Self::open(self.retention, self.folder.as_ref(), self.ring);
    }

    async fn publish(&mut self, room: &str, count: u8) {
        let name = RoomName::parse(room).expect("a name");
        let room = self.hub.room(&name).await.expect("a room");
        let numbers = self.count..self.count + u64::from(count);
        let texts: Vec<String> = numbers.map(|number| format!("text {number}")).collect();
        let drafts = texts
            .iter()
            .map(|text| Draft::text(UserId::guest(1), None, text));
        let stored = room.publish(drafts.collect()).await.expect("stored");

        self.count += u64::from(count);
        let messages = self.published.entry(room.epoch().to_string()).or_default();
        for (text, stored) in texts.into_iter().zip(stored) {
            let of_room = messages.iter().rev().find(|(_, one)| one.room == name);
            let message = ModelMessage {
                prev: of_room.map_or(0, |(offset, _)| *offset),
                room: name.clone(),
                text,
            };
            messages.insert(stored.offset().0, message);
        }
    }

    async fn epoch(&self) -> Epoch {
        let room = self.hub.room(&RoomName::lobby()).await.expect("a room");
        room.epoch().clone()
    }

    /// Returns the messages of the rooms of `selector` in `epoch`, with their offsets, after `after` and before `before`.
    fn between<'a>(
        &'a self,
        epoch: &Epoch,
        selector: &'a RoomSelector,
        after: u64,
        before: u64,
    ) -> impl Iterator<Item = (u64, &'a ModelMessage)> {
        let messages = self.published.get(epoch.as_str()).into_iter().flatten();
        messages
            .map(|(offset, message)| (*offset, message))
            .filter(move |(offset, message)| {
                after < *offset && *offset < before && selector.matches(&message.room)
            })
    }

    /// Returns true if the store still has the message of `room` at `offset`.
    fn is_kept(&self, room: &RoomName, offset: u64) -> bool {
        let first = self.hub.store().bounds(room).expect("bounds").first.0;
        first > 0 && offset >= first
    }

    /// Returns the newest trimmed and the newest offset of the rooms of `selector`; 0 if there is none.
    fn gone_and_head(&self, epoch: &Epoch, selector: &RoomSelector) -> (u64, u64) {
        let messages = || self.between(epoch, selector, 0, u64::MAX);
        let gone = messages().filter(|(offset, message)| !self.is_kept(&message.room, *offset));
        (
            gone.map(|(offset, _)| offset).max().unwrap_or_default(),
            messages()
                .map(|(offset, _)| offset)
                .max()
                .unwrap_or_default(),
        )
    }

    async fn enter(&self, selector: &RoomSelector, resume: Option<&Resume>) -> PendingSubscription {
        let entry = match selector {
            RoomSelector::Room(name) => self.hub.enter(name, resume).await,
            RoomSelector::Pattern(pattern) => self.hub.enter_pattern(pattern, resume).await,
        };
        let entry = entry.expect("admitted");
        self.hub.wait_until_applied(entry.newest()).await;
        entry
    }
}

/// The position after which a subscription begins.
#[derive(Clone, Debug)]
enum SubscriptionStart {
    Newest,
    Oldest,
    After(Epoch, u64),
}

/// A subscription that the client has requested, and the answer that it expects.
#[derive(Debug)]
struct Request {
    selector: RoomSelector,
    recovery: Recovery,
    expected: ActiveSubscription,
}

/// The client's view of a subscription.
#[derive(Clone, Copy, Debug, Default)]
struct ActiveSubscription {
    /// All messages up to this offset were received, reported as missing or not requested.
    position: u64,
    /// The newest message when the subscription began. Until the client has it, messages may be older than some that the
    /// connection has received before.
    head: u64,
    /// The newest offset that the connection has received since the subscription began.
    received: u64,
    /// Trimmed messages up to this offset are not reported.
    known: u64,
    /// True if the first gap has no number, because the position was of another epoch.
    is_unknown: bool,
    /// The number of trimmed messages that a pattern has skipped, and the number that its gaps have reported.
    skipped: u64,
    reported: u64,
    /// True if the connection has other subscriptions. Then messages may be reported as trimmed and still arrive, from the
    /// ring of another room or pattern.
    is_merged: bool,
}

/// A client with its own view of its positions.
#[derive(Default)]
struct ModelClient {
    connection: Option<OpenConnection<Window>>,
    epoch: Option<Epoch>,
    wanted: BTreeSet<RoomSelector>,
    /// The last position in each room or pattern that the client has ever read.
    positions: BTreeMap<RoomSelector, (Epoch, u64)>,
    requests: VecDeque<Request>,
    active: BTreeMap<RoomSelector, ActiveSubscription>,
    /// The newest offset that the connection has received, or with which all its subscriptions began.
    seen: Option<u64>,
    /// True if all subscriptions resume from the same offset, in one step.
    has_one_position: bool,
}

impl ModelClient {
    /// Drops the connection. If the messages of all subscriptions have arrived in order, one offset is the position in all.
    fn drop_connection(&mut self, server: &ModelServer) {
        let has_all = self.requests.is_empty()
            && self.active.len() == self.wanted.len()
            && self.active.values().all(|one| one.position >= one.head);
        self.has_one_position = false;
        if let (Some(seen), Some(epoch), true) = (self.seen, &self.epoch, has_all) {
            self.has_one_position = true;
            for (selector, one) in &self.active {
                let missed = server.between(epoch, selector, one.position, seen + 1);
                let unreported = missed.filter(|(offset, _)| *offset > one.known).count() as u64;
                assert!(
                    one.skipped + unreported <= one.reported,
                    "{selector}: no gap precedes offset {seen} for messages after {}",
                    one.position
                );
                self.positions
                    .insert(selector.clone(), (epoch.clone(), seen));
            }
        }

        self.connection = None;
        self.requests.clear();
        self.active.clear();
        self.seen = None;
    }

    /// Reconnects, and resumes all subscriptions: from one offset in one step, or each from its own.
    async fn resume(&mut self, server: &ModelServer) {
        self.drop_connection(server);
        let epoch = server.epoch().await;
        self.epoch = Some(epoch.clone());

        let mut entries = Vec::new();
        if self.has_one_position {
            for selector in self.wanted.clone() {
                let start = self.own_start(&selector);
                if let SubscriptionStart::After(of, offset) = &start
                    && *of == epoch
                {
                    self.seen = Some(*offset);
                }
                entries.push(self.request(server, selector, start, true).await);
            }
        }
        let admission = server.hub.admit(ADDRESS).expect("admitted");
        self.connection = Some(pending(admission, entries).open(Window::default(), TYPED, &[]));

        if !self.has_one_position {
            for selector in self.wanted.clone() {
                let start = self.own_start(&selector);
                self.subscribe(server, selector, start).await;
            }
        }
    }

    fn own_start(&self, selector: &RoomSelector) -> SubscriptionStart {
        match self.positions.get(selector) {
            Some((epoch, offset)) => SubscriptionStart::After(epoch.clone(), *offset),
            None => SubscriptionStart::Newest,
        }
    }

    async fn subscribe(
        &mut self,
        server: &ModelServer,
        selector: RoomSelector,
        start: SubscriptionStart,
    ) {
        let entry = self.request(server, selector, start, false).await;
        let connection = self.connection.as_ref().expect("open");
        connection.subscribe(vec![entry]);
    }

    /// Requests a subscription, and records the answer that the client expects.
    async fn request(
        &mut self,
        server: &ModelServer,
        selector: RoomSelector,
        start: SubscriptionStart,
        is_atomic: bool,
    ) -> PendingSubscription {
        let epoch = self.epoch.as_ref().expect("open");
        let is_room = matches!(selector, RoomSelector::Room(_));
        let (gone, head) = server.gone_and_head(epoch, &selector);

        let (recovery, position, known) = match &start {
            SubscriptionStart::Newest => (Recovery::Fresh, head, head),
            SubscriptionStart::Oldest if is_room => (Recovery::Resumed, gone, gone),
            SubscriptionStart::Oldest => (Recovery::Resumed, 0, gone),
            SubscriptionStart::After(of, after) if of == epoch && gone <= *after => {
                (Recovery::Resumed, *after, *after)
            }
            SubscriptionStart::After(of, after) if of == epoch => (Recovery::Lost, *after, *after),
            SubscriptionStart::After(..) => (Recovery::Lost, 0, gone),
        };
        let is_other_epoch = matches!(&start, SubscriptionStart::After(of, _) if of != epoch);
        let resume = match start {
            SubscriptionStart::Newest => None,
            SubscriptionStart::Oldest => Some(Resume {
                after: Offset(0),
                epoch: None,
            }),
            SubscriptionStart::After(epoch, after) => Some(Resume {
                after: Offset(after),
                epoch: Some(epoch),
            }),
        };

        self.wanted.insert(selector.clone());
        self.requests.push_back(Request {
            selector: selector.clone(),
            recovery,
            expected: ActiveSubscription {
                position,
                head: if is_atomic { 0 } else { head },
                known,
                is_unknown: is_other_epoch,
                ..ActiveSubscription::default()
            },
        });
        server.enter(&selector, resume.as_ref()).await
    }

    fn unsubscribe(&mut self, selector: &RoomSelector) {
        let Some(connection) = &self.connection else {
            return;
        };
        let is_subscribed = self.wanted.remove(selector);
        let ended = connection.end_subscription(selector.clone(), UnsubscribeCode::Unsubscribed);
        assert_eq!(ended, is_subscribed);
    }

    /// Accepts `bytes` bytes.
    async fn read(&mut self, server: &ModelServer, bytes: usize) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let accepted = &connection.output.accepted;
        accepted.store(bytes, Ordering::Relaxed);

        for round in 0.. {
            assert!(round < MAX_ROUNDS, "the client makes no progress");
            connection.update(|_| {});
            let is_behind = connection.lock().is_behind();
            if !is_behind || accepted.load(Ordering::Relaxed) == 0 {
                break;
            }
            connection.catch_up().await;
        }

        for push in connection.output.take_pushes() {
            self.receive(server, &push);
        }
        self.connection = Some(connection);
    }

    /// Reads all that there is, and checks that nothing is missing.
    async fn read_all(&mut self, server: &ModelServer) {
        self.read(server, usize::MAX).await;
        let Some(connection) = &self.connection else {
            return;
        };
        connection.output.accepted.store(0, Ordering::Relaxed);

        assert!(self.requests.is_empty(), "a subscription has no answer");
        let epoch = self.epoch.as_ref().expect("open");
        for (selector, one) in &self.active {
            let rest = server.between(epoch, selector, one.position, u64::MAX);
            let unread: Vec<u64> = rest.map(|(offset, _)| offset).collect();
            assert!(unread.is_empty(), "{selector}: {unread:?} did not arrive");
            assert!(
                one.skipped <= one.reported,
                "{selector}: lost in silence: {one:?}"
            );
            if !one.is_merged {
                assert_eq!(one.skipped, one.reported, "{selector}: the gaps are exact");
            }
        }
    }

    fn receive(&mut self, server: &ModelServer, push: &Push) {
        match push {
            Push::Subscribed(subscribed) => self.on_subscribed(subscribed),
            Push::Unsubscribed { room, .. } => drop(self.active.remove(room)),
            Push::Gap {
                room,
                after,
                before,
                count,
                ..
            } => self.on_gap(server, room, after.0, before.0, *count),
            Push::Message(publication) => self.on_message(server, publication),
            Push::Welcome(_) | Push::Presence { .. } => {}
            other => panic!("{other:?}"),
        }

        let epoch = self.epoch.as_ref().expect("open");
        for (selector, one) in &self.active {
            let position = (epoch.clone(), one.position);
            self.positions.insert(selector.clone(), position);
        }
    }

    fn on_subscribed(&mut self, subscribed: &Subscribed) {
        let request = self.requests.pop_front().expect("it was requested");
        assert_eq!(subscribed.room, request.selector);
        assert_eq!(subscribed.recovery, request.recovery, "{request:?}");
        self.active.insert(request.selector, request.expected);
        if self.active.len() > 1 {
            self.active
                .values_mut()
                .for_each(|one| one.is_merged = true);
        }
    }

    fn on_gap(
        &mut self,
        server: &ModelServer,
        selector: &RoomSelector,
        after: u64,
        before: u64,
        count: Option<u64>,
    ) {
        let epoch = self.epoch.as_ref().expect("open");
        let one = self.active.get_mut(selector).expect("subscribed");
        let is_room = matches!(selector, RoomSelector::Room(_));
        if std::mem::take(&mut one.is_unknown) {
            assert_eq!((after, count), (0, None));
            if is_room {
                one.position = before - 1;
            }
            return;
        }

        let count = count.expect("exact");
        if is_room {
            let missing = server.between(epoch, selector, after, before);
            let missing: Vec<_> = missing.collect();
            assert_eq!(
                after, one.position,
                "{selector}: the gap begins at the client"
            );
            assert_eq!(
                count,
                missing.len() as u64,
                "{selector}: {after} to {before}"
            );
            assert!(
                missing
                    .iter()
                    .all(|(offset, message)| !server.is_kept(&message.room, *offset)),
                "{selector}: the gap covers only messages that are gone"
            );
            one.position = before - 1;
        } else {
            one.reported += count;
        }
    }

    fn on_message(&mut self, server: &ModelServer, publication: &Publication) {
        let epoch = self.epoch.as_ref().expect("open");
        let offset = publication.offset.0;
        let message = &server.published[epoch.as_str()][&offset];
        assert_eq!(publication.room, message.room);
        assert_eq!(publication.prev.0, message.prev);
        assert_eq!(publication.body, Body::Text(message.text.clone()));

        let mut is_next = false;
        for (selector, one) in &mut self.active {
            if selector.matches(&message.room) && offset > one.position {
                is_next |= offset > one.received;
                for (skipped, message) in server.between(epoch, selector, one.position, offset) {
                    assert!(
                        matches!(selector, RoomSelector::Pattern(_))
                            && !server.is_kept(&message.room, skipped),
                        "{selector}: {skipped} was skipped before {offset}"
                    );
                    one.skipped += u64::from(skipped > one.known);
                }
                one.position = offset;
            }
            one.received = one.received.max(offset);
        }
        assert!(is_next, "{offset} arrives again or too late");
        self.seen = self.seen.max(Some(offset));
    }
}

async fn run(mut server: ModelServer, steps: &[RecoveryStep]) {
    let mut clients: [ModelClient; CLIENTS] = Default::default();

    for step in steps {
        match *step {
            RecoveryStep::Publish(room, count) => server.publish(ROOMS[room], count).await,
            RecoveryStep::Read(client, bytes) => clients[client].read(&server, bytes).await,
            RecoveryStep::ReadAll(client) => clients[client].read_all(&server).await,
            RecoveryStep::Subscribe(client, room, from) => {
                if clients[client].connection.is_none() {
                    clients[client].resume(&server).await;
                }
                let selector = selector(SELECTORS[room]);
                let start = match from {
                    SubscribeFrom::Own => clients[client].own_start(&selector),
                    SubscribeFrom::Oldest => SubscriptionStart::Oldest,
                    SubscribeFrom::Newest => SubscriptionStart::Newest,
                };
                clients[client].subscribe(&server, selector, start).await;
            }
            RecoveryStep::Unsubscribe(client, room) => {
                clients[client].unsubscribe(&selector(SELECTORS[room]));
            }
            RecoveryStep::Drop(client) => clients[client].drop_connection(&server),
            RecoveryStep::Resume(client) => clients[client].resume(&server).await,
            RecoveryStep::Restart | RecoveryStep::Reset => {
                for client in &mut clients {
                    client.drop_connection(&server);
                }
                server.restart(matches!(step, RecoveryStep::Reset));
            }
        }
    }

    for client in &mut clients {
        client.resume(&server).await;
        client.read_all(&server).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_client_of_several_rooms_gets_all_it_missed_once_in_order_or_exact_gaps(
        steps in prop::collection::vec(step(), 1..120), kept in 1usize..12, ring in 1usize..6,
    ) {
        for is_durable in [false, true] {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.expect("a runtime").block_on(async {
                run(ModelServer::start(kept, ring, is_durable), &steps).await;
            });
        }
    }
}
