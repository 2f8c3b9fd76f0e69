//! Joins and leaves as messages: one of several nodes writes them.

use crate::harness::Server;
use crate::nats::Nats;
use crate::presence_log::{RULE, log, until};

/// Starts a node with the rule.
fn node(nats: &Nats, settings: &tempfile::NamedTempFile) -> Server {
    let file = settings.path().to_str().expect("text");
    Nats::node_by(nats.port, &["--config", file])
}

fn settings() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), RULE).expect("written");
    file
}

#[tokio::test]
async fn the_joins_and_leaves_of_all_nodes_are_written_once() {
    let nats = Nats::start().await;
    let settings = settings();
    let nodes = [node(&nats, &settings), node(&nats, &settings)];
    let query = "id=ann&room=orders-1";

    let first = nodes[0].join_with(query).await;
    until(&nodes[1], "orders-1", &["join ann"]).await;
    let second = nodes[1].join_with(query).await;
    let bob = nodes[1].join_with("id=bob&room=orders-1").await;
    until(&nodes[0], "orders-1", &["join ann", "join bob"]).await;
    first.leave().await;
    bob.leave().await;
    until(
        &nodes[0],
        "orders-1",
        &["join ann", "join bob", "leave bob"],
    )
    .await;
    second.leave().await;

    let all = ["join ann", "join bob", "leave bob", "leave ann"];
    until(&nodes[1], "orders-1", &all).await;
    // Rooms that only the other node has.
    for (index, node) in nodes.iter().enumerate() {
        let room = format!("orders-of-{index}");
        let _cleo = node.join_with(&format!("id=cleo&room={room}")).await;
        until(node, &room, &["join cleo"]).await;
    }
}

#[tokio::test]
async fn the_users_of_a_killed_node_have_left_whichever_node_has_written() {
    for killed in 0..2 {
        let nats = Nats::start().await;
        let settings = settings();
        let mut nodes = vec![node(&nats, &settings), node(&nats, &settings)];
        let _ann = nodes[killed].join_with("id=ann&room=orders-1").await;
        until(&nodes[1 - killed], "orders-1", &["join ann"]).await;
        let _bob = nodes[1 - killed].join_with("id=bob&room=orders-1").await;
        until(&nodes[1 - killed], "orders-1", &["join ann", "join bob"]).await;

        let node = nodes.remove(killed);
        node.signal("KILL");
        node.end().await;
        // Written by the node that lives, after it has the lease.
        let _cleo = nodes[0].join_with("id=cleo&room=orders-2").await;
        until(&nodes[0], "orders-2", &["join cleo"]).await;

        until(
            &nodes[0],
            "orders-1",
            &["join ann", "join bob", "leave ann"],
        )
        .await;
        assert_eq!(log(&nodes[0], "orders-1").await.len(), 3);
    }
}
