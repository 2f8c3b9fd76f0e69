//! Messages with a shape: text, JSON or bytes, a kind, and references to other messages. Over WebSocket and HTTP.

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::client::{fetch, get, publish};
use crate::eventually::soon;
use crate::harness::{Peer, Server};
use crate::typed::{find, join};

const MESSAGES: &str = "/api/v1/rooms/lobby/messages";

/// JSON as a client writes it, with a number that no double holds, and keys that are not sorted.
const WRITTEN: &str = r#"{ "b" : 12345678901234567890123, "a" : [ 1.50, "\u00e9 x" ] }"#;
/// The same as it is kept.
const KEPT: &str = r#"{"b":12345678901234567890123,"a":[1.50,"\u00e9 x"]}"#;

/// Returns a request that publishes the JSON object `message` in the lobby.
fn post(server: &Server, message: &str) -> RequestBuilder {
    Client::new()
        .post(server.url(MESSAGES))
        .header("content-type", "application/json")
        .body(message.to_owned())
}

/// Publishes the JSON object `message` over HTTP. Returns its offset.
async fn posted(server: &Server, message: &Value) -> u64 {
    let (status, answer) = fetch(post(server, &message.to_string())).await;
    assert_eq!(status, 201, "{answer}");
    answer["offset"].as_u64().expect("an offset")
}

/// Returns the body of the response to a GET of `path`, as text.
async fn body(server: &Server, path: &str) -> String {
    let response = soon(Client::new().get(server.url(path)).send()).await;
    let text = response.expect("an answer").text();
    soon(text).await.expect("text")
}

