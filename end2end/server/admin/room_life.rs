//! The life of a room, changed by an operator: its expiry, its content type, its end and its deletion.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::call;
use crate::client::{fetch, get, publish};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::typed::{find, join, next, say};

/// The stores in which the life of a room can be changed.
const STORES: [&str; 2] = ["memory", "sqlite:fanfare.db"];

async fn change(server: &Server, room: &str, life: Value) -> (u16, Value) {
    call(server, Method::PATCH, &format!("rooms/{room}"), life).await
}

async fn delete(server: &Server, room: &str) -> (u16, Value) {
    call(server, Method::DELETE, &format!("rooms/{room}"), json!({})).await
}

/// Returns the milliseconds since 1970.
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_millis() as u64
}

/// Returns the status of the stream `name`.
async fn head(server: &Server, name: &str) -> u16 {
    let response = Client::new().head(server.url(&format!("/streams/{name}")));
    response.send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn a_room_that_an_operator_ends_accepts_no_more_messages_and_tells_its_readers() {
    for store in STORES {
        let server = Server::start(&["--store", store]);
        let (mut ann, _) = join(&server, "id=ann").await;
        publish(&server, "lobby", "last").await;

        let (status, life) = change(&server, "lobby", json!({ "end": true })).await;

        assert_eq!(status, 200, "{life}");
        let expected = json!({
            "room": "lobby", "content_type": null, "expiry": "never", "expires_at": null, "ended": true
        });
        assert_eq!(life, expected);
        assert_eq!(find(&mut ann, "message").await["text"], "last");
        assert_eq!(find(&mut ann, "closed").await["offset"], 1);
        say(&mut ann, "late", None).await;
        assert_eq!(next(&mut ann, "error").await["code"], "stream_closed");

        // To open a room undoes a closing, not its end.
        let (status, _) = call(&server, Method::POST, "rooms/lobby/open", json!({})).await;
        assert_eq!(status, 200);
        assert_eq!(get(&server, "/api/v1/rooms/lobby").await["closed"], true);
    }
}

#[tokio::test]
async fn a_room_that_an_operator_deletes_is_gone_with_its_messages() {
    for store in STORES {
        let server = Server::start(&["--store", store]);
        let (mut ann, _) = join(&server, "id=ann").await;
        publish(&server, "lobby", "gone").await;

        let (status, deleted) = delete(&server, "lobby").await;

        assert_eq!((status, deleted), (200, json!({ "room": "lobby" })));
        assert_eq!(find(&mut ann, "unsubscribed").await["code"], "room_deleted");
        let page = get(&server, "/api/v1/rooms/lobby/messages?after=0").await;
        assert_eq!(page["messages"], json!([]));
        let (status, error) = delete(&server, "lobby").await;
        assert_eq!(
            (status, &error["error"]["code"]),
            (404, &json!("no_such_room"))
        );
    }
}

#[tokio::test]
async fn an_expiry_that_an_operator_sets_is_shown_and_deletes_the_room() {
    for store in STORES {
        let server = Server::start(&["--store", store]);
        publish(&server, "lobby", "x").await;
        publish(&server, "kept", "x").await;

        let ttl = json!({ "expiry": { "ttl": 1000 } });
        let (status, life) = change(&server, "lobby", ttl.clone()).await;
        assert_eq!((status, &life["expiry"]), (200, &ttl["expiry"]), "{life}");
        assert_eq!(life["content_type"], Value::Null, "it is trimmed as before");
        let shown = get(&server, "/api/v1/rooms/lobby").await;
        let listed = get(&server, "/api/v1/rooms?prefix=lobby").await;
        // The time is computed for each answer from two clocks, so it is not the same to the millisecond.
        for room in [&life, &shown, &listed["rooms"][0]] {
            assert!(room["expires_at"].as_u64() > Some(unix_millis()), "{room}");
        }

        let past = json!({ "expiry": { "at": 1 } });
        assert_eq!(change(&server, "lobby", past).await.0, 200);
        assert_eq!(head(&server, "lobby").await, 404);

        assert_eq!(change(&server, "kept", ttl).await.0, 200);
        let (_, life) = change(&server, "kept", json!({ "expiry": "never" })).await;
        assert_eq!(
            (&life["expiry"], &life["expires_at"]),
            (&json!("never"), &Value::Null)
        );
        assert_eq!(head(&server, "kept").await, 200);
    }
}

#[tokio::test]
async fn a_stream_with_a_ttl_shows_when_it_expires_and_an_operator_replaces_it() {
    for store in STORES {
        let server = Server::start(&["--store", store]);
        let request = Client::new().put(server.url("/streams/s"));
        let request = request.header("stream-ttl", "600");
        let created = request.header("content-type", "text/plain").send().await;
        assert_eq!(created.expect("an answer").status().as_u16(), 201);

        let room = get(&server, "/api/v1/rooms/s").await;
        let expires_at = room["expires_at"].as_u64().expect("a time");
        let ttl = json!({ "expiry": { "ttl": 6000 } });
        let (_, life) = change(&server, "s", ttl).await;

        assert!(
            life["expires_at"].as_u64() > Some(expires_at),
            "{life} {room}"
        );
        let head = Client::new().head(server.url("/streams/s")).send().await;
        assert_eq!(head.expect("an answer").headers()["stream-ttl"], "6000");
    }
}

#[tokio::test]
async fn a_room_with_a_content_type_becomes_a_stream_that_keeps_its_messages() {
    for store in STORES {
        let server = Server::start(&["--store", store, "--history-messages", "2"]);
        publish(&server, "lobby", "1").await;

        let life = json!({ "content_type": "text/plain" });
        assert_eq!(change(&server, "lobby", life).await.0, 200);
        for text in ["2", "3"] {
            publish(&server, "lobby", text).await;
        }

        let read = async || {
            let response = reqwest::get(server.url("/streams/lobby")).await;
            response.expect("an answer").text().await.expect("text")
        };
        eventually(read, |body| body == "123").await;
        let room = get(&server, "/api/v1/rooms/lobby").await;
        assert_eq!(
            (&room["content_type"], &room["first"]),
            (&json!("text/plain"), &json!(1))
        );
    }
}

#[tokio::test]
async fn a_changed_life_outlasts_the_process() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);
    for room in ["ended", "dated"] {
        publish(&server, room, "x").await;
    }
    change(&server, "ended", json!({ "end": true })).await;
    let (_, life) = change(
        &server,
        "dated",
        json!({ "expiry": { "at": 4_000_000_000_000_u64 } }),
    )
    .await;
    drop(server);

    let server = Server::start_in(data.path(), &[]);

    assert_eq!(get(&server, "/api/v1/rooms/ended").await["closed"], true);
    let dated = get(&server, "/api/v1/rooms/dated").await;
    assert_eq!(dated["expires_at"], life["expires_at"]);
    assert_eq!(dated["content_type"], Value::Null);
}

#[tokio::test]
async fn a_change_of_a_life_that_is_not_valid_is_refused() {
    let server = Server::start(&[]);
    publish(&server, "lobby", "x").await;

    for life in [
        json!({ "expiry": { "ttl": -1 } }),
        json!({ "expiry": { "ttl": 1, "at": 1 } }),
        json!({ "content_type": "text" }),
        json!({ "closed": true }),
    ] {
        let (status, error) = change(&server, "lobby", life).await;
        assert_eq!(
            (status, &error["error"]["code"]),
            (422, &json!("bad_body")),
            "{error}"
        );
    }
    let (status, error) = change(&server, "nobody", json!({ "end": true })).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (404, &json!("no_such_room"))
    );
    let url = server.url("/api/v1/admin/rooms/lobby");
    let request = Client::new()
        .delete(url)
        .header("content-type", "application/json");
    let (status, _) = fetch(request).await;
    assert_eq!(status, 403, "only on the ops listener without tokens");
}
