//! The events besides messages: joins, leaves, and rooms that are occupied, vacated or closed.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::receiver::Answer;
use super::{Hooked, publish};
use crate::client::fetch;
use crate::eventually::{eventually, soon};

/// Returns the type, the room and the id of each frame.
fn summary(frames: &[Value]) -> Vec<(String, String, String)> {
    let text = |frame: &Value, field: &str| frame[field].as_str().unwrap_or_default().to_owned();
    let summary = |frame| (text(frame, "type"), text(frame, "room"), text(frame, "id"));
    frames.iter().map(summary).collect()
}

fn event(kind: &str, room: &str, id: &str) -> (String, String, String) {
    (kind.to_owned(), room.to_owned(), id.to_owned())
}

#[tokio::test]
async fn joins_leaves_and_occupied_and_vacated_rooms_are_delivered_and_marked_as_best_effort() {
    let Hooked { server, receiver } = Hooked::start(
        &["orders-*"],
        "events = [\"join\", \"leave\", \"occupied\", \"vacated\"]\n",
        &[],
    )
    .await;

    let ann = server.join_with("id=ann&room=orders-1").await;
    receiver.until_accepted(2).await;
    let _bob = server.join_with("id=bob&room=other").await;
    let cy = server.join_with("id=cy&room=orders-1").await;
    receiver.until_accepted(3).await;
    drop(ann);
    receiver.until_accepted(4).await;
    drop(cy);
    publish(&server, "orders-1", &["not for the hook"]).await;

    let frames = receiver.until_accepted(6).await;
    let expected = [
        event("occupied", "orders-1", ""),
        event("join", "orders-1", "ann"),
        event("join", "orders-1", "cy"),
        event("leave", "orders-1", "ann"),
        event("leave", "orders-1", "cy"),
        event("vacated", "orders-1", ""),
    ];
    assert_eq!(summary(&frames), expected);
    assert!(
        frames
            .iter()
            .all(|frame| frame["best_effort"] == true && frame["at"].is_u64())
    );
    let id = &receiver.deliveries()[0].headers["webhook-id"];
    assert!(id.to_str().expect("text").starts_with("events-"), "{id:?}");
}

#[tokio::test]
async fn a_room_that_is_closed_for_ever_is_an_event_beside_its_messages() {
    let Hooked { server, receiver } =
        Hooked::start(&["log"], "events = [\"message\", \"closed\"]\n", &[]).await;

    let stream = async |method, header: (&str, &str)| {
        let request = Client::new().request(method, server.url("/streams/log"));
        let answer = soon(request.header(header.0, header.1).send()).await;
        let answer = answer.expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
    };
    stream(Method::PUT, ("content-type", "text/plain")).await;
    publish(&server, "log", &["one"]).await;
    stream(Method::POST, ("stream-closed", "true")).await;

    let probe = async || receiver.accepted();
    let is_complete = |frames: &Vec<Value>| frames.len() >= 2;
    let frames = eventually(probe, is_complete).await;
    let closed = frames.iter().find(|frame| frame["type"] == "closed");
    let closed = closed.expect("an event");
    assert_eq!(
        (&closed["room"], &closed["offset"]),
        (&json!("log"), &json!(1))
    );
    assert!(frames.iter().any(|frame| frame["text"] == "one"));
}

#[tokio::test]
async fn an_event_that_is_refused_is_lost_and_delays_no_message() {
    let Hooked { server, receiver } =
        Hooked::start(&["orders"], "events = [\"message\", \"join\"]\n", &[]).await;

    receiver.answer(Answer::Status(500));
    let _ann = server.join_with("id=ann&room=orders").await;
    receiver.until_deliveries(1).await;
    receiver.answer(Answer::Status(200));
    publish(&server, "orders", &["one"]).await;

    let frames = receiver.until_accepted(1).await;
    assert_eq!(frames[0]["text"], "one", "{frames:?}");
    let url = format!("http://{}/api/v1/admin/hooks", server.ops);
    let (_, list) = fetch(Client::new().get(url)).await;
    assert_eq!(list["hooks"][0]["failures"], 0, "{list}");
}
