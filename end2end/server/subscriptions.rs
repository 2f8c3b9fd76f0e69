//! Many rooms on one connection.

use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::publish;
use crate::harness::{Peer, Server};
use crate::typed::{find, join, next};

/// Connects a typed client, and skips its `welcome`.
pub(crate) async fn connect(server: &Server, query: &str) -> Peer {
    let typed = [("sec-websocket-protocol", "fanfare.v1")];
    let mut peer = server.try_join(query, &typed).await.expect("accepted");
    let welcome = peer.json().await;
    assert_eq!(welcome["type"], "welcome");
    peer
}

/// Subscribes to `room` and returns the `subscribed` frame.
pub(crate) async fn subscribe(peer: &mut Peer, room: &str) -> Value {
    peer.send(json!({ "type": "subscribe", "room": room }).to_string())
        .await;
    find(peer, "subscribed").await
}

/// Returns the next `count` messages as room and text. Other frames are skipped.
pub(crate) async fn messages(peer: &mut Peer, count: usize) -> Vec<(String, String)> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let message = find(peer, "message").await;
        let field = |name: &str| message[name].as_str().expect("text").to_owned();
        messages.push((field("room"), field("text")));
    }
    messages
}

/// Returns a message of [`messages`].
pub(crate) fn pair(room: &str, text: &str) -> (String, String) {
    (room.to_owned(), text.to_owned())
}

#[tokio::test]
async fn a_connection_without_a_room_starts_with_no_subscription() {
    let server = Server::start(&["--max-subscriptions", "7"]);
    let typed = [("sec-websocket-protocol", "fanfare.v1")];
    let mut peer = server.try_join("id=ann", &typed).await.expect("accepted");

    let welcome = peer.json().await;
    peer.send(json!({ "type": "publish", "text": "to whom?" }).to_string())
        .await;
    let error = peer.json().await;

    assert_eq!(welcome["id"], "ann");
    assert_eq!(welcome["max_subscriptions"], 7);
    assert!(welcome.get("room").is_none(), "{welcome}");
    assert_eq!(error["code"], "not_subscribed");
    assert!(error.get("room").is_none(), "{error}");
}

#[tokio::test]
async fn one_connection_gets_the_messages_of_all_its_rooms_in_the_order_of_their_offsets() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    for room in ["a", "b", "c"] {
        let subscribed = subscribe(&mut ann, room).await;
        assert_eq!(subscribed["room"], room);
        assert_eq!(subscribed["recovery"], "fresh");
    }

    let rooms = ["a", "b", "c", "b", "a", "c", "unread"];
    let mut expected = Vec::new();
    for number in 0..210 {
        let room = rooms[number % rooms.len()];
        publish(&server, room, &number.to_string()).await;
        if room != "unread" {
            expected.push(pair(room, &number.to_string()));
        }
    }

    assert_eq!(messages(&mut ann, expected.len()).await, expected);
}

#[tokio::test]
async fn a_subscription_resumes_after_any_offset_and_missed_messages_of_all_rooms_come_in_order() {
    let server = Server::start(&[]);
    let first = publish(&server, "a", "seen").await;
    let mut expected = Vec::new();
    for number in 0..600 {
        let room = if number % 3 == 0 { "a" } else { "b" };
        publish(&server, room, &number.to_string()).await;
        expected.push(pair(room, &number.to_string()));
    }

    let mut ann = connect(&server, "id=ann").await;
    for room in ["a", "b"] {
        let frame = json!({
            "type": "subscribe", "room": room, "after": first["offset"], "epoch": first["epoch"],
        });
        ann.send(frame.to_string()).await;
    }
    let mut received = Vec::new();
    let mut subscribed = 0;
    while received.len() < expected.len() {
        let frame = ann.json().await;
        match frame["type"].as_str() {
            Some("subscribed") => {
                assert_eq!(frame["recovery"], "resumed");
                subscribed += 1;
            }
            Some("message") => received.push(frame),
            Some("presence") => {}
            _ => panic!("{frame}"),
        }
    }

    assert_eq!(subscribed, 2);
    // Each room is complete and in order, and links its messages.
    for room in ["a", "b"] {
        let of_room: Vec<&Value> = received.iter().filter(|one| one["room"] == room).collect();
        let texts = of_room
            .iter()
            .map(|one| one["text"].as_str().expect("text").to_owned());
        let wanted = expected.iter().filter(|(of, _)| of == room);
        let wanted: Vec<String> = wanted.map(|(_, text)| text.clone()).collect();
        assert_eq!(texts.collect::<Vec<_>>(), wanted, "{room}");
        for two in of_room.windows(2) {
            assert_eq!(two[1]["prev"], two[0]["offset"], "{room}");
        }
    }
}

