//! The admin API on the ops listener: lists, kicks, bans, closed rooms, deletions and traces; and the admin page.

/// Deleting messages.
mod deleting;
/// Tracing a connection.
mod tracing;
/// Bans and closed rooms.
mod bans;
/// Expiry, end and deletion of rooms.
mod room_life;
/// The page.
mod page;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::client::{Lines, fetch, publish};
use crate::eventually::{eventually, soon};
use crate::harness::Server;
use crate::metrics::until;
use crate::typed::{find, join, say};

/// Calls `path` of the admin API on the ops listener. Returns the status and the answer.
pub(crate) async fn call(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("http://{}/api/v1/admin/{path}", server.ops);
    fetch(Client::new().request(method, url).json(&body)).await
}

/// Returns the answer of a GET request, which must succeed.
pub(crate) async fn list(server: &Server, path: &str) -> Value {
    let (status, answer) = call(server, Method::GET, path, json!({})).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Waits until `count` connections are listed.
async fn listed(server: &Server, count: usize) {
    let connections = async || list(server, "connections").await["connections"].clone();
    eventually(connections, |rows| each(rows, "number").len() >= count).await;
}

/// Returns the value of `field` in each of the `rows`.
fn each<'a>(rows: &'a Value, field: &str) -> Vec<&'a Value> {
    let rows = rows.as_array().expect("rows");
    rows.iter().map(|row| &row[field]).collect()
}

#[tokio::test]
async fn connections_are_listed_with_their_client_room_and_progress() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann&room=class").await;
    // A connection gets its number after the handshake, so each one waits for the previous one.
    let _bob = server.join_with("id=bob&room=class").await;

    listed(&server, 2).await;

    let _eve = server.join_with("id=eve&room=other").await;
    listed(&server, 3).await;

    let _lines = Lines::open(&server, "").await;
    say(&mut ann, "hello", None).await;
    find(&mut ann, "message").await;

    let all = list(&server, "connections").await;

    assert_eq!(all["more"], false);
    let connections = &all["connections"];
    assert_eq!(
        each(connections, "dialect"),
        ["fanfare.v1", "plain", "plain", "ndjson"]
    );
    let first = &connections[0];
    for (field, value) in [
        ("number", welcome["connection"].clone()),
        ("id", json!("ann")),
        ("address", json!("127.0.0.1")),
        ("rooms", json!(["class"])),
        ("offset", json!(1)),
        ("behind", json!(0)),
        ("waiting", json!(0)),
    ] {
        assert_eq!(first[field], value, "{field} in {first}");
    }
    let since = first["since"].as_u64().expect("a time");
    assert!(since > 1_700_000_000_000, "{first}");
    assert_eq!(connections[3].get("id"), None, "a stream shows no id");
}

#[tokio::test]
async fn connections_are_filtered_by_room_id_and_address() {
    let server = Server::start(&[]);
    let _ann = server.join_with("id=ann&room=class").await;
    listed(&server, 1).await;
    let _bob = server.join_with("id=bob&room=class").await;
    let _eve = server.join_with("id=eve&room=other").await;
    listed(&server, 3).await;

    for (query, ids) in [
        ("room=class", &["ann", "bob"][..]),
        ("id=eve", &["eve"]),
        ("address=127.0.0.1&room=other", &["eve"]),
        ("address=192.0.2.1", &[]),
    ] {
        let some = list(&server, &format!("connections?{query}")).await;

        assert_eq!(each(&some["connections"], "id"), ids, "{query}");
    }
}

/// Reads all pages of the list `name` and returns the field `key` of each row.
async fn read_pages(server: &Server, name: &str, key: &str) -> Vec<Value> {
    let mut keys: Vec<Value> = Vec::new();
    loop {
        let after = match keys.last() {
            Some(Value::String(key)) => key.clone(),
            Some(key) => key.to_string(),
            None => String::new(),
        };
        let page = list(server, &format!("{name}?limit=2&after={after}")).await;

        keys.extend(each(&page[name], key).into_iter().cloned());
        if page["more"] == false {
            return keys;
        }
    }
}

#[tokio::test]
async fn a_long_list_is_read_in_pages() {
    let server = Server::start(&[]);
    let mut peers = Vec::new();
    for number in 0..7 {
        let query = format!("id=u{number}&room=r{number}");
        peers.push(server.join_with(&query).await);
    }
    listed(&server, 7).await;

    // An empty room without messages is soon removed.
    let rooms = read_pages(&server, "rooms", "name").await;
    drop(peers.remove(2));
    until(&server, "fanfare_connections", 6).await;
    let numbers = read_pages(&server, "connections", "number").await;

    let numbers: Vec<_> = numbers.iter().filter_map(Value::as_u64).collect();
    assert_eq!(numbers.len(), 6);
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(rooms, ["r0", "r1", "r2", "r3", "r4", "r5", "r6"]);
}

