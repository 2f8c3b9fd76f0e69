//! The memory budget: rings are dropped first, then clients that do not read or do not finish. No other client is
//! affected.

use std::io::{self, BufRead, BufReader};
use std::time::Duration;

use socket2::SockRef;

use crate::eventually::{eventually, soon};
use crate::harness::Server;
use crate::metrics::figure;
use crate::raw::{Raw, masked};

const HELD: &str = "fanfare_held_bytes";
const TOO_SLOW: &str = "fanfare_connections_closed_total{code=\"4002\"}";
/// The budget of every test, in bytes.
const BUDGET: u64 = 1 << 20;
/// The length of a long message in bytes.
const LONG: usize = 60_000;

/// Starts a server with this budget and `flags`.
fn server(flags: &[&str]) -> Server {
    let mut all = vec![
        "--memory-budget",
        "1MiB",
        "--connect-rate",
        "0",
        "--log-level",
        "error",
    ];
    all.extend(flags);
    Server::start(&all)
}

/// Waits until the memory that clients hold is within the budget.
async fn until_within_budget(server: &Server) {
    eventually(async || figure(server, HELD).await, |held| *held <= BUDGET).await;
}

/// Requests the history repeatedly and reads no response.
async fn request_without_reading(mut client: Raw) {
    let request = masked(0x81, br#"{"type":"history"}"#);
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while client.try_write(&request).await {
        pace.tick().await;
    }
}

#[tokio::test]
async fn beyond_the_budget_the_slowest_readers_are_closed_and_new_clients_get_503() {
    let server = server(&[]);
    let mut ann = server.join_with("id=ann&room=quiet").await;
    let mut writer = server.join_with("room=loud").await;

    for _message in 0..4 {
        writer.send("x".repeat(LONG)).await;
        writer.text().await;
    }

    let mut clients = Vec::new();

    for _client in 0..12 {
        let client = server.raw_with("room=loud", "fanfare.v1").await;
        SockRef::from(&client.stream)
            .set_recv_buffer_size(4096)
            .expect("set");
        clients.push(client);
    }

    let mut readers = tokio::task::JoinSet::new();
    for client in clients {
        readers.spawn(request_without_reading(client));
    }

    let join = async || {
        ann.send("still here").await;
        assert_eq!(ann.text().await, "still here");
        server.try_join("id=new", &[]).await.err()
    };
    let refused = eventually(join, Option::is_some).await.expect("checked");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.retry_after, "{refused:?}");
    assert!(refused.body.contains("memory_full"), "{refused:?}");
    assert!(refused.body.contains("--memory-budget"), "{refused:?}");

    eventually(
        async || figure(&server, TOO_SLOW).await,
        |closed| *closed > 0,
    )
    .await;

    drop(readers);
    until_within_budget(&server).await;
    server.join_when_free("id=new").await.leave().await;

    ann.send("to the end").await;
    assert_eq!(ann.text().await, "to the end");
}

#[tokio::test]
async fn beyond_the_budget_the_oldest_unfinished_message_is_dropped_first() {
    // The limit of a message is much larger than the pieces.
    let server = server(&["--max-message", "16MiB"]);
    let mut clients = Vec::new();

    for _client in 0..5 {
        clients.push(server.raw().await);
    }

    let piece = [
        masked(0x01, &[b'x'; LONG]),
        masked(0x00, &[b'x'; LONG]).repeat(3),
    ]
    .concat();

    for client in &mut clients {
        client.write(&piece).await;
        // The pong shows that the server has read the piece.
        client.write(&masked(0x89, b"?")).await;
        assert_eq!(client.frame().await.0, 0x8A);
    }

    assert_eq!(clients[0].close_code().await, 4000);

    until_within_budget(&server).await;

    let last = clients.last_mut().expect("five");
    last.write(&masked(0x89, b"?")).await;
    assert_eq!(last.frame().await.0, 0x8A);
}

#[tokio::test]
async fn rings_are_dropped_before_readers_and_nothing_is_lost() {
    const MESSAGES: usize = 40;

    let server = server(&[]);
    let mut ann = server.join("ann").await;

    for number in 0..MESSAGES {
        ann.send(format!("{number} {}", "x".repeat(LONG))).await;
        assert!(ann.text().await.starts_with(&format!("{number} ")));
    }

    until_within_budget(&server).await;
    assert_eq!(figure(&server, TOO_SLOW).await, 0);

    let mut late = server.join_when_free("id=late&after=0").await;
    for number in 0..MESSAGES {
        assert!(late.text().await.starts_with(&format!("{number} ")));
    }
}

#[tokio::test]
async fn the_log_has_one_line_when_the_budget_is_exceeded_and_one_when_it_is_kept_again() {
    let (log, stderr) = io::pipe().expect("a pipe");
    let flags = ["--memory-budget", "1MiB", "--max-message", "16MiB"];
    let server = Server::start_logging_to(stderr, &flags);

    let piece = [
        masked(0x01, &[b'x'; LONG]),
        masked(0x00, &[b'x'; LONG]).repeat(3),
    ]
    .concat();

    let mut clients = Vec::new();
    for _client in 0..5 {
        clients.push(server.raw().await);
    }

    for client in &mut clients {
        assert!(client.try_write(&piece).await);
    }

    let lines = tokio::task::spawn_blocking(|| {
        let lines = BufReader::new(log).lines().map(|line| line.expect("text"));
        let mut about: Vec<String> = Vec::new();

        for line in lines.filter(|line| line.contains("--memory-budget")) {
            let is_end = line.contains("within the budget again");
            about.push(line);
            if is_end {
                break;
            }
        }

        about
    });

    let lines = soon(lines).await.expect("joined");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("memory budget exceeded"), "{lines:#?}");

    for line in &lines {
        assert!(line.contains("held="), "{line}");
        assert!(line.contains(&format!("budget={BUDGET}")), "{line}");
    }
}
