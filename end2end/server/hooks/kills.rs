//! Servers that are killed under load while their hooks deliver, with receivers that disappear too.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use super::{hook, start};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::typed::join;

/// The rooms to which messages are published in turn.
const ROOMS: [&str; 3] = ["orders-1", "orders-2", "lobby"];
/// The number of acknowledged messages after which the server is killed.
const ACKS: usize = 150;
/// The number of kills.
const ROUNDS: usize = 3;

/// Publishes in all rooms until `acks` messages are acknowledged, and kills the server while others are on their way.
/// Returns the keys of the acknowledged messages.
async fn publish_until_kill(server: &Server, round: usize) -> BTreeSet<String> {
    let (mut peer, _) = join(server, "id=publisher").await;
    let mut acked = BTreeSet::new();

    for number in 0.. {
        let room = ROOMS[number % ROOMS.len()];
        let key = format!("{round}-{number}");
        let frame = json!({ "type": "publish", "room": room, "text": key, "key": key });
        peer.send(frame.to_string()).await;

        // Some messages are always on their way.
        while number + 1 - acked.len() > 16 {
            let frame = peer.json().await;
            if frame["type"] == "ack" {
                acked.insert(frame["key"].as_str().expect("a key").to_owned());
            }
        }
        if acked.len() >= ACKS {
            break;
        }
    }

    server.signal("KILL");
    acked
}

/// Returns the messages that `frames` contain, each once, and checks that they are in order and linked: no message is
/// missing.
fn check_order(frames: &[Value]) -> Vec<&Value> {
    let mut messages: Vec<&Value> = Vec::new();

    for frame in frames {
        assert_eq!(frame["type"], "message", "no message is lost: {frame}");
        let offset = frame["offset"].as_u64();

        // A repetition begins with the first message that the server did not know to be delivered.
        if messages
            .last()
            .is_none_or(|last| last["offset"].as_u64() < offset)
        {
            let of_room = messages
                .iter()
                .rev()
                .find(|other| other["room"] == frame["room"]);
            let last = of_room.map_or(0, |last| last["offset"].as_u64().expect("an offset"));
            assert_eq!(frame["prev"], last, "{frame}");
            messages.push(frame);
        }
    }

    messages
}

/// Waits until the receiver has all of `acked`.
async fn until_received(receiver: &Receiver, acked: &BTreeSet<String>) -> Vec<Value> {
    let has_all = |frames: &Vec<Value>| {
        let texts = frames.iter().filter_map(|frame| frame["text"].as_str());
        let received: BTreeSet<&str> = texts.collect();
        acked.iter().all(|key| received.contains(key.as_str()))
    };
    eventually(async || receiver.accepted(), has_all).await
}

fn start_hook(data: &Path, receiver: &Receiver) -> Server {
    let settings = hook("orders", &receiver.url(), &["orders-*", "lobby"]);
    start(data, &settings, &["--id-rate", "0", "--address-rate", "0"])
}

#[tokio::test]
async fn no_acknowledged_message_is_missing_when_the_server_is_killed_under_load() {
    let data = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start().await;
    let mut acked = BTreeSet::new();

    for round in 0..ROUNDS {
        let server = start_hook(data.path(), &receiver);
        acked.extend(publish_until_kill(&server, round).await);
        server.end().await;
    }
    let _server = start_hook(data.path(), &receiver);

    let frames = until_received(&receiver, &acked).await;
    check_order(&frames);
}

#[tokio::test]
async fn no_acknowledged_message_is_missing_when_both_sides_die() {
    let data = tempfile::tempdir().expect("a folder");
    let mut receiver = Receiver::start().await;
    let (mut acked, mut frames) = (BTreeSet::new(), Vec::new());

    for round in 0..ROUNDS {
        let server = start_hook(data.path(), &receiver);
        if round == 1 {
            receiver.answer(Answer::Status(500));
        }
        acked.extend(publish_until_kill(&server, round).await);
        server.end().await;

        let address = receiver.address;
        frames.extend(receiver.accepted());
        drop(receiver);
        receiver = Receiver::start_at(address).await;
    }
    let _server = start_hook(data.path(), &receiver);

    let missing = acked.iter().filter(|key| {
        let is_received = |frame: &Value| frame["text"] == key.as_str();
        !frames.iter().any(is_received)
    });
    let missing: BTreeSet<String> = missing.cloned().collect();
    frames.extend(until_received(&receiver, &missing).await);
    check_order(&frames);
}
