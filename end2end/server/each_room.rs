//! Promises about each room of a connection with several: positions, keys, history, presence, gaps and moderation of one
//! room do not concern the others.

use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{get, publish};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::raw::masked;
use crate::subscriptions::{connect, messages, pair, subscribe};
use crate::typed::{find, join, next};

#[tokio::test]
async fn a_position_of_another_epoch_or_of_the_future_is_lost_in_rooms_and_patterns() {
    let server = Server::start(&[]);
    let stored = publish(&server, "a", "kept").await;
    let mut ann = connect(&server, "id=ann").await;

    for room in ["a", "*"] {
        for (after, epoch) in [
            (json!(1), json!("ffffffff")),
            (json!(99), stored["epoch"].clone()),
        ] {
            let frame =
                json!({ "type": "subscribe", "room": room, "after": after, "epoch": epoch });
            ann.send(frame.to_string()).await;
            let subscribed = find(&mut ann, "subscribed").await;
            let gap = find(&mut ann, "gap").await;

            assert_eq!(subscribed["recovery"], "lost", "{room} {after}");
            assert_eq!((&gap["room"], &gap["count"]), (&json!(room), &Value::Null));
            assert_eq!(messages(&mut ann, 1).await, [pair("a", "kept")]);
        }
        ann.send(json!({ "type": "unsubscribe", "room": room }).to_string())
            .await;
        find(&mut ann, "unsubscribed").await;
    }
}

#[tokio::test]
async fn an_invalid_room_or_pattern_is_an_error_and_the_other_subscriptions_go_on() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "a").await;

    for room in ["", "a b", "a//b", "../a", "a*b", "**", "雪"] {
        for kind in ["subscribe", "unsubscribe"] {
            ann.send(json!({ "type": kind, "room": room }).to_string())
                .await;
            let error = find(&mut ann, "error").await;
            assert_eq!(error["code"], "bad_field", "{kind} {room}: {error}");
        }
    }

    publish(&server, "a", "still here").await;
    assert_eq!(messages(&mut ann, 1).await, [pair("a", "still here")]);
}

#[tokio::test]
async fn a_pattern_is_ended_by_its_own_name_and_not_by_that_of_a_room() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "class-*").await;
    subscribe(&mut ann, "other").await;

    ann.send(json!({ "type": "unsubscribe", "room": "class-a" }).to_string())
        .await;
    let error = find(&mut ann, "error").await;
    ann.send(json!({ "type": "unsubscribe", "room": "class-*" }).to_string())
        .await;
    let unsubscribed = find(&mut ann, "unsubscribed").await;
    publish(&server, "class-a", "not read").await;
    publish(&server, "other", "read").await;

    assert_eq!(error["code"], "not_subscribed");
    assert_eq!(unsubscribed["room"], "class-*");
    assert_eq!(unsubscribed["code"], "unsubscribed");
    assert_eq!(messages(&mut ann, 1).await, [pair("other", "read")]);
}

#[tokio::test]
async fn a_frame_without_a_room_is_refused_while_the_only_subscription_is_a_pattern() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "class-*").await;

    for frame in [
        json!({ "type": "publish", "text": "to whom?" }),
        json!({ "type": "history" }),
    ] {
        ann.send(frame.to_string()).await;
        let error = find(&mut ann, "error").await;
        assert_eq!(error["code"], "not_subscribed", "{frame}");
    }
}

#[tokio::test]
async fn a_key_is_remembered_for_each_room() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;

    for (room, offset, duplicate) in [
        ("a", 1, false),
        ("b", 2, false),
        ("a", 1, true),
        ("b", 2, true),
    ] {
        let frame = json!({ "type": "publish", "room": room, "text": "x", "key": "same" });
        ann.send(frame.to_string()).await;
        let ack = next(&mut ann, "ack").await;
        assert_eq!(
            (&ack["room"], &ack["offset"]),
            (&json!(room), &json!(offset))
        );
        assert_eq!(ack["duplicate"], duplicate, "{room}");
    }
}

#[tokio::test]
async fn the_history_of_any_room_is_read_without_a_subscription() {
    let server = Server::start(&[]);
    for room in ["a", "b", "a"] {
        publish(&server, room, "x").await;
    }
    let mut ann = connect(&server, "id=ann").await;

    for (room, offsets) in [("a", vec![1, 3]), ("b", vec![2]), ("unused", vec![])] {
        ann.send(json!({ "type": "history", "room": room }).to_string())
            .await;
        let page = next(&mut ann, "history").await;
        let found = page["messages"].as_array().expect("a list").iter();
        let found: Vec<&Value> = found.map(|message| &message["offset"]).collect();
        assert_eq!(page["room"], room);
        assert_eq!(found, offsets, "{room}");
    }
}

