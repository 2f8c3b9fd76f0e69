//! Heartbeats: any traffic keeps a connection alive; a silent one is pinged and then closed.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::eventually::soon;
use crate::harness::Server;
use crate::raw::{handshake, masked};

const QUICK: &[&str] = &[
    "--heartbeat",
    "200ms",
    "--expire",
    "1s",
    "--max-connections",
    "1",
];

#[tokio::test]
async fn a_silent_client_is_pinged_and_then_closed_with_4000() {
    let server = Server::start(QUICK);
    let mut silent = server.raw().await;

    let mut pings = 0;
    let code = loop {
        match silent.frame().await {
            (0x89, _) => pings += 1,
            (0x88, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 4000);
    assert!(
        (1..=5).contains(&pings),
        "pinged at most each 200 ms of one second, not {pings} times"
    );

    // Its socket is still open, but it no longer counts against the limit.
    server.join_when_free("id=next").await.leave().await;
    assert!(server.log().await.contains("4000 expired"));
}

#[tokio::test]
async fn any_traffic_keeps_a_connection_alive() {
    let server = Server::start(QUICK);
    let mut talker = server.raw().await;

    // Each ping marks 200 ms of silence: ten of them are well past the expiry.
    for _round in 0..10 {
        while talker.frame().await.0 != 0x89 {}
        talker.write(&masked(0x81, b"no pong, but a message")).await;
        while talker.frame().await.0 != 0x81 {}
    }
}

#[tokio::test]
async fn a_client_that_sends_is_not_pinged() {
    let server = Server::start(&["--heartbeat", "2s", "--expire", "4s"]);
    let mut talker = server.join("talker").await;
    for number in 0..500 {
        talker.send(number.to_string()).await;
        assert!(talker.frame().await.is_text());
    }
}

#[tokio::test]
async fn a_client_that_only_receives_is_pinged() {
    let server = Server::start(&["--heartbeat", "100ms", "--expire", "2s"]);
    let mut listener = server.join("listener").await;
    let mut speaker = server.join("speaker").await;

    let mut frames = 0;
    while !listener.frame().await.is_ping() {
        speaker.send("busy").await;
        frames += 1;
        assert!(frames < 1_000_000);
    }
}

/// A pause that is longer than every limit of [`IMPATIENT`].
const PAUSE: Duration = Duration::from_secs(4);

const IMPATIENT: &[&str] = &[
    "--heartbeat",
    "500ms",
    "--expire",
    "2s",
    "--header-timeout",
    "2s",
];

#[tokio::test]
async fn time_while_the_server_is_stopped_expires_no_connection() {
    let server = Server::start(IMPATIENT);

    let mut clients = Vec::new();
    for _client in 0..20 {
        clients.push(server.raw().await);
    }

    let mut silent = server.raw().await;

    let head = handshake(server.address, "id=half", None);
    let (half, rest) = head.as_bytes().split_at(20);
    let mut opening = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    soon(opening.write_all(half)).await.expect("written");

    server.signal("STOP");

    // The pause is under test.
    tokio::time::sleep(PAUSE).await;
    for client in &mut clients {
        client.write(&masked(0x89, b"unread")).await;
    }

    soon(opening.write_all(rest)).await.expect("written");
    server.signal("CONT");

    for client in &mut clients {
        let (first, payload) = client.frame_but_pings().await;
        assert_eq!(first, 0x8A);
        assert_eq!(payload.as_slice(), &b"unread"[..]);
    }

    assert_eq!(
        silent.frame().await.0,
        0x89,
        "it is pinged before it is closed"
    );

    silent.write(&masked(0x89, b"here")).await;
    assert_eq!(silent.frame_but_pings().await.0, 0x8A);

    let mut answer = [0; 12];
    soon(tokio::io::AsyncReadExt::read_exact(
        &mut opening,
        &mut answer,
    ))
    .await
    .expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");
}
