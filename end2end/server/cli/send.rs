//! `fanfare send`: each line arrives once, in order, or is reported.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::proxy::Proxy;
use super::scripted_server::{ScriptedServer, welcome};
use super::{Client, Ended};
use crate::eventually::soon;
use crate::harness::Server;
use crate::typed::{join, next};

/// Returns the texts of the lobby from its beginning. Each offset must follow the previous one.
async fn log_of(server: &Server) -> Vec<String> {
    let (mut reader, welcome) = join(server, "id=reader&after=0").await;
    let head = welcome["head"].as_u64().expect("a number");
    let mut texts = Vec::new();

    for offset in 1..=head {
        let message = next(&mut reader, "message").await;
        assert_eq!(message["offset"], offset);
        assert_eq!(message["prev"], offset - 1);
        texts.push(message["text"].as_str().expect("text").to_owned());
    }

    texts
}

/// Returns the numbers from 1 to `count` as texts.
fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_text_is_one_message_from_the_given_id() {
    let server = Server::start(&[]);

    let (mut ann, _) = join(&server, "id=ann&room=class").await;

    for (arguments, from) in [
        (&[][..], "anonymous"),
        (&["--from", "李雷 & co"], "李雷 & co"),
    ] {
        let url = server.url("");
        let ended =
            Client::run(&[&["send", "class", "two\nlines", "--url", &url], arguments].concat())
                .await;
        assert_eq!(ended.code, Some(0));
        assert_eq!(ended.stdout, "");
        assert_eq!(ended.stderr, "");

        let message = next(&mut ann, "message").await;
        assert_eq!(message["text"], "two\nlines");
        assert_eq!(message["from"], from);
    }
}

#[tokio::test]
async fn each_line_of_standard_input_is_sent_at_once_and_acknowledged_as_json() {
    let server = Server::start(&[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    let mut send = Client::start(&["send", "lobby", "--json", "--url", &server.url("")]);

    for (offset, text) in [(1, "first"), (2, "second")] {
        send.write(&format!("{text}\n")).await;
        let message = next(&mut ann, "message").await;
        assert_eq!(message["offset"], offset);
        assert_eq!(message["text"], text);
        let ack = json!({ "type": "ack", "room": "lobby", "key": message["key"], "offset": offset, "duplicate": false });
        assert_eq!(send.json().await, ack);
    }

    send.write("without a newline").await;
    let ended = send.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    assert_eq!(next(&mut ann, "message").await["text"], "without a newline");
}

#[tokio::test]
async fn a_line_that_cannot_be_sent_is_reported_and_the_rest_is_sent() {
    let server = Server::start(&["--max-message", "1KiB"]);
    let mut send = Client::start(&["send", "lobby", "--url", &server.url("")]);

    send.write(&format!(
        "one\n\n{}\r\n{}\nfive\n",
        "x".repeat(1024),
        "x".repeat(100_000)
    ))
    .await;

    let ended = send.end().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");

    for expected in [
        "line 2: it is empty",
        "line 4: it is longer than the 1024 bytes",
        "2 messages were not sent",
    ] {
        assert!(ended.stderr.contains(expected), "{expected} in {ended:?}");
    }

    assert_eq!(log_of(&server).await, ["one", &"x".repeat(1024), "five"]);

    let ended = Client::run(&["send", "lobby", &"x".repeat(1025), "--url", &server.url("")]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("1024"), "{ended:?}");
}

#[tokio::test]
async fn a_rate_limit_delays_lines_and_keeps_their_order() {
    let server = Server::start(&["--message-rate", "100/s", "--message-burst", "3"]);
    let mut send = Client::start(&["send", "lobby", "--json", "--url", &server.url("")]);

    send.write(&(numbers(100).join("\n") + "\n")).await;
    let ended = send.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "", "{ended:?}");

    let acks = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let offsets: Vec<u64> = acks
        .map(|ack| ack["offset"].as_u64().expect("a number"))
        .collect();
    assert_eq!(offsets, (1..=100).collect::<Vec<_>>());
    assert_eq!(log_of(&server).await, numbers(100));
}

#[tokio::test]
async fn broken_connections_lose_and_repeat_no_line() {
    const LINES: usize = 2000;
    const CUTS: usize = 5;

    let server = Server::start(&[]);
    let mut proxy = Proxy::to(server.address).await;
    let mut send = Client::start(&["send", "lobby", "--json", "--url", &proxy.url()]);

    let (mut ann, _) = join(&server, "id=ann").await;
    let lines = numbers(LINES);
    let mut chunks = lines.chunks(LINES / CUTS);

    for cut in 1..=CUTS {
        let chunk = chunks.next().expect("as many as cuts").join("\n");
        send.write(&(chunk + "\n")).await;
        proxy.has_opened(cut).await;
        // Some of these lines are stored by now, some in flight, some not sent.
        next(&mut ann, "message").await;
        proxy.cut();
    }

    let Ended {
        code,
        stdout,
        stderr,
    } = send.end().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout.lines().count(), LINES, "{stderr}");
    assert_eq!(log_of(&server).await, lines);
}