#[tokio::test]
async fn a_connection_is_present_in_each_of_its_rooms_and_frames_name_the_room() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    for room in ["a", "b"] {
        subscribe(&mut ann, room).await;
    }

    for room in ["a", "b"] {
        let (bob, _) = join(&server, &format!("id=bob-{room}&room={room}")).await;
        let member = json!({ "id": format!("bob-{room}") });
        loop {
            // ann's own arrival may be in the same frame.
            let presence = next(&mut ann, "presence").await;
            let joined = presence["joined"].as_array();
            if joined.is_some_and(|joined| joined.contains(&member)) {
                assert_eq!(presence["room"], room);
                break;
            }
        }
        let members = get(&server, &format!("/api/v1/rooms/{room}/presence")).await;
        assert_eq!(members["count"], 2, "{room}");
        drop(bob);
    }
}

#[tokio::test]
async fn each_room_of_a_connection_has_its_own_gap() {
    for store in ["memory", "sqlite:fanfare.db"] {
        let server = Server::start(&["--history-messages", "2", "--store", store]);
        let first = publish(&server, "a", "seen").await;
        for room in ["b", "a", "a", "a", "b", "b", "a"] {
            publish(&server, room, "x").await;
        }
        let mut ann = connect(&server, "id=ann").await;

        // Offsets of the room `a`: 1, 3, 4, 5, 8; of `b`: 2, 6, 7.
        for (room, before, count, kept) in [("a", 5, 2, [5, 8]), ("b", 3, 1, [6, 7])] {
            let frame = json!({
                "type": "subscribe", "room": room, "after": 1, "epoch": first["epoch"],
            });
            ann.send(frame.to_string()).await;
            let subscribed = find(&mut ann, "subscribed").await;
            let gap = find(&mut ann, "gap").await;

            assert_eq!(subscribed["recovery"], "lost");
            let expected = json!({
                "type": "gap", "room": room, "after": 1, "before": before, "count": count, "reason": "expired",
            });
            assert_eq!(gap, expected, "{store}");
            for offset in kept {
                assert_eq!(find(&mut ann, "message").await["offset"], offset, "{store}");
            }
        }
    }
}

#[tokio::test]
async fn a_ban_in_one_room_ends_that_subscription_and_refuses_another() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "a").await;
    subscribe(&mut ann, "b").await;

    let ban = json!({ "id": "ann", "room": "a", "seconds": 3600 });
    call(&server, Method::POST, "bans", ban).await;
    let unsubscribed = find(&mut ann, "unsubscribed").await;
    let mut refused = Vec::new();
    for frame in [
        json!({ "type": "subscribe", "room": "a" }),
        json!({ "type": "publish", "room": "a", "text": "x", "key": "k" }),
        json!({ "type": "history", "room": "a" }),
    ] {
        ann.send(frame.to_string()).await;
        refused.push(find(&mut ann, "error").await);
    }
    publish(&server, "b", "still here").await;

    assert_eq!(
        (&unsubscribed["room"], &unsubscribed["code"]),
        (&json!("a"), &json!("banned"))
    );
    for error in &refused {
        assert_eq!(error["code"], "not_allowed", "{error}");
        assert_eq!(error["room"], "a", "{error}");
    }
    assert_eq!(refused[1]["key"], "k");
    assert_eq!(messages(&mut ann, 1).await, [pair("b", "still here")]);
}

#[tokio::test]
async fn closing_a_room_ends_its_subscription_and_no_other() {
    let server = Server::start(&[]);
    let mut ann = connect(&server, "id=ann").await;
    subscribe(&mut ann, "a").await;
    subscribe(&mut ann, "b").await;

    call(&server, Method::POST, "rooms/a/close", json!({})).await;
    let unsubscribed = find(&mut ann, "unsubscribed").await;
    publish(&server, "b", "still here").await;

    assert_eq!(unsubscribed["room"], "a");
    assert_eq!(unsubscribed["code"], "room_closed");
    assert_eq!(messages(&mut ann, 1).await, [pair("b", "still here")]);
}

