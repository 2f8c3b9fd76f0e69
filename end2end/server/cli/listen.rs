//! `fanfare listen`: what is heard is printed once, in order, or is told.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Client;
use super::proxy::Proxy;
use super::stranger::{Stranger, welcome};
use crate::harness::{Server, soon};
use crate::typed::{join, next, say};

#[tokio::test]
async fn a_message_is_one_line_of_time_name_and_words_that_cannot_play_with_the_terminal() {
    let server = Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    let mut listen = Client::start(&["listen", "lobby", "--url", &server.url("")]);
    // Who is present hears what is said from now on.
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
    ann.send(json!({ "type": "say", "text": "last" }).to_string())
        .await;
    for words in [
        " ann: <b>你好</b> 👩‍🚀",
        " ann: a\\nfalse line, \\u{1b}[31mred\\u{7} \\u{202e}turned",
        " ann: last",
    ] {
        let line = listen.line().await;
        let (time, rest) = line.split_at("2026-11-24T20:00:00Z".len());
        assert!(
            time.starts_with("20") && time.ends_with('Z') && rest == words,
            "{line}"
        );
    }
}

#[tokio::test]
async fn json_is_exactly_the_frames_that_every_client_gets() {
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
async fn it_begins_after_the_position_named() {
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
async fn what_is_gone_is_told_on_standard_error_and_as_an_object() {
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
    let gap = json!({ "type": "gap", "after": 1, "before": 4, "count": 2, "reason": "expired" });
    assert_eq!(listen.json().await, gap);
    assert_eq!(listen.json().await["offset"], 4);
    listen.tells("2 messages are missing: no longer kept").await;
    let mut other = Client::start(&["listen", "lobby", "--after", "ffffffff:7", "--url", &url]);
    assert!(other.line().await.ends_with(": 4"));
    other.tells("messages may be missing").await;
}

#[tokio::test]
async fn a_network_that_breaks_again_and_again_costs_no_line_and_doubles_none() {
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
    let mut heard = 0;
    for cut in 1..=CUTS {
        proxy.has_opened(cut).await;
        for number in 1..=EACH {
            say(&mut ann, &number.to_string(), None).await;
            if number == EACH / 2 {
                // Some are printed by now, some on their way, some not said yet.
                heard += 1;
                assert_eq!(listen.json().await["offset"], heard);
                proxy.cut();
            }
        }
    }
    while heard < CUTS * EACH {
        heard += 1;
        let message = listen.json().await;
        assert_eq!(
            (&message["offset"], &message["prev"]),
            (&json!(heard), &json!(heard - 1))
        );
    }
    listen.signal("TERM").await;
    let ended = listen.end().await;
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), ""),
        "{ended:?}"
    );
    assert!(!ended.stderr.contains("missing"), "{ended:?}");
}

#[tokio::test]
async fn an_interrupt_or_a_reader_that_has_enough_ends_it_with_0_and_without_a_word() {
    let server = Server::start(&[]);
    server.join("ann").await.send("only one").await;
    let arguments = ["listen", "lobby", "--after", "0", "--url", &server.url("")];
    let mut interrupted = Client::start(&arguments);
    interrupted.line().await;
    interrupted.signal("INT").await;
    let mut unread = Client::start(&arguments);
    unread.line().await;
    // Nothing more is said: it must notice by itself.
    for ended in [interrupted.end().await, unread.end_unread().await] {
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn a_close_code_from_4500_ends_it_with_1_and_the_reason_and_a_lower_one_does_not() {
    let stranger = Stranger::bind().await;
    let listen = Client::start(&["listen", "lobby", "--url", &stranger.url]);
    for (code, reason) in [(4499, "come back"), (4501, "not\u{1b}[31m allowed")] {
        let mut socket = stranger.accept().await;
        let close = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        soon(socket.close(Some(close))).await.expect("said");
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
async fn a_silent_server_is_probed_and_then_left_after_the_expiry_that_it_announced() {
    let stranger = Stranger::bind().await;
    let mut listen = Client::start(&["listen", "lobby", "--url", &stranger.url]);
    let mut silent = stranger.accept().await;
    let welcome = welcome(json!({ "heartbeat_ms": 100, "expire_ms": 300 }));
    soon(silent.send(welcome)).await.expect("said");
    // It comes again while the first connection is still open.
    let _second = stranger.accept().await;
    listen.tells("no sign of life for 300ms").await;

    let probe = soon(silent.next()).await.expect("open").expect("a frame");
    assert_eq!(
        probe.into_text().expect("text").as_str(),
        r#"{"type":"ping"}"#
    );
    let end: Option<Result<Message, Error>> = soon(silent.next()).await;
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

#[tokio::test]
async fn a_client_that_was_stopped_asks_the_server_before_it_gives_it_up() {
    let stranger = Stranger::bind().await;
    let listen = Client::start(&["listen", "lobby", "--url", &stranger.url]);
    let mut silent = stranger.accept().await;
    let welcome = welcome(json!({ "heartbeat_ms": 500, "expire_ms": 1000 }));
    soon(silent.send(welcome)).await.expect("said");

    listen.signal("STOP").await;
    // Longer than the silence that it allows and the lateness that it puts down to chance.
    tokio::time::sleep(Duration::from_secs(4)).await;
    listen.signal("CONT").await;

    let asked = soon(silent.next()).await.expect("open").expect("a frame");
    assert_eq!(
        asked.into_text().expect("text").as_str(),
        r#"{"type":"ping"}"#
    );
}

#[tokio::test]
async fn whoever_reads_slowly_keeps_nobody_waiting_and_misses_nothing() {
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
    // More than the pipe, the program, the kernel and the server's ring hold together.
    let long = "x".repeat(20_000);
    for number in 1..=MESSAGES {
        speaker.send(format!("{number} {long}")).await;
        speaker.text().await;
    }
    for offset in 1..=MESSAGES {
        let message = listen.json().await;
        assert_eq!(
            (&message["offset"], &message["prev"]),
            (&json!(offset), &json!(offset - 1))
        );
    }
}
