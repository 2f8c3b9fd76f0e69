//! Streams over HTTP whose clients do not read: their memory, and catching up afterwards.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::eventually::soon;
use crate::harness::{Peer, Server};
use crate::tls_server::TlsServer;

/// Opens a stream and reads only its head.
async fn unread(server: &Server) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    unread_over(stream).await
}

/// Opens a stream over `stream` and reads only its head. Its reader is in the room when the head arrives.
async fn unread_over<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> BufReader<S> {
    let request = "GET /api/v1/rooms/lobby/stream HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("written");

    let mut reader = BufReader::new(stream);
    let mut line = String::new();

    while line != "\r\n" {
        line.clear();
        soon(reader.read_line(&mut line)).await.expect("a head");
    }

    reader
}

/// Returns the next JSON object. Lines between objects belong to HTTP.
async fn object<S: AsyncRead + Unpin>(reader: &mut BufReader<S>) -> Value {
    soon(async {
        loop {
            let mut line = String::new();
            assert_ne!(
                reader.read_line(&mut line).await.expect("bytes"),
                0,
                "the stream goes on"
            );

            if line.starts_with('{') {
                return serde_json::from_str(&line).expect("JSON");
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_stream_that_falls_behind_the_ring_is_served_from_the_store() {
    let server = Server::start(&["--history-messages", "10000"]);
    let slow = unread(&server).await;
    let speaker = server.join("speaker").await;

    falls_behind_the_ring(slow, speaker).await;
}

#[tokio::test]
async fn a_stream_with_tls_that_falls_behind_the_ring_is_served_from_the_store() {
    let server = TlsServer::start(&["--history-messages", "10000"]);
    let slow = unread_over(server.connect().await).await;
    let speaker = server.join("id=speaker").await;

    falls_behind_the_ring(slow, speaker).await;
}

/// Publishes more than the ring holds, and then reads it.
async fn falls_behind_the_ring<
    S: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
>(
    mut slow: BufReader<S>,
    mut speaker: Peer<P>,
) {
    const MESSAGES: u64 = 6000;
    speaker.publish_long(MESSAGES, 10_000).await;

    for offset in 1..=MESSAGES {
        let message = object(&mut slow).await;
        assert_eq!(message["prev"], offset - 1);
        assert_eq!(message["offset"], offset);
    }
}

#[tokio::test]
async fn unread_streams_use_little_memory_and_get_a_gap() {
    let server = Server::start(&["--history-messages", "10"]);

    let mut slow = Vec::new();
    for _reader in 0..20 {
        slow.push(unread(&server).await);
    }
    let speaker = server.join("speaker").await;

    get_a_gap(&server, slow, speaker).await;
}

#[tokio::test]
async fn unread_streams_with_tls_use_little_memory_and_get_a_gap() {
    let server = TlsServer::start(&["--history-messages", "10"]);

    let mut slow = Vec::new();
    for _reader in 0..20 {
        slow.push(unread_over(server.connect().await).await);
    }
    let speaker = server.join("id=speaker").await;

    get_a_gap(&server, slow, speaker).await;
}

/// Publishes more than `server` keeps, and then reads the streams `slow`.
async fn get_a_gap<S: AsyncRead + AsyncWrite + Unpin, P: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    mut slow: Vec<BufReader<S>>,
    mut speaker: Peer<P>,
) {
    const MESSAGES: u64 = 3000;

    // The ring is full and one-time memory is allocated before the measurement.
    speaker.publish_long(500, 10_000).await;
    let before = server.resident_bytes();
    speaker.publish_long(MESSAGES, 10_000).await;

    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < 16 << 20,
        "twenty readers that read nothing made the server {grown} bytes larger"
    );

    for reader in &mut slow {
        let mut seen = 0;
        let mut gaps = 0;

        while seen < MESSAGES + 500 {
            let object = object(reader).await;

            if object["type"] == "gap" {
                assert_eq!(object["after"], seen);
                assert_eq!(object["reason"], "lagged");
                seen = object["before"].as_u64().expect("an offset") - 1;
                gaps += 1;
            } else {
                assert_eq!(object["prev"], seen);
                seen = object["offset"].as_u64().expect("an offset");
            }
        }

        assert!(
            gaps > 0,
            "more messages were published than the store and the kernel hold"
        );
    }
}