#[tokio::test]
async fn rooms_are_listed_with_their_members_connections_and_messages() {
    let server = Server::start(&[]);
    let _ann = server.join_with("id=ann&room=class-1").await;
    let _again = server.join_with("id=ann&room=class-1").await;
    publish(&server, "class-1", "one").await;
    publish(&server, "class-2", "two").await;
    publish(&server, "staff", "three").await;

    let rooms = list(&server, "rooms?prefix=class-").await;

    assert_eq!(each(&rooms["rooms"], "name"), ["class-1", "class-2"]);
    let first = &rooms["rooms"][0];
    for (field, value) in [
        ("members", 1),
        ("connections", 2),
        ("head", 1),
        ("first", 1),
        ("ring_messages", 1),
    ] {
        assert_eq!(first[field], value, "{field} in {first}");
    }
    assert!(first["ring_bytes"].as_u64().expect("a size") > 0);
}

#[tokio::test]
async fn a_connection_is_kicked_by_its_number_and_its_client_may_reconnect() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann").await;
    let path = format!("connections/{}/kick", welcome["connection"]);

    let (status, answer) = call(&server, Method::POST, &path, json!({})).await;

    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer, json!({ "kicked": 1 }));
    assert_eq!(ann.close_code().await, 4003);

    let (status, answer) = call(&server, Method::POST, &path, json!({})).await;
    assert_eq!(status, 404, "{answer}");
    assert_eq!(answer["error"]["code"], "no_such_connection");

    server.join("ann").await.leave().await;
}

#[tokio::test]
async fn connections_are_kicked_by_id_and_by_room_logged_and_counted() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob").await;
    let mut both = [
        server.join_with("id=eve&room=a").await,
        server.join_with("id=eve&room=b").await,
    ];
    let mut lines = Lines::open(&server, "").await;
    let kick = async |filter| {
        call(&server, Method::POST, "connections/kick", filter)
            .await
            .1
    };

    assert_eq!(kick(json!({ "id": "eve" })).await["kicked"], 2);
    for peer in &mut both {
        assert_eq!(peer.close_code().await, 4003);
    }

    assert_eq!(kick(json!({ "room": "lobby" })).await["kicked"], 2);
    assert_eq!(bob.close_code().await, 4003);
    while lines.line().await.is_some() {}

    until(&server, "fanfare_admin_acts_total{act=\"kick\"}", 4).await;
    let closed = "fanfare_connections_closed_total{code=\"4003\"}";
    until(&server, closed, 4).await;
    let log = server.log().await;
    assert!(log.contains("ops from 127.0.0.1"), "{log}");
    assert!(log.contains("kicked"), "{log}");
}

#[tokio::test]
async fn a_kick_without_a_valid_filter_is_rejected() {
    let server = Server::start(&[]);
    let _ann = server.join("ann").await;

    for body in [
        json!({}),
        json!({ "ip": "127.0.0.1" }),
        json!({ "id": 7 }),
        json!([]),
    ] {
        let (status, answer) = call(&server, Method::POST, "connections/kick", body.clone()).await;

        assert_eq!(status, 422, "{body}");
        assert_eq!(answer["error"]["code"], "bad_body", "{body}");
    }

    let all = list(&server, "connections").await;
    assert_eq!(each(&all["connections"], "id"), ["ann"]);
}

#[tokio::test]
async fn a_query_that_is_not_valid_is_rejected_and_names_its_field() {
    let server = Server::start(&[]);

    for (path, code, field) in [
        ("connections?limit=0", "bad_parameter", "limit"),
        ("connections?limit=x", "bad_parameter", "limit"),
        ("connections?address=here", "bad_parameter", "address"),
        ("connections?after=x", "bad_parameter", "after"),
        ("connections?room=a%20b", "bad_name", "room"),
        ("connections?id=", "bad_name", "id"),
        ("rooms?limit=1001", "bad_parameter", "limit"),
    ] {
        let (status, answer) = call(&server, Method::GET, path, json!({})).await;

        assert_eq!(status, 400, "{path}");
        assert_eq!(answer["error"]["code"], code, "{path}");
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains(field), "{path}: {message}");
    }

    list(&server, "connections?after=&limit=").await;
}

#[tokio::test]
async fn requests_from_other_pages_and_on_the_public_listener_are_rejected() {
    let server = Server::start(&[]);
    let ops = format!("http://{}/api/v1/admin", server.ops);
    let client = Client::new();
    let evil = "http://evil.example";
    let kick = || client.post(format!("{ops}/connections/1/kick"));
    let public_kick = client
        .post(server.url("/api/v1/admin/connections/kick"))
        .json(&json!({ "id": "ann" }));

    for (request, status) in [
        (kick().header("content-type", "text/plain").body("{}"), 415),
        (kick(), 415),
        (kick().json(&json!({})).header("origin", evil), 403),
        (
            client.get(format!("{ops}/rooms")).header("origin", evil),
            403,
        ),
        (client.get(server.url("/api/v1/admin/rooms")), 403),
        (public_kick, 403),
    ] {
        let answer = soon(request.send()).await.expect("an answer");

        assert_eq!(answer.status().as_u16(), status);
    }
}
