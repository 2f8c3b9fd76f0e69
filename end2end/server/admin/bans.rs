//! Bans and closed rooms: refused clients, the reason that they receive, and restarts.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::{call, each, list};
use crate::client::{fetch, get, publish};
use crate::eventually::soon;
use crate::harness::{Server, program};
use crate::metrics::until;
use crate::typed::{find, join, next};

async fn ban(server: &Server, body: Value) -> Value {
    let (status, answer) = call(server, Method::POST, "bans", body).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

/// Returns the error message and the close code of a typed client that is not admitted.
async fn rejected(server: &Server, query: &str) -> (String, u16) {
    let typed = [("sec-websocket-protocol", "fanfare.v1")];
    let mut peer = server.try_join(query, &typed).await.expect("a WebSocket");

    let error = next(&mut peer, "error").await;
    assert_eq!(error["code"], "not_allowed", "{error}");
    assert_eq!(error["retry"], false, "{error}");
    let message = error["message"].as_str().expect("a message");
    (message.to_owned(), peer.close_code().await)
}

/// Publishes in `room` as `from`. Returns the status and the error code.
async fn say(server: &Server, room: &str, from: &str) -> (u16, Value) {
    let url = server.url(&format!("/api/v1/rooms/{room}/messages"));
    let message = json!({ "text": "x", "from": from });
    let (status, answer) = fetch(Client::new().post(url).json(&message)).await;
    (status, answer["error"]["code"].clone())
}

#[tokio::test]
async fn a_ban_ends_the_connections_of_its_id_and_counts_them() {
    let server = Server::start(&[]);
    let mut eve = server.join_with("id=eve&room=class").await;
    let (_ann, _) = join(&server, "id=ann&room=class").await;

    let answer = ban(&server, json!({ "id": "eve", "seconds": 3600 })).await;

    assert_eq!(answer["kicked"], 1, "{answer}");
    assert_eq!(answer["ban"]["id"], "eve", "{answer}");
    assert_eq!(eve.close_code().await, 4501);
    until(&server, "fanfare_admin_acts_total{act=\"ban\"}", 1).await;
}

#[tokio::test]
async fn a_banned_id_is_rejected_everywhere_with_the_reason() {
    let server = Server::start(&[]);
    let request = json!({ "id": "eve", "seconds": 3600, "reason": "floods" });
    ban(&server, request).await;

    let mut plain = server.join_with("id=eve&room=other").await;
    assert_eq!(plain.close_code().await, 4501);

    let (message, code) = rejected(&server, "id=eve").await;
    assert_eq!(code, 4501);
    assert!(message.contains("banned until"), "{message}");
    assert!(message.ends_with(": floods"), "{message}");

    assert_eq!(say(&server, "class", "eve").await, (403, json!("banned")));

    let stream = Client::new().get(server.url("/api/v1/rooms/class/stream?id=eve"));
    assert_eq!(fetch(stream).await.1["error"]["code"], "banned");

    assert_eq!(say(&server, "class", "ann").await.0, 201);
    let refused = "fanfare_requests_refused_total{code=\"banned\"}";
    until(&server, refused, 2).await;
}

#[tokio::test]
async fn a_ban_is_listed_and_lifted_once() {
    let server = Server::start(&[]);
    ban(&server, json!({ "id": "eve", "reason": "floods" })).await;
    let unban = async || call(&server, Method::DELETE, "bans?id=eve", json!({})).await;

    let bans = list(&server, "bans").await;
    assert_eq!(each(&bans["bans"], "reason"), ["floods"]);

    assert_eq!(unban().await, (200, json!({ "lifted": true })));
    assert_eq!(unban().await.0, 404);
    assert_eq!(say(&server, "class", "eve").await.0, 201);
}

#[tokio::test]
async fn a_ban_of_an_address_is_for_its_host_and_its_room() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.0/8"]);
    ban(&server, json!({ "address": "2001:db8::1" })).await;
    ban(&server, json!({ "address": "192.0.2.1", "room": "class" })).await;

    for (address, path, status) in [
        ("2001:db8::2", "/api/v1/rooms/lobby/messages", 403),
        ("2001:db8::2", "/api/v1/rooms/lobby/presence", 403),
        ("2001:db8:0:1::2", "/api/v1/rooms/lobby/messages", 200),
        ("192.0.2.1", "/api/v1/rooms/class/messages", 403),
        ("192.0.2.1", "/api/v1/rooms/lobby/messages", 200),
        ("192.0.2.2", "/api/v1/rooms/class/messages", 200),
    ] {
        let request = Client::new().get(server.url(path));
        let request = request.header("x-forwarded-for", address);

        assert_eq!(fetch(request).await.0, status, "{path} from {address}");
    }
}

#[tokio::test]
async fn a_banned_address_gets_the_page_without_messages() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.0/8"]);
    publish(&server, "class", "a secret").await;
    ban(&server, json!({ "address": "192.0.2.1", "room": "class" })).await;

    for (address, is_visible) in [("192.0.2.1", false), ("192.0.2.2", true)] {
        let request = Client::new().get(server.url("/r/class"));
        let request = request.header("x-forwarded-for", address);
        let page = soon(request.send()).await.expect("an answer");
        let html = soon(page.text()).await.expect("text");

        assert_eq!(html.contains("a secret"), is_visible, "{address}");
    }
}

