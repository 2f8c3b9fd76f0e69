//! All nodes have one order, one offset for each key, and one meaning of a position.

use reqwest::Client;
use serde_json::{Value, json};

use crate::client::{fetch, publish};
use crate::cluster::{log, messages, publish_all};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::nats::Nats;
use crate::typed::{join, next};

const NODES: usize = 3;
/// The number of messages that are published on each node.
const EACH: usize = 200;

fn texts(name: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{name}-{number}"))
        .collect()
}

/// Publishes [`EACH`] messages in `room` on `node`.
async fn publish_each(node: &Server, room: &str, name: String) {
    let (mut peer, _) = join(node, &format!("id={name}&room={room}")).await;
    publish_all(&mut peer, &texts(&name, EACH), 16).await;
}

#[tokio::test]
async fn every_node_serves_the_same_messages_in_the_same_order() {
    let nats = Nats::start().await;
    let nodes: [Server; NODES] = nats.nodes();

    let mut listeners = Vec::new();
    for node in &nodes {
        listeners.push(join(node, "id=listener&room=v1.2").await);
    }

    // Two rooms share the sequence numbers, so the offsets of each room have holes.
    let speaking = nodes.iter().enumerate().flat_map(|(at, node)| {
        ["v1.2", "v1-2"].map(|room| publish_each(node, room, format!("{room}-{at}")))
    });
    futures::future::join_all(speaking).await;

    let mut received = Vec::new();
    for (listener, welcome) in &mut listeners {
        assert_eq!(welcome["head"], 0);
        assert_eq!(welcome["recovery"], "fresh");
        received.push(messages(listener, NODES * EACH).await);
    }

    let mut prev = json!(0);
    for message in &received[0] {
        assert_eq!(message["prev"], prev, "each has the offset before it");
        prev = message["offset"].clone();
    }

    assert!(
        prev.as_u64() > Some((NODES * EACH) as u64),
        "the offsets of the other room are left out"
    );

    for (node, received_here) in nodes.iter().zip(&received) {
        assert_eq!(received_here, &received[0]);

        let stored = log(node, "v1.2").await;
        let without_type = |message: &Value| {
            let mut message = message.clone();
            message.as_object_mut().expect("an object").remove("type");
            message
        };
        assert_eq!(
            stored,
            received[0].iter().map(without_type).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_key_sent_to_two_nodes_is_stored_once() {
    let nats = Nats::start().await;
    let nodes: [Server; 2] = nats.nodes();

    for round in 0..20 {
        let post = |node: &Server| {
            let url = node.url("/api/v1/rooms/lobby/messages");
            fetch(
                Client::new()
                    .post(url)
                    .header("idempotency-key", format!("k{round}"))
                    .body("once"),
            )
        };

        let ((first, one), (second, other)) = futures::join!(post(&nodes[0]), post(&nodes[1]));
        assert_eq!(first, 201, "{one} {other}");
        assert_eq!(second, 201, "{one} {other}");
        assert_eq!(one["offset"], other["offset"]);
        assert_eq!(one["epoch"], other["epoch"]);
        assert_ne!(one["duplicate"], other["duplicate"], "{one} {other}");
        assert_eq!(
            one["at"], other["at"],
            "a duplicate has the time of the first"
        );
    }

    assert_eq!(log(&nodes[0], "lobby").await.len(), 20);
}

#[tokio::test]
async fn a_client_resumes_on_another_node() {
    let nats = Nats::start().await;
    let nodes: [Server; NODES] = nats.nodes();

    let (mut ann, welcome) = join(&nodes[0], "id=ann").await;
    publish(&nodes[1], "lobby", "one").await;
    let seen = messages(&mut ann, 1).await;
    drop(ann);
    publish(&nodes[1], "elsewhere", "between").await;

    for text in ["two", "three"] {
        publish(&nodes[2], "lobby", text).await;
    }

    let position = format!(
        "after={}&epoch={}",
        seen[0]["offset"],
        welcome["epoch"].as_str().expect("text")
    );

    // One node has the room open, one has published in it, and the new one has nothing.
    let new = Nats::node_by(nats.port, &[]);

    for node in [&nodes[1], &nodes[2], &new] {
        let (mut ann, again) = join(node, &format!("id=ann&{position}")).await;
        assert_eq!(again["recovery"], "resumed");
        assert_eq!(again["epoch"], welcome["epoch"]);
        let two = next(&mut ann, "message").await;
        assert_eq!(two["text"], "two");
        assert_eq!(two["prev"], seen[0]["offset"]);
        assert_eq!(next(&mut ann, "message").await["text"], "three");
    }

    // A client that joined before the first message has missed nothing either.
    let epoch = welcome["epoch"].as_str().expect("text");
    let (mut early, again) = join(&new, &format!("id=early&after=0&epoch={epoch}")).await;
    assert_eq!(again["recovery"], "resumed");
    assert_eq!(next(&mut early, "message").await["text"], "one");
}

#[tokio::test]
async fn expired_messages_are_a_gap_on_every_node() {
    let nats = Nats::start().await;

    let keep = &["--history-messages", "10"][..];
    let nodes = [
        Nats::node_by(nats.port, keep),
        Nats::node_by(nats.port, keep),
    ];

    let (mut ann, welcome) = join(&nodes[0], "id=ann").await;
    publish(&nodes[0], "lobby", "first").await;
    let first = messages(&mut ann, 1).await.remove(0);
    drop(ann);

    let (mut speaker, _) = join(&nodes[1], "id=speaker").await;
    publish_all(&mut speaker, &texts("more", 30), 8).await;

    let epoch = welcome["epoch"].as_str().expect("text");

    for node in &nodes {
        // A node reads the offset of the oldest message once a second.
        let resume = async || {
            let query = format!("id=ann&after={}&epoch={epoch}", first["offset"]);
            let (_, welcome) = join(node, &query).await;
            let bounds = welcome["first"].as_u64().zip(welcome["head"].as_u64());
            bounds.map(|(first, head)| head - first)
        };
        eventually(resume, |kept| *kept == Some(9)).await;

        let query = format!("id=ann&after={}&epoch={epoch}", first["offset"]);
        let (mut ann, again) = join(node, &query).await;
        assert_eq!(again["recovery"], "lost");

        let gap = next(&mut ann, "gap").await;
        assert_eq!(gap["after"], first["offset"]);
        assert_eq!(gap["count"], Value::Null);
        assert_eq!(gap["reason"], "expired");

        let next = next(&mut ann, "message").await;
        assert_eq!(next["offset"], again["first"]);
        assert_eq!(next["text"], "more-20");
    }
}
