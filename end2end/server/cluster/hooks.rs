//! Hooks on several nodes: one node at a time runs a hook, and another continues when it dies.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{call, list};
use crate::client::publish;
use crate::eventually::eventually;
use crate::harness::Server;
use crate::hooks::hook;
use crate::hooks::receiver::{Answer, Receiver};
use crate::nats::Nats;

/// Starts a node with a hook of all rooms.
fn node(nats: &Nats, settings: &tempfile::NamedTempFile) -> Server {
    let file = settings.path().to_str().expect("text");
    Nats::node_by(nats.port, &["--config", file])
}

/// Returns the hook on `node`.
async fn summary(node: &Server) -> Value {
    list(node, "hooks").await["hooks"][0].clone()
}

/// Returns the status of the hook on `node`.
async fn status(node: &Server) -> String {
    let summary = summary(node).await;
    summary["status"].as_str().expect("text").to_owned()
}

/// Sends `action` to the hook on `node`, and returns the answer.
async fn command(node: &Server, action: &str, body: Value) -> Value {
    let path = format!("hooks/orders/{action}");
    let (status, answer) = call(node, Method::POST, &path, body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Starts two nodes with the hook. Returns the one that runs it first.
async fn two_nodes(nats: &Nats, settings: &tempfile::NamedTempFile) -> (Server, Server) {
    let mut nodes = vec![node(nats, settings), node(nats, settings)];
    let index = leader(&nodes).await;
    let first = nodes.remove(index);
    (first, nodes.remove(0))
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
    let (first, second) = two_nodes(&nats, &settings).await;

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
    let (first, second) = two_nodes(&nats, &settings).await;

    publish(&second, "orders-1", "before").await;
    receiver.until_accepted(1).await;
    first.log().await;
    publish(&second, "orders-1", "after").await;

    let frames = receiver.until_accepted(2).await;
    assert_eq!(distinct(&frames), ["before", "after"]);
    assert_eq!(frames.len(), 2, "{frames:?}");
    assert_eq!(status(&second).await, "active");
}

#[tokio::test]
async fn a_command_on_any_node_controls_the_hook_and_answers_with_its_new_state() {
    let nats = Nats::start().await;
    let receiver = Receiver::start().await;
    let settings = settings(&receiver);
    let (runner, standby) = two_nodes(&nats, &settings).await;
    publish(&runner, "orders-1", "one").await;
    receiver.until_accepted(1).await;

    let paused = command(&standby, "pause", json!({})).await;
    eventually(async || status(&runner).await, |status| status == "paused").await;
    let offset = publish(&runner, "orders-1", "two").await["offset"].clone();
    let replayed = command(&standby, "replay", json!({ "from": offset })).await;
    assert_eq!(receiver.deliveries().len(), 1);
    let resumed = command(&standby, "resume", json!({})).await;

    let frames = receiver.until_accepted(2).await;
    assert_eq!(distinct(&frames), ["one", "two"]);
    for (answer, status) in [
        (&paused, "paused"),
        (&replayed, "paused"),
        (&resumed, "active"),
    ] {
        assert_eq!(answer["status"], status, "{answer}");
    }
    assert_eq!(
        replayed["offset"].as_u64(),
        offset.as_u64().map(|offset| offset - 1)
    );
    assert_eq!(status(&standby).await, "standby");
    command(&standby, "replay", json!({ "from": 0 })).await;
    assert_eq!(distinct(&receiver.until_accepted(4).await), ["one", "two"]);
}

#[tokio::test]
async fn a_command_on_another_node_is_executed_while_the_receiver_hangs() {
    let nats = Nats::start().await;
    let receiver = Receiver::start().await;
    let settings = settings(&receiver);
    let (runner, standby) = two_nodes(&nats, &settings).await;

    receiver.answer(Answer::Late(std::sync::Arc::default()));
    publish(&runner, "orders-1", "one").await;
    receiver.until_deliveries(1).await;
    let paused = command(&standby, "pause", json!({})).await;

    assert_eq!(paused["status"], "paused", "{paused}");
    eventually(async || status(&runner).await, |status| status == "paused").await;
}

#[tokio::test]
async fn a_node_that_was_suspended_delivers_nothing_and_moves_no_position_after_another_took_over()
{
    let nats = Nats::start().await;
    let receiver = Receiver::start().await;
    let settings = settings(&receiver);
    let (first, second) = two_nodes(&nats, &settings).await;
    receiver.answer(Answer::Status(500));
    publish(&second, "orders-1", "one").await;
    receiver.until_deliveries(1).await;

    first.signal("STOP");
    publish(&second, "orders-2", "two").await;
    receiver.answer(Answer::Status(200));
    receiver.until_accepted(2).await;
    let taken = eventually(async || summary(&second).await, |hook| hook["lag"] == 0).await;
    let delivered = receiver.deliveries().len();
    first.signal("CONT");
    eventually(async || status(&first).await, |status| status == "standby").await;

    assert_eq!(
        receiver.deliveries().len(),
        delivered,
        "the first node delivers nothing"
    );
    // It may have lost its connection to NATS while it was suspended.
    first.until_readiness(200).await;
    publish(&first, "orders-1", "three").await;
    let frames = receiver.until_accepted(3).await;
    let texts = frames.iter().map(|frame| frame["text"].as_str());
    assert_eq!(
        texts.collect::<Vec<_>>(),
        [Some("one"), Some("two"), Some("three")]
    );
    let probe = async || summary(&second).await["offset"].as_u64();
    eventually(probe, |offset| *offset > taken["offset"].as_u64()).await;
    assert_eq!(status(&second).await, "active");
}
