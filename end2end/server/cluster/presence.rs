//! Who is in a room, whichever node they are on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::get;
use crate::cluster::Nats;
use crate::cluster::proxy::Proxy;
use crate::harness::{Peer, Server, soon};
use crate::typed::{join, next};

/// How soon a node that died is gone from presence, as promised, and some time for a busy machine.
const GONE_WITHIN: Duration = Duration::from_secs(15 + 5);

async fn members(node: &Server) -> Vec<String> {
    let presence = get(node, "/api/v1/rooms/lobby/presence").await;
    let members = presence["members"].as_array().expect("a small room");
    assert_eq!(presence["count"], members.len());
    members
        .iter()
        .map(|member| member["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// Waits until the node knows of `expected` and nobody else.
async fn until(node: &Server, expected: &[&str]) {
    soon(async {
        while members(node).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Waits until `peer` was told that `id` `came` ("joined") or went ("left"); gives all that was told on the way.
async fn told(peer: &mut Peer, came: &str, id: &str) -> Vec<Value> {
    let mut heard = Vec::new();
    loop {
        let frame = next(peer, "presence").await;
        let is_it = frame[came]
            .as_array()
            .is_some_and(|ids| ids.contains(&json!(id)));
        heard.push(frame);
        if is_it {
            return heard;
        }
    }
}

#[tokio::test]
async fn everybody_is_present_on_every_node_and_whoever_moves_was_never_gone() {
    let nats = Nats::start().await;
    let nodes: [Server; 3] = nats.nodes();
    let (mut ann, _) = join(&nodes[0], "id=ann").await;
    let (bob, _) = join(&nodes[1], "id=bob").await;
    told(&mut ann, "joined", "bob").await;
    // Nobody was here before: it asks the others.
    let (_cleo, welcome) = join(&nodes[2], "id=cleo").await;
    assert!(welcome["count"].as_u64() >= Some(1), "{welcome}");
    for node in &nodes {
        until(node, &["ann", "bob", "cleo"]).await;
    }
    // From the second to the third node: nobody is told.
    bob.leave().await;
    let (bob, _) = join(&nodes[2], "id=bob").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        for node in &nodes {
            assert_eq!(members(node).await, ["ann", "bob", "cleo"]);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bob.leave().await;
    let heard = told(&mut ann, "left", "bob").await;
    assert!(
        heard
            .iter()
            .filter(|frame| frame["left"] == json!(["bob"]))
            .count()
            == 1,
        "{heard:?}"
    );
    for node in &nodes {
        until(node, &["ann", "cleo"]).await;
    }
}

#[tokio::test]
async fn who_was_on_a_node_that_died_is_gone_within_fifteen_seconds() {
    let nats = Nats::start().await;
    let [lives, dies]: [Server; 2] = nats.nodes();
    let (mut ann, _) = join(&lives, "id=ann").await;
    let (_bob, _) = join(&dies, "id=bob").await;
    told(&mut ann, "joined", "bob").await;
    let began = Instant::now();
    dies.signal("KILL");
    told(&mut ann, "left", "bob").await;
    assert!(began.elapsed() < GONE_WITHIN, "{:?}", began.elapsed());
    assert!(
        began.elapsed() > Duration::from_secs(5),
        "a node that is slow is not dead"
    );
}

#[tokio::test]
async fn nodes_that_could_not_hear_each_other_agree_again_on_who_is_there() {
    let nats = Nats::start().await;
    let proxy = Proxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;
    let (_ann, _) = join(&whole, "id=ann").await;
    let (_bob, _) = join(&cut, "id=bob").await;
    until(&whole, &["ann", "bob"]).await;
    until(&cut, &["ann", "bob"]).await;
    proxy.silence(true);
    until(&whole, &["ann"]).await;
    // In the silence somebody comes on either side.
    let (_cleo, _) = join(&whole, "id=cleo").await;
    let (_dan, _) = join(&cut, "id=dan").await;
    proxy.silence(false);
    for node in [&whole, &cut] {
        until(node, &["ann", "bob", "cleo", "dan"]).await;
    }
}

#[tokio::test]
async fn the_first_question_on_a_node_where_nobody_is_in_the_room_is_answered_with_those_on_the_others()
 {
    let nats = Nats::start().await;
    let nodes: [Server; 3] = nats.nodes();
    let (_ann, _) = join(&nodes[0], "id=ann").await;
    let (_bob, _) = join(&nodes[1], "id=bob").await;

    assert_eq!(members(&nodes[2]).await, ["ann", "bob"]);

    let [new]: [Server; 1] = nats.nodes();
    assert_eq!(
        members(&new).await,
        ["ann", "bob"],
        "also of one that has just started"
    );
}
