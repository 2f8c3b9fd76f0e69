//! Which WebSockets a token opens, and what may be said on them.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{Guarded, token};
use crate::harness::{Peer, soon};
use crate::typed::{find, join, next, say};

const TYPED: (&str, &str) = ("sec-websocket-protocol", "fanfare.v1");

/// What a socket is closed with that was opened only for that.
async fn turned_away(guarded: &Guarded, query: &str, headers: &[(&'static str, &str)]) -> u16 {
    guarded
        .server
        .try_join(query, headers)
        .await
        .expect("opened, so that a page sees why")
        .close_code()
        .await
}

#[tokio::test]
async fn a_socket_without_a_good_token_is_closed_with_4500_after_it_opened() {
    let guarded = Guarded::start(&[]);
    for headers in [
        &[][..],
        &[TYPED],
        &[("authorization", "Bearer a.b.c")],
        &[("authorization", "Bearer")],
    ] {
        assert_eq!(
            turned_away(&guarded, "", headers).await,
            4500,
            "{headers:?}"
        );
    }
    assert_eq!(turned_away(&guarded, "token=a.b.c", &[]).await, 4500);
    let good = token("ann", json!({"lobby": "rw"}));
    let twice = format!("Bearer {good}");
    assert_eq!(
        turned_away(
            &guarded,
            &format!("token={good}"),
            &[("authorization", &twice)]
        )
        .await,
        4500
    );
}

#[tokio::test]
async fn a_token_comes_in_by_each_of_three_ways_and_its_sub_is_the_id() {
    let guarded = Guarded::start(&[]);
    let token = token("李雷", json!({"lobby": "rw"}));
    let header = format!("Bearer {token}");
    let subprotocols = format!("fanfare.v1, bearer.{token}");
    let by_query = format!("token={token}");
    for (query, headers) in [
        ("", vec![TYPED, ("authorization", header.as_str())]),
        ("", vec![("sec-websocket-protocol", subprotocols.as_str())]),
        (by_query.as_str(), vec![TYPED]),
        // Its own id may be said.
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
        assert_eq!(
            (&welcome["type"], &welcome["id"]),
            (&json!("welcome"), &json!("李雷"))
        );
        peer.leave().await;
    }
}

#[tokio::test]
async fn the_servers_choice_of_a_subprotocol_never_repeats_the_token() {
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
async fn another_id_or_another_room_than_the_tokens_is_closed_with_4501() {
    let guarded = Guarded::start(&[]);
    let token = token("ann", json!({"lobby": "rw", "drop-box": "w"}));
    for (query, code) in [
        ("id=bob", 4501),
        ("room=other", 4501),
        // Whoever may only write has the HTTP API for that.
        ("room=drop-box", 4501),
        ("room=OTHER", 4502),
        ("id=%00", 4502),
    ] {
        assert_eq!(
            turned_away(&guarded, &format!("{query}&token={token}"), &[]).await,
            code,
            "{query}"
        );
    }
}

#[tokio::test]
async fn who_may_only_read_hears_everything_and_is_refused_when_it_speaks() {
    let guarded = Guarded::start(&[]);
    let reader = token("bob", json!({"lobby": "r"}));
    let writer = token("ann", json!({"lobby": "rw"}));
    let (mut typed, welcome) = join(&guarded.server, &format!("token={reader}")).await;
    assert_eq!(welcome["id"], "bob");
    let mut plain = guarded.server.join_with(&format!("token={reader}")).await;
    say(&mut typed, "x", Some("k")).await;
    let error = next(&mut typed, "error").await;
    assert_eq!(
        (&error["code"], &error["key"], &error["retry"]),
        (&json!("not_allowed"), &json!("k"), &json!(false))
    );
    let mut ann = guarded.server.join_with(&format!("token={writer}")).await;
    ann.send("hello").await;
    let heard = find(&mut typed, "message").await;
    assert_eq!(
        (&heard["from"], &heard["text"]),
        (&json!("ann"), &json!("hello"))
    );
    assert_eq!(plain.text().await, "hello");
    plain.send(Message::binary(&b"x"[..])).await;
    assert_eq!(plain.close_code().await, 4501);
}

#[tokio::test]
async fn an_anonymous_reader_is_a_guest_that_may_not_choose_its_name() {
    let guarded = Guarded::start(&["--anonymous", "read"]);
    let (mut guest, welcome) = join(&guarded.server, "").await;
    assert!(
        welcome["id"].as_str().expect("an id").starts_with("guest-"),
        "{welcome}"
    );
    say(&mut guest, "x", None).await;
    assert_eq!(next(&mut guest, "error").await["code"], "not_allowed");
    assert_eq!(turned_away(&guarded, "id=ann", &[]).await, 4501);
}
