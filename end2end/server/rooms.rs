//! The list of rooms over HTTP.

use reqwest::Client;
use serde_json::{Value, json};

use crate::client::{fetch, get, publish};
use crate::harness::Server;
use crate::nats::Nats;
use crate::typed::join;

/// Returns the names of the rooms in a list, and true if there are more.
fn names(list: &Value) -> (Vec<&str>, bool) {
    let rooms = list["rooms"].as_array().expect("a list").iter();
    let names = rooms.map(|room| room["room"].as_str().expect("a name"));
    (names.collect(), list["more"].as_bool().expect("a bool"))
}

/// Publishes in some rooms of `server` and checks the list of them.
async fn list_rooms(server: &Server) {
    for room in ["runs%2F7", "b-2", "b-1", "b-1"] {
        publish(server, room, "x").await;
    }

    for (query, expected, more) in [
        ("", vec!["b-1", "b-2", "runs/7"], false),
        ("?prefix=b-", vec!["b-1", "b-2"], false),
        ("?prefix=b-&limit=1", vec!["b-1"], true),
        ("?limit=1&after=b-1", vec!["b-2"], true),
        ("?after=b-2&prefix=", vec!["runs/7"], false),
        ("?prefix=x", vec![], false),
    ] {
        let list = get(server, &format!("/api/v1/rooms{query}")).await;
        assert_eq!(names(&list), (expected, more), "{query}");
    }
}

#[tokio::test]
async fn rooms_are_listed_by_name_from_sqlite() {
    list_rooms(&Server::start(&[])).await;
}

#[tokio::test]
async fn rooms_are_listed_by_name_from_memory() {
    list_rooms(&Server::start(&["--store", "memory"])).await;
}

#[tokio::test]
async fn rooms_are_listed_by_name_from_nats() {
    let nats = Nats::start().await;

    let [node] = nats.nodes();
    list_rooms(&node).await;
}

#[tokio::test]
async fn a_listed_room_is_described_as_it_is_alone() {
    let server = Server::start(&["--history-messages", "2"]);
    let (_ann, _) = join(&server, "id=ann&room=b-1").await;
    for text in ["1", "2", "3"] {
        publish(&server, "b-1", text).await;
    }
    let close = format!("http://{}/api/v1/admin/rooms/b-1/close", server.ops);
    let (status, _) = fetch(Client::new().post(close).json(&json!({}))).await;
    assert_eq!(status, 200);

    let list = get(&server, "/api/v1/rooms").await;

    let alone = get(&server, "/api/v1/rooms/b-1").await;
    assert_eq!(list, json!({ "rooms": [alone], "more": false }));
    assert_eq!(alone["closed"], true);
}

#[tokio::test]
async fn a_room_with_members_and_no_message_is_listed_too() {
    let server = Server::start(&[]);
    publish(&server, "a", "x").await;
    publish(&server, "c", "x").await;
    let (_ann, joined) = join(&server, "id=ann&room=b").await;

    let list = get(&server, "/api/v1/rooms?limit=2").await;

    assert_eq!(names(&list), (vec!["a", "b"], true));
    let expected = json!({
        "room": "b", "epoch": joined["epoch"], "first": 0, "head": 0, "count": 1, "closed": false,
        "content_type": null, "expires_at": null,
    });
    assert_eq!(list["rooms"][1], expected);
}

#[tokio::test]
async fn an_invalid_prefix_name_or_limit_is_refused() {
    let server = Server::start(&[]);

    for (query, code) in [
        ("prefix=a%20b", "bad_name"),
        ("prefix=a*", "bad_name"),
        ("limit=0", "bad_parameter"),
        ("limit=1001", "bad_parameter"),
        ("after=a%20b", "bad_parameter"),
    ] {
        let request = Client::new().get(server.url(&format!("/api/v1/rooms?{query}")));
        let (status, answer) = fetch(request).await;
        assert_eq!(
            (status, answer["error"]["code"].as_str()),
            (400, Some(code)),
            "{query}"
        );
    }
}
