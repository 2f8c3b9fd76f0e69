//! Limits of rooms that JetStream does not have, which one node enforces for all of them: limits that differ by room, and
//! limits of bytes.

use std::io::Write;

use futures::TryStreamExt;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::client::{get, publish};
use crate::cluster::trimming::stream;
use crate::cluster::{log, messages};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::nats::{Nats, NatsProxy};
use crate::streams::{CLOSE, JSON, TEXT, delete, post, put, read};
use crate::typed::{find, join, next};

const TWO_MESSAGES: &str = "[[rooms]]\nmatch = \"ci-*\"\nhistory-messages = 2\n";
const SHORT_AGE: &str = "[[rooms]]\nmatch = \"ci-*\"\nhistory-age = \"300ms\"\n";

/// Starts `N` nodes with `rules` in their settings file.
fn nodes<const N: usize>(nats: &Nats, rules: &str, flags: &[&str]) -> [Server; N] {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(rules.as_bytes()).expect("written");
    let path = file.path().to_str().expect("text");
    let flags = [&["--config", path], flags].concat();
    std::array::from_fn(|_| Nats::node_by(nats.port, &flags))
}

/// Publishes the texts 1 to `count` in `room`; returns their offsets.
async fn publish_numbers(node: &Server, room: &str, count: usize) -> Vec<Value> {
    let mut offsets = Vec::new();
    for number in 1..=count {
        offsets.push(publish(node, room, &number.to_string()).await["offset"].clone());
    }
    offsets
}

/// Waits until `node` has `count` messages of `room`; returns their offsets.
async fn until_kept(node: &Server, room: &str, count: usize) -> Vec<Value> {
    let kept = async || log(node, room).await;
    let kept = eventually(kept, |kept| kept.len() == count).await;
    kept.iter().map(|kept| kept["offset"].clone()).collect()
}

/// Stores `each` texts of 400 bytes in each of the rooms `ci-1` to `ci-{rooms}`, as a program other than Fanfare does.
async fn store(nats: &Nats, rooms: usize, each: usize) {
    let client = async_nats::connect(format!("127.0.0.1:{}", nats.port));
    let context = async_nats::jetstream::new(client.await.expect("connected"));

    for _ in 0..each {
        let mut acks = Vec::new();
        for room in 1..=rooms {
            let sent = context.publish(format!("fanfare.room.ci-{room}"), vec![b'x'; 400].into());
            acks.push(sent.await.expect("sent").into_future());
        }
        let acks = futures::future::join_all(acks).await;
        assert!(acks.iter().all(Result::is_ok));
    }
}

/// Returns the smallest and the largest of the numbers of messages that rooms have in the stream.
async fn counts(nats: &Nats) -> (usize, usize) {
    let stream = stream(nats).await;
    let subjects = stream.info_with_subjects("fanfare.room.>").await;
    let subjects: Vec<_> = subjects
        .expect("the subjects")
        .try_collect()
        .await
        .expect("the subjects");
    let counts = subjects.iter().map(|(_, count)| *count);
    (
        counts.clone().min().unwrap_or_default(),
        counts.max().unwrap_or_default(),
    )
}

#[tokio::test]
async fn a_reader_that_missed_messages_that_a_rule_removed_gets_a_gap_at_every_node() {
    let nats = Nats::start().await;
    let nodes: [Server; 2] = nodes(&nats, TWO_MESSAGES, &[]);
    let offsets = publish_numbers(&nodes[0], "ci-7", 5).await;
    let epoch = get(&nodes[0], "/api/v1/rooms/ci-7").await["epoch"].clone();
    let epoch = epoch.as_str().expect("text");

    for node in &nodes {
        assert_eq!(until_kept(node, "ci-7", 2).await, offsets[3..]);

        let resume = |offset: &Value| format!("id=bob&room=ci-7&after={offset}&epoch={epoch}");
        let (mut late, welcome) = join(node, &resume(&offsets[0])).await;
        assert_eq!(welcome["recovery"], "lost");
        let gap = next(&mut late, "gap").await;
        assert_eq!(
            (&gap["reason"], &gap["count"]),
            (&json!("expired"), &Value::Null)
        );
        assert_eq!(next(&mut late, "message").await["offset"], offsets[3]);

        let (mut early, welcome) = join(node, &resume(&offsets[3])).await;
        assert_eq!(welcome["recovery"], "resumed");
        assert_eq!(next(&mut early, "message").await["offset"], offsets[4]);
    }
}

