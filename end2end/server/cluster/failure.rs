//! Nodes that are killed, a NATS that is restarted, a way that goes silent: nothing acknowledged is lost, nothing is
//! doubled, and there is one order before and after.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::publish;
use crate::cluster::proxy::Proxy;
use crate::cluster::{Nats, log, messages, readiness, say_all, until};
use crate::harness::{Peer, Server, soon};
use crate::metrics::store_state;
use crate::typed::{join, next};

/// Messages that go through a failure.
const LOAD: usize = 400;

fn texts() -> Vec<String> {
    (0..LOAD).map(|number| format!("text {number}")).collect()
}

/// That the log of every node holds each of `texts` once, acknowledged ones where they were acknowledged.
async fn check(nodes: &[&Server], texts: &[String], acked: &BTreeMap<String, u64>) -> Vec<Value> {
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

/// Hears so many messages, as the log has them.
async fn hear(peer: &mut Peer, count: usize) -> Vec<Value> {
    let mut heard = messages(peer, count).await;
    for message in &mut heard {
        message.as_object_mut().expect("an object").remove("type");
    }
    heard
}

#[tokio::test]
async fn what_a_killed_node_acknowledged_is_kept_and_its_clients_go_on_elsewhere() {
    let nats = Nats::start().await;
    let [dies, lives]: [Server; 2] = nats.nodes();
    let (mut listener, _) = join(&lives, "id=listener").await;
    let (mut speaker, _) = join(&dies, "id=speaker").await;
    let texts = texts();
    let mut acked = BTreeMap::new();
    for text in &texts {
        speaker
            .send(json!({ "type": "say", "text": text, "key": text }).to_string())
            .await;
    }
    // In the middle of them it dies.
    while acked.len() < LOAD / 4 {
        let frame = speaker.json().await;
        if frame["type"] == "ack" {
            acked.insert(
                frame["key"].as_str().expect("a key").to_owned(),
                frame["offset"].as_u64().expect("one"),
            );
        }
    }
    dies.signal("KILL");
    while let Some(frame) = speaker.text_or_end().await {
        let frame: Value = serde_json::from_str(&frame).expect("JSON");
        if frame["type"] == "ack" {
            acked.insert(
                frame["key"].as_str().expect("a key").to_owned(),
                frame["offset"].as_u64().expect("one"),
            );
        }
    }
    let (mut speaker, _) = join(&lives, "id=speaker").await;
    let again = say_all(&mut speaker, &texts, 16).await;
    for (key, offset) in &acked {
        assert_eq!(
            again.get(key),
            Some(offset),
            "the same key is the same message on another node"
        );
    }
    let heard = hear(&mut listener, LOAD).await;
    let [new]: [Server; 1] = nats.nodes();
    assert_eq!(check(&[&lives, &new], &texts, &again).await, heard);
}

#[tokio::test]
async fn a_nats_that_is_killed_and_comes_back_loses_and_doubles_nothing() {
    let mut nats = Nats::start().await;
    let nodes: [Server; 2] = nats.nodes();
    let (mut listener, _) = join(&nodes[1], "id=listener").await;
    let (mut speaker, _) = join(&nodes[0], "id=speaker").await;
    let texts = texts();
    let (acked, ()) = futures::join!(say_all(&mut speaker, &texts, 4), async {
        messages(&mut listener, LOAD / 4).await;
        nats.kill();
        for node in &nodes {
            until(node, 503).await;
        }
        assert_eq!(next_error(&mut listener).await["retry"], true);
        nats.start_again();
        for node in &nodes {
            until(node, 200).await;
        }
    });
    check(&[&nodes[0], &nodes[1]], &texts, &acked).await;
}

/// The next `error`, whatever messages come before it.
async fn next_error(peer: &mut Peer) -> Value {
    soon(async {
        loop {
            let frame = peer.json().await;
            if frame["type"] == "error" {
                return frame;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_node_that_is_cut_off_says_so_and_serves_less_but_never_another_order() {
    let nats = Nats::start().await;
    let proxy = Proxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;
    let (mut ann, _) = join(&cut, "id=ann").await;
    let (mut bob, _) = join(&whole, "id=bob").await;
    publish(&cut, "lobby", "before").await;
    assert_eq!(messages(&mut ann, 1).await, messages(&mut bob, 1).await);
    proxy.silence(true);
    until(&cut, 503).await;
    assert_eq!(next_error(&mut ann).await["code"], "store_unavailable");
    for number in 0..20 {
        publish(&whole, "lobby", &number.to_string()).await;
    }
    // Whoever speaks there is told at once, and may try again.
    ann.send(json!({ "type": "say", "text": "from here", "key": "k" }).to_string())
        .await;
    let error = next(&mut ann, "error").await;
    assert_eq!(
        (&error["code"], &error["key"], &error["retry"]),
        (&json!("store_unavailable"), &json!("k"), &json!(true))
    );
    let (_, reason) = readiness(&cut).await;
    assert!(reason.contains("not ready"), "{reason}");
    assert_eq!(store_state(&cut).await, "away");
    proxy.silence(false);
    assert_eq!(messages(&mut ann, 20).await, messages(&mut bob, 20).await);
    until(&cut, 200).await;
    say_all(&mut ann, &["back".to_owned()], 1).await;
    assert_eq!(messages(&mut bob, 1).await[0]["text"], "back");
}

#[tokio::test]
async fn whoever_has_heard_more_elsewhere_is_waited_for_and_never_told_that_it_lost() {
    let nats = Nats::start().await;
    let proxy = Proxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;
    let (mut ann, welcome) = join(&cut, "id=ann").await;
    publish(&whole, "lobby", "both heard it").await;
    messages(&mut ann, 1).await;
    proxy.silence(true);
    let ahead = publish(&whole, "lobby", "one heard it").await["offset"].clone();
    let query = format!(
        "id=bob&after={ahead}&epoch={}",
        welcome["epoch"].as_str().expect("text")
    );
    let typed = [("sec-websocket-protocol", "fanfare.v1")];
    let refused = cut
        .try_join(&query, &typed)
        .await
        .err()
        .expect("it cannot know yet, and says so");
    assert_eq!(refused.status, 503);
    proxy.silence(false);
    until(&cut, 200).await;
    let (mut bob, welcome) = join(&cut, &query).await;
    assert_eq!(
        (&welcome["recovery"], &welcome["head"]),
        (&json!("resumed"), &ahead)
    );
    let next = publish(&whole, "lobby", "go on").await["offset"].clone();
    let heard = messages(&mut bob, 1).await.remove(0);
    assert_eq!((&heard["offset"], &heard["prev"]), (&next, &ahead));
    // A position that is no log's is still told.
    let (_, welcome) = join(
        &cut,
        &query.replace(&format!("after={ahead}"), "after=999999"),
    )
    .await;
    assert_eq!(welcome["recovery"], "lost");
}

#[tokio::test]
async fn a_node_without_its_stream_ends_and_its_clients_come_back_to_another_epoch() {
    let mut nats = Nats::start().await;
    let [node]: [Server; 1] = nats.nodes();
    let (mut ann, welcome) = join(&node, "id=ann").await;
    publish(&node, "lobby", "gone soon").await;
    let seen = messages(&mut ann, 1).await.remove(0);
    nats.kill();
    std::fs::remove_dir_all(nats.folder.path().join("jetstream")).expect("its streams are there");
    nats.start_again();
    let (verdict, log) = node.end().await;
    assert!(
        !verdict.success() && log.contains("the stream was deleted"),
        "{log}"
    );
    let [node]: [Server; 1] = nats.nodes();
    let epoch = welcome["epoch"].as_str().expect("text");
    let (mut ann, again) = join(
        &node,
        &format!("id=ann&after={}&epoch={epoch}", seen["offset"]),
    )
    .await;
    assert_ne!(again["epoch"], welcome["epoch"]);
    assert_eq!(
        (&again["recovery"], &next(&mut ann, "gap").await["reason"]),
        (&json!("lost"), &json!("expired"))
    );
    tokio::time::timeout(Duration::from_secs(5), publish(&node, "lobby", "anew"))
        .await
        .expect("it goes on");
}

#[tokio::test]
async fn a_reader_that_needs_older_messages_while_nats_is_away_is_told_to_try_again_later() {
    let nats = Nats::start().await;
    let [whole]: [Server; 1] = nats.nodes();
    let first = publish(&whole, "lobby", "first").await;
    publish(&whole, "lobby", "second").await;
    let proxy = Proxy::before(nats.port).await;
    let cut = Nats::node_behind(&proxy).await;
    let (_ann, _) = join(&cut, "id=ann").await;
    proxy.silence(true);
    until(&cut, 503).await;

    let epoch = first["epoch"].as_str().expect("text");
    let (mut bob, _) = join(
        &cut,
        &format!("id=bob&after={}&epoch={epoch}", first["offset"]),
    )
    .await;

    assert_eq!(bob.close_code().await, 1013, "it was not too slow");
}
