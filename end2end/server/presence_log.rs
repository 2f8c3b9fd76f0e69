//! Joins and leaves as messages, in rooms whose rule has `presence = "log"`.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{fetch, get};
use crate::eventually::{eventually, soon};
use crate::harness::Server;
use crate::hooks::receiver::{Answer, Receiver};
use crate::hooks::{hook, start};
use crate::typed::{find, join};

/// The rule of these tests.
pub(crate) const RULE: &str = "[[rooms]]\nmatch = \"orders-*\"\npresence = \"log\"\n";

/// Returns the kind and the sender of each message in `room`, and checks that the JSON names the sender.
pub(crate) async fn log(server: &Server, room: &str) -> Vec<(String, String)> {
    let page = get(server, &format!("/api/v1/rooms/{room}/messages?after=0")).await;
    let messages = page["messages"].as_array().expect("a list");
    messages.iter().map(entry).collect()
}

/// Returns the kind and the sender of `message`.
fn entry(message: &Value) -> (String, String) {
    let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
    if message["kind"].is_string() {
        assert_eq!(message["json"], json!({ "id": message["from"] }));
    }
    (text("kind"), text("from"))
}

/// Waits until `room` has `expected`, each written as `join ann`, and nothing else.
pub(crate) async fn until(server: &Server, room: &str, expected: &[&str]) {
    let expected = entries(expected);
    eventually(
        async || log(server, room).await,
        |found| found.len() >= expected.len(),
    )
    .await;
    assert_eq!(log(server, room).await, expected);
}

fn entries(texts: &[&str]) -> Vec<(String, String)> {
    let entry = |text: &&str| {
        let (kind, id) = text.split_once(' ').expect("a kind and an id");
        (format!("fanfare.{kind}"), id.to_owned())
    };
    texts.iter().map(entry).collect()
}

/// Returns the settings of a server with [`RULE`] and a hook that gets everything at `receiver`.
fn with_hook(receiver: &Receiver) -> String {
    RULE.to_owned()
        + &hook("all", &receiver.url(), &["orders-*"])
        + "events = [\"message\", \"join\", \"leave\"]\n"
}

#[tokio::test]
async fn the_first_connection_of_a_user_is_a_join_and_the_end_of_the_last_one_a_leave() {
    for store in ["memory", "sqlite:fanfare.db"] {
        let data = tempfile::tempdir().expect("a folder");
        let server = start(data.path(), RULE, &["--store", store]);

        let ann = server.join_with("id=ann&room=orders-1").await;
        until(&server, "orders-1", &["join ann"]).await;
        let second = server.join_with("id=ann&room=orders-1").await;
        let bob = server.join_with("id=bob&room=orders-1").await;
        let _cleo = server.join_with("id=cleo&room=lobby").await;
        until(&server, "orders-1", &["join ann", "join bob"]).await;
        drop((ann, bob));
        until(&server, "orders-1", &["join ann", "join bob", "leave bob"]).await;
        drop(second);

        let all = ["join ann", "join bob", "leave bob", "leave ann"];
        until(&server, "orders-1", &all).await;
        assert_eq!(log(&server, "lobby").await, []);
    }
}

#[tokio::test]
async fn every_reader_of_the_room_gets_the_message_of_a_join() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), RULE, &[]);

    let (mut ann, _) = join(&server, "id=ann&room=orders-1").await;

    let message = find(&mut ann, "message").await;
    assert_eq!(entry(&message), entries(&["join ann"])[0]);
    let page = soon(reqwest::get(server.url("/r/orders-1"))).await;
    let html = soon(page.expect("an answer").text()).await.expect("text");
    assert!(
        html.contains("<p class=\"text event\">joined</p>"),
        "{html}"
    );
}

