//! What operators see and do, on the ops listener and from a shell.

/// Taking back what was said.
mod deleting;
/// What passes over a connection.
mod tracing;
/// Bans and closed rooms.
mod keeping_out;
/// The page.
mod page;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::client::{Lines, ask, publish};
use crate::harness::{Server, soon};
use crate::metrics::until;
use crate::typed::{find, join, say};

/// Asks the ops listener for `path` under the admin API.
pub(crate) async fn call(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("http://{}/api/v1/admin/{path}", server.ops);
    ask(Client::new().request(method, url).json(&body)).await
}

pub(crate) async fn list(server: &Server, path: &str) -> Value {
    let (status, answer) = call(server, Method::GET, path, json!({})).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Waits until so many connections are listed.
async fn listed(server: &Server, count: usize) {
    soon(async {
        while each(&list(server, "connections").await["connections"], "number").len() < count {}
    })
    .await;
}

/// What `field` is in each of the `rows`.
fn each<'a>(rows: &'a Value, field: &str) -> Vec<&'a Value> {
    rows.as_array()
        .expect("rows")
        .iter()
        .map(|row| &row[field])
        .collect()
}

#[tokio::test]
async fn connections_are_listed_with_who_where_since_and_how_far_they_got() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann&room=class").await;
    // A number is given behind the handshake: one after the other, or they might be in another order.
    let _bob = server.join_with("id=bob&room=class").await;
    listed(&server, 2).await;
    let _eve = server.join_with("id=eve&room=other").await;
    listed(&server, 3).await;
    let _lines = Lines::open(&server, "").await;
    say(&mut ann, "hello", None).await;
    find(&mut ann, "message").await;
    let all = list(&server, "connections").await;
    assert_eq!(
        (each(&all["connections"], "number").len(), &all["more"]),
        (4, &json!(false))
    );
    assert_eq!(
        each(&all["connections"], "dialect"),
        ["fanfare.v1", "plain", "plain", "ndjson"]
    );
    let first = &all["connections"][0];
    for (field, value) in [
        ("number", welcome["connection"].clone()),
        ("id", json!("ann")),
        ("address", json!("127.0.0.1")),
        ("room", json!("class")),
        ("offset", json!(1)),
        ("behind", json!(0)),
        ("waiting", json!(0)),
    ] {
        assert_eq!(first[field], value, "{field} in {first}");
    }
    assert!(
        first["since"].as_u64().expect("a time") > 1_700_000_000_000,
        "{first}"
    );
    assert_eq!(
        all["connections"][3].get("id"),
        None,
        "a stream without an id is nobody"
    );
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

#[tokio::test]
async fn a_long_list_is_read_in_parts_and_each_connection_is_in_one_of_them() {
    let server = Server::start(&[]);
    let mut peers = Vec::new();
    for number in 0..7 {
        peers.push(
            server
                .join_with(&format!("id=u{number}&room=r{number}"))
                .await,
        );
    }
    drop(peers.remove(2));
    until(&server, "fanfare_connections", 6).await;
    for (what, place) in [("connections", "number"), ("rooms", "name")] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let after_that = if after.is_empty() {
                String::new()
            } else {
                format!("&after={after}")
            };
            let part = list(&server, &format!("{what}?limit=2{after_that}")).await;
            let places = each(&part[what], place);
            seen.extend(places.iter().map(ToString::to_string));
            after = places
                .last()
                .expect("a row")
                .to_string()
                .trim_matches('"')
                .to_owned();
            if part["more"] == false {
                break;
            }
        }
        let expected = if what == "rooms" { 7 } else { 6 };
        assert_eq!(
            (seen.len(), seen.is_sorted()),
            (expected, true),
            "{what}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn rooms_are_listed_in_figures() {
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
        assert_eq!(first[field], json!(value), "{field} in {first}");
    }
    assert!(first["ring_bytes"].as_u64().expect("a size") > 0);
}

#[tokio::test]
async fn whoever_is_kicked_is_told_4003_and_may_come_back() {
    let server = Server::start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann").await;
    let mut bob = server.join("bob").await;
    let mut both = [
        server.join_with("id=eve&room=a").await,
        server.join_with("id=eve&room=b").await,
    ];
    let mut lines = Lines::open(&server, "").await;
    let path = format!("connections/{}/kick", welcome["connection"]);
    assert_eq!(
        call(&server, Method::POST, &path, json!({})).await,
        (200, json!({ "kicked": 1 }))
    );
    assert_eq!(ann.close_code().await, 4003);
    let (status, answer) = call(&server, Method::POST, &path, json!({})).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (404, &json!("no_such_connection"))
    );
    let (_, answer) = call(
        &server,
        Method::POST,
        "connections/kick",
        json!({ "id": "eve" }),
    )
    .await;
    assert_eq!(answer, json!({ "kicked": 2 }));
    for peer in &mut both {
        assert_eq!(peer.close_code().await, 4003);
    }
    let (_, answer) = call(
        &server,
        Method::POST,
        "connections/kick",
        json!({ "room": "lobby" }),
    )
    .await;
    assert_eq!(answer, json!({ "kicked": 2 }), "bob, and the stream");
    assert_eq!(bob.close_code().await, 4003);
    while lines.line().await.is_some() {}
    until(&server, "fanfare_admin_acts_total{act=\"kick\"}", 5).await;
    until(
        &server,
        "fanfare_connections_closed_total{code=\"4003\"}",
        5,
    )
    .await;
    server.join("ann").await.leave().await;
    let log = server.log().await;
    assert!(
        log.contains("ops from 127.0.0.1") && log.contains("kicked"),
        "{log}"
    );
}

#[tokio::test]
async fn what_would_kick_everyone_by_mistake_is_refused() {
    let server = Server::start(&[]);
    let _ann = server.join("ann").await;
    for body in [
        json!({}),
        json!({ "ip": "127.0.0.1" }),
        json!({ "id": 7 }),
        json!([]),
    ] {
        let (status, answer) = call(&server, Method::POST, "connections/kick", body.clone()).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (422, &json!("bad_body")),
            "{body}"
        );
    }
    for path in [
        "connections?limit=0",
        "connections?address=here",
        "connections?after=x",
        "connections?room=A",
    ] {
        assert_eq!(
            call(&server, Method::GET, path, json!({})).await.0,
            400,
            "{path}"
        );
    }
    assert_eq!(
        each(&list(&server, "connections").await["connections"], "id"),
        ["ann"]
    );
}

#[tokio::test]
async fn no_page_and_nobody_on_the_public_listener_acts_in_an_operators_name() {
    let server = Server::start(&[]);
    let ops = format!("http://{}/api/v1/admin", server.ops);
    let client = Client::new();
    let kick = || client.post(format!("{ops}/connections/1/kick"));
    for (request, status) in [
        (kick().header("content-type", "text/plain").body("{}"), 415),
        (kick(), 415),
        (
            kick()
                .json(&json!({}))
                .header("origin", "http://evil.example"),
            403,
        ),
        (
            client
                .get(format!("{ops}/rooms"))
                .header("origin", "http://evil.example"),
            403,
        ),
        (client.get(server.url("/api/v1/admin/rooms")), 403),
        (
            client
                .post(server.url("/api/v1/admin/connections/kick"))
                .json(&json!({ "id": "ann" })),
            403,
        ),
    ] {
        assert_eq!(
            soon(request.send())
                .await
                .expect("an answer")
                .status()
                .as_u16(),
            status
        );
    }
}
