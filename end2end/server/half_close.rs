//! Clients that close their sending side or disconnect while the server answers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::eventually::soon;
use crate::harness::Server;
use crate::metrics::until;

const GET: &str = "GET /api/v1/rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\n\r\n";
const POST: &str = "POST /api/v1/rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
                    Content-Length: 5\r\n\r\nhello";
const STREAM: &str = "GET /api/v1/rooms/lobby/stream?id=reader HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Opens a connection and sends `request`.
async fn send(server: &Server, request: &str) -> TcpStream {
    let mut stream = soon(TcpStream::connect(server.address))
        .await
        .expect("it listens");
    soon(stream.write_all(request.as_bytes()))
        .await
        .expect("written");
    stream
}

/// Opens a stream, reads its head, and waits until its reader is in the room.
async fn follow(server: &Server) -> TcpStream {
    let mut stream = send(server, STREAM).await;
    let mut head = Vec::new();

    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.expect("a head"));
    }

    until(server, "fanfare_connections", 1).await;
    stream
}

#[tokio::test]
async fn a_request_is_answered_after_its_client_closed_its_sending_side() {
    let server = Server::start(&[]);

    for (request, status) in [(POST, "201"), (GET, "200"), (POST, "201"), (GET, "200")] {
        let mut stream = send(&server, request).await;
        soon(stream.shutdown()).await.expect("shut down");

        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer))
            .await
            .expect("an answer and the end");

        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn an_incomplete_body_is_refused_and_not_stored() {
    let server = Server::start(&[]);

    let mut stream = send(&server, &POST[..POST.len() - 1]).await;
    soon(stream.shutdown()).await.expect("shut down");

    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer))
        .await
        .expect("an answer and the end");

    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("broken_off"), "{answer}");

    until(
        &server,
        "fanfare_messages_published_total{result=\"stored\"}",
        0,
    )
    .await;
}

#[tokio::test]
async fn a_stream_reader_that_half_closes_or_disconnects_leaves_at_once() {
    let server = Server::start(&["--heartbeat", "1h", "--expire", "2h"]);

    let mut half_closed = follow(&server).await;
    soon(half_closed.shutdown()).await.expect("shut down");
    until(&server, "fanfare_connections", 0).await;

    let mut rest = Vec::new();
    soon(half_closed.read_to_end(&mut rest))
        .await
        .expect("the end");

    drop(follow(&server).await);
    until(&server, "fanfare_connections", 0).await;
}
