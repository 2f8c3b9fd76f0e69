//! `fanfare listen`: each message is printed once, in order, or reported as missing.

use std::time::Duration;

use futures::StreamExt;
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Client;
use super::proxy::Proxy;
use super::scripted_server::{ScriptedServer, welcome};
use crate::admin::call;
use crate::client::publish;
use crate::eventually::soon;
use crate::harness::Server;
use crate::presence_log::RULE;
use crate::typed::{join, next, say};

#[tokio::test]
async fn a_message_is_printed_as_one_line_without_control_characters() {
    let server = Server::start(&[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    let mut listen = Client::start(&["listen", "lobby", "--url", &server.url("")]);

    // Once the client is present, it receives every message.
    while !next(&mut ann, "presence").await["joined"]
        .to_string()
        .contains("guest-")
    {}

    say(&mut ann, "<b>你好</b> 👩‍🚀", None).await;
    say(
        &mut ann,
        "a\nfalse line, \u{1b}[31mred\u{7} \u{202e}turned",
        None,
    )
    .await;

    ann.send(json!({ "type": "publish", "text": "last" }).to_string())
        .await;

    for words in [
        " ann: <b>你好</b> 👩‍🚀",
        " ann: a\\nfalse line, \\u{1b}[31mred\\u{7} \\u{202e}turned",
        " ann: last",
    ] {
        let line = listen.line().await;
        let (time, rest) = line.split_at("2026-11-24T20:00:00Z".len());
        assert!(time.starts_with("20"), "{line}");
        assert!(time.ends_with('Z'), "{line}");
        assert!(rest == words, "{line}");
    }
}

#[tokio::test]
async fn a_join_that_is_a_message_is_printed_as_words() {
    let rule = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(rule.path(), RULE).expect("written");
    let server = Server::start(&["--config", rule.path().to_str().expect("text")]);

    let _ann = server.join_with("id=ann&room=orders-1").await;
    let url = server.url("");
    let mut listen = Client::start(&["listen", "orders-1", "--after", "0", "--url", &url]);

    let line = listen.line().await;
    assert!(line.ends_with(" ann: (joined)"), "{line}");
}

#[tokio::test]
async fn json_output_is_the_frames_that_every_client_gets() {
    let server = Server::start(&[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    let mut listen = Client::start(&[
        "listen",
        "lobby",
        "--json",
        "--after",
        "0",
        "--url",
        &server.url(""),
    ]);

    say(&mut ann, "with \"key\" and\nlines", Some("k1")).await;
    server.join("plain").await.send(vec![1, 2, 255]).await;
    let mut frames = 0;

    while frames < 2 {
        let frame = ann.text().await;
        if frame.contains(r#""type":"message""#) {
            assert_eq!(listen.line().await, frame);
            frames += 1;
        }
    }
}

#[tokio::test]
async fn listen_begins_after_the_given_position() {
    let server = Server::start(&[]);

    let (mut ann, welcome) = join(&server, "id=ann").await;
    let epoch = welcome["epoch"].as_str().expect("text");

    for text in ["one", "two", "three"] {
        say(&mut ann, text, None).await;
        next(&mut ann, "message").await;
    }

    for (after, first) in [("0", 1), ("1", 2), (&*format!("{epoch}:2"), 3)] {
        let mut listen = Client::start(&[
            "listen",
            "lobby",
            "--json",
            "--after",
            after,
            "--url",
            &server.url(""),
        ]);

        for offset in first..=3 {
            assert_eq!(listen.json().await["offset"], offset, "--after {after}");
        }
    }
}

#[tokio::test]
async fn missing_messages_are_reported_on_standard_error_and_as_json() {
    let server = Server::start(&["--history-messages", "5"]);

    let (mut ann, welcome) = join(&server, "id=ann").await;
    let epoch = welcome["epoch"].as_str().expect("text");

    for number in 1..=8 {
        say(&mut ann, &number.to_string(), None).await;
        next(&mut ann, "message").await;
    }

    let url = server.url("");
    let after = format!("{epoch}:1");
    let mut listen = Client::start(&[
        "listen", "lobby", "--json", "--after", &after, "--url", &url,
    ]);

    let gap = json!({ "type": "gap", "room": "lobby", "after": 1, "before": 4, "count": 2, "reason": "expired" });
    assert_eq!(listen.json().await, gap);
    assert_eq!(listen.json().await["offset"], 4);

    listen
        .until_stderr("2 messages are missing: no longer kept")
        .await;

    let mut other = Client::start(&["listen", "lobby", "--after", "ffffffff:7", "--url", &url]);
    assert!(other.line().await.ends_with(": 4"));

    other.until_stderr("messages may be missing").await;
}

#[tokio::test]
async fn broken_connections_lose_and_repeat_no_line() {
    const CUTS: usize = 5;
    const EACH: usize = 200;

    let server = Server::start(&[]);
    let mut proxy = Proxy::to(server.address).await;

    let mut listen = Client::start(&[
        "listen",
        "lobby",
        "--json",
        "--after",
        "0",
        "--url",
        &proxy.url(),
    ]);

    let (mut ann, _) = join(&server, "id=ann").await;
    let mut printed = 0;

    for cut in 1..=CUTS {
        proxy.has_opened(cut).await;

        for number in 1..=EACH {
            say(&mut ann, &number.to_string(), None).await;
            if number == EACH / 2 {
                // Some are printed by now, some in flight, some not yet sent.
                printed += 1;
                assert_eq!(listen.json().await["offset"], printed);
                proxy.cut();
            }
        }
    }

    while printed < CUTS * EACH {
        printed += 1;
        let message = listen.json().await;
        assert_eq!(message["offset"], printed);
        assert_eq!(message["prev"], printed - 1);
    }

    listen.signal("TERM").await;
    let ended = listen.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(!ended.stderr.contains("missing"), "{ended:?}");
}

#[tokio::test]
async fn an_interrupt_or_a_closed_pipe_ends_listen_with_0_and_no_error() {
    let server = Server::start(&[]);

    server.join("ann").await.send("only one").await;
    let arguments = ["listen", "lobby", "--after", "0", "--url", &server.url("")];

    let mut interrupted = Client::start(&arguments);
    interrupted.line().await;
    interrupted.signal("INT").await;

    let mut unread = Client::start(&arguments);
    unread.line().await;

    // No more messages are sent: the command must notice the closed pipe by itself.
    for ended in [interrupted.end().await, unread.end_unread().await] {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.stderr, "", "{ended:?}");
    }
}

#[tokio::test]
async fn a_close_code_from_4500_ends_listen_with_1_and_a_lower_one_reconnects() {
    let server = ScriptedServer::bind().await;
    let listen = Client::start(&["listen", "lobby", "--url", &server.url]);

    for (code, reason) in [(4499, "come back"), (4501, "not\u{1b}[31m allowed")] {
        let mut socket = server.accept().await;
        let close = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        soon(socket.close(Some(close))).await.expect("sent");
        while let Some(Ok(_)) = soon(socket.next()).await {}
    }

    let ended = listen.end().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("4501 not\\u{1b}[31m allowed"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn several_rooms_and_patterns_are_printed_by_one_command_each_line_with_its_room() {
    let server = Server::start(&[]);
    for (room, text) in [
        ("orders", "1"),
        ("builds-7", "2"),
        ("other", "3"),
        ("builds-8", "4"),
    ] {
        publish(&server, room, text).await;
    }

    let url = server.url("");
    let arguments = [
        "listen", "builds-*", "orders", "--after", "0", "--url", &url,
    ];
    let mut listen = Client::start(&arguments);

    // The subscriptions begin one after the other.
    let mut lines = [
        listen.line().await,
        listen.line().await,
        listen.line().await,
    ];
    lines.sort_unstable();

    for (line, (room, text)) in
        lines
            .iter()
            .zip([("builds-7", "2"), ("builds-8", "4"), ("orders", "1")])
    {
        assert!(line.starts_with(room) && line.ends_with(text), "{line}");
    }
}

#[tokio::test]
async fn a_room_that_is_full_at_first_is_printed_once_a_place_is_free() {
    let server = Server::start(&["--max-room-members", "1"]);
    let (occupant, _) = join(&server, "room=orders&id=ann").await;
    publish(&server, "orders", "1").await;
    let url = server.url("");
    let arguments = ["listen", "builds", "orders", "--after", "0", "--url", &url];
    let mut listen = Client::start(&arguments);
    publish(&server, "builds", "2").await;
    let first = listen.line().await;

    drop(occupant);

    assert!(first.ends_with('2'), "{first}");
    let second = listen.line().await;
    assert!(
        second.starts_with("orders") && second.ends_with('1'),
        "{second}"
    );
}

#[tokio::test]
async fn a_pattern_goes_on_without_a_room_from_which_the_address_is_banned() {
    let server = Server::start(&[]);
    publish(&server, "builds-1", "secret").await;
    publish(&server, "builds-2", "public").await;
    let ban = json!({ "address": "127.0.0.1", "room": "builds-1" });
    let (status, _) = call(&server, Method::POST, "bans", ban).await;
    assert_eq!(status, 201);

    let url = server.url("");
    let mut listen = Client::start(&["listen", "builds-*", "--after", "0", "--url", &url]);

    let line = listen.line().await;
    assert!(line.ends_with("public"), "{line}");
}

#[tokio::test]
async fn a_silent_server_is_pinged_and_then_left_after_the_expiry_of_its_welcome() {
    let server = ScriptedServer::bind().await;
    let mut listen = Client::start(&["listen", "lobby", "--url", &server.url]);

    let mut silent = server.accept().await;
    let timeouts = json!({ "heartbeat_ms": 100, "expire_ms": 300 });
    welcome(&mut silent, timeouts).await;

    // It reconnects while the first connection is still open.
    let _second = server.accept().await;
    listen.until_stderr("no sign of life for 300ms").await;

    let probe = soon(silent.next()).await.expect("open").expect("a frame");
    assert_eq!(
        probe.into_text().expect("text").as_str(),
        r#"{"type":"ping"}"#
    );

    let end: Option<Result<Message, Error>> = soon(silent.next()).await;
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

#[tokio::test]
async fn a_client_that_was_stopped_pings_the_server_before_it_disconnects() {
    let server = ScriptedServer::bind().await;
    let listen = Client::start(&["listen", "lobby", "--url", &server.url]);

    let mut silent = server.accept().await;
    let timeouts = json!({ "heartbeat_ms": 500, "expire_ms": 1000 });
    welcome(&mut silent, timeouts).await;

    listen.signal("STOP").await;

    // The pause is under test: it is longer than the expiry of one second and the tolerated delay.
    tokio::time::sleep(Duration::from_secs(4)).await;
    listen.signal("CONT").await;

    let frame = soon(silent.next()).await.expect("open").expect("a frame");
    assert_eq!(
        frame.into_text().expect("text").as_str(),
        r#"{"type":"ping"}"#
    );
}

#[tokio::test]
async fn a_slow_reader_of_the_output_misses_nothing() {
    const MESSAGES: u64 = 2000;

    let server = Server::start(&["--history-bytes", "1GiB"]);

    let mut listen = Client::start(&[
        "listen",
        "lobby",
        "--json",
        "--after",
        "0",
        "--url",
        &server.url(""),
    ]);

    let mut speaker = server.join("speaker").await;

    // More bytes than the pipe, the program, the kernel and the server's ring can hold together.
    let long = "x".repeat(20_000);
    for number in 1..=MESSAGES {
        speaker.send(format!("{number} {long}")).await;
        speaker.text().await;
    }

    for offset in 1..=MESSAGES {
        let message = listen.json().await;
        assert_eq!(message["offset"], offset);
        assert_eq!(message["prev"], offset - 1);
    }
}
