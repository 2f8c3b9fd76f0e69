//! Signals: delivered to the clients that are subscribed, and never stored.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{Events, Lines, fetch, get, publish};
use crate::eventually::soon;
use crate::harness::{Peer, Server};
use crate::metrics::{figure, until};
use crate::typed::{find, join, next};

/// Sends a signal of `kind` to the lobby.
pub(crate) async fn signal(peer: &mut Peer, kind: &str, content: Value) {
    let frame = json!({ "type": "signal", "room": "lobby", "kind": kind, "json": content });
    peer.send(frame.to_string()).await;
}

/// Sends `body` as a signal to `room` over HTTP. Returns the status and the answer.
async fn post(server: &Server, room: &str, body: &Value) -> (u16, Value) {
    let url = server.url(&format!("/api/v1/rooms/{room}/signals"));
    fetch(Client::new().post(url).json(body)).await
}

#[tokio::test]
async fn a_signal_reaches_every_subscriber_at_that_time_and_is_not_stored() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    let (mut of_pattern, _) = join(&server, "id=bob&room=other").await;
    let frame = json!({ "type": "subscribe", "room": "lob*" });
    of_pattern.send(frame.to_string()).await;
    find(&mut of_pattern, "subscribed").await;
    let mut events = Events::open(&server, "").await;
    let mut lines = Lines::open(&server, "").await;
    let mut plain = server.join("plain").await;
    let position = events.seen.clone();

    signal(&mut ann, "typing", json!({ "seconds": 3 })).await;

    let expected = json!({
        "type": "signal", "room": "lobby", "from": "ann", "kind": "typing", "json": { "seconds": 3 },
    });
    assert_eq!(next(&mut ann, "signal").await, expected);
    assert_eq!(find(&mut of_pattern, "signal").await, expected);
    assert_eq!(events.next("signal").await, expected);
    assert_eq!(events.seen, position, "a signal has no id");
    assert_eq!(lines.next().await, expected);

    let (mut late, _) = join(&server, "id=late").await;
    publish(&server, "lobby", "a message").await;
    assert_eq!(plain.text().await, "a message");
    assert_eq!(next(&mut late, "message").await["text"], "a message");
    let page = get(&server, "/api/v1/rooms/lobby/messages").await;
    assert_eq!(page["messages"].as_array().expect("a list").len(), 1);
}

#[tokio::test]
async fn a_client_signals_in_a_room_to_which_it_is_not_subscribed() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann&room=elsewhere").await;
    let (mut bob, _) = join(&server, "id=bob").await;

    signal(&mut ann, "wave", json!(null)).await;

    let frame = next(&mut bob, "signal").await;
    assert_eq!(frame["from"], "ann");
    assert_eq!(frame["json"], json!(null));
    ann.send(json!({ "type": "ping" }).to_string()).await;
    next(&mut ann, "pong").await;
}

