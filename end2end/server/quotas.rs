//! Several connections share what one id, and what one address, may say; HTTP counts too.

use reqwest::Client;

use crate::client::ask;
use crate::harness::{Peer, Server};
use crate::metrics::figure;
use crate::typed::{join, say};

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// What `client` is told of one more message.
async fn refusal(client: &mut Peer) -> Option<String> {
    say(client, "x", Some("one more")).await;
    loop {
        let frame = client.json().await;
        match frame["type"].as_str() {
            Some("ack") => return None,
            Some("error") => {
                assert_eq!(
                    (frame["code"].as_str(), frame["retry"].as_bool()),
                    (Some("rate_limited"), Some(true))
                );
                return frame["message"].as_str().map(str::to_owned);
            }
            _ => {}
        }
    }
}

/// Publishes over HTTP as `from`; gives the status and, if it is one, the error's text.
async fn post(server: &Server, from: &str, address: &str) -> (u16, String) {
    let request = Client::new()
        .post(server.url("/api/v1/rooms/lobby/messages"))
        .header(X_FORWARDED_FOR, address)
        .json(&serde_json::json!({ "text": "x", "from": from }));
    let (status, answer) = ask(request).await;
    (
        status,
        answer["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

/// Publishes until that is refused; gives the error's text.
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
async fn connections_of_one_id_share_what_it_may_say_with_http() {
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
        refused.extend(refusal(&mut one).await);
        refused.extend(refusal(&mut other).await);
    }
    assert!(
        refused[0].contains("one id may send 1 messages a second, 2 at once (--id-rate)"),
        "{refused:?}"
    );
    let message = refused_post(&server, "ann", "127.0.0.1").await;
    assert!(message.contains("--id-rate"), "{message}");
    assert_ne!(
        figure(&server, "fanfare_rate_limited_total{quota=\"id\"}").await,
        0
    );
    assert_eq!(refusal(&mut bob).await, None, "bob has said nothing yet");
    assert_eq!(
        post(&server, "ann", "192.0.2.1").await.0,
        201,
        "a name that nobody proves is not taken away"
    );
}

#[tokio::test]
async fn an_address_creates_so_many_rooms_a_day_and_still_publishes_in_those_that_exist() {
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
    assert_eq!((status, is_dated), (429, true), "{body}");
    let limit = "one address may create 2 rooms a day, 2 at once (--room-rate";
    assert!(body.contains(limit), "{body}");
    assert_eq!(publish("second").await.0, 201, "it exists");

    // Joining creates nothing, saying something does.
    let (mut typed, _) = join(&server, "id=ann&room=fourth").await;
    let message = refusal(&mut typed).await.expect("refused");
    assert!(message.contains(limit), "{message}");
    let mut plain = server.join_with("room=fourth").await;
    assert!(plain.try_send("x").await);
    assert_eq!(plain.close_code().await, 4001);
    let refused = figure(&server, "fanfare_rate_limited_total{quota=\"rooms\"}").await;
    assert_eq!(refused, 3);
}

#[tokio::test]
async fn everybody_at_one_address_shares_what_it_may_say() {
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
        message.contains("one address may send 1 messages a second, 3 at once (--address-rate)"),
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
    // A plain client cannot be told and is closed.
    let mut plain = server.join("plain").await;
    for _message in 0..100 {
        if !plain.try_send("x").await {
            break;
        }
    }
    assert_eq!(plain.close_code().await, 4001);
}
