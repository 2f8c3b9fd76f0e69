//! Acknowledged messages survive every kind of exit of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::client::get;
use crate::eventually::soon;
use crate::harness::{Peer, Server};
use crate::typed::{find, join, next, say};

/// The rounds of kills in `make test`; `FANFARE_KILL_ROUNDS` overrides it.
const KILL_ROUNDS: u64 = 10;
const PUBLISHERS: u64 = 8;
/// The number of messages that a publisher has in flight.
const AHEAD: u64 = 16;
/// Flags that keep every message.
const KEEP_ALL: &[&str] = &["--history-messages", "1000000", "--heartbeat", "5s"];

/// The messages of the publishers of one round.
#[derive(Default)]
struct RoundMessages {
    /// The offsets of acknowledged keys.
    acked: BTreeMap<String, u64>,
    /// The keys that were sent and not acknowledged.
    open: Vec<String>,
}

/// Publishes in `rooms` in turn, with [`AHEAD`] messages in flight, until the connection ends.
async fn publish(
    mut peer: Peer,
    rooms: &[&str],
    name: String,
    acks: Arc<(AtomicU64, Notify)>,
) -> RoundMessages {
    let mut published = RoundMessages::default();

    for (number, room) in rooms.iter().cycle().enumerate() {
        let key = format!("{name}-{number}");
        let text = format!("text of {key}");
        let frame = json!({ "type": "publish", "room": room, "text": text, "key": key });

        published.open.push(key);
        if !peer.try_send(frame.to_string()).await {
            break;
        }

        while published.open.len() as u64 >= AHEAD {
            let Some(text) = peer.text_or_end().await else {
                return published;
            };
            let frame: Value = serde_json::from_str(&text).expect("JSON");

            if frame["type"] == "ack" {
                let key = frame["key"].as_str().expect("a key").to_owned();
                published.open.retain(|open| *open != key);
                published
                    .acked
                    .insert(key, frame["offset"].as_u64().expect("an offset"));
                acks.0.fetch_add(1, Ordering::Relaxed);
                acks.1.notify_one();
            }
        }
    }

    published
}

/// Receives messages until the connection ends.
async fn receive(mut peer: Peer) -> Vec<Value> {
    let mut received = Vec::new();

    while let Some(text) = peer.text_or_end().await {
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        if frame["type"] == "message" {
            received.push(frame);
        }
    }

    received
}

/// Reads all messages after `after`, which must be contiguous; returns them and the epoch.
async fn read_all(server: &Server, after: u64, epoch: Option<&str>) -> (Vec<Value>, String) {
    let epoch = epoch.map_or(String::new(), |epoch| format!("&epoch={epoch}"));

    let (mut peer, welcome) = join(server, &format!("id=auditor&after={after}{epoch}")).await;
    assert_eq!(welcome["recovery"], "resumed", "{welcome}");

    let head = welcome["head"].as_u64().expect("an offset");
    let mut messages = Vec::new();

    for offset in after + 1..=head {
        let message = next(&mut peer, "message").await;
        assert_eq!(message["offset"], offset);
        assert_eq!(message["prev"], offset - 1);
        messages.push(message);
    }

    (
        messages,
        welcome["epoch"].as_str().expect("text").to_owned(),
    )
}

/// Publishes in `rooms` from several clients, and kills the server under load, after a random number of acks.
async fn publish_until_kill(server: &Server, rooms: &'static [&str], round: u64) -> RoundMessages {
    let acks = Arc::new((AtomicU64::new(0), Notify::new()));
    let mut publishing = Vec::new();

    for number in 0..PUBLISHERS {
        let (peer, _) = join(server, "id=publisher").await;
        let name = format!("{round}-{number}");
        publishing.push(tokio::spawn(publish(peer, rooms, name, acks.clone())));
    }

    let enough = fastrand::u64(1..600);
    soon(async {
        while acks.0.load(Ordering::Relaxed) < enough {
            acks.1.notified().await;
        }
    })
    .await;

    server.signal("KILL");
    let mut published = RoundMessages::default();
    for publisher in publishing {
        let RoundMessages { acked, open } = publisher.await.expect("ended");
        published.acked.extend(acked);
        published.open.extend(open);
    }
    published
}

