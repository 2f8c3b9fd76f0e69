//! The Durable Streams protocol. The protocol's own conformance suite is in `end2end/streams`; these tests show that a stream is
//! a room like any other, and what happens to its readers.

use std::path::Path;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

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

/// Appends batches as one producer until the server is gone. Returns the number of batches that were accepted.
pub(crate) async fn produce(server: &Server, from: u64) -> u64 {
    let mut seq = from;
    loop {
        let url = server.url("/streams/s");
        let batch: Vec<u64> = (seq * 10..seq * 10 + 10).collect();
        let request = Client::new()
            .post(url)
            .header("content-type", "application/json")
            .header("producer-id", "p")
            .header("producer-epoch", "0")
            .header("producer-seq", seq)
            .body(json!(batch).to_string());
        match soon(request.send()).await {
            Ok(response) => assert!(response.status().is_success(), "{response:?}"),
            Err(_) => return seq,
        }
        seq += 1;
    }
}

/// Kills a server in the middle of a producer's batches. The producer repeats the batch that was not answered.
async fn kill_round(data: &Path, accepted: &mut u64) {
    let server = Server::start_in(data, &[]);
    put(&server, "s", JSON, "").await;
    let least = *accepted;

    let producing = async {
        *accepted = produce(&server, least).await;
    };
    let killing = async {
        // Killed under load, after a random number of batches.
        let enough = (least + fastrand::u64(2..40)) * 10;
        eventually(
            async || get(&server, "/api/v1/rooms/s/messages?limit=1").await["head"].as_u64(),
            |head| head.is_some_and(|head| head >= enough),
        )
        .await;
        server.signal("KILL");
    };
    futures::join!(producing, killing);
}

#[tokio::test]
async fn the_batches_of_a_producer_are_stored_exactly_once_whenever_the_server_is_killed() {
    let data = tempfile::tempdir().expect("a folder");
    let mut accepted = 0;
    for _ in 0..5 {
        kill_round(data.path(), &mut accepted).await;
    }

    let server = Server::start_in(data.path(), &[]);
    let stored = numbers(&server).await;

    // The batch that was not answered may have been stored.
    assert!(stored.len() as u64 >= accepted * 10, "{accepted}");
    let expected: Vec<u64> = (0..stored.len() as u64).collect();
    assert_eq!(stored, expected);
    assert_eq!(stored.len() % 10, 0, "a batch is stored whole");
}

/// Appends numbers from `first` on, in steps of 100, until the stream is closed. Returns those that were accepted, each with
/// the offset after it. While the stream does not exist, numbers are refused.
async fn append_until_closed(server: &Server, first: u64) -> Vec<(u64, String)> {
    let mut accepted = Vec::new();
    for number in (first..).step_by(100) {
        let response = request(server, Method::POST, "s", JSON, &number.to_string()).await;
        match response.status().as_u16() {
            204 => accepted.push((number, next_offset(&response))),
            404 => {}
            409 => break,
            other => panic!("{other}"),
        }
    }
    accepted
}

pub(crate) fn next_offset(response: &Response) -> String {
    let offset = &response.headers()["stream-next-offset"];
    offset.to_str().expect("text").to_owned()
}

/// Returns all numbers of the stream.
pub(crate) async fn numbers(server: &Server) -> Vec<u64> {
    let (mut numbers, mut offset) = (Vec::new(), "-1".to_owned());
    loop {
        let name = format!("s?offset={offset}");
        let response = request(server, Method::GET, &name, &[], "").await;
        offset = next_offset(&response);
        let page: Vec<u64> = soon(response.json()).await.expect("JSON");
        if page.is_empty() {
            return numbers;
        }
        numbers.extend(page);
    }
}

/// The end of a stream after which another one of the same name is created.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    Deletion,
    Expiry,
}

/// Creates the stream. It expires within a second if `expires` is true.
async fn create_again(server: &Server, expires: bool) -> String {
    let at = (Timestamp::now() + SignedDuration::from_millis(800)).to_string();
    let expiry = [("stream-expires-at", at.as_str())];
    let headers = if expires {
        [JSON, &expiry].concat()
    } else {
        JSON.to_vec()
    };
    let response = request(server, Method::PUT, "s", &headers, "").await;
    assert_eq!(response.status().as_u16(), 201);
    next_offset(&response)
}

/// Waits until the stream has a message.
async fn until_appended(server: &Server) {
    let room = async || get(server, "/api/v1/rooms/s").await;
    eventually(room, |room| room["first"] != 0).await;
}

/// Appends at all of `servers`, which share a store, while the stream ends and is created many times and closed at the last.
/// Checks that exactly the accepted messages of the last stream are stored.
pub(crate) async fn race_with_the_end(servers: &[&Server], end: StreamEnd) {
    let appending = servers.iter().cycle().take(8).enumerate();
    let appending =
        join_all(appending.map(|(first, server)| append_until_closed(server, first as u64)));

    let ending = async {
        let server = servers[0];
        let rounds = match end {
            StreamEnd::Deletion => 20,
            StreamEnd::Expiry => 4,
        };
        for _ in 0..rounds {
            create_again(server, end == StreamEnd::Expiry).await;
            match end {
                StreamEnd::Deletion => {
                    until_appended(server).await;
                    assert_eq!(delete(server, "s").await, 204);
                }
                StreamEnd::Expiry => {
                    eventually(async || read(server, "s").await.0, |status| *status == 404).await;
                }
            }
        }

        let created = create_again(server, false).await;
        until_appended(server).await;
        assert_eq!(post(server, "s", CLOSE, "").await, 204);
        created
    };
    let (accepted, created) = futures::join!(appending, ending);

    let last = accepted.into_iter().flatten();
    let mut last: Vec<u64> = last
        .filter(|(_, offset)| *offset > created)
        .map(|(number, _)| number)
        .collect();
    last.sort_unstable();
    for server in servers {
        let mut stored = numbers(server).await;
        stored.sort_unstable();
        assert_eq!(stored, last);
    }
}

/// Starts a server with `store` and without limits of requests.
fn start_without_rates(store: &str) -> Server {
    let rates = ["--publish-rate", "0", "--connect-rate", "0"];
    Server::start(&[&["--store", store], &rates[..]].concat())
}

#[tokio::test]
async fn an_append_that_races_with_deletions_and_the_end_is_stored_if_it_was_accepted() {
    for store in ["sqlite:fanfare.db", "memory"] {
        let server = start_without_rates(store);
        race_with_the_end(&[&server], StreamEnd::Deletion).await;
    }
}

#[tokio::test]
async fn an_append_that_races_with_the_expiry_and_the_end_is_stored_if_it_was_accepted() {
    for store in ["sqlite:fanfare.db", "memory"] {
        let server = start_without_rates(store);
        race_with_the_end(&[&server], StreamEnd::Expiry).await;
    }
}
