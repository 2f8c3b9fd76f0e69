//! Killed nodes, a restarted NATS and silent connections: no acknowledged message is lost or repeated, and the order
//! stays the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::publish;
use crate::cluster::{log, messages, publish_all};
use crate::harness::{Peer, Server};
use crate::metrics::store_state;
use crate::nats::{Nats, NatsProxy};
use crate::typed::{find, join, next};

/// The number of messages that are published during a failure.
const LOAD: usize = 400;

fn texts() -> Vec<String> {
    (0..LOAD).map(|number| format!("text {number}")).collect()
}

/// Checks that the log of every node has each of `texts` once, at its acknowledged offset; returns the log.
async fn check_logs(
    nodes: &[&Server],
    texts: &[String],
    acked: &BTreeMap<String, u64>,
) -> Vec<Value> {
    let stored = log(nodes[0], "lobby").await;
    let mut found = BTreeMap::new();

    for message in &stored {
        let key = message["key"].as_str().expect("a key").to_owned();
        let twice = found.insert(key, message["offset"].as_u64().expect("an offset"));
        assert_eq!(twice, None, "stored twice: {message}");
    }

    assert_eq!(found.len(), texts.len());

    for (key, offset) in acked {
        assert_eq!(
            found.get(key),
            Some(offset),
            "{key} was acknowledged at {offset}"
        );
    }

    for node in &nodes[1..] {
        assert_eq!(log(node, "lobby").await, stored);
    }

    stored
}

/// Receives `count` messages and returns them in the form of the log.
async fn receive(peer: &mut Peer, count: usize) -> Vec<Value> {
    let mut received = messages(peer, count).await;
    for message in &mut received {
        message.as_object_mut().expect("an object").remove("type");
    }

    received
}

#[tokio::test]
async fn messages_acknowledged_by_a_killed_node_are_kept_and_its_clients_move() {
    let nats = Nats::start().await;
    let [killed, other]: [Server; 2] = nats.nodes();

    let (mut listener, _) = join(&other, "id=listener").await;
    let (mut speaker, _) = join(&killed, "id=speaker").await;
    let texts = texts();
    let mut acked = BTreeMap::new();

    for text in &texts {
        speaker
            .send(json!({ "type": "publish", "text": text, "key": text }).to_string())
            .await;
    }

    // The node is killed while it stores them.
    while acked.len() < LOAD / 4 {
        let frame = speaker.json().await;
        if frame["type"] == "ack" {
            acked.insert(
                frame["key"].as_str().expect("a key").to_owned(),
                frame["offset"].as_u64().expect("one"),
            );
        }
    }

    killed.signal("KILL");

    while let Some(frame) = speaker.text_or_end().await {
        let frame: Value = serde_json::from_str(&frame).expect("JSON");
        if frame["type"] == "ack" {
            acked.insert(
                frame["key"].as_str().expect("a key").to_owned(),
                frame["offset"].as_u64().expect("one"),
            );
        }
    }

    let (mut speaker, _) = join(&other, "id=speaker").await;
    let again = publish_all(&mut speaker, &texts, 16).await;

    for (key, offset) in &acked {
        assert_eq!(
            again.get(key),
            Some(offset),
            "the same key is the same message on another node"
        );
    }

    let received = receive(&mut listener, LOAD).await;
    let [new]: [Server; 1] = nats.nodes();

    assert_eq!(check_logs(&[&other, &new], &texts, &again).await, received);
}

#[tokio::test]
async fn a_restart_of_nats_loses_and_repeats_nothing() {
    let mut nats = Nats::start().await;
    let nodes: [Server; 2] = nats.nodes();

    let (mut listener, _) = join(&nodes[1], "id=listener").await;
    let (mut speaker, _) = join(&nodes[0], "id=speaker").await;
    let texts = texts();

    let (acked, ()) = futures::join!(publish_all(&mut speaker, &texts, 4), async {
        messages(&mut listener, LOAD / 4).await;
        nats.kill();

        for node in &nodes {
            node.until_readiness(503).await;
        }

        assert_eq!(find(&mut listener, "error").await["retry"], true);

        nats.restart();
        for node in &nodes {
            node.until_readiness(200).await;
        }
    });

    check_logs(&[&nodes[0], &nodes[1]], &texts, &acked).await;
}

