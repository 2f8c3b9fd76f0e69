//! The states of members, which presence shows beside their ids.

use serde_json::{Value, json};

use crate::client::get;
use crate::eventually::eventually;
use crate::harness::{Peer, Server};
use crate::typed::{find, join, next};

/// Sets the state of the client in the lobby.
pub(crate) async fn set_state(peer: &mut Peer, state: Value) {
    let frame = json!({ "type": "state", "room": "lobby", "json": state });
    peer.send(frame.to_string()).await;
}

/// Returns the next `presence` frame whose field `field` is not empty.
pub(crate) async fn change(peer: &mut Peer, field: &str) -> Value {
    loop {
        let frame = next(peer, "presence").await;
        if let Some(change) = frame.get(field) {
            return change.clone();
        }
    }
}

/// Returns the id and the state of each member of the lobby, over HTTP.
pub(crate) async fn states(server: &Server) -> Vec<(Value, Value)> {
    let presence = get(server, "/api/v1/rooms/lobby/presence").await;
    let members = presence["members"].as_array().expect("a small room");
    members
        .iter()
        .map(|member| (member["id"].clone(), member["state"].clone()))
        .collect()
}

#[tokio::test]
async fn a_state_is_shown_in_every_list_of_members_and_announced_when_it_changes() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    let (mut bob, _) = join(&server, "id=bob").await;
    change(&mut ann, "joined").await;

    set_state(&mut ann, json!({ "mood": "good" })).await;
    let changed = change(&mut bob, "changed").await;
    let (mut cid, joined) = join(&server, "id=cid").await;

    let with_state = json!({ "id": "ann", "state": { "mood": "good" } });
    assert_eq!(changed, json!([with_state]));
    assert_eq!(
        joined["members"],
        json!([with_state, { "id": "bob" }, { "id": "cid" }])
    );
    let listed = states(&server).await;
    assert_eq!(listed[0], (json!("ann"), json!({ "mood": "good" })));
    assert_eq!(listed[1], (json!("bob"), Value::Null));

    set_state(&mut ann, json!(null)).await;
    assert_eq!(change(&mut cid, "changed").await, json!([{ "id": "ann" }]));
}

#[tokio::test]
async fn a_member_joins_with_the_state_that_it_sets_at_once() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    assert_eq!(change(&mut ann, "joined").await, json!([{ "id": "ann" }]));

    let (mut bob, _) = join(&server, "id=bob").await;
    set_state(&mut bob, json!("away")).await;

    // The join and the state are announced together, unless the machine is slow.
    let joined = change(&mut ann, "joined").await;
    let state = if joined == json!([{ "id": "bob" }]) {
        change(&mut ann, "changed").await
    } else {
        joined
    };
    assert_eq!(state, json!([{ "id": "bob", "state": "away" }]));
}

#[tokio::test]
async fn a_user_who_unsubscribes_leaves_before_one_who_may_reconnect() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    let (mut bob, _) = join(&server, "id=bob").await;
    let (cid, _) = join(&server, "id=cid").await;

    drop(cid);
    bob.send(json!({ "type": "unsubscribe", "room": "lobby" }).to_string())
        .await;

    assert_eq!(change(&mut ann, "left").await, json!(["bob"]));
    assert_eq!(change(&mut ann, "left").await, json!(["cid"]));
}

#[tokio::test]
async fn the_newest_state_of_a_user_applies_until_its_last_connection_has_left() {
    let server = Server::start(&[]);
    let (mut phone, _) = join(&server, "id=ann").await;
    let (mut laptop, _) = join(&server, "id=ann").await;
    let (_watcher, _) = join(&server, "id=bob").await;

    set_state(&mut phone, json!(1)).await;
    eventually(
        async || states(&server).await,
        |found| found[0].1 == json!(1),
    )
    .await;
    set_state(&mut laptop, json!(2)).await;
    eventually(
        async || states(&server).await,
        |found| found[0].1 == json!(2),
    )
    .await;
    laptop.leave().await;
    let one_left = states(&server).await;
    phone.leave().await;
    eventually(async || states(&server).await, |found| found.len() == 1).await;
    let (_again, joined) = join(&server, "id=ann").await;

    assert_eq!(one_left[0], (json!("ann"), json!(2)));
    assert_eq!(joined["members"][0], json!({ "id": "ann" }));
}

#[tokio::test]
async fn a_state_needs_a_subscription_to_the_room_by_its_name() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann&room=other").await;
    let frame = json!({ "type": "subscribe", "room": "lob*" });
    ann.send(frame.to_string()).await;
    find(&mut ann, "subscribed").await;

    set_state(&mut ann, json!(1)).await;

    let error = find(&mut ann, "error").await;
    assert_eq!(error["code"], "not_subscribed");
    assert_eq!(error["room"], "lobby");
}