#[tokio::test]
async fn a_reader_of_a_room_and_of_a_pattern_gets_each_signal_once() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    for pattern in ["*", "lob*"] {
        let frame = json!({ "type": "subscribe", "room": pattern });
        ann.send(frame.to_string()).await;
        find(&mut ann, "subscribed").await;
    }

    for number in 0..10 {
        let body = json!({ "kind": "count", "json": number, "from": format!("user-{number}") });
        assert_eq!(post(&server, "lobby", &body).await.0, 202);
    }
    publish(&server, "lobby", "the end").await;

    let mut received = Vec::new();
    loop {
        let frame = ann.json().await;
        match frame["type"].as_str() {
            Some("signal") => received.push(frame["json"].as_u64().expect("a number")),
            Some("message") => break,
            _ => {}
        }
    }
    assert_eq!(received, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_signal_of_each_sender_and_kind_after_the_messages() {
    const MESSAGES: u64 = 1500;

    let server = Server::start(&["--history-messages", "10000"]);
    let (mut slow, _) = join(&server, "id=slow").await;
    let (mut ann, _) = join(&server, "id=ann&room=elsewhere").await;
    // More than the kernel holds for a client that does not read.
    let mut writer = server.join("writer").await;
    writer.publish_long(MESSAGES, 10_000).await;

    for number in 0..100 {
        signal(&mut ann, "cursor", json!(number)).await;
    }
    signal(&mut ann, "typing", json!(true)).await;
    // The answer shows that the signals were handled.
    ann.send(json!({ "type": "ping" }).to_string()).await;
    next(&mut ann, "pong").await;

    let mut messages = 0;
    let mut signals = Vec::new();
    while signals.len() < 2 {
        let frame = slow.json().await;
        match frame["type"].as_str() {
            Some("message") => messages += 1,
            Some("signal") => signals.push(frame["json"].clone()),
            _ => {}
        }
    }
    assert_eq!(messages, MESSAGES);
    assert_eq!(signals, [json!(99), json!(true)]);
    until(&server, "fanfare_signals_dropped_total", 99).await;
    assert_eq!(figure(&server, "fanfare_signals_sent_total").await, 101);
    assert_eq!(figure(&server, "fanfare_signals_delivered_total").await, 2);
}

#[tokio::test]
async fn a_refused_signal_gets_an_error_that_names_the_room_and_the_limit() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    let large = "x".repeat(4095);

    for (frame, part) in [
        (
            json!({ "type": "signal", "room": "lobby", "json": 1 }),
            "kind is missing",
        ),
        (
            json!({ "type": "signal", "room": "lobby", "kind": "k" }),
            "json is missing",
        ),
        (
            json!({ "type": "signal", "room": "lobby", "kind": "k", "json": large }),
            "json is 4097 bytes; the limit of a signal is 4096",
        ),
        (
            json!({ "type": "state", "room": "lobby", "json": large }),
            "json is 4097 bytes; the limit of a state is 1024",
        ),
    ] {
        ann.send(frame.to_string()).await;

        let error = next(&mut ann, "error").await;
        assert_eq!(error["code"], "bad_field");
        assert_eq!(error["room"], "lobby");
        let message = error["message"].as_str().expect("text");
        assert!(message.contains(part), "{message}");
    }

    signal(&mut ann, "largest", json!("x".repeat(4094))).await;
    assert_eq!(next(&mut ann, "signal").await["kind"], "largest");
}

#[tokio::test]
async fn a_signal_counts_as_one_message_of_the_rate() {
    let server = Server::start(&["--message-rate", "1/s", "--message-burst", "2"]);
    let (mut ann, _) = join(&server, "id=ann").await;

    signal(&mut ann, "one", json!(0)).await;
    assert_eq!(next(&mut ann, "signal").await["kind"], "one");
    // Errors are sent before signals, so the error may come first.
    for kind in ["two", "three", "four"] {
        signal(&mut ann, kind, json!(0)).await;
    }
    let error = find(&mut ann, "error").await;
    assert_eq!(error["code"], "rate_limited");
    assert_eq!(error["room"], "lobby");
    assert_eq!(error["retry"], true);
}

#[tokio::test]
async fn a_signal_over_http_is_delivered_with_its_sender() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;

    let long = r#"{ "kind": "a.b:c", "json": { "n": 12345678901234567890123 }, "from": "job" }"#;
    let request = Client::new()
        .post(server.url("/api/v1/rooms/lobby/signals"))
        .header("content-type", "application/json")
        .body(long);
    let answer = fetch(request).await;
    let anonymous = post(&server, "lobby", &json!({ "kind": "k", "json": null })).await;

    assert_eq!(answer, (202, json!({})));
    assert_eq!(
        soon(ann.text()).await,
        r#"{"type":"signal","room":"lobby","from":"job","kind":"a.b:c","json":{"n":12345678901234567890123}}"#
    );
    assert_eq!(anonymous, (202, json!({})));
    assert_eq!(next(&mut ann, "signal").await["from"], "anonymous");
}