/// Publishes from several clients, kills the server, and checks what the next one has.
async fn kill_round(data: &Path, round: u64, before: &mut u64, epoch: &mut Option<String>) {
    let server = Server::start_in(data, KEEP_ALL);

    let (listener, welcome) = join(&server, "id=listener").await;
    let known = epoch
        .get_or_insert_with(|| welcome["epoch"].as_str().expect("text").to_owned())
        .clone();
    assert_eq!(welcome["head"], json!(before));
    assert_eq!(welcome["epoch"], json!(known));

    let listening = tokio::spawn(receive(listener));
    let published = publish_until_kill(&server, &["lobby"], round).await;
    let received = listening.await.expect("ended");
    drop(server);

    let server = Server::start_in(data, KEEP_ALL);
    let (messages, now) = read_all(&server, *before, Some(&known)).await;
    assert_eq!(now, known);

    let mut stored = BTreeMap::new();

    for message in &messages {
        let key = message["key"].as_str().expect("a key").to_owned();
        assert_eq!(message["text"], format!("text of {key}"));
        let twice = stored.insert(key, message["offset"].as_u64().expect("an offset"));
        assert_eq!(twice, None, "{message}");
    }

    for (key, offset) in &published.acked {
        assert_eq!(
            stored.get(key),
            Some(offset),
            "round {round}: {key} was acknowledged at {offset}"
        );
    }

    for message in &received {
        let offset = message["offset"].as_u64().expect("an offset");
        assert_eq!(
            messages.get((offset - *before - 1) as usize),
            Some(message),
            "round {round}: it was delivered"
        );
    }

    // Keys that were stored are duplicates when they are sent again; the others are stored now.
    let (mut peer, _) = join(&server, "id=publisher").await;

    for key in published.open.iter().chain(published.acked.keys().take(5)) {
        say(&mut peer, &format!("text of {key}"), Some(key)).await;
        let ack = find(&mut peer, "ack").await;
        assert_eq!(ack["duplicate"], stored.contains_key(key), "{ack}");
        match stored.get(key) {
            Some(offset) => assert_eq!(ack["offset"], *offset),
            None => drop(stored.insert(key.clone(), ack["offset"].as_u64().expect("an offset"))),
        }
    }

    *before = stored.values().copied().max().unwrap_or(*before);
    drop(server);
}

/// Returns the number of rounds of kills.
fn kill_rounds() -> u64 {
    let rounds = std::env::var("FANFARE_KILL_ROUNDS").ok();
    rounds
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(KILL_ROUNDS)
}

#[tokio::test]
async fn a_kill_under_load_loses_nothing_acknowledged_or_delivered() {
    let data = tempfile::tempdir().expect("a folder");

    let mut before = 0;
    let mut epoch = None;
    for round in 0..kill_rounds() {
        kill_round(data.path(), round, &mut before, &mut epoch).await;
    }
}

const ROOMS: &[&str] = &["class-a", "class-b", "class-c"];

/// A reader of [`ROOMS`], across the kills of the server.
struct Follower {
    /// The subscriptions, to rooms or to a pattern, each with the last offset that was received.
    positions: BTreeMap<&'static str, u64>,
    /// `None` before the first `subscribed`.
    epoch: Option<Value>,
    received: Vec<Value>,
}

