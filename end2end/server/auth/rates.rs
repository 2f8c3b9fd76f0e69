//! The rates that a token allows: its claim `rate`, and the grant `admin` on a room.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{Guarded, claims, sign, token};
use crate::client::fetch;
use crate::metrics::figure;
use crate::typed::{find, join, say};

/// The default of `--message-rate`, which the harness would otherwise lift.
const DEFAULT: [&str; 2] = ["--message-rate", "20/s"];

/// Returns a token of `sub` for the lobby that allows `rate` messages a second.
fn rated(sub: &str, rate: u32) -> String {
    let mut claims = claims(sub, json!({"lobby": "rw"}));
    claims["rate"] = rate.into();
    sign(&claims)
}

/// Publishes a batch of `count` messages in `room`; returns the status and the body of the answer.
async fn post_batch(guarded: &Guarded, room: &str, token: &str, count: usize) -> (u16, Value) {
    let request = guarded.call(Method::POST, &format!("{room}/messages"), token);
    let lines = "{\"text\":\"token\"}\n".repeat(count);
    let request = request.header("content-type", "application/x-ndjson");

    fetch(request.body(lines)).await
}

/// Publishes batches until one is refused with 429; returns the message of the error.
async fn refused_batch(guarded: &Guarded, room: &str, token: &str, count: usize) -> String {
    loop {
        match post_batch(guarded, room, token, count).await {
            (201, _) => {}
            (429, answer) => {
                let message = answer["error"]["message"].as_str();
                return message.expect("a message").to_owned();
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_admin_of_a_room_publishes_over_http_beyond_all_default_rates() {
    let guarded = Guarded::start(&DEFAULT);
    let backend = token("backend", json!({"answers-*": "admin", "lobby": "rw"}));

    // The default bursts are 2000 for an id and for an address over HTTP, and 4000 for an address.
    for _ in 0..6 {
        assert_eq!(
            post_batch(&guarded, "answers-1", &backend, 1000).await.0,
            201
        );
    }

    let message = refused_batch(&guarded, "lobby", &backend, 1000).await;
    assert!(message.contains("--publish-rate"), "{message}");
    assert!(message.contains("claim rate"), "{message}");
    assert!(message.contains("admin on the room"), "{message}");
}

#[tokio::test]
async fn an_admin_of_a_room_appends_to_streams_beyond_all_default_rates() {
    let guarded = Guarded::start(&DEFAULT);
    let backend = token("backend", json!({"answers-*": "admin"}));
    let member = token("member", json!({"answers-*": "rw"}));
    let call = |method, token: &str| {
        let url = guarded.server.url("/streams/answers-1");
        let request = Client::new().request(method, url).bearer_auth(token);
        request.header("content-type", "application/json")
    };
    let append = async |token: &str| {
        let tokens = json!(vec!["token"; 1000]);
        let answer = call(Method::POST, token).body(tokens.to_string()).send();
        answer.await.expect("an answer").status().as_u16()
    };
    let created = call(Method::PUT, &backend).send().await;
    assert_eq!(created.expect("an answer").status().as_u16(), 201);

    for _ in 0..6 {
        assert_eq!(append(&backend).await, 204);
    }

    while append(&member).await != 429 {}
}

#[tokio::test]
async fn an_admin_of_a_room_sends_over_a_websocket_beyond_all_default_rates() {
    let guarded = Guarded::start(&DEFAULT);
    let backend = token("backend", json!({"lobby": "admin"}));
    let member = token("member", json!({"lobby": "rw"}));
    let (mut fast, _) = join(&guarded.server, &format!("token={backend}")).await;
    let (mut slow, welcome) = join(&guarded.server, &format!("token={member}")).await;
    assert_eq!(welcome["message_rate"], 20);

    // The default bursts are 40 for a connection and 2000 for an id.
    for number in 0..2500 {
        say(&mut fast, "token", Some(&number.to_string())).await;
        if number % 100 == 99 {
            for _ in 0..100 {
                let answer = find_answer(&mut fast).await;
                assert_eq!(answer["type"], "ack", "{answer}");
            }
        }
    }

    let refused = loop {
        say(&mut slow, "token", Some("same")).await;
        let answer = find_answer(&mut slow).await;
        if answer["type"] == "error" {
            break answer;
        }
    };
    assert_eq!(refused["code"], "rate_limited");
    let message = refused["message"].as_str().expect("text");
    assert!(message.contains("--message-rate"), "{message}");
    assert!(message.contains("claim rate"), "{message}");
}

/// Returns the next `ack` or `error`.
async fn find_answer(peer: &mut crate::harness::Peer) -> Value {
    loop {
        let frame = peer.json().await;
        if frame["type"] == "ack" || frame["type"] == "error" {
            return frame;
        }
    }
}

#[tokio::test]
async fn the_rate_of_a_token_replaces_the_rates_of_the_settings() {
    let guarded = Guarded::start(&DEFAULT);
    let fast = rated("fast", 300);
    let slow = rated("slow", 1);

    let (_peer, welcome) = join(&guarded.server, &format!("token={fast}")).await;
    for _ in 0..5 {
        assert_eq!(post_batch(&guarded, "lobby", &fast, 1000).await.0, 201);
    }
    let refused = refused_batch(&guarded, "lobby", &slow, 20).await;
    let (too_many, _) = post_batch(&guarded, "lobby", &slow, 21).await;

    assert_eq!(welcome["message_rate"], 300);
    assert_eq!(welcome["message_burst"], 600);
    assert!(
        refused.contains("this token allows 1 messages a second, 20 at once (its claim rate"),
        "{refused}"
    );
    assert_eq!(too_many, 413);
    let counted = figure(
        &guarded.server,
        "fanfare_rate_limited_total{quota=\"token\"}",
    )
    .await;
    assert_eq!(counted, 1);
}

#[tokio::test]
async fn a_token_with_rate_0_has_no_limit_and_may_be_replaced_on_an_open_connection() {
    let guarded = Guarded::start(&DEFAULT);
    let (mut ann, welcome) = join(&guarded.server, &format!("token={}", rated("ann", 0))).await;
    assert_eq!(welcome["message_rate"], 0);
    for number in 0..100 {
        say(&mut ann, "x", Some(&number.to_string())).await;
    }
    for _ in 0..100 {
        assert_eq!(find_answer(&mut ann).await["type"], "ack");
    }

    let renewal = json!({"type": "token", "token": rated("ann", 1)});
    ann.send(renewal.to_string()).await;
    find(&mut ann, "token").await;

    let refused = loop {
        say(&mut ann, "x", Some("same")).await;
        let answer = find_answer(&mut ann).await;
        if answer["type"] == "error" {
            break answer;
        }
    };
    assert_eq!(refused["code"], "rate_limited");
    let message = refused["message"].as_str().expect("text");
    assert!(
        message.contains("this token allows 1 messages"),
        "{message}"
    );
}