#[tokio::test]
async fn a_signal_over_http_is_refused_with_the_reason() {
    let server = Server::start(&["--publish-rate", "1/s", "--publish-burst", "8"]);
    let (status, _) = call(
        &server,
        Method::POST,
        "rooms/closed/close",
        json!({ "reason": "over" }),
    )
    .await;
    assert_eq!(status, 200);

    for (room, body, status, code) in [
        ("lobby", json!({ "json": 1 }), 422, "bad_body"),
        ("lobby", json!({ "kind": "k" }), 422, "bad_body"),
        (
            "lobby",
            json!({ "kind": "a b", "json": 1 }),
            422,
            "bad_body",
        ),
        (
            "lobby",
            json!({ "kind": "k", "json": 1, "key": "x" }),
            422,
            "bad_body",
        ),
        (
            "lobby",
            json!({ "kind": "k", "json": "x".repeat(4095) }),
            413,
            "too_big",
        ),
        ("lob*", json!({ "kind": "k", "json": 1 }), 400, "bad_name"),
        (
            "closed",
            json!({ "kind": "k", "json": 1 }),
            403,
            "room_closed",
        ),
    ] {
        let (found, answer) = post(&server, room, &body).await;
        assert_eq!(
            (found, answer["error"]["code"].as_str()),
            (status, Some(code)),
            "{body}"
        );
    }

    let url = server.url("/api/v1/rooms/lobby/signals");
    let (status, answer) = fetch(Client::new().post(url).body("{}")).await;
    assert_eq!(status, 415);
    assert_eq!(answer["error"]["code"], "unsupported_media_type");

    let mut codes = Vec::new();
    while codes.last() != Some(&429) {
        codes.push(
            post(&server, "lobby", &json!({ "kind": "k", "json": 1 }))
                .await
                .0,
        );
    }
    assert!(codes.contains(&202), "{codes:?}");
}

#[tokio::test]
async fn a_client_that_is_banned_or_in_a_closed_room_gets_an_error_for_its_signal() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann&room=elsewhere").await;
    let (mut bob, _) = join(&server, "id=bob&room=open").await;
    let ban = json!({ "id": "ann", "room": "lobby" });
    assert_eq!(call(&server, Method::POST, "bans", ban).await.0, 201);
    let (status, _) = call(
        &server,
        Method::POST,
        "rooms/shut/close",
        json!({ "reason": "over" }),
    )
    .await;
    assert_eq!(status, 200);

    for room in ["lobby", "shut"] {
        let frame = json!({ "type": "signal", "room": room, "kind": "k", "json": 1 });
        ann.send(frame.to_string()).await;

        let error = next(&mut ann, "error").await;
        assert_eq!(error["code"], "not_allowed");
        assert_eq!(error["room"], room);
    }

    let frame = json!({ "type": "signal", "room": "open", "kind": "k", "json": 1 });
    ann.send(frame.to_string()).await;
    assert_eq!(next(&mut bob, "signal").await["from"], "ann");
}

#[tokio::test]
async fn a_reader_of_a_pattern_gets_no_signals_of_a_room_from_which_it_is_banned() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann&room=elsewhere").await;
    let frame = json!({ "type": "subscribe", "room": "*" });
    ann.send(frame.to_string()).await;
    find(&mut ann, "subscribed").await;
    let ban = json!({ "id": "ann", "room": "lobby" });
    assert_eq!(call(&server, Method::POST, "bans", ban).await.0, 201);
    assert_eq!(find(&mut ann, "unsubscribed").await["room"], "lobby");

    for room in ["lobby", "other"] {
        let body = json!({ "kind": "k", "json": 1, "from": "job" });
        assert_eq!(post(&server, room, &body).await.0, 202);
    }

    assert_eq!(find(&mut ann, "signal").await["room"], "other");
}
