//! Durable Streams over several nodes: a stream is one and the same on each of them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{Events, get, publish};
use crate::cluster::{log, trimming};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::nats::Nats;
use crate::stream_races::{StreamEnd, numbers, produce, race_with_the_end};
use crate::streams::{CLOSE, JSON, TEXT, delete, post, put, read};
use crate::typed::{find, join, next};

#[tokio::test]
async fn a_stream_is_read_live_and_closed_at_another_node_than_that_of_its_messages() {
    let nats = Nats::start().await;
    let [one, other] = nats.nodes();
    assert_eq!(put(&one, "lobby", JSON, "").await, 201);
    let (mut ann, welcome) = join(&other, "id=ann").await;
    let mut events = Events::open(&other, "").await;
    assert_eq!(welcome["closed"], false);

    assert_eq!(post(&one, "lobby", JSON, "[1,2]").await, 204);
    for number in 1..=2 {
        assert_eq!(find(&mut ann, "message").await["json"], number);
        assert_eq!(events.next("message").await["json"], number);
    }
    assert_eq!(
        post(&other, "lobby", &[JSON, CLOSE].concat(), "3").await,
        204
    );

    assert_eq!(next(&mut ann, "message").await["json"], 3);
    assert_eq!(next(&mut ann, "closed").await["room"], "lobby");
    for node in [&one, &other] {
        assert_eq!(read(node, "lobby").await, (200, "[1,2,3]".to_owned()));
        assert_eq!(post(node, "lobby", JSON, "4").await, 409);
        assert_eq!(put(node, "lobby", TEXT, "").await, 409);
        let room = get(node, "/api/v1/rooms/lobby").await;
        assert_eq!(room["closed"], true);
        assert_eq!(room["content_type"], "application/json");
    }
}

/// Returns the names of the rooms that `node` lists.
async fn room_names(node: &Server) -> Vec<Value> {
    let rooms = get(node, "/api/v1/rooms").await;
    let rooms = rooms["rooms"].as_array().expect("a list");
    rooms.iter().map(|room| room["room"].clone()).collect()
}

#[tokio::test]
async fn a_deleted_stream_is_gone_on_all_nodes_and_in_the_list_of_rooms() {
    let nats = Nats::start().await;
    let [one, other] = nats.nodes();
    put(&one, "s", TEXT, "old").await;
    publish(&one, "lobby", "hello").await;
    let (mut ann, _) = join(&other, "id=ann&room=s").await;

    assert_eq!(delete(&one, "s").await, 204);

    assert_eq!(next(&mut ann, "unsubscribed").await["code"], "room_deleted");
    for node in [&one, &other] {
        assert_eq!(read(node, "s").await.0, 404);
        // The reader counts as a member for a moment.
        eventually(async || room_names(node).await, |names| *names == ["lobby"]).await;
    }
    assert_eq!(put(&other, "s", TEXT, "new").await, 201);
    assert_eq!(read(&one, "s").await, (200, "new".to_owned()));
}

