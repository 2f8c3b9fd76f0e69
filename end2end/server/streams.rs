//! The Durable Streams protocol. The protocol's own conformance suite is in `end2end/streams`; these tests show that a stream is
//! a room like any other, and what happens to its readers.

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::admin::call;
use crate::client::{Events, Lines, get, publish};
use crate::eventually::{eventually, soon};
use crate::harness::{Server, program};
use crate::typed::{find, join, next, say};

/// The settings of a stream of text.
pub(crate) const TEXT: &[(&str, &str)] = &[("content-type", "text/plain")];
pub(crate) const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
pub(crate) const CLOSE: &[(&str, &str)] = &[("stream-closed", "true")];

/// Sends a request about the stream `name`.
pub(crate) async fn request(
    server: &Server,
    method: Method,
    name: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let url = server.url(&format!("/streams/{name}"));
    let mut request = Client::new().request(method, url).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    soon(request.send()).await.expect("an answer")
}

pub(crate) async fn put(server: &Server, name: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let response = request(server, Method::PUT, name, headers, body).await;
    response.status().as_u16()
}

pub(crate) async fn post(server: &Server, name: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let response = request(server, Method::POST, name, headers, body).await;
    response.status().as_u16()
}

pub(crate) async fn delete(server: &Server, name: &str) -> u16 {
    let response = request(server, Method::DELETE, name, &[], "").await;
    response.status().as_u16()
}

/// Returns the status, the code of the error if there is one, and the body.
pub(crate) async fn read(server: &Server, name: &str) -> (u16, String) {
    let response = request(server, Method::GET, name, &[], "").await;
    let status = response.status().as_u16();
    (status, soon(response.text()).await.expect("text"))
}

/// Returns the code of an error response.
async fn code(response: Response) -> String {
    let error: Value = soon(response.json()).await.expect("JSON");
    error["error"]["code"].as_str().expect("a code").to_owned()
}

