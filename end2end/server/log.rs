//! A log that cannot be written affects no client: its lines are dropped and counted.

use std::fs::File;
use std::io::{self, Write};
use std::process::Stdio;

use crate::client::{Events, publish};
use crate::eventually::{eventually, soon};
use crate::harness::{Server, program};
use crate::metrics::figure;

const DROPPED: &str = "fanfare_log_lines_dropped_total";

/// Uses the server in each way that is logged, and stops it.
async fn use_and_stop(server: Server) {
    for number in 0..3 {
        let mut peer = server.join(&format!("ann-{number}")).await;
        let mut events = Events::open(&server, "id=bob").await;
        publish(&server, "lobby", "a word").await;
        assert_eq!(peer.text().await, "a word");
        assert_eq!(events.next("message").await["text"], "a word");
    }

    let mut last = server.join("ann").await;

    server.signal("TERM");

    assert_eq!(last.close_code().await, 1001);

    let (status, _) = server.end().await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn log_lines_on_a_full_disk_are_dropped_and_counted() {
    for format in ["pretty", "json"] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("a device");

        let server = Server::start_logging_to(full, &["--log-format", format]);
        drop(server.join("eve").await);
        assert!(figure(&server, DROPPED).await > 0, "{format}");

        use_and_stop(server).await;
    }
}

#[tokio::test]
async fn log_lines_without_a_reader_are_dropped_and_counted() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);

    let server = Server::start_logging_to(writer, &[]);
    drop(server.join("eve").await);
    assert!(figure(&server, DROPPED).await > 0);

    use_and_stop(server).await;
}

#[tokio::test]
async fn a_log_reader_that_stops_reading_delays_nothing() {
    let (_unread, mut writer) = io::pipe().expect("a pipe");

    // Fills the pipe: this is its capacity (pipe(7)).
    writer.write_all(&[b'\n'; 65536]).expect("there is room");

    let server = Server::start_logging_to(writer, &[]);
    use_and_stop(server).await;
}

#[tokio::test]
async fn a_log_that_is_read_drops_nothing() {
    let server = Server::start(&[]);

    drop(server.join("eve").await);

    assert_eq!(figure(&server, DROPPED).await, 0);
    assert!(server.log().await.contains("stopped"), "the last line too");
}

#[tokio::test]
async fn a_full_or_closed_standard_output_does_not_stop_the_server() {
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("a device");
    let (reader, closed) = io::pipe().expect("a pipe");
    drop(reader);
    let data = tempfile::tempdir().expect("a folder");

    for stdout in [Stdio::from(full), Stdio::from(closed)] {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);

        let mut server = tokio::process::Command::from(program())
            .args(["--listen", &address, "--ops-listen", "off", "--data"])
            .arg(data.path())
            .stdout(stdout)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");

        let url = format!("http://{address}/api/v1/rooms/lobby/presence");
        eventually(async || reqwest::get(&url).await, Result::is_ok)
            .await
            .expect("it listens");

        let id = server.id().expect("it runs").to_string();
        let killed = std::process::Command::new("kill")
            .args(["-TERM", &id])
            .status();
        assert!(killed.expect("kill runs").success());

        let status = soon(server.wait()).await.expect("a child");
        assert_eq!(status.code(), Some(0));
    }
}
