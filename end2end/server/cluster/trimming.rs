//! Messages that an operator of NATS removes from the stream, by a purge, a limit or one by one: clients that missed
//! some get a gap, and the others are served in order.

use async_nats::jetstream::stream::{Config, Stream};
use serde_json::Value;

use crate::client::{get, publish};
use crate::cluster::{log, messages};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::nats::{Nats, NatsProxy};
use crate::typed::{find, join, next};

/// Returns the stream through the API of NATS.
pub(crate) async fn stream(nats: &Nats) -> Stream {
    let client = async_nats::connect(format!("127.0.0.1:{}", nats.port))
        .await
        .expect("connected");
    async_nats::jetstream::new(client)
        .get_stream("fanfare")
        .await
        .expect("it is there")
}

/// Removes the messages at `offsets` from the middle of the stream, as `nats stream rmm` does.
async fn remove(nats: &Nats, offsets: &[&Value]) {
    let stream = stream(nats).await;
    for offset in offsets {
        let sequence = offset.as_u64().expect("an offset");
        stream.delete_message(sequence).await.expect("removed");
    }
}

/// Publishes `count` messages; returns their offsets.
async fn publish_some(node: &Server, count: usize) -> Vec<Value> {
    let mut offsets = Vec::new();
    for number in 0..count {
        offsets.push(publish(node, "lobby", &number.to_string()).await["offset"].clone());
    }
    offsets
}

#[tokio::test]
async fn messages_purged_before_a_node_received_them_are_a_gap() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;

    let (mut ann, _) = join(&cut, "id=ann").await;
    publish(&whole, "lobby", "received").await;
    let received = messages(&mut ann, 1).await.remove(0);

    proxy.silence(true);
    cut.until_readiness(503).await;
    publish_some(&whole, 10).await;
    stream(&nats).await.purge().await.expect("purged");

    proxy.silence(false);
    cut.until_readiness(200).await;

    let after = publish(&whole, "lobby", "after").await;

    let gap = find(&mut ann, "gap").await;
    assert_eq!(gap["after"], received["offset"], "{gap}");
    assert!(gap["before"].as_u64() <= after["offset"].as_u64());
    assert!(gap["before"].as_u64() > gap["after"].as_u64());

    let message = next(&mut ann, "message").await;
    assert_eq!(message["offset"], after["offset"]);
    assert_eq!(message["text"], "after");
}

#[tokio::test]
async fn after_a_purge_only_readers_that_missed_messages_get_a_gap() {
    let nats = Nats::start().await;
    let nodes: [Server; 2] = nats.nodes();

    let (mut ann, welcome) = join(&nodes[0], "id=ann").await;
    let offsets = publish_some(&nodes[0], 5).await;
    messages(&mut ann, 5).await;

    stream(&nats).await.purge().await.expect("purged");
    eventually(async || log(&nodes[1], "lobby").await, Vec::is_empty).await;
    let after = publish(&nodes[1], "lobby", "after").await;

    let received = messages(&mut ann, 1).await.remove(0);
    assert_eq!(
        received["offset"], after["offset"],
        "no gap for a reader that received all"
    );
    assert_eq!(
        received["prev"], offsets[4],
        "no gap for a reader that received all"
    );

    let epoch = welcome["epoch"].as_str().expect("text");

    for node in &nodes {
        let resume = |offset: &Value| format!("id=bob&after={offset}&epoch={epoch}");

        // A node reads the offset of the oldest message once a second.
        let first = async || get(node, "/api/v1/rooms/lobby/messages").await["first"].clone();
        eventually(first, |first| *first == after["offset"]).await;

        let (mut bob, welcome) = join(node, &resume(&offsets[1])).await;
        assert_eq!(welcome["recovery"], "lost");
        assert_eq!(next(&mut bob, "gap").await["reason"], "expired");
        assert_eq!(next(&mut bob, "message").await["offset"], after["offset"]);

        let (mut eve, welcome) = join(node, &resume(&offsets[4])).await;
        assert_eq!(welcome["recovery"], "resumed");
        assert_eq!(next(&mut eve, "message").await["offset"], after["offset"]);
    }
}

