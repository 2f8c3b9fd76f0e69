//! Rules for rooms: the tables `[[rooms]]` of the settings file, each key by its effect.

use std::io::Write;
use std::process::Output;

use reqwest::Client;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::client::{Lines, fetch, follow, get, publish};
use crate::eventually::eventually;
use crate::harness::{Server, program};
use crate::nats::Nats;
use crate::typed::{find, join, next, say};

/// Returns each kind of store, the last one in `nats`.
fn stores(nats: &Nats) -> [String; 3] {
    let shared = format!("nats://127.0.0.1:{}", nats.port);
    ["memory".to_owned(), "sqlite:fanfare.db".to_owned(), shared]
}

/// A server with rules, and the file with them.
struct Ruled {
    server: Server,
    _file: NamedTempFile,
}

impl Ruled {
    fn start(rules: &str, flags: &[&str]) -> Self {
        let file = file(rules);
        let path = file.path().to_str().expect("text").to_owned();

        Self {
            server: Server::start(&[&["--config", &path], flags].concat()),
            _file: file,
        }
    }
}

fn file(toml: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(toml.as_bytes()).expect("written");
    file
}

/// Runs `fanfare check-config` with the settings file `toml` and `arguments`.
fn check(toml: &str, arguments: &[&str]) -> Output {
    let file = file(toml);
    program()
        .args(["check-config", "--config"])
        .arg(file.path())
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn publish_each(server: &Server, room: &str, texts: &[&str]) {
    for text in texts {
        publish(server, room, text).await;
    }
}

/// Publishes `text` in `room` over HTTP; returns the status and the body.
async fn post(server: &Server, room: &str, text: String) -> (u16, Value) {
    let url = server.url(&format!("/api/v1/rooms/{room}/messages"));
    fetch(Client::new().post(url).body(text)).await
}

/// Creates the stream `name` with `body`.
async fn put(server: &Server, name: &str, headers: &[(&str, &str)], body: &'static str) -> u16 {
    let url = server.url(&format!("/streams/{name}"));
    let mut request = Client::new().put(url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer").status().as_u16()
}

/// Returns the texts of the stored messages of `room`.
async fn stored(server: &Server, room: &str) -> Vec<String> {
    let page = get(server, &format!("/api/v1/rooms/{room}/messages?after=0")).await;
    let messages = page["messages"].as_array().expect("a list").clone();
    let text = |message: &Value| message["text"].as_str().expect("a text").to_owned();
    messages.iter().map(text).collect()
}

/// Waits until `room` has `count` stored messages.
async fn until_stored(server: &Server, room: &str, count: usize) -> Vec<String> {
    eventually(
        async || stored(server, room).await,
        |texts| texts.len() == count,
    )
    .await
}

#[tokio::test]
async fn a_rule_limits_the_stored_messages_of_its_rooms_and_of_no_others() {
    let rules = r#"
        [[rooms]]
        match = "ci-*"
        history-messages = 2
        [[rooms]]
        match = "big-*"
        history-bytes = "1KiB"
    "#;
    let nats = Nats::start().await;
    for store in stores(&nats) {
        let Ruled { server, _file } = Ruled::start(rules, &["--store", &store]);
        let long = "x".repeat(700);

        publish_each(&server, "ci-7", &["1", "2", "3"]).await;
        publish_each(&server, "lobby", &["1", "2", "3"]).await;
        publish_each(&server, "big-1", &["1", &long, &long]).await;

        assert_eq!(until_stored(&server, "ci-7", 2).await, ["2", "3"]);
        assert_eq!(until_stored(&server, "big-1", 1).await, [long]);
        assert_eq!(stored(&server, "lobby").await, ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_rule_limits_the_age_of_the_messages_of_its_rooms() {
    let rules = r#"
        [[rooms]]
        match = "ci-*"
        history-age = "300ms"
    "#;
    let nats = Nats::start().await;
    for store in stores(&nats) {
        let Ruled { server, _file } = Ruled::start(rules, &["--store", &store]);

        publish(&server, "lobby", "kept").await;
        publish(&server, "ci-7", "old").await;

        until_stored(&server, "ci-7", 0).await;
        assert_eq!(stored(&server, "lobby").await, ["kept"]);
    }
}

#[tokio::test]
async fn a_created_stream_keeps_its_messages_unless_a_rule_limits_them() {
    let rules = r#"
        [[rooms]]
        match = "ci-*"
        history-messages = 2
    "#;
    let nats = Nats::start().await;
    for store in stores(&nats) {
        let flags = ["--store", &store, "--history-messages", "2"];
        let Ruled { server, _file } = Ruled::start(rules, &flags);
        let text = [("content-type", "text/plain")];

        assert_eq!(put(&server, "kept", &text, "1").await, 201);
        assert_eq!(put(&server, "ci-7", &text, "1").await, 201);
        publish_each(&server, "kept", &["2", "3"]).await;
        publish_each(&server, "ci-7", &["2", "3"]).await;

        assert_eq!(until_stored(&server, "ci-7", 2).await, ["2", "3"]);
        assert_eq!(stored(&server, "kept").await, ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_rule_sets_the_largest_message_of_its_rooms() {
    let rules = r#"
        [[rooms]]
        match = "small-*"
        max-message = "1KiB"
        [[rooms]]
        match = "large-*"
        max-message = "256KiB"
    "#;
    let Ruled { server, _file } = Ruled::start(rules, &[]);
    let (medium, large) = ("x".repeat(2000), "x".repeat(200_000));

    for (room, text, status) in [
        ("small-1", &medium, 413),
        ("lobby", &medium, 201),
        ("lobby", &large, 413),
        ("large-1", &large, 201),
    ] {
        let answer = post(&server, room, text.clone()).await;
        assert_eq!(answer.0, status, "{room}: {}", answer.1);
    }

    let (mut typed, welcome) = join(&server, "id=ann&room=small-1").await;
    assert_eq!(welcome["max_message"], 1024);
    say(&mut typed, &medium, Some("k")).await;
    let error = next(&mut typed, "error").await;
    assert_eq!(
        (&error["code"], &error["key"]),
        (&json!("bad_field"), &json!("k"))
    );
    let publish = json!({ "type": "publish", "room": "large-1", "text": large, "key": "l" });
    typed.send(publish.to_string()).await;
    assert_eq!(next(&mut typed, "ack").await["room"], "large-1");

    let mut plain = server.join_with("id=bob&room=small-1").await;
    plain.send(medium).await;
    assert_eq!(plain.close_code().await, 1009);
}

#[tokio::test]
async fn a_rule_sets_the_message_rate_of_its_rooms() {
    let rules = r#"
        [[rooms]]
        match = "slow-*"
        message-rate = "1/s"
        [[rooms]]
        match = "fast-*"
        message-rate = 0
    "#;
    let flags = ["--message-rate", "1/s", "--message-burst", "1"];
    let Ruled { server, _file } = Ruled::start(rules, &flags);
    let frame = |room: &str, key: &str| {
        json!({ "type": "publish", "room": room, "text": "x", "key": key }).to_string()
    };
    let (mut ann, welcome) = join(&server, "id=ann&room=slow-1").await;
    assert_eq!(
        (&welcome["message_rate"], &welcome["message_burst"]),
        (&json!(1), &json!(2))
    );

    // Twice as many at once as per second, in all rooms of the rule together.
    for (room, key) in [("slow-1", "1"), ("slow-2", "2")] {
        ann.send(frame(room, key)).await;
        assert_eq!(find(&mut ann, "ack").await["key"], key);
    }
    ann.send(frame("slow-3", "3")).await;
    let error = find(&mut ann, "error").await;
    assert_eq!(
        (&error["code"], &error["key"]),
        (&json!("rate_limited"), &json!("3"))
    );

    for number in 0..20 {
        let key = format!("f{number}");
        ann.send(frame("fast-1", &key)).await;
        assert_eq!(find(&mut ann, "ack").await["key"], key);
    }
    let metrics = reqwest::get(format!("http://{}/metrics", server.ops)).await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    assert!(
        metrics.contains("fanfare_rate_limited_total{quota=\"rule\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_rule_sets_the_message_rate_over_http_too() {
    let rules = r#"
        [[rooms]]
        match = "slow-*"
        message-rate = "1/s"
    "#;
    let Ruled { server, _file } = Ruled::start(rules, &["--message-rate", "20/s"]);

    let first = eventually(
        async || post(&server, "slow-1", "x".to_owned()).await,
        |(status, _)| *status != 201,
    )
    .await;

    assert_eq!(first.0, 429, "{}", first.1);
    let message = first.1["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("message-rate of the room's rule"),
        "{message}"
    );
    assert_eq!(post(&server, "lobby", "x".to_owned()).await.0, 201);
}

#[tokio::test]
async fn a_room_that_nobody_uses_expires_by_its_rule_and_one_with_a_reader_does_not() {
    let rules = r#"
        [[rooms]]
        match = "tmp-*"
        expires = "4s"
    "#;
    let nats = Nats::start().await;
    for store in stores(&nats) {
        let Ruled { server, _file } = Ruled::start(rules, &["--store", &store]);
        publish(&server, "tmp-read", "kept").await;
        publish(&server, "lobby", "kept").await;
        let accept = [("accept", "application/x-ndjson")];
        let reader = Lines::of(follow(&server, "tmp-read", "", &accept).await);
        publish(&server, "tmp-7", "gone").await;
        let before = get(&server, "/api/v1/rooms/lobby").await;

        // The list of rooms is no use of them.
        let rooms = async || {
            let list = get(&server, "/api/v1/rooms").await;
            let rooms = list["rooms"].as_array().expect("a list").clone();
            let name = |room: &Value| room["room"].as_str().expect("a name").to_owned();
            rooms.iter().map(name).collect::<Vec<_>>()
        };
        let left = eventually(rooms, |rooms| !rooms.contains(&"tmp-7".to_owned())).await;

        assert_eq!(left, ["lobby", "tmp-read"]);
        assert_eq!(stored(&server, "tmp-read").await, ["kept"]);
        assert_eq!(before["expires_at"], Value::Null);

        drop(reader);
        eventually(rooms, |rooms| rooms == &["lobby"]).await;
    }
}

#[tokio::test]
async fn a_stream_with_an_expiry_of_its_own_keeps_it_in_rooms_that_expire_by_a_rule() {
    let rules = r#"
        [[rooms]]
        match = "tmp-*"
        expires = "300ms"
    "#;
    let nats = Nats::start().await;
    for store in stores(&nats) {
        let Ruled { server, _file } = Ruled::start(rules, &["--store", &store]);

        assert_eq!(
            put(&server, "tmp-own", &[("stream-ttl", "600")], "").await,
            201
        );
        assert_eq!(put(&server, "tmp-7", &[], "").await, 201);

        let head = async |name: &str| {
            let url = server.url(&format!("/streams/{name}"));
            let response = Client::new().head(url).send().await;
            response.expect("an answer").status().as_u16()
        };
        eventually(async || head("tmp-7").await, |status| *status == 404).await;
        assert_eq!(head("tmp-own").await, 200);
    }
}

#[tokio::test]
async fn a_room_without_presence_shows_no_members() {
    let rules = r#"
        [[rooms]]
        match = "hall-*"
        presence = false
    "#;
    let Ruled { server, _file } = Ruled::start(rules, &[]);

    let (mut ann, subscribed) = join(&server, "id=ann&room=hall-1").await;
    let (mut bob, _) = join(&server, "id=bob&room=hall-1").await;

    assert_eq!(subscribed["count"], 0);
    assert_eq!(subscribed["members"], Value::Null);
    let present = get(&server, "/api/v1/rooms/hall-1/presence").await;
    assert_eq!(
        (&present["count"], &present["members"]),
        (&json!(0), &Value::Null)
    );
    let state = json!({ "type": "state", "room": "hall-1", "json": { "typing": true } });
    bob.send(state.to_string()).await;
    assert_eq!(next(&mut bob, "error").await["code"], "not_allowed");
    say(&mut bob, "hello", None).await;
    assert_eq!(next(&mut ann, "message").await["text"], "hello");

    let (_carol, subscribed) = join(&server, "id=carol").await;
    assert_eq!(subscribed["members"], json!([{ "id": "carol" }]));
}

#[test]
fn check_config_prints_the_settings_of_a_room_and_where_each_comes_from() {
    let toml = r#"
        max-message = "32KiB"
        [[rooms]]
        match = "*"
        presence = "log"
        history-age = "30d"
        [[rooms]]
        match = "ci-*"
        history-age = "1d"
        message-rate = 5
        expires = "2h"
        [[rooms]]
        match = "ci-7"
        anonymous = "read"
        presence = true
        [[rooms]]
        match = "ci-7*"
        presence = false
    "#;

    let output = check(toml, &["--room", "ci-7", "--history-bytes", "1MiB"]);

    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let expected = [
        r#"history-age = "1d" # rooms "ci-*""#,
        r#"history-messages = "10000" # default; not for streams that were created with PUT"#,
        r#"history-bytes = "1MiB" # flag; not for streams that were created with PUT"#,
        r#"max-message = "32KiB" # file"#,
        r#"message-rate = "5" # rooms "ci-*""#,
        r#"anonymous = "read" # rooms "ci-7""#,
        r#"expires = "2h" # rooms "ci-*""#,
        r#"presence = "true" # rooms "ci-7""#,
    ];
    assert_eq!(text(&output.stdout).lines().collect::<Vec<_>>(), expected);

    let output = check("", &["--room", "ci-7"]);
    let lines = text(&output.stdout);
    assert!(lines.contains("expires = \"never\" # default\n"), "{lines}");
    assert!(lines.contains("presence = \"true\" # default\n"), "{lines}");
}

#[test]
fn check_config_prints_the_rules_as_a_valid_settings_file() {
    let toml = "[[rooms]]\nmatch = \"ci-*\"\npresence = false\nhistory-messages = 2\n";

    let first = text(&check(toml, &[]).stdout);
    let second = check(&first.replace("site = ", "# site = "), &["--room", "ci-7"]);

    let lines = text(&second.stdout);
    assert_eq!(second.status.code(), Some(0), "{}", text(&second.stderr));
    assert!(
        lines.contains("presence = \"false\" # rooms \"ci-*\"\n"),
        "{lines}"
    );
    assert!(
        lines.contains("history-messages = \"2\" # rooms \"ci-*\"\n"),
        "{lines}"
    );
}

#[test]
fn all_mistakes_in_rules_are_reported_at_once_with_exit_code_2() {
    let toml = r#"
        [[rooms]]
        history-age = "1d"
        [[rooms]]
        match = "ci*-7"
        history-age = "1d"
        [[rooms]]
        match = "ci-*"
        history-age = "soon"
        history-messages = 0
        history-bytes = "1"
        max-message = "large"
        message-rate = "5/h"
        anonymous = "write"
        expires = "never"
        presence = "some"
        history = 1
        [[rooms]]
        match = "ci-*"
        presence = true
        [[rooms]]
        match = "ops-*"
    "#;

    let output = check(toml, &[]);

    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    for expected in [
        "rule 1 of rooms (file): match is missing; allowed is",
        "rooms \"ci*-7\" (file): match is \"ci*-7\"; allowed is",
        "rooms \"ci-*\" (file): history-age is \"soon\"; allowed is",
        "history-messages is \"0\"; allowed is",
        "history-bytes is \"1\"; allowed is",
        "max-message is \"large\"; allowed is",
        "message-rate is \"5/h\"; allowed is",
        "anonymous is \"write\"; allowed is",
        "expires is \"never\"; allowed is",
        "presence is \"some\"; allowed is true, false or \"log\"",
        "there is no key \"history\"; allowed are match, history-age",
        "rooms \"ci-*\" (file): another rule has the same match",
        "rooms \"ops-*\" (file): the rule sets nothing",
    ] {
        assert!(errors.contains(expected), "{expected} in\n{errors}");
    }
    assert_eq!(errors.lines().count(), 13, "{errors}");
}

#[test]
fn a_key_that_has_no_effect_with_the_other_settings_is_named() {
    let toml = r#"
        store = "nats://127.0.0.1:1"
        [[rooms]]
        match = "ci-*"
        history-bytes = "1MiB"
        expires = "1h"
        anonymous = "read"
    "#;

    let output = check(toml, &[]);

    let notes = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{notes}");
    assert!(
        notes.contains("rooms \"ci-*\" (file): anonymous has no effect without --auth-key-file"),
        "{notes}"
    );
    assert!(!notes.contains("history-bytes"), "{notes}");
    assert!(!notes.contains("expires"), "{notes}");
}

#[tokio::test]
async fn a_warning_in_the_log_names_the_keys_that_have_no_effect() {
    let rules = "[[rooms]]\nmatch = \"ci-*\"\nanonymous = \"read\"\n";
    let Ruled { server, _file } = Ruled::start(rules, &[]);

    let log = server.log().await;

    assert!(
        log.contains("anonymous has no effect without --auth-key-file"),
        "{log}"
    );
}

#[tokio::test]
async fn a_store_in_memory_keeps_as_many_streams_as_rooms_are_allowed() {
    let server = Server::start(&["--store", "memory", "--max-rooms", "2"]);
    let text = [("content-type", "text/plain")];
    assert_eq!(put(&server, "a", &text, "").await, 201);
    assert_eq!(put(&server, "b", &text, "").await, 201);

    let url = server.url("/streams/c");
    let (status, error) = fetch(Client::new().put(url)).await;

    assert_eq!(status, 503);
    assert_eq!(error["error"]["code"], "too_many_rooms");
    let message = error["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("2 streams in memory, the limit (--max-rooms)"),
        "{message}"
    );
    let deleted = Client::new().delete(server.url("/streams/a")).send().await;
    assert_eq!(deleted.expect("an answer").status().as_u16(), 204);
    assert_eq!(put(&server, "c", &text, "").await, 201);
}
