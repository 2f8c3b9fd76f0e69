//! Streams of a room over HTTP: server-sent events and JSON lines.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Events, Lines, follow, get, publish};
use crate::eventually::soon;
use crate::harness::Server;
use crate::typed::{join, next, say};

#[tokio::test]
async fn streams_carry_the_json_of_message_frames() {
    let server = Server::start(&[]);

    let (mut typed, _) = join(&server, "id=ann").await;
    let mut events = Events::open(&server, "").await;
    let mut lines = Lines::open(&server, "").await;
    say(&mut typed, "<b>\"zwei\"</b>\n三 \u{2028}", Some("k1")).await;

    let frame = loop {
        let frame = typed.json().await;
        if frame["type"] == "message" {
            break frame;
        }
    };
    assert_eq!(events.next("message").await, frame);
    assert_eq!(lines.next().await, frame);

    let mut plain = server.join("plain").await;
    plain.send(vec![1, 2, 255]).await;
    assert_eq!(events.next("message").await["data"], "AQL/");
    assert_eq!(lines.next().await["data"], "AQL/");
}

#[tokio::test]
async fn a_stream_begins_at_the_newest_message_or_the_given_position() {
    let server = Server::start(&[]);

    let epoch = publish(&server, "lobby", "1").await["epoch"]
        .as_str()
        .expect("text")
        .to_owned();
    publish(&server, "lobby", "2").await;

    let mut fresh = Events::open(&server, "").await;
    assert_eq!(fresh.seen, format!("{epoch}:2"));

    let mut all = Events::open(&server, "after=0").await;
    let mut one = Events::open(&server, &format!("after=1&epoch={epoch}")).await;

    publish(&server, "lobby", "3").await;

    for (events, offsets) in [(&mut fresh, 3..=3), (&mut all, 1..=3), (&mut one, 2..=3)] {
        for offset in offsets {
            assert_eq!(events.next("message").await["offset"], offset);
            assert_eq!(events.seen, format!("{epoch}:{offset}"));
        }
    }

    // The header is newer than the query: a browser reconnects with its first URL.
    let seen = format!("{epoch}:2");
    let response = follow(&server, "lobby", "after=0", &[("last-event-id", &seen)]).await;
    assert_eq!(response.headers()["last-event-id"], seen.as_str());
}