/// Returns the code and the message of the error for a `publish` frame with the fields `fields`.
async fn refused(peer: &mut Peer, fields: &str) -> (String, String) {
    peer.send(format!(r#"{{"type":"publish",{fields}}}"#)).await;
    let error = find(peer, "error").await;
    let field = |name: &str| error[name].as_str().expect("text").to_owned();
    (field("code"), field("message"))
}

/// Returns the status, the code and the message of the error for a publish over HTTP with the fields `fields`.
async fn refused_over_http(server: &Server, fields: &str) -> (u16, String, String) {
    let (status, answer) = fetch(post(server, &format!("{{{fields}}}"))).await;
    let field = |name: &str| answer["error"][name].as_str().expect("text").to_owned();
    (status, field("code"), field("message"))
}

#[tokio::test]
async fn json_reaches_every_reader_as_it_was_written_without_whitespace() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    let mut plain = server.join("bob").await;

    let frame = format!(r#"{{"type":"publish","json":{WRITTEN},"kind":"order.created"}}"#);
    ann.send(frame).await;
    let over_http = format!(r#"{{"json":{WRITTEN},"kind":"order.created"}}"#);
    assert_eq!(fetch(post(&server, &over_http)).await.0, 201);

    let content = format!(r#""json":{KEPT},"kind":"order.created""#);
    for _message in 0..2 {
        assert_eq!(plain.text().await, KEPT);
        let frame = soon(async {
            loop {
                let frame = ann.text().await;
                if frame.contains(r#""type":"message""#) {
                    return frame;
                }
            }
        });
        let frame = frame.await;
        assert!(frame.contains(&content), "{frame}");
    }

    // After a restart the messages are read from the database.
    server.log().await;
    let server = Server::start_in(data.path(), &[]);
    let history = body(&server, MESSAGES).await;
    assert_eq!(history.matches(&content).count(), 2, "{history}");
}

#[tokio::test]
async fn a_message_has_exactly_one_content() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;

    for (fields, part) in [
        (r#""kind":"a""#, "one of text, json and data"),
        (r#""text":"x","json":null"#, "has text and json"),
        (r#""json":1,"data":"AA==""#, "has json and data"),
        (r#""json":1,"json":2"#, "duplicate field `json`"),
        (r#""data":"?""#, "data is not base64"),
        (r#""text":"x","kind":"a b""#, "kind has the character ' '"),
    ] {
        let (code, message) = refused(&mut ann, fields).await;
        assert_eq!(code, "bad_field", "{fields}: {message}");
        assert!(message.contains(part), "{fields}: {message}");

        let (status, code, message) = refused_over_http(&server, fields).await;
        assert_eq!((status, code.as_str()), (422, "bad_body"), "{message}");
        assert!(message.contains(part), "{fields}: {message}");
    }

    assert_eq!(get(&server, MESSAGES).await["head"], 0);
}

#[tokio::test]
async fn json_that_a_client_could_not_read_is_refused_with_the_limit() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));

    for (json, part) in [
        (nested(121), "120 levels"),
        (nested(10_000), "120 levels"),
        ("1e999".to_owned(), "number out of range"),
        (r#""\ud800""#.to_owned(), "hex escape"),
    ] {
        let fields = format!(r#""json":{json}"#);
        let (_, message) = refused(&mut ann, &fields).await;
        assert!(message.contains(part), "{message}");

        let (status, _, message) = refused_over_http(&server, &fields).await;
        assert_eq!(status, 422, "{message}");
        assert!(message.contains(part), "{message}");
    }

    let deepest = format!(r#"{{"json":{}}}"#, nested(120));
    assert_eq!(fetch(post(&server, &deepest)).await.0, 201);
    find(&mut ann, "message").await;
    ann.send(json!({ "type": "history" }).to_string()).await;
    assert_eq!(
        find(&mut ann, "history").await["messages"][0]["offset"],
        1,
        "this client reads 127 levels"
    );
}

#[tokio::test]
async fn the_size_of_json_is_that_of_its_text_without_whitespace() {
    let server = Server::start(&["--max-message", "1KiB"]);
    let (mut ann, _) = join(&server, "id=ann").await;
    let list = |numbers: usize| vec!["1"; numbers].join(", ");

    let longest = format!(r#"{{"json":[{}, 11]}}"#, list(510));
    assert_eq!(fetch(post(&server, &longest)).await.0, 201);

    let too_long = format!(r#""json":[{}]"#, list(512));
    let (_, message) = refused(&mut ann, &too_long).await;
    assert!(
        message.contains(
            "json is 1025 bytes; the limit is 1024 (--max-message, or the rule of the room)"
        ),
        "{message}"
    );
    let (status, code, _) = refused_over_http(&server, &too_long).await;
    assert_eq!((status, code.as_str()), (413, "too_big"));
}

#[tokio::test]
async fn bytes_are_published_as_base64_or_as_the_body_of_a_request() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;

    ann.send(json!({ "type": "publish", "data": "AQL/" }).to_string())
        .await;
    let over_socket = find(&mut ann, "message").await;
    posted(&server, &json!({ "data": "AQL/", "key": "k" })).await;
    let over_http = find(&mut ann, "message").await;
    let raw = Client::new()
        .post(server.url(MESSAGES))
        .header("content-type", "application/octet-stream")
        .body(vec![1, 2, 255]);
    assert_eq!(fetch(raw).await.0, 201);
    let as_body = find(&mut ann, "message").await;

    for message in [&over_socket, &over_http, &as_body] {
        assert_eq!(message["data"], "AQL/", "{message}");
    }
    assert_eq!(over_http["key"], "k");
}

#[tokio::test]
async fn a_history_of_one_kind_has_pages_like_any_other() {
    let server = Server::start(&[]);
    for number in 1..=9 {
        let kind = if number % 3 == 0 { "third" } else { "other" };
        posted(
            &server,
            &json!({ "text": number.to_string(), "kind": kind }),
        )
        .await;
    }
    publish(&server, "lobby", "a message without a kind").await;

    for (query, texts, more) in [
        ("kind=third", vec!["3", "6", "9"], false),
        ("kind=third&limit=2", vec!["6", "9"], true),
        ("kind=third&limit=2&before=6", vec!["3"], false),
        ("kind=third&limit=1&after=3", vec!["6"], true),
        ("kind=third&after=3&before=9", vec!["6"], false),
        ("kind=third&q=6", vec!["6"], false),
        ("kind=fourth", vec![], false),
    ] {
        let page = get(&server, &format!("{MESSAGES}?{query}")).await;

        let messages = page["messages"].as_array().expect("a list");
        let found: Vec<_> = messages.iter().map(|message| &message["text"]).collect();
        assert_eq!(found, texts, "{query}");
        assert_eq!(page["more"], more, "{query}");
    }

    let (status, answer) =
        fetch(Client::new().get(server.url(&format!("{MESSAGES}?kind=a%20b")))).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (400, &json!("bad_parameter"))
    );
}

#[tokio::test]
async fn a_reply_names_any_message_that_the_room_has_had() {
    let server = Server::start(&["--history-messages", "1"]);
    let (mut ann, _) = join(&server, "id=ann").await;
    publish(&server, "lobby", "first").await;
    publish(&server, "lobby", "second").await;

    posted(
        &server,
        &json!({ "text": "to an expired message", "reply_to": 1 }),
    )
    .await;
    let frame = json!({ "type": "publish", "text": "to the newest", "reply_to": 3 });
    ann.send(frame.to_string()).await;

    for (text, reply_to) in [
        ("first", Value::Null),
        ("second", Value::Null),
        ("to an expired message", json!(1)),
        ("to the newest", json!(3)),
    ] {
        let message = find(&mut ann, "message").await;
        assert_eq!(
            (&message["text"], &message["reply_to"]),
            (&json!(text), &reply_to)
        );
    }

    for reply_to in [0, 5] {
        let fields = format!(r#""text":"x","reply_to":{reply_to}"#);
        let part = format!("reply_to is {reply_to}; it must be");
        let (code, message) = refused(&mut ann, &fields).await;
        assert_eq!(code, "bad_field");
        assert!(message.contains(&part), "{message}");

        let (status, code, message) = refused_over_http(&server, &fields).await;
        assert_eq!((status, code.as_str()), (422, "bad_body"));
        assert!(message.contains(&part), "{message}");
    }
}

#[tokio::test]
async fn a_refused_reply_does_not_hold_up_the_messages_around_it() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;

    for frame in [
        json!({ "type": "publish", "text": "one", "key": "1" }),
        json!({ "type": "publish", "text": "two", "key": "2", "reply_to": 99 }),
        json!({ "type": "publish", "text": "three", "key": "3" }),
    ] {
        ann.send(frame.to_string()).await;
    }

    let mut answers = Vec::new();
    while answers.len() < 3 {
        let frame = ann.json().await;
        if let ("ack" | "error", Some(key)) = (
            frame["type"].as_str().unwrap_or_default(),
            frame["key"].as_str(),
        ) {
            answers.push(format!("{key} {}", frame["offset"]));
        }
    }
    answers.sort();
    assert_eq!(answers, ["1 1", "2 null", "3 2"]);
}
