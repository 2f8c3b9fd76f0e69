//! What is acknowledged outlasts the process, however it ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::harness::{Peer, Server, soon};
use crate::typed::{find, join, next, say};

/// Rounds of killing in `make test`; `FANFARE_KILL_ROUNDS` asks for more.
const KILL_ROUNDS: u64 = 10;
const PUBLISHERS: u64 = 8;
/// Messages that a publisher has on their way at once.
const AHEAD: u64 = 16;
/// Nothing is trimmed while it runs, and the clients may be as fast as they can.
const KEEP_ALL: &[&str] = &["--history-messages", "1000000", "--heartbeat", "5s"];

/// What the clients of one round were told.
#[derive(Default)]
struct Told {
    /// Acknowledged: key to offset.
    acked: BTreeMap<String, u64>,
    /// Sent, and not acknowledged before the end.
    open: Vec<String>,
}

/// Publishes as fast as it is answered, until the connection ends.
async fn publish(mut peer: Peer, name: String, acks: Arc<(AtomicU64, Notify)>) -> Told {
    let mut told = Told::default();
    for number in 0u64.. {
        let key = format!("{name}-{number}");
        let frame = json!({ "type": "say", "text": format!("text of {key}"), "key": key });
        told.open.push(key);
        if !peer.try_send(frame.to_string()).await {
            break;
        }
        while told.open.len() as u64 >= AHEAD {
            let Some(text) = peer.text_or_end().await else {
                return told;
            };
            let frame: Value = serde_json::from_str(&text).expect("JSON");
            if frame["type"] == "ack" {
                let key = frame["key"].as_str().expect("a key").to_owned();
                told.open.retain(|open| *open != key);
                told.acked
                    .insert(key, frame["offset"].as_u64().expect("an offset"));
                acks.0.fetch_add(1, Ordering::Relaxed);
                acks.1.notify_one();
            }
        }
    }
    told
}

/// Hears until the connection ends.
async fn hear(mut peer: Peer) -> Vec<Value> {
    let mut heard = Vec::new();
    while let Some(text) = peer.text_or_end().await {
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        if frame["type"] == "message" {
            heard.push(frame);
        }
    }
    heard
}

/// All that the server has after `after`, in order and without a hole; its epoch.
async fn read_all(server: &Server, after: u64, epoch: Option<&str>) -> (Vec<Value>, String) {
    let epoch = epoch.map_or(String::new(), |epoch| format!("&epoch={epoch}"));
    let (mut peer, welcome) = join(server, &format!("id=auditor&after={after}{epoch}")).await;
    assert_eq!(welcome["recovery"], "resumed", "{welcome}");
    let head = welcome["head"].as_u64().expect("an offset");
    let mut messages = Vec::new();
    for offset in after + 1..=head {
        let message = next(&mut peer, "message").await;
        assert_eq!(
            (&message["offset"], &message["prev"]),
            (&json!(offset), &json!(offset - 1))
        );
        messages.push(message);
    }
    (
        messages,
        welcome["epoch"].as_str().expect("text").to_owned(),
    )
}

