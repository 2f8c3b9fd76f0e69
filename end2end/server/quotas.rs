//! Rates by id and by address, which all connections and HTTP share.

use reqwest::Client;

use crate::client::fetch;
use crate::harness::{Peer, Server};
use crate::metrics::figure;
use crate::typed::{join, say};

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Publishes one more message; returns the text of the error, or `None` if it is acknowledged.
async fn publish_again(client: &mut Peer) -> Option<String> {
    say(client, "x", Some("one more")).await;

    loop {
        let frame = client.json().await;

        match frame["type"].as_str() {
            Some("ack") => return None,
            Some("error") => {
                assert_eq!(frame["code"], "rate_limited");
                assert_eq!(frame["retry"], true);
                return frame["message"].as_str().map(str::to_owned);
            }
            _ => {}
        }
    }
}

/// Publishes over HTTP as `from`; returns the status and the text of the error, if any.
async fn post(server: &Server, from: &str, address: &str) -> (u16, String) {
    let request = Client::new()
        .post(server.url("/api/v1/rooms/lobby/messages"))
        .header(X_FORWARDED_FOR, address)
        .json(&serde_json::json!({ "text": "x", "from": from }));
    let (status, answer) = fetch(request).await;

    (
        status,
        answer["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

/// Publishes until a message is refused; returns the text of the error.
async fn refused_post(server: &Server, from: &str, address: &str) -> String {
    loop {
        match post(server, from, address).await {
            (201, _) => {}
            (429, message) => return message,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn one_id_has_one_rate_for_all_connections_and_http() {
    let flags = [
        "--message-rate",
        "1000",
        "--id-rate",
        "1/s",
        "--id-burst",
        "2",
    ];
    let server = Server::start(&[&flags[..], &["--trusted-proxy", "127.0.0.1"]].concat());

    let (mut one, _) = join(&server, "id=ann").await;
    let (mut other, _) = join(&server, "id=ann").await;
    let (mut bob, _) = join(&server, "id=bob").await;
    let mut refused = Vec::new();

    while refused.is_empty() {
        refused.extend(publish_again(&mut one).await);
        refused.extend(publish_again(&mut other).await);
    }

    assert!(
        refused[0].contains("one id may send 1 messages a second, 2 at once (--id-rate;"),
        "{refused:?}"
    );

    let message = refused_post(&server, "ann", "127.0.0.1").await;
    assert!(message.contains("--id-rate"), "{message}");

    assert_ne!(
        figure(&server, "fanfare_rate_limited_total{quota=\"id\"}").await,
        0
    );

    assert_eq!(
        publish_again(&mut bob).await,
        None,
        "bob has not published yet"
    );

    assert_eq!(
        post(&server, "ann", "192.0.2.1").await.0,
        201,
        "an unverified id has a rate for each address"
    );
}

#[tokio::test]
async fn an_address_creates_a_limited_number_of_rooms_a_day() {
    let server = Server::start(&["--message-rate", "1000", "--room-rate", "2/d"]);

    let client = Client::new();
    let publish = async |room: &str| {
        let url = server.url(&format!("/api/v1/rooms/{room}/messages"));
        let answer = client.post(url).body("x").send().await.expect("an answer");
        let is_dated = answer.headers().contains_key("retry-after");
        let status = answer.status().as_u16();
        (status, is_dated, answer.text().await.expect("text"))
    };

    for room in ["first", "second", "first"] {
        assert_eq!(publish(room).await.0, 201, "{room}");
    }

    let (status, is_dated, body) = publish("third").await;
    assert_eq!(status, 429, "{body}");
    assert!(is_dated, "{body}");

    let limit = "one address may create 2 rooms a day, 2 at once (--room-rate";
    assert!(body.contains(limit), "{body}");
    assert_eq!(publish("second").await.0, 201, "it exists");

    // A join creates no room, a message does.
    let (mut typed, _) = join(&server, "id=ann&room=fourth").await;
    let message = publish_again(&mut typed).await.expect("refused");
    assert!(message.contains(limit), "{message}");

    let mut plain = server.join_with("room=fourth").await;
    assert!(plain.try_send("x").await);
    assert_eq!(plain.close_code().await, 4001);

    let refused = figure(&server, "fanfare_rate_limited_total{quota=\"rooms\"}").await;
    assert_eq!(refused, 3);
}

#[tokio::test]
async fn all_clients_of_one_address_share_one_rate() {
    let flags = [
        "--message-rate",
        "1000",
        "--address-rate",
        "1/s",
        "--address-burst",
        "3",
    ];
    let server = Server::start(&[&flags[..], &["--trusted-proxy", "127.0.0.1"]].concat());

    for (from, address) in [
        ("ann", "2001:db8::1"),
        ("bob", "2001:db8::2"),
        ("carol", "2001:db8::3"),
    ] {
        assert_eq!(post(&server, from, address).await.0, 201);
    }

    let message = refused_post(&server, "dan", "2001:db8::4").await;
    assert!(
        message.contains("one address may send 1 messages a second, 3 at once (--address-rate;"),
        "{message}"
    );

    assert_ne!(
        figure(&server, "fanfare_rate_limited_total{quota=\"address\"}").await,
        0
    );

    assert_eq!(
        post(&server, "ann", "2001:db8:0:1::1").await.0,
        201,
        "another host"
    );

    // Plain clients have no error frames: the connection is closed.
    let mut plain = server.join("plain").await;

    for _message in 0..100 {
        if !plain.try_send("x").await {
            break;
        }
    }

    assert_eq!(plain.close_code().await, 4001);
}
