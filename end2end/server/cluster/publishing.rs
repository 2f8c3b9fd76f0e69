//! Publishing over NATS: no room waits for another, and a batch is stored whole or up to the message that NATS refuses.

use async_nats::jetstream::stream::Config;
use reqwest::Client;
use serde_json::{Value, json};

use crate::client::{fetch, publish};
use crate::cluster::log;
use crate::cluster::trimming::stream;
use crate::eventually::eventually;
use crate::harness::Server;
use crate::nats::{Nats, NatsProxy};
use crate::typed::{find, join, say};

/// Publishes `texts` in the lobby as one batch; returns the status and the body.
async fn publish_batch(node: &Server, texts: &[String]) -> (u16, Value) {
    let lines: Vec<String> = texts
        .iter()
        .map(|text| json!({ "text": text }).to_string())
        .collect();
    let url = node.url("/api/v1/rooms/lobby/messages");
    let request = Client::new()
        .post(url)
        .header("content-type", "application/x-ndjson");

    fetch(request.body(lines.join("\n"))).await
}

/// Returns the texts of the lobby on `node`.
async fn texts(node: &Server) -> Vec<String> {
    let log = log(node, "lobby").await;
    let text = |message: &Value| message["text"].as_str().expect("text").to_owned();
    log.iter().map(text).collect()
}

/// Sets the size of the largest message in the stream.
async fn limit_messages(nats: &Nats, bytes: i32) {
    let stream = stream(nats).await;
    let config = Config {
        max_message_size: bytes,
        ..stream.cached_info().config.clone()
    };
    let client = async_nats::connect(format!("127.0.0.1:{}", nats.port))
        .await
        .expect("connected");

    async_nats::jetstream::new(client)
        .update_stream(config)
        .await
        .expect("limited");
}

#[tokio::test]
async fn the_first_message_of_a_room_delays_no_other_room() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let node = Nats::node_behind(&proxy).await;

    publish(&node, "lobby", "this room has messages").await;

    proxy.hold("fanfare.room.new");
    let url = node.url("/api/v1/rooms/new/messages");
    let first = tokio::spawn(fetch(Client::new().post(url).body("first")));
    proxy.holds().await;
    publish(&node, "lobby", "meanwhile").await;

    assert!(!first.is_finished(), "NATS has not answered yet");

    proxy.release();
    assert_eq!(first.await.expect("an answer").0, 201);
}

#[tokio::test]
async fn a_duplicate_that_is_looked_up_delays_no_other_room() {
    let nats = Nats::start().await;
    let [first]: [Server; 1] = nats.nodes();

    let (mut ann, _) = join(&first, "id=ann&room=old").await;
    say(&mut ann, "once", Some("k")).await;
    let stored = find(&mut ann, "ack").await["offset"].clone();

    let proxy = NatsProxy::before(nats.port).await;
    let node = Nats::node_behind(&proxy).await;

    let (mut ann, _) = join(&node, "id=ann&room=old").await;
    let (mut bob, _) = join(&node, "id=bob").await;

    proxy.hold("$JS.API.STREAM.MSG.GET.fanfare");
    say(&mut ann, "once", Some("k")).await;
    proxy.holds().await;
    say(&mut bob, "meanwhile", Some("b")).await;

    tokio::select! {
        biased;
        ack = find(&mut ann, "ack") => panic!("NATS has not answered yet: {ack}"),
        ack = find(&mut bob, "ack") => assert_eq!(ack["key"], "b"),
    }
    proxy.release();

    let ack = find(&mut ann, "ack").await;
    assert_eq!(ack["offset"], stored);
    assert_eq!(ack["duplicate"], true);
}

#[tokio::test]
async fn a_batch_is_stored_up_to_the_message_that_nats_refuses() {
    let nats = Nats::start().await;
    let [node]: [Server; 1] = nats.nodes();

    let batch = ["one", "two", &"x".repeat(3000), "four"].map(str::to_owned);
    limit_messages(&nats, 2000).await;

    let (status, answer) = publish_batch(&node, &batch).await;
    assert_eq!(status, 503, "{answer}");

    let message = answer["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("the first 2 of 4 messages are stored"),
        "{message}"
    );
    assert_eq!(texts(&node).await, ["one", "two"]);

    publish(&node, "lobby", "others go on").await;
}

#[tokio::test]
async fn a_batch_with_a_message_that_is_known_to_be_too_large_is_refused_whole() {
    let nats = Nats::start().await;
    let [first]: [Server; 1] = nats.nodes();

    publish(&first, "lobby", "before").await;
    limit_messages(&nats, 2000).await;
    let [node]: [Server; 1] = nats.nodes();

    let (status, answer) = publish_batch(&node, &["one".to_owned(), "x".repeat(3000)]).await;
    assert_eq!(status, 503, "{answer}");

    let message = answer["error"]["message"].as_str().expect("text");
    let is_named = message.contains("message 2 of the batch") && message.contains("2000");
    assert!(is_named, "{message}");
    assert!(message.contains("max_msg_size"), "{message}");
    assert_eq!(texts(&node).await, ["before"]);
}

#[tokio::test]
async fn concurrent_batches_of_several_nodes_are_stored_whole_and_in_order() {
    const MESSAGES: usize = 100;

    let nats = Nats::start().await;
    let nodes: [Server; 3] = nats.nodes();
    let batches = ["a", "b", "c"].map(|name| {
        (0..MESSAGES)
            .map(|number| format!("{name} {number}"))
            .collect::<Vec<_>>()
    });

    let publishing = nodes
        .iter()
        .zip(&batches)
        .map(|(node, batch)| publish_batch(node, batch));
    for (status, answer) in futures::future::join_all(publishing).await {
        assert_eq!(status, 201, "{answer}");
        let places = answer["messages"].as_array().expect("a list");
        assert_eq!(places.len(), MESSAGES);
    }

    let stored = texts(&nodes[0]).await;
    assert_eq!(stored.len(), 3 * MESSAGES);

    for batch in &batches {
        let mut in_order = stored.iter();
        assert!(
            batch
                .iter()
                .all(|text| in_order.any(|stored| stored == text))
        );
    }
}

#[tokio::test]
async fn json_and_the_fields_of_a_message_are_the_same_on_every_node() {
    let nats = Nats::start().await;
    let [one, other]: [Server; 2] = nats.nodes();
    let (mut ann, _) = join(&other, "id=ann").await;
    let first = publish(&one, "lobby", "first").await;

    // The second node may not have received the first message yet when it gets the reply.
    let json = r#"{"b":12345678901234567890123,"a":1.50}"#;
    let message = format!(
        r#"{{"json":{json},"kind":"order","key":"k","reply_to":{}}}"#,
        first["offset"]
    );
    let request = Client::new()
        .post(other.url("/api/v1/rooms/lobby/messages"))
        .header("content-type", "application/json");
    assert_eq!(fetch(request.body(message)).await.0, 201);

    find(&mut ann, "message").await;
    let live = find(&mut ann, "message").await;
    for node in [&one, &other] {
        let stored = eventually(async || log(node, "lobby").await, |log| log.len() == 2).await;
        let stored = &stored[1];
        for field in ["offset", "json", "kind", "key", "reply_to"] {
            assert_eq!(stored[field], live[field], "{field}");
        }

        let url = node.url("/api/v1/rooms/lobby/messages?kind=order");
        let response = reqwest::get(url).await.expect("an answer");
        let text = response.text().await.expect("text");
        assert!(
            text.contains(&format!(r#""json":{json},"kind":"order""#)),
            "{text}"
        );
    }
}
