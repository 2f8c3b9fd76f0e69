//! Presence over all nodes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::get;
use crate::eventually::eventually;
use crate::harness::{Peer, Server};
use crate::nats::{Nats, NatsProxy};
use crate::typed::{join, next};

/// The time after which the members of a dead node have left: the promised 15 s, and 5 s for a busy machine.
const GONE_WITHIN: Duration = Duration::from_secs(15 + 5);

/// Returns the ids of the members on the node.
async fn members(node: &Server) -> Vec<String> {
    let presence = get(node, "/api/v1/rooms/lobby/presence").await;
    let members = presence["members"].as_array().expect("a small room");
    assert_eq!(presence["count"], members.len());

    members
        .iter()
        .map(|member| member["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// Waits until the members on the node are `expected`.
async fn until(node: &Server, expected: &[&str]) {
    eventually(async || members(node).await, |found| found == expected).await;
}

/// Waits for a presence frame whose field `change` ("joined" or "left") has `id`; returns all frames until then.
async fn until_announced(peer: &mut Peer, change: &str, id: &str) -> Vec<Value> {
    let mut frames = Vec::new();

    loop {
        let frame = next(peer, "presence").await;
        let is_announced = frame[change]
            .as_array()
            .into_iter()
            .flatten()
            .any(|member| *member == json!(id) || *member == json!({ "id": id }));
        frames.push(frame);

        if is_announced {
            return frames;
        }
    }
}

#[tokio::test]
async fn members_are_present_on_every_node_and_a_move_is_no_leave() {
    let nats = Nats::start().await;
    let nodes: [Server; 3] = nats.nodes();

    let (mut ann, _) = join(&nodes[0], "id=ann").await;
    let (bob, _) = join(&nodes[1], "id=bob").await;
    until_announced(&mut ann, "joined", "bob").await;

    // The first client of this node: the members come from the other nodes.
    let (_cleo, welcome) = join(&nodes[2], "id=cleo").await;
    assert!(welcome["count"].as_u64() >= Some(1), "{welcome}");

    for node in &nodes {
        until(node, &["ann", "bob", "cleo"]).await;
    }

    // A move from the second to the third node is not announced.
    bob.leave().await;
    let (bob, _) = join(&nodes[2], "id=bob").await;
    let began = Instant::now();

    while began.elapsed() < Duration::from_secs(6) {
        for node in &nodes {
            assert_eq!(members(node).await, ["ann", "bob", "cleo"]);
        }
        // Presence must not change for six seconds, so the test checks it repeatedly.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    bob.leave().await;
    let frames = until_announced(&mut ann, "left", "bob").await;
    assert!(
        frames
            .iter()
            .filter(|frame| frame["left"] == json!(["bob"]))
            .count()
            == 1,
        "{frames:?}"
    );

    for node in &nodes {
        until(node, &["ann", "cleo"]).await;
    }
}

#[tokio::test]
async fn members_of_a_dead_node_leave_within_fifteen_seconds() {
    let nats = Nats::start().await;
    let [other, killed]: [Server; 2] = nats.nodes();

    let (mut ann, _) = join(&other, "id=ann").await;
    let (_bob, _) = join(&killed, "id=bob").await;
    until_announced(&mut ann, "joined", "bob").await;

    let began = Instant::now();
    killed.signal("KILL");
    until_announced(&mut ann, "left", "bob").await;

    assert!(began.elapsed() < GONE_WITHIN, "{:?}", began.elapsed());
    assert!(
        began.elapsed() > Duration::from_secs(5),
        "a slow node is not a dead one"
    );
}

#[tokio::test]
async fn nodes_agree_on_presence_after_a_partition() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;

    let (_ann, _) = join(&whole, "id=ann").await;
    let (_bob, _) = join(&cut, "id=bob").await;
    until(&whole, &["ann", "bob"]).await;
    until(&cut, &["ann", "bob"]).await;

    proxy.silence(true);
    until(&whole, &["ann"]).await;

    // Meanwhile one client joins on each side.
    let (_cleo, _) = join(&whole, "id=cleo").await;
    let (_dan, _) = join(&cut, "id=dan").await;
    proxy.silence(false);

    for node in [&whole, &cut] {
        until(node, &["ann", "bob", "cleo", "dan"]).await;
    }
}

#[tokio::test]
async fn the_first_presence_request_on_a_node_lists_the_members_on_other_nodes() {
    let nats = Nats::start().await;
    let nodes: [Server; 3] = nats.nodes();

    let (_ann, _) = join(&nodes[0], "id=ann").await;
    let (_bob, _) = join(&nodes[1], "id=bob").await;

    assert_eq!(members(&nodes[2]).await, ["ann", "bob"]);

    let [new]: [Server; 1] = nats.nodes();
    assert_eq!(
        members(&new).await,
        ["ann", "bob"],
        "also on a node that has just started"
    );
}
