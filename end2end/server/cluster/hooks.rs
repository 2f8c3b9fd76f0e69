//! Hooks on several nodes: one node at a time runs a hook, and another continues when it dies.

use std::collections::BTreeSet;

use reqwest::Client;
use serde_json::Value;

use crate::client::{fetch, publish};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::hooks::hook;
use crate::hooks::receiver::Receiver;
use crate::nats::Nats;

/// Starts a node with a hook of all rooms.
fn node(nats: &Nats, settings: &tempfile::NamedTempFile) -> Server {
    let file = settings.path().to_str().expect("text");
    Nats::node_by(nats.port, &["--config", file])
}

/// Returns the status of the hook on `node`.
async fn status(node: &Server) -> String {
    let url = format!("http://{}/api/v1/admin/hooks", node.ops);
    let (_, list) = fetch(Client::new().get(url)).await;
    list["hooks"][0]["status"]
        .as_str()
        .expect("text")
        .to_owned()
}

/// Waits until one of the nodes runs the hook, and returns its index.
async fn leader(nodes: &[Server]) -> usize {
    let probe = async || {
        let mut all = Vec::new();
        for node in nodes {
            all.push(status(node).await);
        }
        all
    };
    let is_one = |all: &Vec<String>| {
        let active = all.iter().filter(|status| *status == "active").count();
        active == 1 && all.iter().all(|status| status != "opening")
    };
    let all = eventually(probe, is_one).await;
    all.iter()
        .position(|status| status == "active")
        .expect("one")
}

/// Returns a file with the settings of a hook that posts to `receiver`.
fn settings(receiver: &Receiver) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let hook = hook("orders", &receiver.url(), &["orders-*"]);
    std::fs::write(file.path(), hook).expect("written");
    file
}

/// Returns the distinct texts in the order of their first arrival.
fn distinct(frames: &[Value]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let texts = frames
        .iter()
        .map(|frame| frame["text"].as_str().expect("a message"));
    texts.filter(|text| seen.insert(*text)).collect()
}

#[tokio::test]
async fn messages_of_all_nodes_are_delivered_once_and_in_order_by_one_of_them() {
    let nats = Nats::start().await;
    let receiver = Receiver::start().await;
    let settings = settings(&receiver);
    let nodes = [node(&nats, &settings), node(&nats, &settings)];
    leader(&nodes).await;

    let mut expected = Vec::new();
    for number in 0..20 {
        let text = number.to_string();
        publish(&nodes[number % 2], &format!("orders-{}", number % 3), &text).await;
        expected.push(text);
    }

    let frames = receiver.until_accepted(20).await;
    let texts = frames.iter().map(|frame| frame["text"].as_str());
    assert_eq!(texts.collect::<Option<Vec<_>>>().expect("texts"), expected);
}

#[tokio::test]
async fn another_node_continues_a_hook_whose_node_is_killed_and_skips_nothing() {
    let nats = Nats::start().await;
    let receiver = Receiver::start().await;
    let settings = settings(&receiver);
    let mut nodes = vec![node(&nats, &settings), node(&nats, &settings)];

    let index = leader(&nodes).await;
    let first = nodes.remove(index);
    let second = nodes.remove(0);
    publish(&second, "orders-1", "before").await;
    receiver.until_accepted(1).await;
    first.signal("KILL");
    first.end().await;
    for text in ["one", "two", "three"] {
        publish(&second, "orders-2", text).await;
    }

    let probe = async || receiver.accepted();
    let is_complete =
        |frames: &Vec<Value>| frames.last().is_some_and(|last| last["text"] == "three");
    let frames = eventually(probe, is_complete).await;
    assert_eq!(distinct(&frames), ["before", "one", "two", "three"]);
}

#[tokio::test]
async fn another_node_continues_a_hook_whose_node_stops() {
    let nats = Nats::start().await;
    let receiver = Receiver::start().await;
    let settings = settings(&receiver);
    let mut nodes = vec![node(&nats, &settings), node(&nats, &settings)];

    let index = leader(&nodes).await;
    let first = nodes.remove(index);
    let second = nodes.remove(0);
    publish(&second, "orders-1", "before").await;
    receiver.until_accepted(1).await;
    first.log().await;
    publish(&second, "orders-1", "after").await;

    let frames = receiver.until_accepted(2).await;
    assert_eq!(distinct(&frames), ["before", "after"]);
    assert_eq!(frames.len(), 2, "{frames:?}");
    assert_eq!(status(&second).await, "active");
}