#[tokio::test]
async fn a_room_may_be_left_out_only_while_there_is_one_subscription() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "a").await;

    ann.send(json!({ "type": "publish", "text": "one", "key": "k1" }).to_string())
        .await;
    let ack = find(&mut ann, "ack").await;
    subscribe(&mut ann, "b").await;
    ann.send(json!({ "type": "publish", "text": "two", "key": "k2" }).to_string())
        .await;
    let error = find(&mut ann, "error").await;

    assert_eq!(ack["room"], "a");
    assert_eq!(error["code"], "not_subscribed");
    assert_eq!(error["key"], "k2");
}

#[tokio::test]
async fn a_client_publishes_in_rooms_to_which_it_is_not_subscribed() {
    let server = Server::start(&[]);
    let (mut bob, _) = join(&server, "id=bob&room=b").await;
    let mut ann = connect(&server, "id=ann").await;

    for (room, key) in [("b", "k1"), ("c", "k2"), ("b", "k3")] {
        let frame = json!({ "type": "publish", "room": room, "text": key, "key": key });
        ann.send(frame.to_string()).await;
    }

    for (room, key) in [("b", "k1"), ("c", "k2"), ("b", "k3")] {
        let ack = next(&mut ann, "ack").await;
        assert_eq!((&ack["room"], &ack["key"]), (&json!(room), &json!(key)));
    }
    assert_eq!(
        messages(&mut bob, 2).await,
        [pair("b", "k1"), pair("b", "k3")]
    );
}

#[tokio::test]
async fn after_unsubscribing_no_message_of_the_room_comes_and_its_member_has_left() {
    let server = Server::start(&[]);
    let (mut bob, _) = join(&server, "id=bob&room=a").await;
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "a").await;
    subscribe(&mut ann, "b").await;
    find(&mut bob, "presence").await;

    ann.send(json!({ "type": "unsubscribe", "room": "a" }).to_string())
        .await;
    let unsubscribed = find(&mut ann, "unsubscribed").await;
    publish(&server, "a", "not read").await;
    publish(&server, "b", "read").await;

    assert_eq!(unsubscribed["room"], "a");
    assert_eq!(unsubscribed["code"], "unsubscribed");
    assert_eq!(messages(&mut ann, 1).await, [pair("b", "read")]);
    loop {
        let presence = find(&mut bob, "presence").await;
        if presence["left"] == json!(["ann"]) {
            break;
        }
    }

    ann.send(json!({ "type": "unsubscribe", "room": "a" }).to_string())
        .await;
    let error = find(&mut ann, "error").await;
    assert_eq!(error["code"], "not_subscribed");
    assert_eq!(error["room"], "a");
}

#[tokio::test]
async fn a_second_subscription_to_a_room_starts_again_from_its_position() {
    let server = Server::start(&[]);
    publish(&server, "a", "one").await;
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "a").await;

    let frame = json!({ "type": "subscribe", "room": "a", "after": 0 });
    ann.send(frame.to_string()).await;
    find(&mut ann, "subscribed").await;

    assert_eq!(messages(&mut ann, 1).await, [pair("a", "one")]);
    let presence = crate::client::get(&server, "/api/v1/rooms/a/presence").await;
    assert_eq!(presence["members"][0]["connections"], 1);
}

#[tokio::test]
async fn the_limit_of_subscriptions_is_an_error_that_names_it() {
    let server = Server::start(&["--max-subscriptions", "2"]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "a").await;
    subscribe(&mut ann, "b").await;

    ann.send(json!({ "type": "subscribe", "room": "c" }).to_string())
        .await;
    let error = find(&mut ann, "error").await;

    assert_eq!(error["code"], "too_many_subscriptions");
    assert_eq!(error["room"], "c");
    let message = error["message"].as_str().expect("text");
    assert!(
        message.contains("the limit is 2 (--max-subscriptions)"),
        "{message}"
    );
    // The connection stays open.
    publish(&server, "a", "still here").await;
    assert_eq!(messages(&mut ann, 1).await, [pair("a", "still here")]);
}

#[tokio::test]
async fn a_pattern_has_the_messages_of_all_present_and_future_rooms_in_the_order_of_their_offsets()
{
    let server = Server::start(&[]);
    publish(&server, "class-0", "before").await;
    let mut ann = connect(&server, "id=ann").await;
    let subscribed = subscribe(&mut ann, "class-*").await;

    let mut expected = Vec::new();
    for number in 0..120 {
        let room = match number % 4 {
            0 => "other".to_owned(),
            _ => format!("class-{}", number / 3),
        };
        publish(&server, &room, &number.to_string()).await;
        if room != "other" {
            expected.push(pair(&room, &number.to_string()));
        }
    }

    assert_eq!(subscribed["room"], "class-*");
    assert_eq!(subscribed["recovery"], "fresh");
    assert_eq!(subscribed["head"], 1);
    assert!(subscribed.get("members").is_none(), "{subscribed}");
    assert_eq!(messages(&mut ann, expected.len()).await, expected);
}

