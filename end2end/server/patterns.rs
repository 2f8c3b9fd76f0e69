//! Moderation of the readers of patterns, and the limits of patterns.

use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{call, list};
use crate::client::{get, publish};
use crate::eventually::eventually;
use crate::harness::{Peer, Server};
use crate::sets::lines;
use crate::subscriptions::{connect, messages, pair, subscribe};
use crate::typed::{find, say};

/// Bans `ann` from `room`, for some seconds or until it is lifted.
async fn ban(server: &Server, room: &str, seconds: Option<u64>) -> Value {
    let body = json!({ "id": "ann", "room": room, "seconds": seconds });
    let (status, answer) = call(server, Method::POST, "bans", body).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

/// Lifts the ban of `ann` from `room`.
async fn unban(server: &Server, room: &str) {
    let path = format!("bans?id=ann&room={room}");
    let (status, answer) = call(server, Method::DELETE, &path, json!({})).await;
    assert_eq!(status, 200, "{answer}");
}

/// Checks that the next frame but presence is the end of `room`, because the client is banned there.
async fn expect_banned(peer: &mut Peer, room: &str) {
    let unsubscribed = find(peer, "unsubscribed").await;
    assert_eq!(unsubscribed["room"], room, "{unsubscribed}");
    assert_eq!(unsubscribed["code"], "banned", "{unsubscribed}");
}

#[tokio::test]
async fn a_ban_in_a_room_stops_its_messages_for_readers_of_patterns_until_it_is_lifted() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    let mut bob = connect(&server, "id=bob").await;
    for peer in [&mut ann, &mut bob] {
        subscribe(peer, "class-*").await;
    }

    let answer = ban(&server, "class-1", None).await;
    assert_eq!(answer["kicked"], 1);
    expect_banned(&mut ann, "class-1").await;
    let secret = publish(&server, "class-1", "secret").await;
    publish(&server, "class-2", "public").await;
    let path = format!("rooms/class-1/messages/{}", secret["offset"]);
    call(&server, Method::DELETE, &path, json!({})).await;
    let deleted = find(&mut bob, "deleted").await;
    assert_eq!(deleted["offset"], secret["offset"]);

    unban(&server, "class-1").await;
    publish(&server, "class-1", "after").await;

    // Nothing else came: not the secret, and not its deletion.
    for (room, text) in [("class-2", "public"), ("class-1", "after")] {
        let frame = ann.json().await;
        let received = [&frame["type"], &frame["room"], &frame["text"]];
        assert_eq!(received, ["message", room, text]);
    }
}

#[tokio::test]
async fn a_ban_in_a_room_that_is_read_by_name_and_by_a_pattern_is_sent_once() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    for room in ["class-1", "class-*"] {
        subscribe(&mut ann, room).await;
    }

    ban(&server, "class-1", None).await;

    expect_banned(&mut ann, "class-1").await;
    publish(&server, "class-2", "public").await;
    let next = ann.json().await;
    assert_eq!(next["text"], "public", "{next}");
}

#[tokio::test]
async fn a_new_subscription_to_a_pattern_excludes_the_rooms_of_bans() {
    let server = Server::start(&["--history-messages", "500"]);
    ban(&server, "class-1", None).await;
    ban(&server, "other", None).await;
    let mut expected = Vec::new();
    // More than the client gets at once, so a part comes from the store.
    for number in 0..300 {
        let room = format!("class-{}", number % 3);
        publish(&server, &room, &number.to_string()).await;
        if number % 3 != 1 {
            expected.push(pair(&room, &number.to_string()));
        }
    }

    let mut ann = connect(&server, "id=ann").await;
    let frame = json!({ "type": "subscribe", "room": "class-*", "after": 0 });
    ann.send(frame.to_string()).await;

    expect_banned(&mut ann, "class-1").await;
    assert_eq!(messages(&mut ann, expected.len()).await, expected);
}

#[tokio::test]
async fn a_ban_in_a_room_ends_by_itself_for_readers_of_patterns() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "class-*").await;

    ban(&server, "class-1", Some(1)).await;
    expect_banned(&mut ann, "class-1").await;
    eventually(
        async || list(&server, "bans").await["bans"].clone(),
        |bans| *bans == json!([]),
    )
    .await;

    // The timers are checked at intervals, so the first of these messages may still be left out.
    let receive = async || {
        publish(&server, "class-1", "again").await;
        publish(&server, "class-2", "marker").await;
        messages(&mut ann, 1).await.remove(0)
    };
    eventually(receive, |first| *first == pair("class-1", "again")).await;
}

#[tokio::test]
async fn a_stream_of_a_pattern_leaves_out_the_rooms_of_bans() {
    let server = Server::start(&[]);
    let mut lines = lines(&server, "room=class-*&id=ann").await;

    publish(&server, "class-1", "before").await;
    assert_eq!(lines.next().await["text"], "before");
    ban(&server, "class-1", None).await;
    publish(&server, "class-1", "secret").await;
    publish(&server, "class-2", "public").await;

    assert_eq!(lines.next().await["text"], "public");
}