#[tokio::test]
async fn a_node_cut_off_from_nats_is_not_ready_and_keeps_the_order() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;

    let (mut ann, _) = join(&cut, "id=ann").await;
    let (mut bob, _) = join(&whole, "id=bob").await;
    publish(&cut, "lobby", "before").await;

    assert_eq!(messages(&mut ann, 1).await, messages(&mut bob, 1).await);

    proxy.silence(true);
    cut.until_readiness(503).await;
    assert_eq!(find(&mut ann, "error").await["code"], "store_unavailable");

    for number in 0..20 {
        publish(&whole, "lobby", &number.to_string()).await;
    }

    // A publish on the node is refused at once and may be retried.
    ann.send(json!({ "type": "publish", "text": "from here", "key": "k" }).to_string())
        .await;
    let error = next(&mut ann, "error").await;
    assert_eq!(error["code"], "store_unavailable");
    assert_eq!(error["key"], "k");
    assert_eq!(error["retry"], true);

    let (_, reason) = cut.readiness().await;
    assert!(reason.contains("not ready"), "{reason}");
    assert_eq!(store_state(&cut).await, "unreachable");

    proxy.silence(false);
    assert_eq!(messages(&mut ann, 20).await, messages(&mut bob, 20).await);

    cut.until_readiness(200).await;
    publish_all(&mut ann, &["back".to_owned()], 1).await;
    assert_eq!(messages(&mut bob, 1).await[0]["text"], "back");
}

#[tokio::test]
async fn a_client_ahead_of_a_cut_off_node_is_refused_until_the_node_catches_up() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;

    let (mut ann, welcome) = join(&cut, "id=ann").await;
    publish(&whole, "lobby", "both received it").await;
    messages(&mut ann, 1).await;

    proxy.silence(true);
    let ahead = publish(&whole, "lobby", "one received it").await["offset"].clone();

    let query = format!(
        "id=bob&room=lobby&after={ahead}&epoch={}",
        welcome["epoch"].as_str().expect("text")
    );

    let typed = [("sec-websocket-protocol", "fanfare.v1")];
    let refused = cut
        .try_join(&query, &typed)
        .await
        .expect_err("the node does not know the position yet");
    assert_eq!(refused.status, 503);

    proxy.silence(false);
    cut.until_readiness(200).await;

    let (mut bob, welcome) = join(&cut, &query).await;
    assert_eq!(welcome["recovery"], "resumed");
    assert_eq!(welcome["head"], ahead);

    let next = publish(&whole, "lobby", "go on").await["offset"].clone();
    let received = messages(&mut bob, 1).await.remove(0);
    assert_eq!(received["offset"], next);
    assert_eq!(received["prev"], ahead);

    // A position that no log has is still reported.
    let (_, welcome) = join(
        &cut,
        &query.replace(&format!("after={ahead}"), "after=999999"),
    )
    .await;
    assert_eq!(welcome["recovery"], "lost");
}

#[tokio::test]
async fn a_node_whose_stream_was_deleted_ends_and_a_new_epoch_begins() {
    let mut nats = Nats::start().await;
    let [node]: [Server; 1] = nats.nodes();

    let (mut ann, welcome) = join(&node, "id=ann").await;
    publish(&node, "lobby", "gone soon").await;
    let seen = messages(&mut ann, 1).await.remove(0);

    nats.kill();
    std::fs::remove_dir_all(nats.folder.path().join("jetstream")).expect("its streams are there");
    nats.restart();

    let (verdict, log) = node.end().await;
    assert!(!verdict.success(), "{log}");
    assert!(log.contains("the stream was deleted"), "{log}");

    let [node]: [Server; 1] = nats.nodes();
    let epoch = welcome["epoch"].as_str().expect("text");

    let (mut ann, again) = join(
        &node,
        &format!("id=ann&after={}&epoch={epoch}", seen["offset"]),
    )
    .await;
    assert_ne!(again["epoch"], welcome["epoch"]);
    assert_eq!(again["recovery"], "lost");
    assert_eq!(next(&mut ann, "gap").await["reason"], "expired");

    publish(&node, "lobby", "new").await;
}

#[tokio::test]
async fn a_reader_of_older_messages_is_closed_with_1013_while_nats_is_away() {
    let nats = Nats::start().await;
    let [whole]: [Server; 1] = nats.nodes();

    let first = publish(&whole, "lobby", "first").await;
    publish(&whole, "lobby", "second").await;
    let proxy = NatsProxy::before(nats.port).await;
    let cut = Nats::node_behind(&proxy).await;

    let (_ann, _) = join(&cut, "id=ann").await;
    proxy.silence(true);
    cut.until_readiness(503).await;

    let epoch = first["epoch"].as_str().expect("text");
    let (mut bob, _) = join(
        &cut,
        &format!("id=bob&after={}&epoch={epoch}", first["offset"]),
    )
    .await;
    assert_eq!(bob.close_code().await, 1013, "it was not too slow");
}