async fn kill_round(data: &Path, round: u64, before: &mut u64, epoch: &mut Option<String>) {
    let server = Server::start_in(data, KEEP_ALL);
    let (listener, welcome) = join(&server, "id=listener").await;
    let known = epoch
        .get_or_insert_with(|| welcome["epoch"].as_str().expect("text").to_owned())
        .clone();
    assert_eq!(
        (&welcome["head"], &welcome["epoch"]),
        (&json!(before), &json!(known))
    );
    let listening = tokio::spawn(hear(listener));
    let acks = Arc::new((AtomicU64::new(0), Notify::new()));
    let mut publishing = Vec::new();
    for number in 0..PUBLISHERS {
        let (peer, _) = join(&server, "id=publisher").await;
        publishing.push(tokio::spawn(publish(
            peer,
            format!("{round}-{number}"),
            acks.clone(),
        )));
    }
    // In the middle of the load, at another place each time.
    let enough = fastrand::u64(1..600);
    soon(async {
        while acks.0.load(Ordering::Relaxed) < enough {
            acks.1.notified().await;
        }
    })
    .await;
    server.signal("KILL");
    let mut told = Told::default();
    for publisher in publishing {
        let Told { acked, open } = publisher.await.expect("ended");
        told.acked.extend(acked);
        told.open.extend(open);
    }
    let heard = listening.await.expect("ended");
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
    for (key, offset) in &told.acked {
        assert_eq!(
            stored.get(key),
            Some(offset),
            "round {round}: {key} was acknowledged at {offset}"
        );
    }
    for message in &heard {
        let offset = message["offset"].as_u64().expect("an offset");
        assert_eq!(
            messages.get((offset - *before - 1) as usize),
            Some(message),
            "round {round}: it was heard"
        );
    }
    // Sent again, what was stored is not stored twice, and what was not is stored now.
    let (mut peer, _) = join(&server, "id=publisher").await;
    for key in told.open.iter().chain(told.acked.keys().take(5)) {
        say(&mut peer, &format!("text of {key}"), Some(key)).await;
        let ack = find(&mut peer, "ack").await;
        assert_eq!(ack["duplicate"], json!(stored.contains_key(key)), "{ack}");
        match stored.get(key) {
            Some(offset) => assert_eq!(ack["offset"], json!(offset)),
            None => drop(stored.insert(key.clone(), ack["offset"].as_u64().expect("an offset"))),
        }
    }
    *before = stored.values().copied().max().unwrap_or(*before);
    drop(server);
}

#[tokio::test]
async fn nothing_acknowledged_or_heard_is_lost_when_the_server_is_killed_in_the_middle_of_a_load() {
    let rounds = std::env::var("FANFARE_KILL_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok());
    let data = tempfile::tempdir().expect("a folder");
    let (mut before, mut epoch) = (0, None);
    for round in 0..rounds.unwrap_or(KILL_ROUNDS) {
        kill_round(data.path(), round, &mut before, &mut epoch).await;
    }
}

#[tokio::test]
async fn a_restarted_server_goes_on_where_it_was_and_its_clients_too() {
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
    assert_eq!(
        (&welcome["recovery"], &welcome["head"], &welcome["first"]),
        (&json!("resumed"), &json!(1), &json!(1))
    );
    say(&mut ann, "before", Some("k1")).await;
    assert_eq!(
        find(&mut ann, "ack").await,
        json!({ "type": "ack", "key": "k1", "offset": 1, "duplicate": true })
    );
    say(&mut ann, "after", None).await;
    let message = next(&mut ann, "message").await;
    assert_eq!(
        (&message["offset"], &message["prev"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn a_client_that_heard_nothing_before_a_restart_resumes_from_the_very_beginning() {
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
async fn in_memory_a_restart_begins_a_new_epoch_and_clients_are_told() {
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
async fn after_an_orderly_end_one_file_holds_everything() {
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
async fn a_reader_in_the_middle_of_the_history_holds_up_no_publish() {
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
        "it has begun, and does not go on"
    );
    for number in 0..200 {
        say(&mut ann, "more", Some(&number.to_string())).await;
        assert_eq!(find(&mut ann, "ack").await["offset"], number + 2);
    }
}

#[tokio::test]
async fn a_crash_of_the_system_begins_a_new_epoch_and_one_of_the_server_does_not() {
    for durability in ["process", "disk"] {
        crash_of_the_system(&["--durability", durability]).await;
    }
}

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
    // As if it had been written before the machine was started anew.
    let path = data.path().join("fanfare.db.state");
    let record = std::fs::read(&path).expect("read");
    let mut record: Value = serde_json::from_slice(&record).expect("JSON");
    record["boot"] = json!("another");
    std::fs::write(&path, record.to_string()).expect("written");
    let server = Server::start_in(data.path(), flags);
    let (_back, welcome) = join(&server, &format!("id=ann&after=1&epoch={epoch}")).await;
    assert_eq!(
        welcome["recovery"], "lost",
        "what it saw at an offset may not be what will stand there"
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