#[tokio::test]
async fn a_pattern_resumes_after_any_offset_also_over_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);
    let first = publish(&server, "class-0", "seen").await;
    let mut expected = Vec::new();
    for number in 0..700 {
        let room = format!("class-{}", number % 7);
        publish(&server, &room, &number.to_string()).await;
        expected.push(pair(&room, &number.to_string()));
    }

    let frame = json!({
        "type": "subscribe", "room": "class-*", "after": first["offset"], "epoch": first["epoch"],
    });
    let mut server = Some(server);
    for _ in 0..2 {
        let running = server.get_or_insert_with(|| Server::start_in(data.path(), &[]));
        let mut ann = connect(running, "id=ann").await;
        ann.send(frame.to_string()).await;
        let subscribed = find(&mut ann, "subscribed").await;
        assert_eq!(subscribed["recovery"], "resumed");
        assert_eq!(messages(&mut ann, expected.len()).await, expected);
        // Ends the server.
        server = None;
    }
}

#[tokio::test]
async fn a_gap_in_a_pattern_has_the_number_of_expired_messages_and_the_kept_ones_follow() {
    let server = Server::start(&["--history-messages", "2"]);
    let first = publish(&server, "class-a", "1").await;
    for text in ["2", "3", "4"] {
        publish(&server, "class-a", text).await;
    }
    publish(&server, "class-b", "5").await;

    let mut ann = connect(&server, "id=ann").await;
    let frame = json!({
        "type": "subscribe", "room": "class-*", "after": first["offset"], "epoch": first["epoch"],
    });
    ann.send(frame.to_string()).await;
    let subscribed = find(&mut ann, "subscribed").await;
    let gap = find(&mut ann, "gap").await;

    assert_eq!(subscribed["recovery"], "lost");
    assert_eq!(gap["room"], "class-*");
    assert_eq!(gap["count"], 1);
    assert_eq!(gap["reason"], "expired");
    let kept = [
        pair("class-a", "3"),
        pair("class-a", "4"),
        pair("class-b", "5"),
    ];
    assert_eq!(messages(&mut ann, 3).await, kept);
}

#[tokio::test]
async fn a_room_and_a_pattern_that_matches_it_deliver_each_message_once() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "class-a").await;
    subscribe(&mut ann, "class-*").await;

    let mut expected = Vec::new();
    for (room, text) in [
        ("class-a", "1"),
        ("class-b", "2"),
        ("class-a", "3"),
        ("class-a", "4"),
    ] {
        publish(&server, room, text).await;
        expected.push(pair(room, text));
    }

    assert_eq!(messages(&mut ann, 4).await, expected);
}

#[tokio::test]
async fn a_deletion_in_a_room_reaches_the_readers_of_a_pattern() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "class-*").await;
    let message = publish(&server, "class-a", "secret").await;
    find(&mut ann, "message").await;

    let path = format!("rooms/class-a/messages/{}", message["offset"]);
    let (status, _) = call(&server, Method::DELETE, &path, json!({})).await;
    let deleted = find(&mut ann, "deleted").await;

    assert_eq!(status, 200);
    assert_eq!(deleted["room"], "class-a");
    assert_eq!(deleted["offset"], message["offset"]);
}

#[tokio::test]
async fn a_kick_in_one_room_ends_that_subscription_and_not_the_connection() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "a").await;
    subscribe(&mut ann, "b").await;

    let filter = json!({ "id": "ann", "room": "a" });
    let (_, kicked) = call(&server, Method::POST, "connections/kick", filter).await;
    let unsubscribed = find(&mut ann, "unsubscribed").await;
    publish(&server, "b", "still here").await;

    assert_eq!(kicked["kicked"], 1);
    assert_eq!(unsubscribed["room"], "a");
    assert_eq!(unsubscribed["code"], "kicked");
    assert_eq!(messages(&mut ann, 1).await, [pair("b", "still here")]);
}

#[tokio::test]
async fn a_room_that_lags_does_not_hold_up_the_others() {
    let server = Server::start(&[]);
    let first = publish(&server, "a", "seen").await;
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "b").await;
    // The ring of the room `a` was opened after this message, so the subscription reads it from the store.
    let frame = json!({
        "type": "subscribe", "room": "a", "after": 0, "epoch": first["epoch"],
    });
    ann.send(frame.to_string()).await;

    let mut expected = vec![pair("a", "seen")];
    for number in 0..40 {
        let room = if number % 10 == 9 { "a" } else { "b" };
        publish(&server, room, &number.to_string()).await;
        expected.push(pair(room, &number.to_string()));
    }

    assert_eq!(messages(&mut ann, expected.len()).await, expected);
}

#[tokio::test]
async fn a_reader_of_a_room_and_of_patterns_is_notified_of_each_deletion_once() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    for room in ["a", "*", "a*"] {
        subscribe(&mut ann, room).await;
    }

    for _ in 0..10 {
        let offset = publish(&server, "a", "a message").await["offset"].clone();
        let path = format!("rooms/a/messages/{offset}");
        let (status, _) = call(&server, Method::DELETE, &path, json!({})).await;
        assert_eq!(status, 200);

        let deleted = find(&mut ann, "deleted").await;
        assert_eq!(deleted["offset"], offset);
    }
}