#[tokio::test]
async fn after_all_messages_of_a_room_were_removed_only_readers_that_missed_some_get_a_gap() {
    let nats = Nats::start().await;
    let nodes: [Server; 2] = nodes(&nats, SHORT_AGE, &[]);
    let offsets = publish_numbers(&nodes[0], "ci-7", 3).await;
    let epoch = get(&nodes[0], "/api/v1/rooms/ci-7").await["epoch"].clone();
    let epoch = epoch.as_str().expect("text");
    until_kept(&nodes[1], "ci-7", 0).await;

    let (mut missed, welcome) = join(
        &nodes[1],
        &format!("id=ann&room=ci-7&after={}&epoch={epoch}", offsets[0]),
    )
    .await;
    assert_eq!(welcome["recovery"], "lost");
    let (mut whole, welcome) = join(
        &nodes[1],
        &format!("id=bob&room=ci-7&after={}&epoch={epoch}", offsets[2]),
    )
    .await;
    assert_eq!(welcome["recovery"], "resumed");

    let after = publish(&nodes[0], "ci-7", "after").await["offset"].clone();
    assert_eq!(find(&mut missed, "gap").await["reason"], "expired");
    assert_eq!(find(&mut missed, "message").await["offset"], after);
    let received = messages(&mut whole, 1).await.remove(0);
    assert_eq!(received["offset"], after);
    assert_eq!(received["prev"], offsets[2]);
}

#[tokio::test]
async fn a_reader_of_a_pattern_learns_of_a_room_that_has_lost_all_its_messages() {
    let nats = Nats::start().await;
    let [node]: [Server; 1] = nodes(&nats, SHORT_AGE, &[]);
    let start = publish(&node, "lobby", "before").await;
    publish_numbers(&node, "ci-7", 2).await;
    until_kept(&node, "ci-7", 0).await;

    let (mut ann, _) = join(&node, "id=ann").await;
    let (after, epoch) = (&start["offset"], &start["epoch"]);
    let follow = json!({ "type": "subscribe", "room": "ci-*", "after": after, "epoch": epoch });
    ann.send(follow.to_string()).await;

    let gap = find(&mut ann, "gap").await;
    assert_eq!(gap["count"], Value::Null, "{gap}");
}

#[tokio::test]
async fn a_created_stream_keeps_its_messages_after_restarts_and_other_rooms_are_still_trimmed() {
    let nats = Nats::start().await;
    let flags = ["--history-messages", "2", "--history-age", "2s"];
    let start = || -> [Server; 1] { nodes(&nats, "", &flags) };
    let [node] = start();
    publish_numbers(&node, "lobby", 3).await;
    put(&node, "s", TEXT, "1").await;
    for text in ["2", "3"] {
        post(&node, "s", TEXT, text).await;
    }
    drop(node);

    let [node] = start();
    publish_numbers(&node, "lobby", 3).await;

    until_kept(&node, "lobby", 2).await;
    until_kept(&node, "lobby", 0).await;
    assert_eq!(read(&node, "s").await, (200, "123".to_owned()));
}

#[tokio::test]
async fn another_node_trims_after_the_one_that_did_is_killed() {
    let nats = Nats::start().await;
    let [first]: [Server; 1] = nodes(&nats, TWO_MESSAGES, &[]);
    publish_numbers(&first, "ci-7", 3).await;
    until_kept(&first, "ci-7", 2).await;
    let [second]: [Server; 1] = nodes(&nats, TWO_MESSAGES, &[]);

    first.signal("KILL");
    let offsets = publish_numbers(&second, "ci-7", 3).await;

    assert_eq!(until_kept(&second, "ci-7", 2).await, offsets[1..]);
}

#[tokio::test]
async fn a_closed_stream_keeps_its_newest_message_and_its_end_when_a_rule_trims_it() {
    let nats = Nats::start().await;
    let rules = "[[rooms]]\nmatch = \"ci-*\"\nhistory-messages = 1\n";
    let [node]: [Server; 1] = nodes(&nats, rules, &[]);
    put(&node, "ci-7", JSON, "[1,2,3]").await;

    post(&node, "ci-7", CLOSE, "").await;

    until_kept(&node, "ci-7", 1).await;
    assert_eq!(read(&node, "ci-7").await, (200, "[3]".to_owned()));
    let [late]: [Server; 1] = nodes(&nats, rules, &[]);
    assert_eq!(get(&late, "/api/v1/rooms/ci-7").await["closed"], true);
    assert_eq!(read(&late, "ci-7").await, (200, "[3]".to_owned()));
}

