//! Readers of patterns on several nodes: they get the messages of all nodes and all matching rooms, once and in order,
//! or a gap.

use std::collections::BTreeMap;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{Lines, publish};
use crate::cluster::trimming::stream;
use crate::cluster::{log, messages, publish_all};
use crate::eventually::soon;
use crate::harness::{Peer, Server};
use crate::nats::{Nats, NatsProxy};
use crate::typed::{find, join};

/// The rooms, half of which are published in on each node.
const ROOMS: [&str; 4] = ["runs-1", "runs-2", "runs-3", "runs-4"];
/// The number of messages in each room, and in all of them.
const EACH: usize = 150;
const ALL: usize = ROOMS.len() * EACH;

/// Connects a client to `node` that follows `runs-*` after `position`.
async fn follow(node: &Server, position: Value) -> Peer {
    let typed = [("sec-websocket-protocol", "fanfare.v1")];
    let mut peer = node.try_join("id=reader", &typed).await.expect("accepted");
    let mut subscribe = json!({ "type": "subscribe", "room": "runs-*" });
    for (name, value) in position.as_object().into_iter().flatten() {
        subscribe[name] = value.clone();
    }
    peer.send(subscribe.to_string()).await;
    peer
}

/// Returns the next message of `peer`, or `None` when its connection has ended. A gap fails the test.
async fn message_or_end(peer: &mut Peer) -> Option<Value> {
    while let Some(frame) = peer.text_or_end().await {
        let frame: Value = serde_json::from_str(&frame).expect("JSON");
        assert_ne!(frame["type"], "gap", "{frame}");
        if frame["type"] == "message" {
            return Some(frame);
        }
    }
    None
}

/// Returns the offset and the text of each message of [`ROOMS`] on `node`, in the order of the offsets.
async fn stored(node: &Server) -> Vec<(Option<u64>, Value)> {
    let mut stored = BTreeMap::new();
    for room in ROOMS {
        for message in log(node, room).await {
            stored.insert(message["offset"].as_u64(), message["text"].clone());
        }
    }
    stored.into_iter().collect()
}