#[tokio::test]
async fn a_hook_gets_the_joins_and_leaves_of_an_outage_of_its_receiver_once() {
    let data = tempfile::tempdir().expect("a folder");
    let receiver = Receiver::start().await;
    let server = start(data.path(), &with_hook(&receiver), &[]);

    receiver.answer(Answer::Status(500));
    let ann = server.join_with("id=ann&room=orders-1").await;
    until(&server, "orders-1", &["join ann"]).await;
    drop(ann);
    until(&server, "orders-1", &["join ann", "leave ann"]).await;
    server.log().await;
    let server = start(data.path(), &with_hook(&receiver), &[]);
    receiver.answer(Answer::Status(200));
    crate::client::publish(&server, "orders-2", "last").await;

    let probe = async || receiver.accepted();
    let is_complete =
        |frames: &Vec<Value>| frames.last().is_some_and(|last| last["text"] == "last");
    let frames = eventually(probe, is_complete).await;
    let found: Vec<_> = frames[..2].iter().map(entry).collect();
    assert_eq!(found, entries(&["join ann", "leave ann"]));
    assert_eq!(frames.len(), 3, "{frames:?}");
}

#[tokio::test]
async fn users_who_do_not_return_after_a_kill_of_the_server_have_left() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), RULE, &[]);
    let _ann = server.join_with("id=ann&room=orders-1").await;
    until(&server, "orders-1", &["join ann"]).await;
    let _bob = server.join_with("id=bob&room=orders-1").await;
    until(&server, "orders-1", &["join ann", "join bob"]).await;

    server.signal("KILL");
    server.end().await;
    let server = start(data.path(), RULE, &[]);
    let _bob = server.join_with("id=bob&room=orders-1").await;

    until(&server, "orders-1", &["join ann", "join bob", "leave ann"]).await;
}

#[tokio::test]
async fn clients_cannot_send_messages_and_signals_of_the_kinds_of_the_server() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;

    for kind in ["fanfare.join", "fanfare.leave", "fanfare.other"] {
        for frame_type in ["publish", "signal"] {
            let frame = json!({ "type": frame_type, "room": "lobby", "json": { "id": "bob" }, "kind": kind });
            ann.send(frame.to_string()).await;
            let error = find(&mut ann, "error").await;
            assert_eq!(error["code"], "bad_field", "{error}");
            assert!(error["message"].to_string().contains("reserved"), "{error}");
        }

        let message = json!({ "json": { "id": "bob" }, "kind": kind, "from": "bob" });
        for (path, body, media_type) in [
            ("messages", message.to_string(), "application/json"),
            (
                "messages",
                format!("{{\"text\":\"x\"}}\n{message}\n"),
                "application/x-ndjson",
            ),
            ("signals", message.to_string(), "application/json"),
        ] {
            let url = server.url(&format!("/api/v1/rooms/lobby/{path}"));
            let request = Client::new().post(url).header("content-type", media_type);
            let (status, answer) = fetch(request.body(body)).await;
            assert_eq!(status, 422, "{answer}");
            assert!(
                answer["error"]["message"].to_string().contains("reserved"),
                "{answer}"
            );
        }
    }
    assert_eq!(log(&server, "lobby").await, []);
}

#[tokio::test]
async fn a_stream_and_a_deleted_room_get_no_joins_and_leaves() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start(data.path(), RULE, &[]);
    let put = Client::new()
        .put(server.url("/streams/orders-stream"))
        .header("content-type", "text/plain");
    assert_eq!(soon(put.send()).await.expect("an answer").status(), 201);

    let _reader = server.join_with("id=ann&room=orders-stream").await;
    let member = server.join_with("id=ann&room=orders-deleted").await;
    until(&server, "orders-deleted", &["join ann"]).await;
    let (status, answer) = call(&server, Method::DELETE, "rooms/orders-deleted", json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let witness = server.join_with("id=bob&room=orders-other").await;
    until(&server, "orders-other", &["join bob"]).await;
    drop((member, witness));
    until(&server, "orders-other", &["join bob", "leave bob"]).await;

    assert_eq!(log(&server, "orders-stream").await, []);
    assert_eq!(log(&server, "orders-deleted").await, []);
}
