//! Actions of operators apply to all nodes, including nodes that were cut off and nodes that start later.

use std::fs;
use std::path::Path;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{Lines, fetch, get, publish};
use crate::cluster::{log, messages};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::nats::{Nats, NatsProxy};
use crate::typed::{self, find, join};

/// Publishes as `from`; returns the status and the error code.
async fn publish_as(node: &Server, room: &str, from: &str) -> (u16, Value) {
    let url = node.url(&format!("/api/v1/rooms/{room}/messages"));
    let (status, answer) = fetch(
        Client::new()
            .post(url)
            .json(&json!({ "text": "x", "from": from })),
    )
    .await;
    (status, answer["error"]["code"].clone())
}

/// Waits until a publish by `from` is answered with `status`.
async fn until_publish_is(node: &Server, room: &str, from: &str, status: u16) {
    let publish = async || publish_as(node, room, from).await;
    eventually(publish, |(found, _)| *found == status).await;
}

#[tokio::test]
async fn kicks_bans_and_closed_rooms_apply_to_all_nodes_and_to_later_ones() {
    let nats = Nats::start().await;
    let [here, there]: [Server; 2] = nats.nodes();
    let mut eve = there.join_with("id=eve&room=class").await;

    let (mut ann, _) = join(&there, "id=ann&room=class").await;
    let (status, answer) = call(
        &here,
        Method::POST,
        "connections/kick",
        json!({ "id": "eve" }),
    )
    .await;
    assert_eq!(status, 200, "no connection is on this node");
    assert_eq!(answer["kicked"], 0, "no connection is on this node");
    assert_eq!(eve.close_code().await, 4003);

    let mut eve = there.join_with("id=eve&room=class").await;
    let ban = json!({ "id": "eve", "reason": "floods" });
    let (status, answer) = call(&here, Method::POST, "bans", ban).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(eve.close_code().await, 4501);
    assert_eq!(
        publish_as(&here, "class", "eve").await,
        (403, json!("banned"))
    );
    until_publish_is(&there, "class", "eve", 403).await;

    let (status, _) = call(&there, Method::POST, "rooms/class/close", json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(find(&mut ann, "unsubscribed").await["code"], "room_closed");
    until_publish_is(&here, "class", "ann", 403).await;

    // A node that starts later has the rules before it accepts clients.
    let [late]: [Server; 1] = nats.nodes();
    assert_eq!(
        publish_as(&late, "other", "eve").await,
        (403, json!("banned"))
    );
    assert_eq!(
        publish_as(&late, "class", "ann").await,
        (403, json!("room_closed"))
    );

    let (_, rules) = call(&late, Method::GET, "bans", json!({})).await;
    assert_eq!(rules["bans"][0]["reason"], "floods");
    assert_eq!(rules["closed"][0]["room"], "class");

    // A rule that is lifted on one node is lifted on all nodes, including later ones.
    assert_eq!(
        call(&late, Method::DELETE, "bans?id=eve", json!({}))
            .await
            .0,
        200
    );
    assert_eq!(
        call(&late, Method::POST, "rooms/class/open", json!({}))
            .await
            .1["closed"],
        false
    );

    until_publish_is(&here, "class", "eve", 201).await;
    until_publish_is(&there, "class", "eve", 201).await;

    let [last]: [Server; 1] = nats.nodes();
    assert_eq!(publish_as(&last, "class", "eve").await.0, 201);
    assert_eq!(
        call(&last, Method::DELETE, "bans?id=eve", json!({}))
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_node_that_was_cut_off_applies_the_decisions_made_meanwhile() {
    let nats = Nats::start().await;
    let proxy = NatsProxy::before(nats.port).await;
    let [whole]: [Server; 1] = nats.nodes();
    let cut = Nats::node_behind(&proxy).await;

    let (mut ann, _) = join(&cut, "id=ann").await;
    let mut eve = cut.join_with("id=eve").await;
    let mut bob = cut.join_with("id=bob").await;

    let published = publish(&whole, "lobby", "a slip").await;
    assert_eq!(
        messages(&mut ann, 1).await[0]["offset"],
        published["offset"]
    );

    proxy.silence(true);
    cut.until_readiness(503).await;

    assert_eq!(
        call(&whole, Method::POST, "bans", json!({ "id": "eve" }))
            .await
            .0,
        201
    );
    assert_eq!(
        call(
            &whole,
            Method::POST,
            "connections/kick",
            json!({ "id": "bob" })
        )
        .await
        .0,
        200
    );

    let path = format!("rooms/lobby/messages/{}", published["offset"]);
    assert_eq!(call(&whole, Method::DELETE, &path, json!({})).await.0, 200);

    // An action that cannot be stored for all nodes is refused.
    let (status, answer) = call(&cut, Method::POST, "bans", json!({ "id": "ann" })).await;
    assert_eq!(status, 503, "{answer}");
    assert_eq!(answer["error"]["code"], "not_kept", "{answer}");

    let (status, answer) = call(&cut, Method::DELETE, &path, json!({})).await;
    assert_eq!(status, 503, "{answer}");
    assert_eq!(answer["error"]["code"], "store_unavailable", "{answer}");

    proxy.silence(false);
    assert_eq!(eve.close_code().await, 4501);

    while bob.text_or_end().await.is_some() {}
    assert_eq!(
        find(&mut ann, "deleted").await["offset"],
        published["offset"]
    );

    cut.until_readiness(200).await;
    assert_eq!(
        publish_as(&cut, "lobby", "eve").await,
        (403, json!("banned"))
    );
    assert_eq!(
        publish_as(&cut, "lobby", "bob").await.0,
        201,
        "a kick is no ban"
    );
}

#[tokio::test]
async fn a_deleted_message_loses_its_content_everywhere_and_keeps_its_offset() {
    let nats = Nats::start().await;
    let [here, there]: [Server; 2] = nats.nodes();

    let (mut ann, _) = join(&here, "id=ann").await;
    let (mut bob, _) = join(&there, "id=bob").await;
    const SECRET: &str = "the secret of the stream";

    for (key, text) in [("k1", "one"), ("k2", SECRET), ("k3", "three")] {
        typed::say(&mut ann, text, Some(key)).await;
        find(&mut ann, "ack").await;
    }

    let received = messages(&mut bob, 3).await;
    let one = received[0]["offset"].clone();
    let secret = received[1]["offset"].clone();
    assert!(
        contains(nats.folder.path(), SECRET),
        "the text is in the files before"
    );

    let path = format!("rooms/lobby/messages/{secret}");

    let both = futures::join!(
        call(&there, Method::DELETE, &path, json!({})),
        call(&here, Method::DELETE, &path, json!({}))
    );
    let before = [&both.0, &both.1].map(|(status, answer)| (*status, answer["before"].clone()));
    assert!(before.contains(&(200, json!(false))), "{both:?}");
    assert!(before.iter().all(|(status, _)| *status == 200), "{both:?}");

    for peer in [&mut ann, &mut bob] {
        assert_eq!(find(peer, "deleted").await["offset"], secret);
    }

    assert!(
        !contains(nats.folder.path(), SECRET),
        "the text is overwritten"
    );

    let kept = log(&here, "lobby").await;
    assert_eq!(kept.len(), 3, "{kept:?}");
    assert_eq!(kept[1]["deleted"], true, "{kept:?}");
    assert_eq!(kept[1].get("text"), None, "{kept:?}");
    assert_eq!(kept[1]["from"], "ann");
    assert_eq!(kept[1]["key"], "k2");
    assert_eq!(log(&there, "lobby").await, kept);

    // A node that starts later reads the same from the stream, and clients that resume there miss nothing.
    let [late]: [Server; 1] = nats.nodes();
    assert_eq!(log(&late, "lobby").await, kept);

    let (mut back, welcome) = join(&late, &format!("id=back&after={one}")).await;
    assert_eq!(welcome["recovery"], "resumed");

    let missed = messages(&mut back, 2).await;
    assert_eq!(missed[0]["deleted"], true);
    assert_eq!(missed[1]["text"], "three");
    assert_eq!(
        call(&late, Method::DELETE, &path, json!({})).await.1["before"],
        true
    );

    // The key is still recognised as a duplicate, and an offset of another room does not exist in this room.
    typed::say(&mut ann, SECRET, Some("k2")).await;
    let ack = find(&mut ann, "ack").await;
    assert_eq!(ack["offset"], secret);
    assert_eq!(ack["duplicate"], true);

    publish(&here, "other", "elsewhere").await;

    let elsewhere = get(&here, "/api/v1/rooms/other/messages").await["head"].clone();
    let path = format!("rooms/lobby/messages/{elsewhere}");
    assert_eq!(call(&here, Method::DELETE, &path, json!({})).await.0, 404);
}

#[tokio::test]
async fn deleting_the_oldest_or_newest_message_does_not_move_the_bounds_of_a_room() {
    let nats = Nats::start().await;
    let [here]: [Server; 1] = nats.nodes();

    let first = publish(&here, "lobby", "first").await["offset"].clone();
    assert_eq!(
        call(
            &here,
            Method::DELETE,
            &format!("rooms/lobby/messages/{first}"),
            json!({})
        )
        .await
        .0,
        200
    );

    let [there]: [Server; 1] = nats.nodes();

    let (mut ann, welcome) = join(&there, "id=ann&after=0").await;
    assert_eq!(welcome["head"], first);
    assert_eq!(welcome["first"], first);
    assert_eq!(messages(&mut ann, 1).await[0]["deleted"], true);

    let second = publish(&there, "lobby", "second").await["offset"].clone();
    let received = messages(&mut ann, 1).await.remove(0);
    assert_eq!(received["offset"], second);
    assert_eq!(received["prev"], first);

    let [late]: [Server; 1] = nats.nodes();

    for node in [&here, &there, &late] {
        let kept = log(node, "lobby").await;
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert_eq!(kept[0]["deleted"], true);
        assert_eq!(kept[1]["text"], "second");
    }

    let mut lines = Lines::open(&late, "after=0").await;
    assert_eq!(lines.next().await["offset"], first);
    assert_eq!(lines.next().await["offset"], second);
}

/// Returns true if any file below `folder` contains `words`.
fn contains(folder: &Path, words: &str) -> bool {
    fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return contains(&path, words);
        }

        // A file may be removed meanwhile.
        let bytes = fs::read(&path).unwrap_or_default();
        bytes
            .windows(words.len())
            .any(|window| window == words.as_bytes())
    })
}