#[tokio::test]
async fn a_full_room_is_an_error_that_may_be_retried() {
    let server = Server::start(&["--max-room-members", "1"]);
    let (bob, _) = join(&server, "id=bob&room=full").await;
    let mut ann = connect(&server, "id=ann").await;
    let mut try_subscribe = async || {
        ann.send(json!({ "type": "subscribe", "room": "full" }).to_string())
            .await;
        ann.json().await
    };

    let error = try_subscribe().await;
    bob.leave().await;
    let subscribed = eventually(try_subscribe, |answer| answer["type"] == "subscribed").await;

    assert_eq!(error["code"], "limit_reached");
    assert_eq!(error["retry"], true);
    assert_eq!(error["room"], "full");
    assert_eq!(subscribed["room"], "full");
}

#[tokio::test]
async fn a_message_that_many_patterns_match_is_delivered_once() {
    let server = Server::start(&["--max-subscriptions", "64"]);
    let mut ann = connect(&server, "id=ann").await;
    // 64 subscriptions: the room, and all its prefixes as patterns. A connection may send 100 such frames a second.
    let room = "r".repeat(63);
    subscribe(&mut ann, &room).await;
    for length in 0..63 {
        subscribe(&mut ann, &format!("{}*", &room[..length])).await;
    }

    let mut expected = Vec::new();
    for number in 0..20 {
        publish(&server, &room, &number.to_string()).await;
        expected.push(pair(&room, &number.to_string()));
    }
    ann.send(json!({ "type": "subscribe", "room": "another" }).to_string())
        .await;

    assert_eq!(messages(&mut ann, 20).await, expected);
    assert_eq!(
        find(&mut ann, "error").await["code"],
        "too_many_subscriptions"
    );
}

#[tokio::test]
async fn subscribing_and_unsubscribing_in_quick_succession_leaves_no_member_and_no_subscription() {
    let server = Server::start(&["--max-subscriptions", "1"]);
    let mut ann = connect(&server, "id=ann").await;

    // 75 frames: a connection may send 100 a second that are no messages.
    for _ in 0..15 {
        for (kind, room) in [
            ("subscribe", "a"),
            ("subscribe", "a"),
            ("unsubscribe", "a"),
            ("subscribe", "*"),
            ("unsubscribe", "*"),
        ] {
            ann.send(json!({ "type": kind, "room": room }).to_string())
                .await;
        }
    }
    let (mut subscribed, mut unsubscribed) = (0, 0);
    while unsubscribed < 30 {
        let frame = ann.json().await;
        match frame["type"].as_str() {
            Some("subscribed") => subscribed += 1,
            Some("unsubscribed") => unsubscribed += 1,
            Some("presence") => {}
            _ => panic!("{frame}"),
        }
    }

    assert_eq!(subscribed, 45);
    eventually(
        async || get(&server, "/api/v1/rooms/a/presence").await,
        |presence| presence["members"] == json!([]),
    )
    .await;
    subscribe(&mut ann, "b").await;
}

#[tokio::test]
async fn a_slow_reader_of_several_rooms_is_served_from_the_store_in_the_order_of_the_offsets() {
    const MESSAGES: u64 = 3000;

    let server = Server::start(&["--history-messages", "10000", "--send-buffer", "64KiB"]);
    let mut slow = server.raw_with("id=slow&room=a", "fanfare.v1").await;
    let other = json!({ "type": "subscribe", "room": "b" }).to_string();
    slow.write(&masked(0x81, other.as_bytes())).await;
    eventually(
        async || get(&server, "/api/v1/rooms/b/presence").await,
        |presence| presence["count"] == 1,
    )
    .await;
    let mut speakers = [
        server.join_with("id=speaker&room=a").await,
        server.join_with("id=speaker&room=b").await,
    ];

    // More than the rings and the kernel can hold together, in each room: 3,000 messages of 10 KB.
    let [a, b] = &mut speakers;
    tokio::join!(
        a.publish_long(MESSAGES, 10_000),
        b.publish_long(MESSAGES, 10_000)
    );

    let mut seen = 0;
    let mut last_of = json!({ "a": 0, "b": 0 });
    while seen < 2 * MESSAGES {
        let (first, payload) = slow.frame().await;
        if first != 0x81 {
            slow.write(&masked(0x8A, b"")).await;
            continue;
        }

        let frame: Value = serde_json::from_slice(&payload).expect("JSON");
        if frame["type"] == "message" {
            let room = frame["room"].as_str().expect("text");
            assert_eq!(frame["prev"], last_of[room], "{room}");
            assert_eq!(
                frame["offset"],
                seen + 1,
                "no message of the other room is skipped"
            );
            last_of[room] = frame["offset"].clone();
            seen += 1;
        }
    }
}