#[tokio::test]
async fn limits_set_on_the_stream_are_respected() {
    let nats = Nats::start().await;
    let [node]: [Server; 1] = nats.nodes();

    let offsets = publish_some(&node, 10).await;

    let stream = stream(&nats).await;
    let config = Config {
        max_messages: 3,
        ..stream.cached_info().config.clone()
    };
    let client = async_nats::connect(format!("127.0.0.1:{}", nats.port))
        .await
        .expect("connected");

    async_nats::jetstream::new(client)
        .update_stream(config)
        .await
        .expect("limited");
    eventually(async || log(&node, "lobby").await, |log| log.len() <= 3).await;

    let [late]: [Server; 1] = nats.nodes();

    for node in [&node, &late] {
        let kept: Vec<Value> = log(node, "lobby")
            .await
            .iter()
            .map(|kept| kept["offset"].clone())
            .collect();
        assert_eq!(kept, offsets[7..]);

        let (mut bob, welcome) = join(node, "id=bob&after=0").await;
        assert_eq!(welcome["first"], offsets[7]);
        assert_eq!(welcome["recovery"], "resumed");
        assert_eq!(messages(&mut bob, 3).await[0]["offset"], offsets[7]);
    }
}

#[tokio::test]
async fn nodes_are_not_ready_while_the_stream_rejects_writes() {
    let nats = Nats::start().await;
    let [node]: [Server; 1] = nats.nodes();

    publish(&node, "lobby", "before").await;

    let stream = stream(&nats).await;
    let open = stream.cached_info().config.clone();
    let full = Config {
        max_messages: 1,
        discard: async_nats::jetstream::stream::DiscardPolicy::New,
        ..open.clone()
    };
    let client = async_nats::connect(format!("127.0.0.1:{}", nats.port))
        .await
        .expect("connected");

    let context = async_nats::jetstream::new(client);
    context.update_stream(full).await.expect("limited");
    let post = || {
        reqwest::Client::new()
            .post(node.url("/api/v1/rooms/lobby/messages"))
            .body("more")
    };

    let (status, answer) = crate::client::fetch(post()).await;
    assert_eq!(status, 503, "{answer}");
    assert_eq!(answer["error"]["code"], "store_unavailable", "{answer}");

    node.until_readiness(503).await;
    context.update_stream(open).await.expect("open again");
    node.until_readiness(200).await;
    publish(&node, "lobby", "after").await;

    assert_eq!(log(&node, "lobby").await.len(), 2);
}

#[tokio::test]
async fn nodes_agree_on_prev_after_a_message_was_removed() {
    let nats = Nats::start().await;
    let [first]: [Server; 1] = nats.nodes();

    let (mut ann, _) = join(&first, "id=ann").await;
    let offsets = publish_some(&first, 10).await;
    let received = messages(&mut ann, 10).await;
    remove(&nats, &[&offsets[4], &offsets[9]]).await;

    let later: [Server; 2] = nats.nodes();
    publish(&later[0], "lobby", "after").await;
    let last = messages(&mut ann, 1).await.remove(0);

    let place = |message: &Value| (message["offset"].clone(), message["prev"].clone());
    let mut expected: Vec<_> = received.iter().map(place).collect();
    expected.push(place(&last));
    expected.retain(|(offset, _)| ![&offsets[4], &offsets[9]].contains(&offset));

    for node in &later {
        let page = get(node, "/api/v1/rooms/lobby/messages?after=0&limit=100").await;
        let served = page["messages"].as_array().expect("a list");
        assert_eq!(served.iter().map(place).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_message_removed_from_the_stream_is_a_gap() {
    let nats = Nats::start().await;
    let [first]: [Server; 1] = nats.nodes();

    let offsets = publish_some(&first, 10).await;
    remove(&nats, &[&offsets[4], &offsets[9]]).await;

    let later: [Server; 2] = nats.nodes();
    let last = publish(&later[0], "lobby", "after").await["offset"].clone();

    for node in &later {
        let (mut bob, _) = join(node, &format!("id=bob&after={}", offsets[0])).await;
        assert_eq!(messages(&mut bob, 3).await[2]["offset"], offsets[3]);

        let gap = find(&mut bob, "gap").await;
        assert_eq!(gap["after"], offsets[3]);
        assert_eq!(gap["before"], offsets[5]);
        assert_eq!(gap["reason"], "damaged", "it was not trimmed");
        assert_eq!(messages(&mut bob, 4).await[3]["offset"], offsets[8]);

        let gap = find(&mut bob, "gap").await;
        assert_eq!(gap["after"], offsets[8]);
        assert_eq!(gap["before"], last);
        assert_eq!(messages(&mut bob, 1).await[0]["offset"], last);
    }
}