impl Follower {
    fn of(subscriptions: &[&'static str]) -> Self {
        Self {
            positions: subscriptions.iter().map(|room| (*room, 0)).collect(),
            epoch: None,
            received: Vec::new(),
        }
    }

    /// Connects, and resumes each subscription from its position.
    async fn connect(&self, server: &Server) -> Peer {
        let typed = [("sec-websocket-protocol", "fanfare.v1")];
        let mut peer = server
            .try_join("id=follower", &typed)
            .await
            .expect("accepted");

        for (room, after) in &self.positions {
            let mut frame = json!({ "type": "subscribe", "room": room, "after": after });
            if let Some(epoch) = &self.epoch {
                frame["epoch"] = epoch.clone();
            }
            peer.send(frame.to_string()).await;
        }
        peer
    }

    /// Receives messages until the connection ends or the newest message of each room, at `heads`, has arrived.
    async fn receive(mut self, mut peer: Peer, heads: Option<Vec<u64>>) -> Self {
        let mut missing: BTreeSet<u64> = heads
            .unwrap_or_else(|| vec![u64::MAX])
            .into_iter()
            .collect();
        missing.retain(|head| !self.received.iter().any(|one| one["offset"] == *head));

        while !missing.is_empty()
            && let Some(text) = peer.text_or_end().await
        {
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            match frame["type"].as_str() {
                Some("subscribed") => {
                    assert_eq!(frame["recovery"], "resumed", "{frame}");
                    let known = self.epoch.get_or_insert_with(|| frame["epoch"].clone());
                    assert_eq!(frame["epoch"], *known);
                }
                Some("message") => {
                    missing.remove(&frame["offset"].as_u64().expect("an offset"));
                    self.on_message(frame);
                }
                Some("welcome" | "presence") => {}
                _ => panic!("{frame}"),
            }
        }
        self
    }

    fn on_message(&mut self, message: Value) {
        let offset = message["offset"].as_u64().expect("an offset");
        let room = message["room"].as_str().expect("text");
        let subscription = self
            .positions
            .iter_mut()
            .find(|(name, _)| **name == room || name.ends_with('*'));
        let (_, position) = subscription.expect("it is subscribed");

        assert!(offset > *position, "{message} follows {position}");
        *position = offset;
        self.received.push(message);
    }

    /// Returns the offset of each key, in a room of the follower. Each message must link to the one before it.
    fn offsets(&self) -> BTreeMap<String, u64> {
        let mut offsets = BTreeMap::new();
        let mut last_of: BTreeMap<&str, u64> = BTreeMap::new();

        for message in &self.received {
            let offset = message["offset"].as_u64().expect("an offset");
            let last = last_of
                .entry(message["room"].as_str().expect("text"))
                .or_default();
            assert_eq!(message["prev"], *last, "{message}");
            *last = offset;

            let key = message["key"].as_str().expect("a key").to_owned();
            let twice = offsets.insert(key, offset);
            assert_eq!(twice, None, "{message}");
        }
        offsets
    }
}

#[tokio::test]
async fn readers_of_several_rooms_and_of_a_pattern_get_all_messages_once_over_many_kills() {
    let data = tempfile::tempdir().expect("a folder");
    let mut acked = BTreeMap::new();
    let mut followers = [Follower::of(ROOMS), Follower::of(&["class-*"])];

    for round in 0..kill_rounds() {
        let server = Server::start_in(data.path(), KEEP_ALL);
        let [rooms, pattern] = followers;
        let [rooms_peer, pattern_peer] =
            [rooms.connect(&server).await, pattern.connect(&server).await];
        let rooms = tokio::spawn(rooms.receive(rooms_peer, None));
        let pattern = tokio::spawn(pattern.receive(pattern_peer, None));

        acked.extend(publish_until_kill(&server, ROOMS, round).await.acked);
        followers = [rooms.await.expect("ended"), pattern.await.expect("ended")];
    }

    let server = Server::start_in(data.path(), KEEP_ALL);
    let mut heads = Vec::new();
    for room in ROOMS {
        let room = get(&server, &format!("/api/v1/rooms/{room}")).await;
        heads.push(room["head"].as_u64().expect("an offset"));
    }
    let mut found = Vec::new();
    for follower in followers {
        let peer = follower.connect(&server).await;
        let follower = follower.receive(peer, Some(heads.clone())).await;
        found.push(follower.offsets());
    }

    assert_eq!(found[0], found[1], "both readers have the same messages");
    for (key, offset) in &acked {
        assert_eq!(
            found[0].get(key),
            Some(offset),
            "{key} was acknowledged at {offset}"
        );
    }
}

#[tokio::test]
async fn a_restarted_server_continues_its_log_and_clients_resume() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, welcome) = join(&server, "id=ann&room=class").await;
    let epoch = welcome["epoch"].as_str().expect("text").to_owned();
    say(&mut ann, "before", Some("k1")).await;
    assert_eq!(find(&mut ann, "message").await["offset"], 1);

    server.log().await;
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, welcome) =
        join(&server, &format!("id=ann&room=class&after=1&epoch={epoch}")).await;
    assert_eq!(welcome["recovery"], "resumed");
    assert_eq!(welcome["head"], 1);
    assert_eq!(welcome["first"], 1);

    say(&mut ann, "before", Some("k1")).await;
    assert_eq!(
        find(&mut ann, "ack").await,
        json!({ "type": "ack", "room": "class", "key": "k1", "offset": 1, "duplicate": true })
    );

    say(&mut ann, "after", None).await;
    let message = next(&mut ann, "message").await;
    assert_eq!(message["offset"], 2);
    assert_eq!(message["prev"], 1);
}