#[tokio::test]
async fn a_stream_is_a_room_whose_messages_every_reader_gets_until_it_is_closed() {
    let server = Server::start(&[]);
    assert_eq!(put(&server, "lobby", JSON, "").await, 201);
    let (mut typed, welcome) = join(&server, "id=ann").await;
    let mut plain = server.join("bob").await;
    let mut events = Events::open(&server, "").await;
    let mut lines = Lines::open(&server, "").await;
    assert_eq!(welcome["closed"], false);

    post(&server, "lobby", JSON, r#"[{"n":1},{"n":2}]"#).await;
    say(&mut typed, "three", None).await;
    find(&mut typed, "message").await;
    next(&mut typed, "message").await;
    next(&mut typed, "message").await;
    let end = [JSON, CLOSE].concat();
    assert_eq!(post(&server, "lobby", &end, "4").await, 204);

    // The last message precedes the end for every reader.
    assert_eq!(find(&mut typed, "message").await["json"], 4);
    let closed = json!({ "type": "closed", "room": "lobby", "offset": 4 });
    assert_eq!(next(&mut typed, "closed").await, closed);
    for expected in [r#"{"n":1}"#, r#"{"n":2}"#, "three", "4"] {
        assert_eq!(plain.text().await, expected);
    }
    assert_eq!(plain.close_code().await, 1000);
    for offset in 1..=4 {
        assert_eq!(events.next("message").await["offset"], offset);
        assert_eq!(lines.next().await["offset"], offset);
    }
    assert_eq!(events.next("closed").await, closed);
    assert!(events.event().await.is_none(), "the stream ends");
    assert_eq!(lines.next().await, closed);
    assert_eq!(lines.line().await, None);
    let body = r#"[{"n":1},{"n":2},"three",4]"#;
    assert_eq!(read(&server, "lobby").await, (200, body.to_owned()));
}

#[tokio::test]
async fn a_closed_room_refuses_messages_of_every_kind() {
    let server = Server::start(&[]);
    put(&server, "s", TEXT, "all").await;
    post(&server, "s", CLOSE, "").await;

    let (mut ann, welcome) = join(&server, "id=ann&room=s&after=0").await;
    assert_eq!(welcome["closed"], true);
    assert_eq!(next(&mut ann, "message").await["text"], "all");
    next(&mut ann, "closed").await;
    say(&mut ann, "late", Some("k")).await;
    let error = next(&mut ann, "error").await;
    assert_eq!(error["code"], "stream_closed");
    assert_eq!(error["retry"], false);

    let url = server.url("/api/v1/rooms/s/messages");
    let posted = soon(Client::new().post(url).body("late").send()).await;
    let response = posted.expect("an answer");
    assert_eq!(response.status().as_u16(), 409);
    assert_eq!(code(response).await, "stream_closed");

    let room = get(&server, "/api/v1/rooms/s").await;
    assert_eq!(room["closed"], true);
    assert_eq!(room["content_type"], "text/plain");
    assert_eq!(read(&server, "s").await.1, "all");
}

#[tokio::test]
async fn the_readers_of_a_deleted_room_are_told_and_its_name_is_free() {
    let server = Server::start(&[]);
    put(&server, "s", TEXT, "old").await;
    let (mut ann, _) = join(&server, "id=ann&room=s").await;
    let mut plain = server.join_with("id=bob&room=s").await;

    assert_eq!(delete(&server, "s").await, 204);

    assert_eq!(next(&mut ann, "unsubscribed").await["code"], "room_deleted");
    assert_eq!(plain.close_code().await, 1000);
    assert_eq!(read(&server, "s").await.0, 404);
    assert_eq!(put(&server, "s", TEXT, "new").await, 201);
    assert_eq!(read(&server, "s").await, (200, "new".to_owned()));
    let (mut ann, _) = join(&server, "id=ann&room=s&after=0").await;
    assert_eq!(next(&mut ann, "message").await["offset"], 2);
}

#[tokio::test]
async fn any_room_can_be_read_as_a_stream_but_only_its_admins_can_end_it() {
    let server = Server::start(&[]);
    assert_eq!(read(&server, "lobby").await.0, 404);
    publish(&server, "lobby", "hello").await;

    let (status, body) = read(&server, "lobby").await;
    let messages: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(messages[0]["type"], "message");
    assert_eq!(messages[0]["text"], "hello");
    assert_eq!(post(&server, "lobby", JSON, "{}").await, 204);

    assert_eq!(delete(&server, "lobby").await, 403);
    assert_eq!(post(&server, "lobby", CLOSE, "").await, 403);
    assert_eq!(put(&server, "lobby", JSON, "").await, 200);
    assert_eq!(put(&server, "lobby", TEXT, "").await, 409);
}

#[tokio::test]
async fn a_long_append_of_bytes_is_several_messages_and_the_same_bytes() {
    let server = Server::start(&["--max-message", "1KiB"]);
    put(&server, "text", TEXT, "").await;
    put(&server, "json", JSON, "").await;
    let long = "日本".repeat(1000);

    assert_eq!(post(&server, "text", TEXT, &long).await, 204);
    let long_json = format!("[{}]", json!(long));
    assert_eq!(post(&server, "json", JSON, &long_json).await, 413);

    assert_eq!(read(&server, "text").await.1, long);
    let room = get(&server, "/api/v1/rooms/text/messages").await;
    assert_eq!(room["messages"].as_array().map(Vec::len), Some(6));
}

/// Returns the header `name` of `response`.
pub(crate) fn header(response: &Response, name: &str) -> String {
    let value = &response.headers()[name];
    value.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_reader_that_has_everything_gets_304_until_there_is_more_or_the_stream_ends() {
    let server = Server::start(&[]);
    put(&server, "s", TEXT, "one").await;
    let read = async |known: &str| {
        let known = [("if-none-match", known)];
        request(&server, Method::GET, "s", &known, "").await
    };

    let first = header(&read("\"none\"").await, "etag");
    let same = read(&first).await;
    assert_eq!(same.status().as_u16(), 304);
    assert_eq!(header(&same, "etag"), first);
    assert_eq!(soon(same.text()).await.expect("text"), "");

    post(&server, "s", TEXT, "two").await;
    let more = read(&first).await;
    let second = header(&more, "etag");
    assert_eq!(more.status().as_u16(), 200);
    assert_eq!(soon(more.text()).await.expect("text"), "onetwo");

    post(&server, "s", CLOSE, "").await;
    let ended = read(&second).await;
    assert_eq!(ended.status().as_u16(), 200);
    assert_eq!(header(&ended, "stream-closed"), "true");
}

#[tokio::test]
async fn an_offset_is_gone_if_the_next_messages_are_or_if_it_is_of_another_store() {
    let server = Server::start(&["--history-messages", "2"]);
    let at = async |offset: &str, live: &str| {
        let name = format!("lobby?offset={offset}{live}");
        request(&server, Method::GET, &name, &[], "").await
    };
    publish(&server, "lobby", "first").await;
    let first = header(&at("-1", "").await, "stream-next-offset");
    for number in 1..=100 {
        publish(&server, "lobby", &number.to_string()).await;
    }

    eventually(
        async || at(&first, "").await.status().as_u16(),
        |status| *status == 410,
    )
    .await;
    for live in ["", "&live=long-poll", "&live=sse"] {
        assert_eq!(code(at(&first, live).await).await, "offset_gone", "{live}");
    }

    let newest = header(&at("now", "").await, "stream-next-offset");
    let (_, number) = newest.split_once('_').expect("an epoch and a number");
    assert_eq!(at(&newest, "").await.status().as_u16(), 200);
    let foreign = at(&format!("00000000_{number}"), "").await;
    assert_eq!(foreign.status().as_u16(), 410);
    assert_eq!(at("-1", "").await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_chunked_body_is_one_append() {
    let server = Server::start(&[]);
    put(&server, "s", JSON, "").await;
    let pieces = ["[1,", "2,", "3]"].map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));

    let request = Client::new().post(server.url("/streams/s")).body(body);
    let request = request.header("content-type", "application/json");
    let response = soon(request.send()).await.expect("an answer");

    assert_eq!(response.status().as_u16(), 204);
    assert_eq!(read(&server, "s").await, (200, "[1,2,3]".to_owned()));
}

#[tokio::test]
async fn a_closed_room_and_a_ban_apply_to_streams() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.0/8"]);
    put(&server, "s", TEXT, "kept").await;
    let eve = [("x-forwarded-for", "192.0.2.1")];
    let ban = json!({ "address": "192.0.2.1", "room": "s" });
    assert_eq!(call(&server, Method::POST, "bans", ban).await.0, 201);

    for (method, body) in [
        (Method::GET, ""),
        (Method::PUT, ""),
        (Method::POST, "more"),
        (Method::DELETE, ""),
    ] {
        let headers = [TEXT, &eve].concat();
        let refused = request(&server, method.clone(), "s", &headers, body).await;
        assert_eq!(refused.status().as_u16(), 403, "{method}");
        assert_eq!(code(refused).await, "banned", "{method}");
    }

    call(&server, Method::POST, "rooms/s/close", json!({})).await;
    let refused = request(&server, Method::POST, "s", TEXT, "more").await;
    assert_eq!(refused.status().as_u16(), 403);
    assert_eq!(code(refused).await, "room_closed");
    assert_eq!(read(&server, "s").await, (200, "kept".to_owned()));
}

#[tokio::test]
async fn the_limits_of_readers_and_of_rates_apply_to_streams() {
    let server = Server::start(&[
        "--max-room-members",
        "1",
        "--message-rate",
        "20/s",
        "--publish-rate",
        "1/s",
        "--publish-burst",
        "3",
    ]);
    put(&server, "s", JSON, "").await;

    let follow = "s?offset=-1&live=sse";
    let _reader = request(&server, Method::GET, follow, &[], "").await;
    let second = request(&server, Method::GET, follow, &[], "").await;
    assert_eq!(second.status().as_u16(), 503);
    assert_eq!(code(second).await, "room_full");

    let long = request(&server, Method::POST, "s", JSON, "[1,2,3,4]").await;
    assert_eq!(long.status().as_u16(), 413);
    assert_eq!(code(long).await, "too_many");
    assert_eq!(post(&server, "s", JSON, "[1,2]").await, 204);
    let append = async || post(&server, "s", JSON, "[3,4,5]").await;
    eventually(append, |status| *status == 429).await;
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_has_no_access_to_streams() {
    let server = Server::start(&[]);
    put(&server, "s", TEXT, "kept").await;
    let headers = [TEXT, &[("origin", "https://evil.example")]].concat();

    for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
        let refused = request(&server, method.clone(), "s", &headers, "x").await;
        assert_eq!(refused.status().as_u16(), 403, "{method}");
        assert_eq!(code(refused).await, "origin_not_allowed", "{method}");
    }
    assert_eq!(read(&server, "s").await, (200, "kept".to_owned()));
}

#[tokio::test]
async fn what_is_not_supported_has_a_clear_error() {
    let server = Server::start(&[]);
    let fork = [("stream-forked-from", "/streams/other")];

    for (method, name, headers) in [
        (Method::PUT, "fork", &fork[..]),
        (Method::PUT, "__ds/subscriptions/1", &[]),
    ] {
        let response = request(&server, method, name, headers, "").await;
        assert_eq!(response.status().as_u16(), 501);
        assert_eq!(code(response).await, "not_implemented");
    }
}

#[tokio::test]
async fn a_command_that_listens_ends_with_the_stream() {
    let server = Server::start(&[]);
    put(&server, "job", TEXT, "").await;
    let mut listen = program();
    listen.args(["listen", "job", "--after", "0", "--url", &server.url("")]);

    let listening = tokio::task::spawn_blocking(move || listen.output());
    let end = [TEXT, CLOSE].concat();
    post(&server, "job", &end, "done").await;

    let output = soon(listening).await.expect("joined").expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success());
    assert!(text.ends_with(" anonymous: done\n"), "{text}");
}

#[tokio::test]
async fn an_unused_stream_expires_and_its_readers_are_told() {
    let server = Server::start(&["--store", "memory"]);
    let headers = [TEXT, &[("stream-ttl", "1")]].concat();
    put(&server, "s", &headers, "").await;

    let (mut ann, _) = join(&server, "id=ann&room=s").await;

    assert_eq!(next(&mut ann, "unsubscribed").await["code"], "room_deleted");
    assert_eq!(read(&server, "s").await.0, 404);
}
