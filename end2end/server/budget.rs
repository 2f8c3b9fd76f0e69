//! The memory budget: rings give way first, then whoever does not read or does not finish; nobody else notices.

use std::io::{self, BufRead, BufReader};
use std::time::Duration;

use socket2::SockRef;

use crate::harness::{Server, soon};
use crate::metrics::figure;
use crate::raw::{Raw, masked};

const HELD: &str = "fanfare_held_bytes";
const TOO_SLOW: &str = "fanfare_connections_closed_total{code=\"4002\"}";
/// Of every test here, in bytes.
const BUDGET: u64 = 1 << 20;
/// Bytes of a long message.
const LONG: usize = 60_000;

/// A server with so small a budget, and `flags`.
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

/// Waits until no more than the budget is held.
async fn calm(server: &Server) {
    soon(async { while figure(server, HELD).await > BUDGET {} }).await;
}

/// Asks for history again and again, and reads none of it.
async fn hunger(mut client: Raw) {
    let question = masked(0x81, br#"{"type":"history"}"#);
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    while client.try_write(&question).await {
        pace.tick().await;
    }
}

#[tokio::test]
async fn beyond_the_budget_the_slowest_readers_go_and_new_clients_are_told_to_wait() {
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
    let mut hungry = tokio::task::JoinSet::new();
    for client in clients {
        hungry.spawn(hunger(client));
    }
    let refused = soon(async {
        loop {
            ann.send("still here").await;
            assert_eq!(ann.text().await, "still here");
            if let Err(refused) = server.try_join("id=new", &[]).await {
                return refused;
            }
        }
    })
    .await;
    assert!(
        refused.status == 503 && refused.retry_after && refused.body.contains("memory_full"),
        "{refused:?}"
    );
    assert!(refused.body.contains("--memory-budget"), "{refused:?}");
    soon(async { while figure(&server, TOO_SLOW).await == 0 {} }).await;
    drop(hungry);
    calm(&server).await;
    server.join_when_free("id=new").await.leave().await;
    ann.send("to the end").await;
    assert_eq!(ann.text().await, "to the end");
}

#[tokio::test]
async fn beyond_the_budget_the_oldest_of_the_messages_without_an_end_go_first() {
    // Messages so long that nothing else ends them during this test.
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
        // All of it is there when the answer to what follows is.
        client.write(&masked(0x89, b"?")).await;
        assert_eq!(client.frame().await.0, 0x8A);
    }
    assert_eq!(clients[0].close_code().await, 4000);
    calm(&server).await;
    let last = clients.last_mut().expect("five");
    last.write(&masked(0x89, b"?")).await;
    assert_eq!(last.frame().await.0, 0x8A);
}

#[tokio::test]
async fn rings_give_way_before_any_reader_does_and_nothing_is_lost() {
    const MESSAGES: usize = 40;
    let server = server(&[]);
    let mut ann = server.join("ann").await;
    for number in 0..MESSAGES {
        ann.send(format!("{number} {}", "x".repeat(LONG))).await;
        assert!(ann.text().await.starts_with(&format!("{number} ")));
    }
    calm(&server).await;
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
