//! One order, one place for each key, one position for all nodes.

use reqwest::Client;
use serde_json::{Value, json};

use crate::client::{ask, publish};
use crate::cluster::{Nats, log, messages, say_all};
use crate::harness::{PATIENCE, Server};
use crate::typed::{join, next};

const NODES: usize = 3;
/// Messages that are said on each node.
const EACH: usize = 200;

fn texts(name: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{name}-{number}"))
        .collect()
}

/// Says `EACH` in `room` on `node`.
async fn speak(node: &Server, room: &str, name: String) {
    let (mut peer, _) = join(node, &format!("id={name}&room={room}")).await;
    say_all(&mut peer, &texts(&name, EACH), 16).await;
}

#[tokio::test]
async fn every_node_serves_the_same_messages_in_the_same_order() {
    let nats = Nats::start().await;
    let nodes: [Server; NODES] = nats.nodes();
    let mut listeners = Vec::new();
    for node in &nodes {
        listeners.push(join(node, "id=listener&room=v1.2").await);
    }
    // Two rooms at once: so the numbers of each leave some out.
    let speaking = nodes.iter().enumerate().flat_map(|(at, node)| {
        ["v1.2", "v1-2"].map(|room| speak(node, room, format!("{room}-{at}")))
    });
    futures::future::join_all(speaking).await;
    let mut heard = Vec::new();
    for (listener, welcome) in &mut listeners {
        assert_eq!(
            (&welcome["head"], &welcome["recovery"]),
            (&json!(0), &json!("fresh"))
        );
        heard.push(messages(listener, NODES * EACH).await);
    }
    let mut prev = json!(0);
    for message in &heard[0] {
        assert_eq!(message["prev"], prev, "each says which was before it");
        prev = message["offset"].clone();
    }
    assert!(
        prev.as_u64() > Some((NODES * EACH) as u64),
        "the numbers of the other room are left out"
    );
    for (node, heard_here) in nodes.iter().zip(&heard) {
        assert_eq!(heard_here, &heard[0]);
        let stored = log(node, "v1.2").await;
        let without_type = |message: &Value| {
            let mut message = message.clone();
            message.as_object_mut().expect("an object").remove("type");
            message
        };
        assert_eq!(
            stored,
            heard[0].iter().map(without_type).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_key_is_stored_once_whichever_node_gets_it() {
    let nats = Nats::start().await;
    let nodes: [Server; 2] = nats.nodes();
    for round in 0..20 {
        let post = |node: &Server| {
            let url = node.url("/api/v1/rooms/lobby/messages");
            ask(Client::new()
                .post(url)
                .header("idempotency-key", format!("k{round}"))
                .body("once"))
        };
        let ((first, one), (second, other)) = futures::join!(post(&nodes[0]), post(&nodes[1]));
        assert_eq!((first, second), (201, 201), "{one} {other}");
        assert_eq!(
            (&one["offset"], &one["epoch"]),
            (&other["offset"], &other["epoch"])
        );
        assert_ne!(one["duplicate"], other["duplicate"], "{one} {other}");
        assert_eq!(
            one["at"], other["at"],
            "a duplicate was stored when the first was"
        );
    }
    assert_eq!(log(&nodes[0], "lobby").await.len(), 20);
}

#[tokio::test]
async fn a_client_goes_on_at_another_node_where_it_was() {
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
    // The third has the room open, the second has it from publishing, and one that is new has nothing.
    let new = Nats::node_by(nats.port, &[]);
    for node in [&nodes[1], &nodes[2], &new] {
        let (mut ann, again) = join(node, &format!("id=ann&{position}")).await;
        assert_eq!(
            (&again["recovery"], &again["epoch"]),
            (&json!("resumed"), &welcome["epoch"])
        );
        let two = next(&mut ann, "message").await;
        assert_eq!(
            (&two["text"], &two["prev"]),
            (&json!("two"), &seen[0]["offset"])
        );
        assert_eq!(next(&mut ann, "message").await["text"], "three");
    }
    // Whoever was there before anything was said has lost nothing either.
    let epoch = welcome["epoch"].as_str().expect("text");
    let (mut early, again) = join(&new, &format!("id=early&after=0&epoch={epoch}")).await;
    assert_eq!(
        (
            &again["recovery"],
            &next(&mut early, "message").await["text"]
        ),
        (&json!("resumed"), &json!("one"))
    );
}

#[tokio::test]
async fn what_is_no_longer_kept_is_told_on_every_node() {
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
    say_all(&mut speaker, &texts("more", 30), 8).await;
    let epoch = welcome["epoch"].as_str().expect("text");
    for node in &nodes {
        // A node learns once a second which message is the oldest: wait until it knows the last ten.
        let (mut ann, again) = tokio::time::timeout(PATIENCE, async {
            loop {
                let joined = join(
                    node,
                    &format!("id=ann&after={}&epoch={epoch}", first["offset"]),
                )
                .await;
                let (first, head) = (joined.1["first"].as_u64(), joined.1["head"].as_u64());
                if first
                    .zip(head)
                    .is_some_and(|(first, head)| head - first == 9)
                {
                    assert_eq!(joined.1["recovery"], "lost");
                    return joined;
                }
            }
        })
        .await
        .expect("it is told");
        let gap = next(&mut ann, "gap").await;
        assert_eq!(
            (&gap["after"], &gap["count"], &gap["reason"]),
            (&first["offset"], &Value::Null, &json!("expired"))
        );
        let next = next(&mut ann, "message").await;
        assert_eq!(
            (&next["offset"], &next["text"]),
            (&again["first"], &json!("more-20"))
        );
    }
}
