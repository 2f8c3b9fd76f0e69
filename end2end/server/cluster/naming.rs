//! Rooms that are only requested leave nothing behind.

use crate::client::get;
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