#[tokio::test]
async fn a_client_that_received_nothing_before_a_restart_resumes_from_the_beginning() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let (_early, welcome) = join(&server, "id=early").await;
    let epoch = welcome["epoch"].as_str().expect("text").to_owned();
    server.log().await;

    let server = Server::start_in(data.path(), &[]);
    server.join("speaker").await.send("first").await;

    let (mut back, welcome) = join(&server, &format!("id=early&after=0&epoch={epoch}")).await;
    assert_eq!(welcome["recovery"], "resumed");
    assert_eq!(next(&mut back, "message").await["text"], "first");
}

#[tokio::test]
async fn a_restart_of_the_memory_store_begins_a_new_epoch() {
    let server = Server::start(&["--store", "memory"]);

    let (mut ann, welcome) = join(&server, "id=ann").await;
    let epoch = welcome["epoch"].as_str().expect("text").to_owned();
    say(&mut ann, "gone soon", None).await;
    next(&mut ann, "message").await;
    server.log().await;

    let server = Server::start(&["--store", "memory"]);
    let (mut ann, welcome) = join(&server, &format!("id=ann&after=1&epoch={epoch}")).await;
    assert_eq!(welcome["recovery"], "lost");
    assert_eq!(next(&mut ann, "gap").await["reason"], "expired");
}

#[tokio::test]
async fn after_a_graceful_shutdown_one_file_holds_everything() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    for number in 0..20 {
        say(&mut ann, &number.to_string(), None).await;
        find(&mut ann, "message").await;
    }

    server.log().await;

    let copy = tempfile::tempdir().expect("a folder");
    std::fs::copy(
        data.path().join("fanfare.db"),
        copy.path().join("fanfare.db"),
    )
    .expect("copied");
    assert_eq!(
        read_all(&Server::start_in(copy.path(), &[]), 0, None)
            .await
            .0
            .len(),
        20
    );
}

#[tokio::test]
async fn an_open_read_of_the_database_delays_no_publish() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &["--history-messages", "50"]);

    let (mut ann, _) = join(&server, "id=ann").await;
    say(&mut ann, "first", Some("first")).await;
    find(&mut ann, "ack").await;

    let database = rusqlite::Connection::open(data.path().join("fanfare.db")).expect("opened");
    let mut select = database
        .prepare("SELECT body FROM messages")
        .expect("a table");
    let mut rows = select.query([]).expect("read");
    assert!(
        rows.next().expect("read").is_some(),
        "the read has begun and is not finished"
    );

    for number in 0..200 {
        say(&mut ann, "more", Some(&number.to_string())).await;
        assert_eq!(find(&mut ann, "ack").await["offset"], number + 2);
    }
}

#[tokio::test]
async fn a_crash_of_the_system_begins_a_new_epoch_and_a_kill_does_not() {
    for durability in ["process", "disk"] {
        crash_of_the_system(&["--durability", durability]).await;
    }
}

/// Kills a server, and then simulates a crash of the machine.
async fn crash_of_the_system(flags: &[&str]) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), flags);

    let (mut ann, welcome) = join(&server, "id=ann").await;
    let epoch = welcome["epoch"].as_str().expect("text").to_owned();
    say(&mut ann, "first", None).await;
    find(&mut ann, "message").await;

    server.signal("KILL");
    server.end().await;

    let server = Server::start_in(data.path(), flags);
    assert_eq!(read_all(&server, 0, Some(&epoch)).await.0.len(), 1);

    server.signal("KILL");
    server.end().await;

    // A state file with another boot id looks like a restart of the machine.
    let path = data.path().join("fanfare.db.state");
    let record = std::fs::read(&path).expect("read");
    let mut record: Value = serde_json::from_slice(&record).expect("JSON");
    record["boot"] = json!("another");
    std::fs::write(&path, record.to_string()).expect("written");

    let server = Server::start_in(data.path(), flags);
    let (_back, welcome) = join(&server, &format!("id=ann&after=1&epoch={epoch}")).await;
    assert_eq!(
        welcome["recovery"], "lost",
        "an offset that the client saw may be assigned again"
    );

    let log = server.log().await;
    assert!(log.contains("the system was restarted"), "{log}");

    let epoch = welcome["epoch"].as_str().expect("text");
    assert_eq!(
        read_all(&Server::start_in(data.path(), &[]), 0, Some(epoch))
            .await
            .0
            .len(),
        1
    );
}
