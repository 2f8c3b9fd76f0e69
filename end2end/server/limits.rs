//! Limits, and the errors of clients that reach them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::eventually::soon;
use crate::harness::Server;
use crate::raw::masked;

#[tokio::test]
async fn connections_beyond_the_limit_are_refused_with_503_and_retry_after() {
    let server = Server::start(&["--max-connections", "2"]);
    let _ann = server.join("ann").await;
    let _bob = server.join("bob").await;

    let refused = server.try_join("id=eve", &[]).await.expect_err("full");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.retry_after, "{refused:?}");
    assert!(refused.body.contains("too_many_connections"), "{refused:?}");
}

#[tokio::test]
async fn connections_of_one_address_beyond_its_limit_are_refused_with_429() {
    let server = Server::start(&["--max-connections-per-ip", "1"]);
    let _ann = server.join("ann").await;
    let refused = server.try_join("id=bob", &[]).await.expect_err("full");
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.retry_after, "{refused:?}");
}

#[tokio::test]
async fn rooms_beyond_the_limit_are_refused_until_one_is_empty() {
    let server = Server::start(&["--max-rooms", "2"]);
    let first = server.join_with("room=first").await;
    let _second = server.join_with("room=second").await;

    let refused = server.try_join("room=third", &[]).await.expect_err("full");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.retry_after, "{refused:?}");
    assert!(refused.body.contains("too_many_rooms"), "{refused:?}");

    first.leave().await;
    server.join_when_free("room=third").await.leave().await;
}

#[tokio::test]
async fn the_number_of_rooms_in_the_database_is_limited_over_http() {
    let server = Server::start(&["--max-rooms", "3"]);

    let client = reqwest::Client::new();
    let publish = |room: String| {
        let url = server.url(&format!("/api/v1/rooms/{room}/messages"));
        client.post(url).body("x").send()
    };

    for number in 0..3 {
        let answer = publish(format!("room-{number}")).await.expect("an answer");
        assert_eq!(answer.status(), 201);
    }

    let refused = publish("one-more".to_owned()).await.expect("an answer");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));

    let body = refused.text().await.expect("text");
    let names_the_limit = "the store has 3 rooms, the limit (--max-rooms)";
    assert!(body.contains("too_many_rooms"), "{body}");
    assert!(body.contains(names_the_limit), "{body}");

    let known = publish("room-0".to_owned()).await.expect("an answer");
    assert_eq!(known.status(), 201);
}

#[tokio::test]
async fn connections_beyond_the_limit_of_a_room_are_refused_until_one_leaves() {
    let server = Server::start(&["--max-room-members", "1"]);
    let ann = server.join_with("id=ann&room=full").await;

    let refused = server
        .try_join("id=bob&room=full", &[])
        .await
        .expect_err("full");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.retry_after, "{refused:?}");
    assert!(refused.body.contains("room_full"), "{refused:?}");

    let stream = reqwest::get(server.url("/api/v1/rooms/full/stream"))
        .await
        .expect("an answer");
    assert_eq!(stream.status(), 503);

    server.join_with("id=bob&room=other").await.leave().await;
    ann.leave().await;
    server
        .join_when_free("id=bob&room=full")
        .await
        .leave()
        .await;
}

#[tokio::test]
async fn a_message_over_the_limit_closes_its_sender_with_1009_and_is_not_delivered() {
    let server = Server::start(&["--max-message", "1KiB"]);
    let mut ann = server.join("ann").await;
    let mut bob = server.join("bob").await;

    bob.send("x".repeat(1025)).await;
    assert_eq!(bob.close_code().await, 1009);

    server.join("carol").await.send("x".repeat(1024)).await;
    assert_eq!(ann.text().await.len(), 1024);
}

#[tokio::test]
async fn a_plain_client_that_is_too_fast_is_closed_with_4001_after_its_burst() {
    let server = Server::start(&["--message-rate", "1/s", "--message-burst", "5"]);
    let mut ann = server.join("ann").await;
    let mut flood = server.join("flood").await;

    for number in 0..100 {
        if !flood.try_send(number.to_string()).await {
            break;
        }
    }

    assert_eq!(flood.close_code().await, 4001);
    assert_eq!(ann.texts(5).await, ["0", "1", "2", "3", "4"]);

    server.join("bob").await.send("next").await;
    let next = ann.text().await;
    assert!(
        next == "next" || next == "5",
        "at most one more message is allowed in a second: {next}"
    );
}

