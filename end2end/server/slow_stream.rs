//! Streams over HTTP whose clients do not read: their memory, and catching up afterwards.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::eventually::soon;
use crate::harness::Server;

/// Opens a stream and reads only its head. Its reader is in the room when the head arrives.
async fn unread(server: &Server) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
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
async fn object(reader: &mut BufReader<TcpStream>) -> Value {
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

/// Publishes `messages` messages of 10 kB in the lobby.
async fn publish_long(server: &Server, messages: u64) {
    let mut speaker = server.join("speaker").await;
    speaker.publish_long(messages, 10_000).await;
}

#[tokio::test]
async fn a_stream_that_falls_behind_the_ring_is_served_from_the_store() {
    const MESSAGES: u64 = 6000;

    let server = Server::start(&["--history-messages", "10000"]);
    let mut slow = unread(&server).await;
    publish_long(&server, MESSAGES).await;

    for offset in 1..=MESSAGES {
        let message = object(&mut slow).await;
        assert_eq!(message["prev"], offset - 1);
        assert_eq!(message["offset"], offset);
    }
}

#[tokio::test]
async fn unread_streams_use_little_memory_and_get_a_gap() {
    const MESSAGES: u64 = 3000;

    let server = Server::start(&["--history-messages", "10"]);

    let mut slow = Vec::new();
    for _reader in 0..20 {
        slow.push(unread(&server).await);
    }

    // The ring is full and one-time memory is allocated before the measurement.
    publish_long(&server, 500).await;
    let before = server.resident_bytes();
    publish_long(&server, MESSAGES).await;

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
