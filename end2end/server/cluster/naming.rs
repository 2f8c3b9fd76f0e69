//! Names of rooms on several nodes, and rooms that are only requested.

use reqwest::Client;

use crate::client::{fetch, get};
use crate::harness::Server;
use crate::metrics::{figure, until};
use crate::nats::Nats;

#[tokio::test]
async fn a_room_that_was_only_requested_leaves_nothing_on_the_node() {
    const NAMES: usize = 50;

    let nats = Nats::start().await;
    let [node]: [Server; 1] = nats.nodes();
    let _ann = node.join("ann").await;

    until(&node, "fanfare_rooms", 1).await;

    for name in 0..NAMES {
        get(&node, &format!("/api/v1/rooms/requested-{name}/messages")).await;
    }

    until(&node, "fanfare_rooms", 1).await;
    assert_eq!(figure(&node, "fanfare_connections").await, 1);
}

#[tokio::test]
async fn a_room_name_with_every_kind_of_character_is_one_room_on_all_nodes() {
    let nats = Nats::start().await;
    let [one, other]: [Server; 2] = nats.nodes();
    let query = "room=Runs/EU:7/v1.2/~ann@x.org_a-b";

    let mut ann = one.join_with(query).await;
    let mut bob = other.join_with(query).await;
    ann.send("hello").await;

    assert_eq!(ann.text().await, "hello");
    assert_eq!(bob.text().await, "hello");
}

#[tokio::test]
async fn a_search_is_refused_with_the_reason() {
    let nats = Nats::start().await;
    let [node]: [Server; 1] = nats.nodes();

    let url = node.url("/api/v1/rooms/lobby/messages?q=words");
    let (status, answer) = fetch(Client::new().get(url)).await;

    assert_eq!(status, 501);
    assert_eq!(answer["error"]["code"], "no_search");
}
