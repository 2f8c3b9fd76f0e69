//! Signals and states of clients of other nodes.

use serde_json::json;

use crate::eventually::eventually;
use crate::harness::Server;
use crate::nats::Nats;
use crate::presence::{set_state, states};
use crate::signals::signal;
use crate::typed::{join, next};

#[tokio::test]
async fn a_signal_reaches_the_clients_of_every_node_once() {
    let nats = Nats::start().await;
    let nodes: [Server; 2] = nats.nodes();
    let (mut ann, _) = join(&nodes[0], "id=ann").await;
    let (mut bob, _) = join(&nodes[1], "id=bob").await;

    for (kind, number) in [("first", 12345), ("second", 67890)] {
        signal(&mut ann, kind, json!({ "number": number })).await;
    }

    for peer in [&mut ann, &mut bob] {
        for (kind, number) in [("first", 12345), ("second", 67890)] {
            let expected = json!({
                "type": "signal", "room": "lobby", "from": "ann", "kind": kind,
                "json": { "number": number },
            });
            assert_eq!(next(peer, "signal").await, expected);
        }
    }
}

#[tokio::test]
async fn the_newest_state_is_shown_on_every_node_also_on_a_new_one() {
    let nats = Nats::start().await;
    let nodes: [Server; 2] = nats.nodes();
    let (mut one, _) = join(&nodes[0], "id=ann").await;
    let (mut other, _) = join(&nodes[1], "id=ann").await;
    let until = async |node: &Server, state: u64| {
        let expected = [(json!("ann"), json!(state))];
        eventually(async || states(node).await, |found| *found == expected).await;
    };

    set_state(&mut one, json!(1)).await;
    for node in &nodes {
        until(node, 1).await;
    }
    set_state(&mut other, json!(2)).await;
    for node in &nodes {
        until(node, 2).await;
    }
    other.leave().await;
    let [new]: [Server; 1] = nats.nodes();

    until(&new, 2).await;
    until(&nodes[0], 2).await;
}
