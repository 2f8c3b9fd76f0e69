//! The memory budget compared with the resident memory of the process.
//!
//! Each test attacks a server in one way and compares the growth of its resident set with the budget.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::client::Lines;
use crate::eventually::{eventually, soon};
use crate::harness::Server;
use crate::metrics::figure;

/// The budget of every server here.
const BUDGET: u64 = 64 << 20;
/// Growth that is allowed beyond the budget: page caches of SQLite, answers that are being encoded, and memory that the
/// allocator has not returned to the system. The three attacks at once took up to 100 MiB of it on two busy cores.
const ALLOWANCE: u64 = 128 << 20;
/// A character that JSON encodes in six bytes.
const CONTROL: char = '\u{1}';
/// The length of a long message in characters.
const LONG: usize = 60_000;

/// Starts a server with this budget.
fn server() -> Server {
    rlimit::increase_nofile_limit(u64::MAX).expect("files for as many sockets");
    Server::start(&[
        "--memory-budget",
        "64MiB",
        "--connect-rate",
        "0",
        "--log-level",
        "error",
    ])
}

/// Runs `attack` and fails if the server grows beyond the budget and the allowance at any time.
async fn stays_within_the_budget(server: &Server, attack: impl Future<Output = ()>) {
    server.join("warm").await.leave().await;
    let resting = server.resident_bytes();
    let mut grown = 0;
    let mut sampling = tokio::time::interval(Duration::from_millis(10));

    tokio::pin!(attack);

    loop {
        tokio::select! {
            () = &mut attack => break,
            _tick = sampling.tick() => {
                grown = grown.max(server.resident_bytes().saturating_sub(resting));
            }
        }
    }

    // Shown with `--nocapture`.
    println!("grown by {} MiB of {}", grown >> 20, BUDGET >> 20);
    assert!(
        grown < BUDGET + ALLOWANCE,
        "with a budget of {BUDGET} bytes the process grew by {grown}"
    );
}

/// Connects from the loopback address that ends with `last`.
async fn connect_from(last: u8, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::from(([127, 0, 0, last], 0)))
        .expect("all of 127/8 is this machine");
    soon(socket.connect(server))
        .await
        .expect("the server listens")
}

/// Publishes `count` long messages in `room`.
async fn publish_long(server: &Server, room: &str, count: usize) {
    let client = reqwest::Client::new();

    for _message in 0..count {
        let request = client
            .post(server.url(&format!("/api/v1/rooms/{room}/messages")))
            .body(CONTROL.to_string().repeat(LONG));
        // Refused while the budget is exceeded, perhaps in the middle of the body.
        let _ = soon(request.send()).await;
    }
}

/// Requests history over 20 connections from each of 40 addresses and reads no answer.
async fn unread_answers(server: &Server) {
    publish_long(server, "history", 8).await;
    let request =
        b"GET /api/v1/rooms/history/messages?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let mut unread = Vec::new();

    for last in 10..50 {
        let request_history = async |_number: usize| {
            let mut stream = connect_from(last, server.address).await;
            SockRef::from(&stream)
                .set_recv_buffer_size(4096)
                .expect("set");
            // The connection may be evicted at any time.
            let _ = stream.write_all(request).await;
            stream
        };

        unread.extend(join_all((0..20).map(request_history)).await);
    }

    // The server is within the budget again when all requests are answered or refused.
    let held = async || figure(server, "fanfare_held_bytes").await;
    eventually(held, |bytes| *bytes <= BUDGET).await;

    drop(unread);
}

/// Publishes long messages in five rooms with readers of every dialect.
async fn many_dialects(server: &Server) {
    let mut readers = JoinSet::new();
    let rooms: Vec<String> = (0..5).map(|number| format!("dialects-{number}")).collect();

    for room in &rooms {
        for (path, accept) in [
            ("stream", "text/event-stream"),
            ("stream", "application/x-ndjson"),
        ] {
            let request = reqwest::Client::new()
                .get(server.url(&format!("/api/v1/rooms/{room}/{path}")))
                .header("accept", accept);
            let mut answer = soon(request.send()).await.expect("an answer");
            readers.spawn(async move { while let Ok(Some(_chunk)) = answer.chunk().await {} });
        }

        let mut typed = server.raw_with(&format!("room={room}"), "fanfare.v1").await;

        readers.spawn(async move {
            let mut rest = vec![0; 1 << 16];
            while matches!(typed.stream.read(&mut rest).await, Ok(1..)) {}
        });
    }

    let publishers = rooms.iter().map(|room| publish_long(server, room, 70));
    join_all(publishers).await;
}

/// Publishes 160,000 messages with keys and names of the greatest length: in each of 16 rooms as many as the server
/// remembers.
async fn many_keys(server: &Server) {
    let client = reqwest::Client::new();
    let from = "\u{1F980}".repeat(64);
    let publish = async |room: usize| {
        for batch in 0..10 {
            let mut lines = String::new();
            for number in 0..1000 {
                let key = format!("{batch:04}{number:04}{}", "\u{1F980}".repeat(56));
                writeln!(lines, r#"{{"text":"x","from":"{from}","key":"{key}"}}"#)
                    .expect("written");
            }

            let request = client
                .post(server.url(&format!("/api/v1/rooms/keys-{room}/messages")))
                .header("content-type", "application/x-ndjson")
                .body(lines);

            // Refused while the budget is exceeded, perhaps in the middle of the body.
            let _ = soon(request.send()).await;
        }
    };

    for rooms in [0..4, 4..8, 8..12, 12..16] {
        join_all(rooms.map(&publish)).await;
    }
}

#[tokio::test]
async fn unread_answers_stay_within_the_budget() {
    let server = server();
    stays_within_the_budget(&server, unread_answers(&server)).await;
}

#[tokio::test]
async fn messages_in_many_dialects_stay_within_the_budget() {
    let server = server();
    stays_within_the_budget(&server, many_dialects(&server)).await;
}

#[tokio::test]
async fn remembered_keys_stay_within_the_budget() {
    let server = server();
    stays_within_the_budget(&server, many_keys(&server)).await;
}

#[tokio::test]
async fn all_attacks_at_once_stay_within_the_budget_and_later_clients_are_served() {
    let server = server();
    let all = async {
        tokio::join!(
            unread_answers(&server),
            many_dialects(&server),
            many_keys(&server)
        );
    };

    stays_within_the_budget(&server, all).await;

    server.join_when_free("id=ann").await.leave().await;
    let mut lines = soon(Lines::open(&server, "after=0")).await;
    publish_long(&server, "lobby", 1).await;

    assert_eq!(lines.next().await["type"], "message");
}