#[tokio::test]
async fn without_a_server_send_retries_until_its_timeout_and_exits_with_1() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);

    let mut send = Client::start(&["send", "lobby", "hi", "--timeout", "300ms", "--url", &url]);
    send.until_stderr("trying again").await;
    let ended = send.end().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("gave up after 300ms"), "{ended:?}");
    assert!(ended.stderr.contains("refused"), "{ended:?}");
}

#[tokio::test]
async fn an_interrupt_exits_with_0_only_if_everything_is_stored() {
    let server = Server::start(&[]);
    let mut idle = Client::start(&["send", "lobby", "--json", "--url", &server.url("")]);

    idle.write("stored\n").await;
    idle.line().await;
    idle.signal("INT").await;

    assert_eq!(
        soon(idle.child.wait()).await.expect("a child").code(),
        Some(0)
    );

    let mut lost = Client::start(&["send", "lobby", "hi", "--url", "http://127.0.0.1:1"]);
    lost.until_stderr("trying again").await;
    lost.signal("INT").await;

    let ended = lost.end().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("interrupted: nothing was sent"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_temporary_refusal_is_retried_and_the_order_is_kept() {
    let server = ScriptedServer::bind().await;
    let mut send = Client::start(&["send", "lobby", "--json", "--url", &server.url]);

    send.write("one\ntwo\n").await;
    let mut socket = server.accept().await;
    let limits = json!({ "message_rate": 0, "message_burst": 1 });
    welcome(&mut socket, limits).await;

    let mut received = 0;
    let mut stored = Vec::new();

    while stored.len() < 2 {
        let frame = soon(socket.next()).await.expect("open").expect("a frame");
        let Message::Text(text) = frame else { continue };
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        received += 1;

        // The first two frames are refused, whether they are two lines or one line twice. Later ones are stored.
        let answer = if received <= 2 {
            json!({
                "type": "error", "room": "lobby", "code": "rate_limited", "message": "too fast", "retry": true, "key": frame["key"],
            })
        } else {
            stored.push(frame["text"].as_str().expect("text").to_owned());
            json!({ "type": "ack", "room": "lobby", "key": frame["key"], "offset": stored.len(), "duplicate": false })
        };

        soon(socket.send(Message::text(answer.to_string())))
            .await
            .expect("sent");
    }

    assert_eq!(stored, ["one", "two"]);

    for offset in [1, 2] {
        assert_eq!(send.json().await["offset"], offset);
    }
}

#[tokio::test]
async fn connections_that_break_after_each_line_do_not_slow_send_down() {
    const LINES: usize = 12;

    let server = ScriptedServer::bind().await;
    let mut send = Client::start(&["send", "lobby", "--url", &server.url]);

    send.write(&(numbers(LINES).join("\n") + "\n")).await;

    // One timeout for all connections.
    soon(async {
        for offset in 1..=LINES {
            let mut socket = server.accept().await;
            welcome(&mut socket, json!({})).await;
            let frame = socket.next().await.expect("open").expect("a frame");
            let frame: Value = serde_json::from_str(frame.to_text().expect("text")).expect("JSON");
            let ack =
                json!({ "type": "ack", "room": "lobby", "key": frame["key"], "offset": offset, "duplicate": false });
            socket
                .send(Message::text(ack.to_string()))
                .await
                .expect("sent");
            socket.flush().await.expect("sent");
        }
    })
    .await;

    assert_eq!(send.end().await.code, Some(0));
}

#[tokio::test]
async fn lines_are_sent_as_json_values_with_a_kind() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;

    let url = server.url("");
    let arguments = [
        "send",
        "lobby",
        "--parse-json",
        "--kind",
        "order",
        "--url",
        &url,
    ];
    let mut send = Client::start(&arguments);
    send.write("{\"b\": 1, \"a\": 2}\nhello\n[3]\n").await;
    let ended = send.end().await;

    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("line 2"), "{}", ended.stderr);
    assert!(ended.stderr.contains("json is invalid"), "{}", ended.stderr);
    for value in [json!({ "b": 1, "a": 2 }), json!([3])] {
        let message = next(&mut ann, "message").await;
        assert_eq!(
            (&message["json"], &message["kind"]),
            (&value, &json!("order"))
        );
    }
}