#[tokio::test]
async fn an_empty_last_event_id_is_ignored() {
    let server = Server::start(&[]);

    let epoch = publish(&server, "lobby", "1").await["epoch"]
        .as_str()
        .expect("text")
        .to_owned();

    for (query, begins) in [("", 1), ("after=0", 0), ("after=&epoch=", 1)] {
        let response = follow(&server, "lobby", query, &[("last-event-id", "")]).await;
        assert_eq!(response.status().as_u16(), 200, "{query}");
        assert_eq!(
            response.headers()["last-event-id"],
            format!("{epoch}:{begins}").as_str(),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_stream_has_the_format_that_accept_prefers() {
    let server = Server::start(&[]);

    for (accept, kind) in [
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/ndjson, */*;q=0.1", "application/x-ndjson"),
        (
            "application/x-ndjson;q=0, text/event-stream",
            "text/event-stream",
        ),
        (
            "application/x-ndjson;q=0.2, text/event-stream;q=0.3",
            "text/event-stream",
        ),
        (
            "text/event-stream;q=0.2, application/x-ndjson;q=0.3",
            "application/x-ndjson",
        ),
        ("text/event-stream;q=0, */*", "application/x-ndjson"),
        ("text/html, */*;q=0.8", "text/event-stream"),
    ] {
        let response = follow(&server, "lobby", "", &[("accept", accept)]).await;
        assert_eq!(response.headers()["content-type"], kind, "{accept}");
    }

    let refused = follow(&server, "lobby", "", &[("accept", "*/*;q=0")]).await;
    assert_eq!(refused.status().as_u16(), 406);
    assert!(
        soon(refused.text())
            .await
            .expect("text")
            .contains("application/x-ndjson")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_that_reconnects_misses_and_repeats_nothing() {
    const MESSAGES: u64 = 300;

    let server = Server::start(&[]);
    let mut events = Events::open(&server, "").await;

    // Reconnects before the first message are possible too.
    for _drop in 0..3 {
        events = events.reconnect(&server).await;
    }

    let mut speaker = server.join("speaker").await;

    let speaking = tokio::spawn(async move {
        for number in 1..=MESSAGES {
            speaker.send(number.to_string()).await;
            speaker.text().await;
        }
    });

    for number in 1..=MESSAGES {
        let message = events.next("message").await;
        assert_eq!(message["offset"], number);
        assert_eq!(message["text"], number.to_string());
        if number % 7 == 0 {
            events = events.reconnect(&server).await;
        }
    }

    soon(speaking).await.expect("no panic");
}

#[tokio::test]
async fn an_event_stream_resumes_after_the_server_was_killed() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let mut events = Events::open(&server, "").await;
    publish(&server, "lobby", "received").await;
    events.next("message").await;
    publish(&server, "lobby", "missed").await;
    drop(server);

    let server = Server::start_in(data.path(), &[]);
    let mut events = events.reconnect(&server).await;
    publish(&server, "lobby", "new").await;

    for (offset, text) in [(2, "missed"), (3, "new")] {
        let message = events.next("message").await;
        assert_eq!(message["offset"], offset);
        assert_eq!(message["text"], text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_every_dialect_receive_the_same_messages_in_the_same_order() {
    const EACH: usize = 50;

    let server = Server::start(&[]);
    let (mut typed, _) = join(&server, "id=typed").await;
    let mut events = Events::open(&server, "").await;
    let mut lines = Lines::open(&server, "").await;
    let mut speakers = Vec::new();

    for id in 0..4 {
        let mut speaker = server.join(&format!("speaker-{id}")).await;
        speakers.push(async move {
            for number in 0..EACH {
                speaker.send(format!("{id} {number}")).await;
            }
            // The client stays until it has received all, so that none of its messages is discarded.
            speaker.texts(EACH * 6).await;
        });
    }

    let posts = (0..2).map(|id| {
        let server = &server;
        async move {
            for number in 0..EACH {
                publish(server, "lobby", &format!("http {id} {number}")).await;
            }
        }
    });

    futures::join!(
        futures::future::join_all(speakers),
        futures::future::join_all(posts)
    );

    for offset in 1..=EACH * 6 {
        let frame = next(&mut typed, "message").await;
        assert_eq!(frame["offset"], offset);

        let event = events.next("message").await;
        let line = lines.next().await;
        assert_eq!(event, frame);
        assert_eq!(line, frame);
    }
}

#[tokio::test]
async fn a_stream_that_resumes_too_late_gets_a_gap() {
    let server = Server::start(&["--history-messages", "3"]);

    let epoch = publish(&server, "lobby", "1").await["epoch"]
        .as_str()
        .expect("text")
        .to_owned();
    for number in 2..=8 {
        publish(&server, "lobby", &number.to_string()).await;
    }

    let gap = json!({ "type": "gap", "room": "lobby", "after": 2, "before": 6, "count": 3, "reason": "expired" });
    let mut events = Events::open(&server, &format!("after=2&epoch={epoch}")).await;
    let mut lines = Lines::open(&server, &format!("after=2&epoch={epoch}")).await;

    assert_eq!(events.next("gap").await, gap.clone());
    assert_eq!(lines.next().await, gap);

    for offset in 6..=8 {
        assert_eq!(events.next("message").await["offset"], offset);
        assert_eq!(lines.next().await["offset"], offset);
    }

    let mut other = Events::open(&server, "after=7&epoch=ffffffff").await;
    assert_eq!(other.next("gap").await["count"], Value::Null);
    assert_eq!(other.next("message").await["offset"], 6);
}

#[tokio::test]
async fn a_stopping_server_sends_each_stream_a_drain_event_and_ends_it() {
    let server = Server::start(&[]);

    let mut events = Events::open(&server, "").await;
    let mut lines = Lines::open(&server, "").await;
    publish(&server, "lobby", "last").await;
    server.signal("TERM");

    assert_eq!(events.next("message").await["text"], "last");

    let drain = events.event().await.expect("an event");
    let data: Value = serde_json::from_str(&drain.data).expect("JSON");
    let wait = data["reconnect_after_ms"].as_u64().expect("a time");

    assert_eq!(drain.event, "drain");
    assert_eq!(drain.retry, Some(Duration::from_millis(wait)));
    assert!(events.event().await.is_none(), "the stream ends");
    assert_eq!(lines.next().await["text"], "last");
    assert_eq!(lines.next().await["type"], "drain");
    assert_eq!(lines.line().await, None);
    assert_eq!(server.end().await.0.code(), Some(0));
}

#[tokio::test]
async fn a_silent_stream_gets_keep_alives() {
    let server = Server::start(&["--heartbeat", "100ms"]);

    let mut events = follow(&server, "lobby", "", &[]).await;
    let mut lines = Lines::open(&server, "").await;
    let mut text = String::new();

    while !text.ends_with("\n\n:\n\n:\n\n") {
        let chunk = soon(events.chunk())
            .await
            .expect("bytes")
            .expect("the stream goes on");
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
    }

    assert_eq!(lines.line().await.as_deref(), Some(""));

    publish(&server, "lobby", "awake").await;
    assert_eq!(lines.next().await["text"], "awake");
}

#[tokio::test]
async fn streams_count_against_the_connection_limits() {
    for (flag, status, code) in [
        ("--max-connections", 503, "too_many_connections"),
        (
            "--max-connections-per-ip",
            429,
            "too_many_connections_from_address",
        ),
    ] {
        let server = Server::start(&[flag, "1"]);

        let events = Events::open(&server, "").await;
        let refused = follow(&server, "lobby", "", &[]).await;
        assert!(refused.status() == status, "{refused:?}");
        assert!(refused.headers().contains_key("retry-after"), "{refused:?}");

        let answer: Value = soon(refused.json()).await.expect("JSON");
        assert_eq!(answer["error"]["code"], code);

        drop(events);
        server.join_when_free("id=ann").await.leave().await;
    }
}

#[tokio::test]
async fn a_stream_is_in_presence_only_with_an_id() {
    let server = Server::start(&[]);

    let _unseen = Events::open(&server, "").await;
    let (mut ann, welcome) = join(&server, "id=ann").await;
    assert_eq!(welcome["members"], json!([{ "id": "ann" }]));

    let bob = Events::open(&server, "id=bob").await;
    let presence = get(&server, "/api/v1/rooms/lobby/presence").await;
    assert_eq!(presence["count"], 2);
    assert_eq!(presence["members"][1]["id"], "bob");

    let mut joined: Vec<Value> = Vec::new();

    while joined.len() < 2 {
        joined.extend(
            next(&mut ann, "presence").await["joined"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        );
    }

    drop(bob);
    assert_eq!(
        next(&mut ann, "presence").await,
        json!({ "type": "presence", "room": "lobby", "count": 1, "left": ["bob"] })
    );
}