#[tokio::test]
async fn bans_and_closed_rooms_survive_a_kill() {
    for store in ["sqlite:fanfare.db", "memory"] {
        let data = tempfile::tempdir().expect("a folder");
        let server = Server::start_in(data.path(), &["--store", store]);
        ban(&server, json!({ "id": "eve" })).await;
        let reason = json!({ "reason": "over" });
        call(&server, Method::POST, "rooms/class/close", reason).await;

        server.signal("KILL");
        drop(server.end().await);
        let server = Server::start_in(data.path(), &["--store", store]);

        let banned = say(&server, "lobby", "eve").await;
        assert_eq!(banned, (403, json!("banned")), "{store}");

        let closed = say(&server, "class", "ann").await;
        assert_eq!(closed, (403, json!("room_closed")), "{store}");

        let bans = list(&server, "bans").await;
        assert_eq!(each(&bans["bans"], "id"), ["eve"], "{store}");
        assert_eq!(each(&bans["closed"], "reason"), ["over"], "{store}");
    }
}

#[test]
fn a_server_does_not_start_with_a_damaged_file_of_bans() {
    let data = tempfile::tempdir().expect("a folder");
    std::fs::write(data.path().join("moderation.json"), "{").expect("written");

    let ended = program()
        .args(["--listen", "127.0.0.1:0", "--ops-listen", "off", "--data"])
        .arg(data.path())
        .output()
        .expect("it ends");

    assert_eq!(ended.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(stderr.contains("moderation.json"), "{stderr}");
}

#[tokio::test]
async fn closing_a_room_ends_its_subscriptions() {
    let server = Server::start(&[]);
    let mut ann = server.join_with("id=ann&room=class").await;
    let (mut bob, _) = join(&server, "id=bob&room=class").await;
    let _other = server.join_with("id=ann&room=other").await;

    let reason = json!({ "reason": "the hour is over" });
    let (_, answer) = call(&server, Method::POST, "rooms/class/close", reason).await;

    let expected = json!({ "room": "class", "closed": true, "kicked": 2 });
    assert_eq!(answer, expected);

    assert_eq!(ann.close_code().await, 4003);
    let unsubscribed = find(&mut bob, "unsubscribed").await;
    assert_eq!(unsubscribed["room"], "class");
    assert_eq!(unsubscribed["code"], "room_closed");
    let rooms = list(&server, "rooms?prefix=class").await;
    assert_eq!(rooms["rooms"][0]["closed"], true);
}

#[tokio::test]
async fn a_closed_room_admits_no_clients_and_no_messages_until_it_is_opened() {
    let server = Server::start(&[]);
    publish(&server, "class", "kept").await;
    let reason = json!({ "reason": "the hour is over" });
    call(&server, Method::POST, "rooms/class/close", reason).await;

    let (message, code) = rejected(&server, "id=bob&room=class").await;
    assert_eq!(code, 4501);
    assert!(message.contains("closed"), "{message}");
    assert!(message.ends_with(": the hour is over"), "{message}");

    let publish = say(&server, "class", "ann").await;
    assert_eq!(publish, (403, json!("room_closed")));

    assert_eq!(say(&server, "other", "ann").await.0, 201);

    let history = get(&server, "/api/v1/rooms/class/messages").await;
    assert_eq!(history["messages"][0]["text"], "kept");

    let (_, answer) = call(&server, Method::POST, "rooms/class/open", json!({})).await;
    assert_eq!(answer["closed"], false);
    assert_eq!(say(&server, "class", "ann").await.0, 201);
    let history = get(&server, "/api/v1/rooms/class/messages").await;
    let messages = history["messages"].as_array().expect("a list");
    assert_eq!(messages.len(), 2, "nothing was stored while it was closed");
}

#[tokio::test]
async fn an_invalid_ban_is_rejected() {
    let server = Server::start(&[]);

    for body in [
        json!({}),
        json!({ "room": "class" }),
        json!({ "id": "eve", "address": "192.0.2.1" }),
        json!({ "id": "eve", "seconds": 0 }),
        json!({ "id": "eve", "reason": "two\nlines" }),
        json!({ "id": "eve", "reason": "x".repeat(201) }),
        json!({ "id": "eve", "for": "1h" }),
        json!({ "address": "here" }),
    ] {
        let (status, answer) = call(&server, Method::POST, "bans", body.clone()).await;

        assert_eq!(status, 422, "{body}");
        assert_eq!(answer["error"]["code"], "bad_body", "{body}");
    }

    let bans = list(&server, "bans").await;
    assert_eq!(bans, json!({ "bans": [], "closed": [] }));
}

#[tokio::test]
async fn lifting_an_invalid_ban_is_rejected() {
    let server = Server::start(&[]);

    for query in [
        "",
        "?id=eve&address=192.0.2.1",
        "?address=here",
        "?room=a%20b&id=eve",
    ] {
        let path = format!("bans{query}");
        let (status, _) = call(&server, Method::DELETE, &path, json!({})).await;

        assert_eq!(status, 400, "{query}");
    }
}