#[tokio::test]
async fn a_kick_from_a_room_ends_the_subscriptions_to_patterns_that_match_it() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "class-*").await;
    subscribe(&mut ann, "b").await;

    let filter = json!({ "id": "ann", "room": "class-1" });
    let (_, kicked) = call(&server, Method::POST, "connections/kick", filter).await;
    let unsubscribed = find(&mut ann, "unsubscribed").await;

    assert_eq!(kicked["kicked"], 1);
    assert_eq!(unsubscribed["room"], "class-*");
    assert_eq!(unsubscribed["code"], "kicked");
    publish(&server, "class-1", "missed").await;
    publish(&server, "b", "still here").await;
    assert_eq!(messages(&mut ann, 1).await, [pair("b", "still here")]);
    subscribe(&mut ann, "class-*").await;
    publish(&server, "class-1", "again").await;
    assert_eq!(messages(&mut ann, 1).await, [pair("class-1", "again")]);
}

#[tokio::test]
async fn a_closed_room_does_not_end_the_patterns_that_match_it() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "class-*").await;
    publish(&server, "class-1", "last").await;

    let (status, _) = call(&server, Method::POST, "rooms/class-1/close", json!({})).await;
    assert_eq!(status, 200);
    publish(&server, "class-2", "goes on").await;

    let expected = [pair("class-1", "last"), pair("class-2", "goes on")];
    assert_eq!(messages(&mut ann, 2).await, expected);
}

#[tokio::test]
async fn connections_are_listed_with_their_patterns_and_found_by_a_room_that_matches() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "class-*").await;
    subscribe(&mut ann, "b").await;

    for (query, count) in [
        ("", 1),
        ("?room=class-7", 1),
        ("?room=b", 1),
        ("?room=other", 0),
    ] {
        let found = list(&server, &format!("connections{query}")).await;
        let found = found["connections"].as_array().expect("a list").clone();
        assert_eq!(found.len(), count, "{query}");
        if let Some(connection) = found.first() {
            assert_eq!(connection["rooms"], json!(["class-*", "b"]));
        }
    }
}

#[tokio::test]
async fn the_number_of_different_patterns_is_limited_and_unused_ones_make_room() {
    let server = Server::start(&["--max-rooms", "2"]);
    let mut ann = connect(&server, "id=ann").await;
    let mut bob = connect(&server, "id=bob").await;
    for pattern in ["a*", "b*"] {
        subscribe(&mut ann, pattern).await;
    }
    subscribe(&mut bob, "b*").await;

    bob.send(json!({ "type": "subscribe", "room": "c*" }).to_string())
        .await;
    let error = find(&mut bob, "error").await;
    assert_eq!(error["code"], "limit_reached");
    assert_eq!(error["room"], "c*");
    let message = error["message"].as_str().expect("text");
    assert!(message.contains("--max-rooms"), "{message}");

    ann.send(json!({ "type": "unsubscribe", "room": "a*" }).to_string())
        .await;
    find(&mut ann, "unsubscribed").await;
    subscribe(&mut bob, "c*").await;
    publish(&server, "c", "x").await;
    assert_eq!(messages(&mut bob, 1).await, [pair("c", "x")]);
}

#[tokio::test]
async fn a_publish_without_a_room_goes_to_the_only_room_also_beside_patterns() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "class-*").await;

    say(&mut ann, "nowhere", None).await;
    assert_eq!(find(&mut ann, "error").await["code"], "not_subscribed");
    subscribe(&mut ann, "b").await;
    say(&mut ann, "hello", None).await;

    assert_eq!(messages(&mut ann, 1).await, [pair("b", "hello")]);
    subscribe(&mut ann, "c").await;
    say(&mut ann, "nowhere", None).await;
    assert_eq!(find(&mut ann, "error").await["code"], "not_subscribed");
}

#[tokio::test]
async fn a_second_subscription_to_a_full_room_needs_no_second_slot() {
    let server = Server::start(&["--max-room-members", "1"]);
    publish(&server, "a", "one").await;
    let mut ann = connect(&server, "id=ann").await;
    let mut bob = connect(&server, "id=bob").await;
    subscribe(&mut ann, "a").await;

    for _ in 0..2 {
        let frame = json!({ "type": "subscribe", "room": "a", "after": 0 });
        ann.send(frame.to_string()).await;
        find(&mut ann, "subscribed").await;
        assert_eq!(messages(&mut ann, 1).await, [pair("a", "one")]);
    }

    bob.send(json!({ "type": "subscribe", "room": "a" }).to_string())
        .await;
    assert_eq!(find(&mut bob, "error").await["code"], "limit_reached");
    let room = get(&server, "/api/v1/rooms/a").await;
    assert_eq!(room["count"], 1);
}
