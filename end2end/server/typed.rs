//! The dialect `fanfare.v1`, frame by frame as in the contract.

use std::time::Duration;

use serde_json::{Value, json};

use crate::eventually::soon;
use crate::harness::{Peer, Server};

/// Opens a typed client that subscribes to the room of `query`, by default the lobby. Returns it and the fields of
/// `welcome` and `subscribed`.
pub(crate) async fn join(server: &Server, query: &str) -> (Peer, Value) {
    let query = if query.contains("room=") {
        query.to_owned()
    } else {
        format!("{query}&room=lobby")
    };
    let mut peer = server
        .try_join(&query, &[("sec-websocket-protocol", "fanfare.v1")])
        .await
        .expect("accepted");

    let joined = joined(&mut peer).await;
    (peer, joined)
}

/// Returns the fields of the first two frames, `welcome` and `subscribed`.
pub(crate) async fn joined(peer: &mut Peer) -> Value {
    let mut joined = peer.json().await;
    assert_eq!(joined["type"], "welcome", "{joined}");
    let subscribed = peer.json().await;
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");

    for (field, value) in subscribed.as_object().into_iter().flatten() {
        joined[field] = value.clone();
    }
    joined
}

/// Returns the next frame, which must be of `kind`. Presence frames are skipped.
pub(crate) async fn next(peer: &mut Peer, kind: &str) -> Value {
    soon(async {
        loop {
            let frame = peer.json().await;
            if frame["type"] == kind {
                return frame;
            }
            assert_eq!(frame["type"], "presence", "{kind} is next, not {frame}");
        }
    })
    .await
}

