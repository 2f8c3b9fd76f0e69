//! Tokens of WebSockets: authentication, and the rights of a connection.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Guarded, token};
use crate::eventually::soon;
use crate::harness::Peer;
use crate::typed::{find, join, next, say};

const TYPED: (&str, &str) = ("sec-websocket-protocol", "fanfare.v1");

/// Returns the code that closes a connection after it was opened.
async fn close_code(guarded: &Guarded, query: &str, headers: &[(&'static str, &str)]) -> u16 {
    guarded
        .server
        .try_join(query, headers)
        .await
        .expect("opened, so that a page can read the code")
        .close_code()
        .await
}

#[tokio::test]
async fn a_socket_without_a_valid_token_is_closed_with_4500_after_it_opened() {
    let guarded = Guarded::start(&[]);

    for headers in [
        &[][..],
        &[TYPED],
        &[("authorization", "Bearer a.b.c")],
        &[("authorization", "Bearer")],
    ] {
        assert_eq!(close_code(&guarded, "", headers).await, 4500, "{headers:?}");
    }

    assert_eq!(close_code(&guarded, "token=a.b.c", &[]).await, 4500);

    let good = token("ann", json!({"lobby": "rw"}));
    let twice = format!("Bearer {good}");
    assert_eq!(
        close_code(
            &guarded,
            &format!("token={good}"),
            &[("authorization", &twice)]
        )
        .await,
        4500
    );
}

#[tokio::test]
async fn a_token_is_accepted_in_header_subprotocol_and_query_and_its_sub_is_the_id() {
    let guarded = Guarded::start(&[]);
    let token = token("李雷", json!({"lobby": "rw"}));
    let header = format!("Bearer {token}");
    let subprotocols = format!("fanfare.v1, bearer.{token}");
    let by_query = format!("token={token}");

    for (query, headers) in [
        ("", vec![TYPED, ("authorization", header.as_str())]),
        ("", vec![("sec-websocket-protocol", subprotocols.as_str())]),
        (by_query.as_str(), vec![TYPED]),
        // The id of the token may be repeated.
        (
            "id=%E6%9D%8E%E9%9B%B7",
            vec![TYPED, ("authorization", header.as_str())],
        ),
    ] {
        let mut peer = guarded
            .server
            .try_join(query, &headers)
            .await
            .expect("accepted");
        let welcome = peer.json().await;
        assert_eq!(welcome["type"], "welcome");
        assert_eq!(welcome["id"], "李雷");

        peer.leave().await;
    }
}

#[tokio::test]
async fn the_chosen_subprotocol_never_contains_the_token() {
    let guarded = Guarded::start(&[]);
    let token = token("ann", json!({"lobby": "rw"}));
    let url = guarded.server.socket_url("");
    let mut request = url.into_client_request().expect("an address");
    let offered = format!("bearer.{token}, fanfare.v1");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered.parse().expect("a value"));

    let (socket, response) = soon(tokio_tungstenite::connect_async(request))
        .await
        .expect("accepted");
    assert_eq!(response.headers()["sec-websocket-protocol"], "fanfare.v1");
    assert!(!format!("{response:?}").contains(&token));
    assert_eq!(Peer { socket }.json().await["id"], "ann");
}

#[tokio::test]
async fn an_id_or_room_that_the_token_does_not_grant_is_closed_with_4501() {
    let guarded = Guarded::start(&[]);
    let token = token("ann", json!({"lobby": "rw", "drop-box": "w"}));

    for (query, code) in [
        ("id=bob", 4501),
        ("room=other", 4501),
        // A token that may only write is for the HTTP API.
        ("room=drop-box", 4501),
        ("room=a%20b", 4502),
        ("id=%00", 4502),
    ] {
        assert_eq!(
            close_code(&guarded, &format!("{query}&token={token}"), &[]).await,
            code,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_reader_receives_everything_and_may_not_publish() {
    let guarded = Guarded::start(&[]);
    let reader = token("bob", json!({"lobby": "r"}));
    let writer = token("ann", json!({"lobby": "rw"}));

    let (mut typed, welcome) = join(&guarded.server, &format!("token={reader}")).await;
    assert_eq!(welcome["id"], "bob");

    let mut plain = guarded.server.join_with(&format!("token={reader}")).await;

    say(&mut typed, "x", Some("k")).await;
    let error = next(&mut typed, "error").await;
    assert_eq!(error["code"], "not_allowed");
    assert_eq!(error["key"], "k");
    assert_eq!(error["retry"], false);

    let mut ann = guarded.server.join_with(&format!("token={writer}")).await;
    ann.send("hello").await;
    let message = find(&mut typed, "message").await;
    assert_eq!(message["from"], "ann");
    assert_eq!(message["text"], "hello");
    assert_eq!(plain.text().await, "hello");

    plain.send(Message::binary(&b"x"[..])).await;
    assert_eq!(plain.close_code().await, 4501);
}

#[tokio::test]
async fn an_anonymous_reader_is_a_guest_and_may_not_choose_its_id() {
    let guarded = Guarded::start(&["--anonymous", "read"]);
    let (mut guest, welcome) = join(&guarded.server, "").await;
    assert!(
        welcome["id"].as_str().expect("an id").starts_with("guest-"),
        "{welcome}"
    );

    say(&mut guest, "x", None).await;
    assert_eq!(next(&mut guest, "error").await["code"], "not_allowed");
    assert_eq!(close_code(&guarded, "id=ann", &[]).await, 4501);
}

#[tokio::test]
async fn a_sender_deletes_its_own_messages_and_no_others_over_a_socket() {
    let guarded = Guarded::start(&[]);
    let query = |id: &str| format!("token={}", token(id, json!({"lobby": "rw"})));
    let (mut ann, _) = join(&guarded.server, &query("ann")).await;
    let (mut bob, _) = join(&guarded.server, &query("bob")).await;
    say(&mut ann, "secret", None).await;
    find(&mut bob, "message").await;

    bob.send(json!({"type": "delete", "offset": 1}).to_string())
        .await;
    assert_eq!(find(&mut bob, "error").await["code"], "not_allowed");
    ann.send(json!({"type": "delete", "offset": 7}).to_string())
        .await;
    assert_eq!(find(&mut ann, "error").await["code"], "no_such_message");
    ann.send(json!({"type": "delete", "offset": 1}).to_string())
        .await;

    for reader in [&mut ann, &mut bob] {
        assert_eq!(find(reader, "deleted").await["offset"], 1);
    }
}

#[tokio::test]
async fn a_delete_is_answered_without_a_subscription_and_when_it_is_repeated() {
    let guarded = Guarded::start(&[]);
    let token = token("ann", json!({"*": "rw"}));
    let (mut ann, _) = join(&guarded.server, &format!("token={token}")).await;
    let frame = json!({"type": "publish", "room": "other", "text": "secret", "key": "k"});
    ann.send(frame.to_string()).await;
    let offset = find(&mut ann, "ack").await["offset"].clone();

    for _ in 0..2 {
        let frame = json!({"type": "delete", "room": "other", "offset": offset});
        ann.send(frame.to_string()).await;
        let deleted = find(&mut ann, "deleted").await;

        assert_eq!(deleted["room"], "other");
        assert_eq!(deleted["offset"], offset);
    }
}
