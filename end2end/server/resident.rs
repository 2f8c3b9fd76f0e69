//! The memory budget against the memory that the process really takes: whatever clients make the server hold.
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
use crate::harness::{PATIENCE, Server, soon};
use crate::metrics::figure;

/// The budget of every server here.
const BUDGET: u64 = 64 << 20;
/// Growth that is allowed beyond the budget: page caches of SQLite, answers that are being encoded, and memory that the
/// allocator has not returned to the system. The three attacks at once took up to 100 MiB of it on two busy cores.
const ALLOWANCE: u64 = 128 << 20;
/// A text that every JSON dialect writes six times as long.
const CONTROL: char = '\u{1}';
/// Characters of a long message.
const LONG: usize = 60_000;

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
    let mut look = tokio::time::interval(Duration::from_millis(10));

    tokio::pin!(attack);
    loop {
        tokio::select! {
            () = &mut attack => break,
            _tick = look.tick() => {
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

/// A connection from the loopback address that ends with `last`.
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
        let _refused = soon(request.send()).await;
    }
}

/// Asks for history over 20 connections from each of 40 addresses, and reads none of it.
async fn unread_answers(server: &Server) {
    publish_long(server, "history", 8).await;
    let request =
        b"GET /api/v1/rooms/history/messages?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let mut unread = Vec::new();
    for last in 10..50 {
        let ask = async |_number: usize| {
            let mut stream = connect_from(last, server.address).await;
            SockRef::from(&stream)
                .set_recv_buffer_size(4096)
                .expect("set");
            // It may be evicted at any time.
            let _evicted = stream.write_all(request).await;
            stream
        };
        unread.extend(join_all((0..20).map(ask)).await);
    }

    // All of them are answered or refused by the time that this one is.
    soon(async {
        while figure(server, "fanfare_held_bytes").await > BUDGET {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(unread);
}

/// Has readers of every dialect read long messages in five rooms.
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

/// Publishes 160,000 messages with keys and names that are as long as they may be: in each of 16 rooms as many as are
/// remembered.
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
            let _refused = soon(request.send()).await;
        }
    };
    for rooms in [0..4, 4..8, 8..12, 12..16] {
        join_all(rooms.map(&publish)).await;
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_take_no_more_than_the_budget() {
    let server = server();
    stays_within_the_budget(&server, unread_answers(&server)).await;
}

#[tokio::test]
async fn messages_in_many_dialects_take_no_more_than_the_budget() {
    let server = server();
    stays_within_the_budget(&server, many_dialects(&server)).await;
}

#[tokio::test]
async fn remembered_keys_take_no_more_than_the_budget() {
    let server = server();
    stays_within_the_budget(&server, many_keys(&server)).await;
}

#[tokio::test]
async fn all_of_that_at_once_takes_no_more_than_the_budget_and_then_others_are_served() {
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
    let mut lines = tokio::time::timeout(PATIENCE, Lines::open(&server, "after=0"))
        .await
        .expect("a stream");
    publish_long(&server, "lobby", 1).await;
    assert_eq!(lines.next().await["type"], "message");
}