/// Returns the next frame of `kind`. Other frames are skipped: an `ack` and its `message` come in any order.
pub(crate) async fn find(peer: &mut Peer, kind: &str) -> Value {
    soon(async {
        loop {
            let frame = peer.json().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    })
    .await
}

/// Sends a `publish` frame.
pub(crate) async fn say(peer: &mut Peer, text: &str, key: Option<&str>) {
    let mut frame = json!({ "type": "publish", "text": text });
    if let Some(key) = key {
        frame["key"] = key.into();
    }
    peer.send(frame.to_string()).await;
}

#[tokio::test]
async fn the_welcome_has_the_position_and_the_limits() {
    let server = Server::start(&[
        "--heartbeat",
        "7s",
        "--expire",
        "11s",
        "--max-message",
        "2KiB",
    ]);

    let (_ann, welcome) = join(&server, "id=ann&room=class").await;

    for (field, value) in [
        ("room", json!("class")),
        ("id", json!("ann")),
        ("head", json!(0)),
        ("first", json!(0)),
        ("recovery", json!("fresh")),
        ("heartbeat_ms", json!(7000)),
        ("expire_ms", json!(11000)),
        ("max_message", json!(2048)),
        ("count", json!(1)),
        ("members", json!([{ "id": "ann" }])),
    ] {
        assert_eq!(welcome[field], value, "{field} in {welcome}");
    }

    let (_bob, second) = join(&server, "id=bob&room=class").await;
    assert_eq!(second["epoch"], welcome["epoch"]);
    assert_eq!(second["count"], 2);
    assert_ne!(second["connection"], welcome["connection"]);
}

#[tokio::test]
async fn a_message_carries_offset_prev_sender_and_key_and_its_sender_gets_an_ack() {
    let server = Server::start(&[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    let (mut bob, _) = join(&server, "id=bob").await;

    say(&mut ann, "one", None).await;
    say(&mut ann, "<b>\"zwei\"</b>\n三", Some("k1")).await;

    for peer in [&mut ann, &mut bob] {
        let mut one = None;
        let mut two = None;
        let mut ack = None;

        while one.is_none() || two.is_none() {
            let frame = peer.json().await;

            match (frame["type"].as_str(), frame["offset"].as_u64()) {
                (Some("message"), Some(1)) => one = Some(frame),
                (Some("message"), Some(2)) => two = Some(frame),
                (Some("ack"), _) => ack = Some(frame),
                (Some("presence"), _) => {}
                _ => panic!("{frame}"),
            }
        }

        let one = one.expect("came");
        let two = two.expect("came");
        assert_eq!(one["prev"], 0);
        assert_eq!(one["from"], "ann");
        assert_eq!(one["text"], "one");
        assert!(one.get("key").is_none(), "{one}");
        assert!(
            one["at"].as_u64().expect("a time") > 1_700_000_000_000,
            "{one}"
        );
        assert_eq!(two["prev"], 1);
        assert_eq!(two["key"], "k1");
        assert_eq!(two["text"], "<b>\"zwei\"</b>\n三");

        if let Some(ack) = ack {
            assert_eq!(
                ack,
                json!({ "type": "ack", "room": "lobby", "key": "k1", "offset": 2, "duplicate": false })
            );
        }
    }
}

#[tokio::test]
async fn a_repeated_key_is_stored_once_and_acked_with_the_first_offset() {
    let server = Server::start(&[]);

    let (mut ann, _) = join(&server, "id=ann").await;

    for (time, duplicate) in [(1, false), (2, true), (3, true)] {
        say(&mut ann, &format!("try {time}"), Some("same")).await;
        let mut ack = ann.json().await;
        while ack["type"] != "ack" {
            ack = ann.json().await;
        }
        assert_eq!(ack["offset"], 1);
        assert_eq!(ack["duplicate"], duplicate);
    }

    // Keys belong to the sender: another client may use the same.
    let (mut bob, welcome) = join(&server, "id=bob").await;
    assert_eq!(welcome["head"], 1);

    say(&mut bob, "mine", Some("same")).await;
    assert_eq!(find(&mut bob, "ack").await["duplicate"], false);

    // HTTP shares the keys.
    let posted = reqwest::Client::new()
        .post(server.url("/api/v1/rooms/lobby/messages"))
        .header("content-type", "application/json")
        .header("idempotency-key", "same")
        .body(r#"{"text":"again","from":"bob"}"#);
    let answer: Value = soon(posted.send())
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(answer["offset"], 2);
    assert_eq!(answer["duplicate"], true);
}

#[tokio::test]
async fn plain_and_typed_clients_share_a_room() {
    let server = Server::start(&[]);
    let mut plain = server.join("plain").await;

    let (mut typed, _) = join(&server, "id=typed").await;
    say(&mut typed, "to plain", None).await;
    assert_eq!(plain.text().await, "to plain");
    assert_eq!(next(&mut typed, "message").await["text"], "to plain");

    plain.send("to typed").await;
    assert_eq!(next(&mut typed, "message").await["from"], "plain");

    plain.send(vec![1, 2, 255]).await;
    let message = next(&mut typed, "message").await;
    assert_eq!(message["data"], "AQL/", "{message}");
    assert!(message.get("text").is_none(), "{message}");
}

#[tokio::test]
async fn a_bad_frame_is_answered_with_an_error_and_the_connection_stays_open() {
    let server = Server::start(&["--max-message", "1KiB"]);

    let (mut ann, _) = join(&server, "id=ann").await;
    let long = json!({ "type": "publish", "text": "x".repeat(1025), "key": "long" }).to_string();

    for (frame, code, text, key) in [
        ("not json", "bad_json", "not JSON", None),
        (r#"{"type":"shout"}"#, "unknown_type", "publish", None),
        (
            r#"{"type":"publish","key":"k"}"#,
            "bad_field",
            "text",
            Some("k"),
        ),
        (&long, "bad_field", "1024", Some("long")),
        (
            r#"{"type":"history","limit":1001}"#,
            "bad_field",
            "1000",
            None,
        ),
    ] {
        ann.send(frame).await;
        let error = next(&mut ann, "error").await;
        assert_eq!(error["code"], code, "{error}");
        assert_eq!(error["key"].as_str(), key, "{error}");
        assert!(
            error["message"].as_str().expect("text").contains(text),
            "{error}"
        );
        assert_eq!(error["retry"], false, "{error}");
    }

    ann.send(vec![1, 2, 3]).await;
    assert_eq!(next(&mut ann, "error").await["code"], "not_text");

    ann.send(r#"{"type":"ping"}"#).await;
    next(&mut ann, "pong").await;
}

#[tokio::test]
async fn a_typed_client_that_is_too_fast_gets_an_error_and_may_retry() {
    let server = Server::start(&["--message-rate", "1/s", "--message-burst", "1"]);

    let (mut ann, _) = join(&server, "id=ann").await;
    say(&mut ann, "first", Some("1")).await;
    say(&mut ann, "second", Some("2")).await;

    let error = find(&mut ann, "error").await;
    assert_eq!(error["code"], "rate_limited");
    assert_eq!(error["key"], "2");
    assert_eq!(error["retry"], true);

    // Real clients pause before a retry.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let ack = soon(async {
        loop {
            pace.tick().await;
            say(&mut ann, "second", Some("2")).await;
            let frame = ann.json().await;
            if frame["type"] == "ack" && frame["key"] == "2" {
                return frame;
            }
        }
    })
    .await;
    assert_eq!(ack["duplicate"], false);
}

#[tokio::test]
async fn presence_changes_are_collected_and_a_quick_return_is_not_announced() {
    let server = Server::start(&[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    let (bob, welcome) = join(&server, "id=bob").await;
    assert_eq!(
        welcome["members"],
        json!([{ "id": "ann" }, { "id": "bob" }])
    );

    let mut joined: Vec<Value> = Vec::new();

    while joined.len() < 2 {
        joined.extend(
            next(&mut ann, "presence").await["joined"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        );
    }

    assert_eq!(joined, [json!({ "id": "ann" }), json!({ "id": "bob" })]);

    bob.leave().await;
    let (bob, _) = join(&server, "id=bob").await;
    bob.leave().await;

    // One announcement five seconds after the second leave: the first leave is not announced.
    let gone = next(&mut ann, "presence").await;
    assert_eq!(
        gone,
        json!({ "type": "presence", "room": "lobby", "count": 1, "left": ["bob"] })
    );
}

#[tokio::test]
async fn a_stopping_server_sends_each_client_a_drain_frame() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    server.signal("TERM");

    let drain = next(&mut ann, "drain").await;
    assert!(
        drain["reconnect_after_ms"].as_u64().expect("a time") <= 20_000,
        "{drain}"
    );
    assert_eq!(ann.close_code().await, 1001);
}
