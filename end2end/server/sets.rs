//! Streams over sets of rooms and patterns.

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{Events, Lines, fetch, publish};
use crate::eventually::soon;
use crate::harness::Server;
use crate::metrics::figure;

/// Opens the stream of the rooms in `query` with `headers`.
async fn follow(server: &Server, query: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Client::new().get(server.url(&format!("/api/v1/stream?{query}")));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    soon(request.send()).await.expect("an answer")
}

/// Opens the stream of the rooms in `query` as JSON lines.
pub(crate) async fn lines(server: &Server, query: &str) -> Lines {
    Lines::of(follow(server, query, &[("accept", "application/x-ndjson")]).await)
}

/// Returns the status, the code and the message of the error of a stream of the rooms in `query`.
async fn refusal(server: &Server, query: &str) -> (u16, Value, String) {
    let request = Client::new().get(server.url(&format!("/api/v1/stream?{query}")));
    let (status, answer) = fetch(request).await;
    let message = answer["error"]["message"]
        .as_str()
        .expect("text")
        .to_owned();
    (status, answer["error"]["code"].clone(), message)
}

/// Publishes a message in each of `rooms`. Returns each room with the offset of its message.
async fn publish_in(server: &Server, rooms: &[&str]) -> Vec<Value> {
    let mut published = Vec::new();
    for room in rooms {
        let offset = publish(server, room, "x").await["offset"].clone();
        published.push(json!([room, offset]));
    }
    published
}

/// Returns the room and the offset of `message`.
fn place(message: &Value) -> Value {
    json!([message["room"], message["offset"]])
}

#[tokio::test]
async fn a_stream_of_rooms_and_patterns_is_in_the_order_of_offsets_and_has_no_other_room() {
    let server = Server::start(&[]);
    let mut published = publish_in(&server, &["a", "other", "b-1", "a", "b-2"]).await;
    let mut events = Events::of(follow(&server, "room=a&room=b-*&after=0", &[]).await);
    let mut lines = lines(&server, "room=b-*&room=a&room=a&after=0").await;

    published.extend(publish_in(&server, &["b-3", "a", "other", "b-1", "c"]).await);
    published.extend(publish_in(&server, &["a"]).await);

    published.retain(|place| !["other", "c"].map(Value::from).contains(&place[0]));
    for expected in published {
        assert_eq!(place(&events.next("message").await), expected);
        assert_eq!(place(&lines.next().await), expected);
    }
}

#[tokio::test]
async fn the_id_of_the_last_event_is_a_position_in_all_rooms() {
    let server = Server::start(&[]);
    let rooms: Vec<String> = (0..40).map(|number| format!("b-{}", number % 7)).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let query = "room=b-1&room=b-2&room=b-3*&room=b-4&after=0";
    let mut expected = publish_in(&server, &rooms).await;
    let selected = ["b-1", "b-2", "b-3", "b-4"].map(Value::from);
    expected.retain(|place| selected.contains(&place[0]));

    let mut events = Events::of(follow(&server, query, &[]).await);
    for expected in &expected {
        assert_eq!(place(&events.next("message").await), *expected);
        let seen = events.seen.clone();
        events = Events::of(follow(&server, query, &[("last-event-id", &seen)]).await);
        assert_eq!(events.seen, seen);
    }
}

#[tokio::test]
async fn several_rooms_and_patterns_that_are_all_read_from_the_store_are_in_order_and_read_together()
 {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);
    let rooms: Vec<String> = (0..600).map(|number| format!("b-{}", number % 5)).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    let mut expected = publish_in(&server, &rooms).await;
    expected.retain(|place| place[0] != "b-3");
    drop(server);

    let server = Server::start_in(data.path(), &[]);
    let query = "room=b-0&room=b-1*&room=b-2&room=b-4&room=cold-*&after=0";
    let mut lines = lines(&server, query).await;

    for expected in expected {
        assert_eq!(place(&lines.next().await), expected);
    }
    let reads = figure(&server, "fanfare_catch_ups_total").await;
    assert!(reads <= 40, "{reads} reads of the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_a_position_has_every_message_after_the_position_it_begins_at() {
    let server = Server::start(&[]);
    let rooms = ["a", "b", "c"];

    for round in 0..20 {
        let publishing = publish_in(&server, &rooms);
        let following = follow(&server, "room=c&room=b&room=a*", &[]);
        let (published, response) = futures::join!(publishing, following);
        let mut events = Events::of(response);
        let (_, start) = events.seen.split_once(':').expect("a position");
        let start: u64 = start.parse().expect("an offset");

        let end = publish_in(&server, &["a"]).await;
        for expected in published.into_iter().chain(end) {
            if expected[1].as_u64() > Some(start) {
                assert_eq!(
                    place(&events.next("message").await),
                    expected,
                    "round {round}"
                );
            }
        }
    }
}

#[tokio::test]
async fn expired_messages_of_one_room_are_a_gap_with_its_name() {
    let server = Server::start(&["--history-messages", "2"]);
    let first = publish(&server, "a", "1").await;
    publish_in(&server, &["a", "a", "a", "b"]).await;

    let position = format!(
        "after={}&epoch={}",
        first["offset"],
        first["epoch"].as_str().expect("text")
    );
    let mut events = Events::of(follow(&server, &format!("room=b&room=a&{position}"), &[]).await);

    let gap = events.next("gap").await;
    assert_eq!(gap["room"], "a");
    assert_eq!(gap["count"], 1);
    for (room, offset) in [("a", 3), ("a", 4), ("b", 5)] {
        assert_eq!(place(&events.next("message").await), json!([room, offset]));
    }
}

#[tokio::test]
async fn a_stream_has_at_least_one_room_and_at_most_max_subscriptions() {
    let server = Server::start(&["--max-subscriptions", "2"]);

    let (status, code, message) = refusal(&server, "after=0").await;
    assert_eq!((status, code), (400, json!("bad_parameter")));
    assert!(message.contains("?room=lobby&room=builds-*"), "{message}");

    let (status, code, message) = refusal(&server, "room=a&room=b&room=c").await;
    assert_eq!((status, code), (400, json!("bad_parameter")));
    assert!(
        message.contains("limit is 2 (--max-subscriptions)"),
        "{message}"
    );

    let (status, code, message) = refusal(&server, "room=a&room=b%20c").await;
    assert_eq!((status, code), (400, json!("bad_name")));
    assert!(message.contains("' '"), "{message}");
}

#[tokio::test]
async fn a_closed_room_in_the_set_refuses_the_stream_and_is_named() {
    let server = Server::start(&[]);
    let (status, _) = call(&server, Method::POST, "rooms/b/close", json!({})).await;
    assert_eq!(status, 200);

    let (status, code, message) = refusal(&server, "room=a&room=b").await;

    assert_eq!((status, code), (403, json!("room_closed")));
    assert!(message.starts_with("room b: "), "{message}");
    assert_eq!(follow(&server, "room=a", &[]).await.status().as_u16(), 200);
}