#[tokio::test]
async fn an_operator_changes_ends_and_deletes_a_room_at_any_node() {
    let nats = Nats::start().await;
    let [one, other] = nats.nodes();
    publish(&one, "lobby", "hello").await;
    let (mut ann, _) = join(&one, "id=ann").await;

    let change = json!({ "expiry": { "ttl": 3600 }, "end": true });
    let (status, life) = call(&other, Method::PATCH, "rooms/lobby", change).await;
    assert_eq!(status, 200, "{life}");
    assert_eq!(life["expiry"], json!({ "ttl": 3600 }));
    next(&mut ann, "closed").await;
    let change = json!({ "expiry": "never" });
    let (status, life) = call(&one, Method::PATCH, "rooms/lobby", change).await;
    assert_eq!((status, &life["expires_at"]), (200, &Value::Null));
    assert_eq!(life["ended"], true, "an end is for ever");

    let (status, _) = call(&one, Method::DELETE, "rooms/lobby", json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(next(&mut ann, "unsubscribed").await["code"], "room_deleted");
    publish(&other, "lobby", "a new room").await;
    assert_eq!(log(&one, "lobby").await.len(), 1);
}

#[tokio::test]
async fn an_unused_stream_expires_on_all_nodes() {
    let nats = Nats::start().await;
    let [one, other] = nats.nodes();
    let headers = [TEXT, &[("stream-ttl", "1")]].concat();
    put(&one, "s", &headers, "").await;

    let (mut ann, _) = join(&other, "id=ann&room=s").await;

    assert_eq!(next(&mut ann, "unsubscribed").await["code"], "room_deleted");
    assert_eq!(read(&one, "s").await.0, 404);
    assert_eq!(put(&one, "s", TEXT, "new").await, 201);
}

#[tokio::test]
async fn a_stream_that_no_node_has_opened_since_the_restart_expires() {
    let nats = Nats::start().await;
    let [first]: [Server; 1] = nats.nodes();
    let headers = [TEXT, &[("stream-ttl", "2")]].concat();
    put(&first, "s", &headers, "a text").await;
    first.signal("KILL");

    let [_second]: [Server; 1] = nats.nodes();

    let stream = trimming::stream(&nats).await;
    eventually(
        async || {
            let mut stream = stream.clone();
            let info = stream.info().await.expect("the state");
            info.state.messages
        },
        // The mark of the deletion stays.
        |messages| *messages == 1,
    )
    .await;
}

#[tokio::test]
async fn an_append_at_any_node_that_races_with_deletions_and_the_end_is_stored_if_it_was_accepted()
{
    let nats = Nats::start().await;
    let [one, other] = nats.nodes();

    race_with_the_end(&[&one, &other], StreamEnd::Deletion).await;
}

#[tokio::test]
async fn an_append_at_any_node_that_races_with_the_expiry_and_the_end_is_stored_if_it_was_accepted()
{
    let nats = Nats::start().await;
    let [one, other] = nats.nodes();

    race_with_the_end(&[&one, &other], StreamEnd::Expiry).await;
}

#[tokio::test]
async fn the_list_of_rooms_has_the_state_of_streams_that_its_node_has_not_opened() {
    let nats = Nats::start().await;
    let [first]: [Server; 1] = nats.nodes();
    put(&first, "closed", &[TEXT, CLOSE].concat(), "a text").await;
    let headers = [TEXT, &[("stream-ttl", "3600")]].concat();
    put(&first, "idle", &headers, "").await;

    let [late]: [Server; 1] = nats.nodes();
    let list = get(&late, "/api/v1/rooms").await;

    let rooms = list["rooms"].as_array().expect("a list");
    let state = |room: &Value| (room["room"].clone(), room["closed"].clone());
    let states: Vec<_> = rooms.iter().map(state).collect();
    assert_eq!(
        states,
        [
            (json!("closed"), json!(true)),
            (json!("idle"), json!(false))
        ]
    );
    for room in rooms {
        assert_eq!(room["content_type"], "text/plain");
    }
    assert_eq!(rooms[0]["expires_at"], Value::Null);
    assert!(rooms[1]["expires_at"].is_u64(), "{list}");
}

#[tokio::test]
async fn the_batches_of_a_producer_are_stored_exactly_once_whenever_its_node_is_killed() {
    let nats = Nats::start().await;
    let mut accepted = 0;
    for _ in 0..5 {
        let [node]: [Server; 1] = nats.nodes();
        put(&node, "s", JSON, "").await;
        let least = accepted;

        let producing = async {
            accepted = produce(&node, least).await;
        };
        let killing = async {
            // Killed under load, after a random number of messages.
            let enough = least * 10 + fastrand::u64(20..400);
            eventually(
                async || numbers(&node).await.len() as u64,
                |stored| *stored >= enough,
            )
            .await;
            node.signal("KILL");
        };
        futures::join!(producing, killing);
    }

    let [node]: [Server; 1] = nats.nodes();
    let stored = numbers(&node).await;

    // The batch that was not answered may have been stored, or a part of it.
    assert!(stored.len() as u64 >= accepted * 10, "{accepted}");
    let expected: Vec<u64> = (0..stored.len() as u64).collect();
    assert_eq!(stored, expected);
}