/// Publishes [`EACH`] messages in each of [`ROOMS`] on one of `nodes`.
async fn publish_in_all(nodes: [&Server; 2]) {
    let publishing = ROOMS.iter().enumerate().map(|(at, room)| async move {
        let query = format!("id={room}&room={room}");
        let (mut peer, _) = join(nodes[at % 2], &query).await;
        let texts: Vec<String> = (0..EACH).map(|number| format!("{room} {number}")).collect();
        publish_all(&mut peer, &texts, 4).await;
    });
    futures::future::join_all(publishing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_pattern_that_moves_between_nodes_gets_each_message_once_and_in_order() {
    let nats = Nats::start().await;
    let [one, other, killed]: [Server; 3] = nats.nodes();
    let start = publish(&one, "before", "x").await;
    let epoch = start["epoch"].clone();

    let reading = async {
        let mut received: Vec<Value> = Vec::new();
        let mut after = start["offset"].clone();
        let others = [&other, &one].into_iter().cycle();
        let mut nodes = [&one, &killed].into_iter().chain(others);

        while received.len() < ALL {
            let node = nodes.next().expect("an endless list");
            let mut peer = follow(node, json!({ "after": after, "epoch": epoch })).await;
            let wanted = ALL.min(received.len() + 40);
            while received.len() < wanted
                && let Some(message) = message_or_end(&mut peer).await
            {
                after = message["offset"].clone();
                received.push(message);
                if received.len() == 60 {
                    // The reader is connected to this node now.
                    killed.signal("KILL");
                }
            }
        }
        received
    };
    let ((), received) = futures::join!(publish_in_all([&one, &other]), reading);

    let received: Vec<_> = received
        .iter()
        .map(|message| (message["offset"].as_u64(), message["text"].clone()))
        .collect();
    assert_eq!(received, stored(&other).await);
}

#[tokio::test]
async fn a_node_serves_the_messages_of_rooms_that_it_has_not_opened() {
    let nats = Nats::start().await;
    let [reading, publishing]: [Server; 2] = nats.nodes();
    let mut peer = follow(&reading, json!({})).await;
    find(&mut peer, "subscribed").await;

    let first = publish(&publishing, "runs-1", "a").await;
    publish(&publishing, "walks-1", "b").await;
    let second = publish(&publishing, "runs-2", "c").await;
    let third = publish(&publishing, "runs-1", "d").await;
    let received = messages(&mut peer, 3).await;
    let path = format!("rooms/runs-1/messages/{}", third["offset"]);
    let (status, _) = call(&publishing, Method::DELETE, &path, json!({})).await;

    let offsets = received.iter().map(|message| &message["offset"]);
    let expected = [&first["offset"], &second["offset"], &third["offset"]];
    assert_eq!(offsets.collect::<Vec<_>>(), expected);
    assert_eq!(received[2]["prev"], first["offset"]);
    assert_eq!(status, 200);
    assert_eq!(find(&mut peer, "deleted").await["offset"], third["offset"]);
}

#[tokio::test]
async fn messages_purged_before_a_node_received_them_are_a_gap_for_readers_of_a_pattern() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;
    let mut peer = follow(&cut, json!({})).await;
    find(&mut peer, "subscribed").await;
    let received = publish(&whole, "runs-1", "received").await;
    assert_eq!(find(&mut peer, "message").await["text"], "received");

    proxy.silence(true);
    cut.until_readiness(503).await;
    for room in ROOMS {
        publish(&whole, room, "purged").await;
    }
    stream(&nats).await.purge().await.expect("purged");
    let kept = publish(&whole, "runs-4", "kept").await;
    proxy.silence(false);
    cut.until_readiness(200).await;
    publish(&whole, "runs-2", "after").await;

    let gap = find(&mut peer, "gap").await;
    assert_eq!(gap["room"], "runs-*");
    assert_eq!(gap["after"], received["offset"]);
    assert!(gap["before"].as_u64() > received["offset"].as_u64());
    assert!(gap["before"].as_u64() <= kept["offset"].as_u64());
    let received = messages(&mut peer, 2).await;
    assert_eq!(received[0]["text"], "kept");
    assert_eq!(received[1]["text"], "after");
}

#[tokio::test]
async fn a_stream_of_several_rooms_resumes_on_another_node() {
    let nats = Nats::start().await;
    let [one, other]: [Server; 2] = nats.nodes();
    let start = publish(&one, "walks", "x").await;
    publish_in_all([&one, &other]).await;
    let epoch = start["epoch"].as_str().expect("text");

    let mut received: Vec<Value> = Vec::new();
    for node in [&one, &other].into_iter().cycle().take(6) {
        let after = &received.last().unwrap_or(&start)["offset"];
        let query = format!("room=runs-1&room=runs-2*&room=runs-4&after={after}&epoch={epoch}");
        let request = Client::new()
            .get(node.url(&format!("/api/v1/stream?{query}")))
            .header("accept", "application/x-ndjson");
        let mut lines = Lines::of(soon(request.send()).await.expect("an answer"));
        for _ in 0..EACH / 2 {
            received.push(lines.next().await);
        }
    }

    let offsets = received.iter().map(|message| message["offset"].as_u64());
    let offsets: Vec<_> = offsets.collect();
    assert!(offsets.is_sorted_by(|one, next| one < next), "{offsets:?}");
    for room in ["runs-1", "runs-2", "runs-4"] {
        let count = received
            .iter()
            .filter(|message| message["room"] == room)
            .count();
        assert_eq!(count, EACH, "{room}");
    }
}

#[tokio::test]
async fn a_ban_made_on_another_node_applies_to_the_readers_of_a_pattern() {
    let nats = Nats::start().await;
    let [one, other]: [Server; 2] = nats.nodes();
    let mut peer = follow(&one, json!({})).await;
    find(&mut peer, "subscribed").await;

    let ban = json!({ "id": "reader", "room": "runs-1" });
    let (status, _) = call(&other, Method::POST, "bans", ban).await;
    assert_eq!(status, 201);
    let unsubscribed = find(&mut peer, "unsubscribed").await;
    publish(&other, "runs-1", "secret").await;
    publish(&other, "runs-2", "public").await;

    assert_eq!(unsubscribed["room"], "runs-1");
    assert_eq!(unsubscribed["code"], "banned");
    assert_eq!(messages(&mut peer, 1).await[0]["text"], "public");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_nats_loses_and_repeats_nothing_for_readers_of_patterns() {
    let mut nats = Nats::start().await;
    let nodes: [Server; 2] = nats.nodes();
    let mut peer = follow(&nodes[1], json!({})).await;
    find(&mut peer, "subscribed").await;

    let restarting = async {
        let mut received = messages(&mut peer, EACH / 2).await;
        nats.kill();
        for node in &nodes {
            node.until_readiness(503).await;
        }
        nats.restart();
        for node in &nodes {
            node.until_readiness(200).await;
        }
        received.extend(messages(&mut peer, ALL - EACH / 2).await);
        received
    };
    let ((), received) = futures::join!(publish_in_all([&nodes[0], &nodes[1]]), restarting);

    let received: Vec<_> = received
        .iter()
        .map(|message| (message["offset"].as_u64(), message["text"].clone()))
        .collect();
    assert_eq!(received, stored(&nodes[0]).await);
}

#[tokio::test]
async fn slow_reads_of_patterns_delay_no_read_of_a_room() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [first]: [Server; 1] = nats.nodes();
    publish(&first, "lobby", "hello").await;
    publish(&first, "runs-1", "hello").await;
    let node = Nats::node_behind(&proxy).await;

    // A page of a pattern requests the list of tombstones.
    proxy.hold("$JS.API.STREAM.INFO.fanfare");
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(follow(&node, json!({ "after": 0 })).await);
    }
    proxy.holds().await;
    let read = log(&node, "lobby").await;

    assert_eq!(read.len(), 1);
    proxy.release();
    for mut reader in readers {
        assert_eq!(messages(&mut reader, 1).await[0]["room"], "runs-1");
    }
}
