//! SIGTERM and SIGINT: no new clients are accepted, clients are closed with 1001, and the process exits with 0 in time.

use std::time::Instant;

use tokio::net::TcpStream;

use crate::harness::Server;

#[tokio::test]
async fn a_signal_closes_every_client_with_1001_and_the_program_exits_with_0() {
    for signal in ["TERM", "INT"] {
        let server = Server::start(&[]);
        let mut ann = server.join("ann").await;
        let mut bob = server.join_with("id=bob&room=class").await;

        ann.send("before the end").await;
        assert_eq!(ann.text().await, "before the end");
        server.signal(signal);

        assert_eq!(ann.close_code().await, 1001);
        assert_eq!(bob.close_code().await, 1001);
        let address = server.address;
        let (status, log) = server.end().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(
            TcpStream::connect(address).await.is_err(),
            "the port is closed"
        );
    }
}

#[tokio::test]
async fn clients_that_do_not_answer_cannot_delay_the_exit() {
    let server = Server::start(&[]);
    let _silent = server.raw().await;

    let _half_a_request = TcpStream::connect(server.address)
        .await
        .expect("the server listens");

    let began = Instant::now();
    server.signal("TERM");

    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        began.elapsed().as_secs() < 10,
        "the limit of the contract is 10 s; it took {:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_reader_behind_the_ring_is_closed_with_1001() {
    let server = Server::start(&["--history-messages", "10000"]);
    let mut slow = server.raw_with("id=slow&room=lobby", "fanfare.v1").await;
    let mut speaker = server.join("speaker").await;

    // More than the ring and the kernel can hold together.
    let long = "x".repeat(10_000);
    for _message in 0..3000 {
        speaker.send(long.as_str()).await;
        speaker.text().await;
    }

    server.signal("TERM");
    assert_eq!(slow.close_code().await, 1001);

    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches("1001 ").count(), 2, "{log}");
}