#[tokio::test]
async fn the_end_of_a_stream_whose_messages_were_removed_during_an_outage_reaches_its_readers() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;
    put(&whole, "lobby", JSON, "1").await;
    let (mut ann, _) = join(&cut, "id=ann").await;

    proxy.silence(true);
    cut.until_readiness(503).await;
    post(&whole, "lobby", &[JSON, CLOSE].concat(), "2").await;
    stream(&nats).await.purge().await.expect("purged");
    // A later message shows the node that some are missing.
    publish(&whole, "other", "later").await;
    proxy.silence(false);

    assert_eq!(find(&mut ann, "closed").await["room"], "lobby");
    assert_eq!(post(&cut, "lobby", JSON, "3").await, 409);
}

#[tokio::test]
async fn the_deletion_of_a_room_whose_messages_were_removed_during_an_outage_reaches_its_readers() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;
    put(&whole, "s", TEXT, "old").await;
    let (mut ann, _) = join(&cut, "id=ann&room=s").await;

    proxy.silence(true);
    cut.until_readiness(503).await;
    assert_eq!(delete(&whole, "s").await, 204);
    stream(&nats).await.purge().await.expect("purged");
    publish(&whole, "other", "later").await;
    proxy.silence(false);

    let deleted = find(&mut ann, "unsubscribed").await;
    assert_eq!(deleted["code"], "room_deleted");
    assert_eq!(read(&cut, "s").await.0, 404);
    assert_eq!(put(&cut, "s", TEXT, "new").await, 201);
}

#[tokio::test]
async fn the_end_of_a_room_during_an_outage_reaches_the_readers_of_a_pattern() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;
    put(&whole, "ci-7", JSON, "1").await;
    put(&whole, "other", &[JSON, CLOSE].concat(), "1").await;
    let (mut ann, _) = join(&cut, "id=ann").await;
    let follow = json!({ "type": "subscribe", "room": "ci-*" });
    ann.send(follow.to_string()).await;
    find(&mut ann, "subscribed").await;

    proxy.silence(true);
    cut.until_readiness(503).await;
    post(&whole, "ci-7", &[JSON, CLOSE].concat(), "2").await;
    stream(&nats).await.purge().await.expect("purged");
    publish(&whole, "lobby", "later").await;
    proxy.silence(false);

    assert_eq!(find(&mut ann, "closed").await["room"], "ci-7");
}

#[tokio::test]
async fn a_limit_of_bytes_for_all_rooms_is_applied() {
    let nats = Nats::start().await;
    let [node]: [Server; 1] = nodes(&nats, "", &["--history-bytes", "1KiB"]);
    let mut offsets = Vec::new();

    for _ in 0..5 {
        offsets.push(publish(&node, "lobby", &"x".repeat(400)).await["offset"].clone());
    }

    assert_eq!(until_kept(&node, "lobby", 2).await, offsets[3..]);
    let newest = publish(&node, "lobby", &"x".repeat(2000)).await["offset"].clone();
    assert_eq!(until_kept(&node, "lobby", 1).await, [newest]);
}

#[tokio::test]
async fn a_node_trims_the_rooms_that_exceeded_a_limit_of_bytes_before_it_started() {
    let nats = Nats::start().await;
    let [first]: [Server; 1] = nats.nodes();
    store(&nats, 3, 5).await;
    first.signal("KILL");

    let [_second]: [Server; 1] = nodes(&nats, "", &["--history-bytes", "1KiB"]);

    eventually(async || counts(&nats).await, |counts| *counts == (2, 2)).await;
}

#[tokio::test]
async fn hundreds_of_rooms_are_trimmed() {
    const ROOMS: usize = 500;
    let nats = Nats::start().await;
    let [node]: [Server; 1] = nodes(&nats, TWO_MESSAGES, &[]);

    store(&nats, ROOMS, 3).await;
    eventually(async || counts(&nats).await, |counts| *counts == (2, 2)).await;

    node.signal("KILL");
    store(&nats, ROOMS, 3).await;
    let [_next]: [Server; 1] = nodes(&nats, TWO_MESSAGES, &[]);
    eventually(async || counts(&nats).await, |counts| *counts == (2, 2)).await;
}