#[tokio::test]
async fn streams_do_not_count_against_the_limit_of_requests() {
    // More than the limit of concurrent HTTP requests.
    const STREAMS: usize = 4200;

    rlimit::increase_nofile_limit(u64::MAX).expect("files for as many sockets");
    let server = Server::start(&[
        "--connect-rate",
        "0",
        "--max-connections-per-ip",
        "100000",
        "--log-level",
        "error",
    ]);

    let request = b"GET /api/v1/rooms/lobby/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut streams = Vec::new();

    for _stream in 0..STREAMS {
        let mut stream = soon(TcpStream::connect(server.address))
            .await
            .expect("the server listens");
        stream.write_all(request).await.expect("written");

        let mut status = [0; 12];
        soon(stream.read_exact(&mut status))
            .await
            .expect("an answer");

        assert_eq!(&status, b"HTTP/1.1 200");
        streams.push(stream);
    }

    let page = soon(reqwest::get(server.url("/api/v1/openapi.json")))
        .await
        .expect("an answer");
    assert_eq!(page.status(), 200);

    server.join("ann").await.leave().await;
}

#[tokio::test]
async fn one_address_cannot_use_up_the_limit_of_requests() {
    // More than half of the limit of HTTP connections.
    const SOCKETS: usize = 2100;

    rlimit::increase_nofile_limit(u64::MAX).expect("files for as many sockets");
    let server = Server::start(&[
        "--connect-burst",
        "5000",
        "--header-timeout",
        "1m",
        "--log-level",
        "error",
    ]);

    let mut idle = Vec::new();

    for _socket in 0..SOCKETS {
        idle.push(
            soon(TcpStream::connect(server.address))
                .await
                .expect("the server listens"),
        );
    }

    let refused = soon(reqwest::get(server.url("/api/v1/openapi.json")))
        .await
        .expect("an answer");
    assert_eq!(refused.status().as_u16(), 429);
    assert!(refused.headers().contains_key("retry-after"));

    let body = soon(refused.text()).await.expect("text");
    assert!(body.contains("too_many_at_once"), "{body}");
    assert!(body.contains("2048"), "{body}");

    let elsewhere = reqwest::Client::builder()
        .local_address(std::net::IpAddr::from([127, 0, 0, 2]))
        .build();
    let request = elsewhere
        .expect("a client")
        .get(server.url("/api/v1/openapi.json"));
    assert_eq!(soon(request.send()).await.expect("an answer").status(), 200);

    drop(idle);
    server.join_when_free("id=ann").await.leave().await;
}

#[tokio::test]
async fn connections_without_a_whole_request_are_closed_after_the_header_timeout() {
    let server = Server::start(&["--header-timeout", "200ms"]);

    for opening in [
        "",
        "GET /ws HTTP/1.1\r\nHost: localhost\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address)
            .await
            .expect("the server listens");
        stream.write_all(opening.as_bytes()).await.expect("written");

        let mut answer = Vec::new();
        soon(stream.read_to_end(&mut answer))
            .await
            .expect("the server closes");
    }
}

#[tokio::test]
async fn a_client_that_floods_with_pings_is_closed_with_4001() {
    let server = Server::start(&[]);
    let mut flood = server.raw().await;

    flood.write(&masked(0x89, b"?").repeat(1500)).await;
    for _allowed in 0..1000 {
        assert_eq!(flood.frame().await.0, 0x8A);
    }

    assert_eq!(flood.close_code().await, 4001);
}

#[tokio::test]
async fn concurrent_history_requests_beyond_one_are_refused() {
    let server = Server::start(&["--max-message", "1MiB"]);
    let mut ann = server.join("ann").await;

    ann.send("x".repeat(200_000)).await;
    ann.text().await;

    let mut curious = server.raw_with("id=curious&room=lobby", "fanfare.v1").await;

    let before = server.resident_bytes();
    curious
        .write(&masked(0x81, br#"{"type":"history"}"#).repeat(500))
        .await;

    let mut refused = 0;
    while refused < 400 {
        let (_, payload) = curious.frame().await;
        refused += usize::from(
            String::from_utf8_lossy(&payload).contains("one history request at a time"),
        );
    }

    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 8 << 20,
        "500 requests made the server {grown} bytes larger"
    );

    ann.send("others are served").await;
    assert_eq!(ann.text().await, "others are served");
}

#[tokio::test]
async fn an_address_that_connects_too_fast_is_refused_with_429_until_it_has_waited() {
    let server = Server::start(&["--connect-rate", "1/s", "--connect-burst", "3"]);

    for id in ["ann", "bob", "carol"] {
        server.join(id).await.leave().await;
    }

    let refused = server.try_join("id=dan", &[]).await.expect_err("too fast");
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.retry_after, "{refused:?}");
    assert!(refused.body.contains("connects_too_fast"), "{refused:?}");

    let page = reqwest::get(server.url("/")).await.expect("an answer");
    assert_eq!(page.status(), 429);

    server.join_when_free("id=dan").await.leave().await;
}
