//! The socket of an event stream, which leaves HTTP with its request: earlier responses, and bytes of the client.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::rustls::version::TLS13;

use crate::client::publish;
use crate::eventually::soon;
use crate::harness::Server;
use crate::metrics::until;
use crate::raw;
use crate::tls_server::{TlsServer, secure};

const STREAM: &str = "GET /api/v1/rooms/lobby/stream HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n";

/// A request for a page of 60 messages of 10,000 bytes.
const PAGE: &str =
    "GET /api/v1/rooms/lobby/messages?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// So many pages do not fit in the buffers of the kernel.
const PAGES: usize = 10;

async fn connect(server: &Server) -> TcpStream {
    soon(TcpStream::connect(server.address))
        .await
        .expect("it listens")
}

/// Returns a connection with a small receive buffer.
async fn connect_slow(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("set");
    soon(socket.connect(server.address))
        .await
        .expect("it listens")
}

/// Sends `bytes` to the server.
async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    soon(stream.write_all(bytes)).await.expect("written");
    soon(stream.flush()).await.expect("sent");
}

/// Reads until the received bytes end with `end`, and returns them as text.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut received = Vec::new();
    while !received.ends_with(end.as_bytes()) {
        received.push(soon(stream.read_u8()).await.expect("bytes"));
    }
    String::from_utf8(received).expect("text")
}

/// Reads the responses to [`PAGES`] requests for a [`PAGE`].
async fn read_pages(stream: &mut (impl AsyncRead + Unpin)) {
    for _page in 0..PAGES {
        let head = read_until(stream, "\r\n\r\n").await;
        let (_, length) = head.split_once("content-length: ").expect("a length");
        let (length, _) = length.split_once('\r').expect("a line");

        let mut body = vec![0; length.parse().expect("a number")];
        soon(stream.read_exact(&mut body)).await.expect("a body");
        assert!(body.starts_with(b"{") && body.ends_with(b"}"));
    }
}

/// Reads to the end, and returns the rest as text.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.expect("the end");
    String::from_utf8(rest).expect("text")
}

#[tokio::test]
async fn earlier_responses_that_are_read_late_precede_an_event_stream() {
    let server = Server::start(&[]);
    let mut speaker = server.join("speaker").await;
    speaker.publish_long(60, 10_000).await;
    let mut stream = connect_slow(&server).await;

    send(&mut stream, (PAGE.repeat(PAGES) + STREAM).as_bytes()).await;
    read_pages(&mut stream).await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    until(&server, "fanfare_connections", 2).await;
    publish(&server, "lobby", "live").await;

    assert!(
        head.contains("content-type: application/x-ndjson\r\n"),
        "{head}"
    );
    assert!(read_until(&mut stream, "}\n").await.contains("live"));
}

#[tokio::test]
async fn an_event_stream_with_tls_follows_responses_that_were_read_late() {
    let server = TlsServer::start(&[]);
    let mut speaker = server.join("id=speaker").await;
    speaker.publish_long(60, 10_000).await;
    let slow = connect_slow(&server).await;
    let authority = server.authority.file();
    let mut stream = soon(secure(slow, server.address, &authority, &[&TLS13]))
        .await
        .expect("trusted");

    send(&mut stream, PAGE.repeat(PAGES).as_bytes()).await;
    read_pages(&mut stream).await;
    send(&mut stream, STREAM.as_bytes()).await;
    read_until(&mut stream, "\r\n\r\n").await;
    speaker.send("live").await;

    assert!(read_until(&mut stream, "}\n").await.contains("live"));
}

#[tokio::test]
async fn a_request_after_that_for_an_event_stream_is_ignored() {
    let server = Server::start(&[]);
    let mut stream = connect(&server).await;

    send(&mut stream, STREAM.repeat(2).as_bytes()).await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    send(&mut stream, STREAM.as_bytes()).await;
    publish(&server, "lobby", "live").await;
    let message = read_until(&mut stream, "}\n").await;
    soon(stream.shutdown()).await.expect("shut down");

    assert!(head.contains("connection: close\r\n"), "{head}");
    assert!(message.contains("live"), "{message}");
    assert_eq!(read_to_end(&mut stream).await, "");
    until(&server, "fanfare_connections", 0).await;
}

#[tokio::test]
async fn a_reader_of_an_event_stream_that_sends_without_end_is_disconnected() {
    let server = Server::start(&[]);
    let mut stream = connect(&server).await;
    send(&mut stream, STREAM.as_bytes()).await;
    read_until(&mut stream, "\r\n\r\n").await;

    soon(async { while stream.write_all(&[0; 4096]).await.is_ok() {} }).await;

    until(&server, "fanfare_connections", 0).await;
}

#[tokio::test]
async fn a_head_request_for_an_event_stream_opens_none() {
    let server = Server::start(&[]);
    let mut stream = connect(&server).await;

    send(&mut stream, STREAM.replace("GET", "HEAD").as_bytes()).await;
    let answer = read_to_end(&mut stream).await;

    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("content-type: application/x-ndjson\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    until(&server, "fanfare_connections", 0).await;
}

#[tokio::test]
async fn a_head_request_for_an_event_stream_over_http_1_0_closes_the_connection() {
    let server = Server::start(&[]);
    let head = STREAM
        .replace("GET", "HEAD")
        .replace("HTTP/1.1\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n");

    let answer = raw::answer(server.address, &head).await;
    let connection: Vec<&str> = answer
        .lines()
        .filter(|line| line.starts_with("connection:"))
        .collect();

    assert_eq!(connection, ["connection: close"], "{answer}");
}

#[tokio::test]
async fn an_event_stream_ends_with_its_connection_so_clients_of_http_1_0_can_read_it() {
    let server = Server::start(&[]);
    let mut stream = connect(&server).await;

    send(
        &mut stream,
        STREAM.replace("HTTP/1.1", "HTTP/1.0").as_bytes(),
    )
    .await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    publish(&server, "lobby", "live").await;
    let message = read_until(&mut stream, "}\n").await;
    server.signal("TERM");
    let rest = read_to_end(&mut stream).await;

    assert!(!head.contains("transfer-encoding"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
    assert!(head.contains("date: "), "{head}");
    assert!(message.starts_with('{'), "{message}");
    assert!(rest.contains("drain"), "{rest}");
}

#[tokio::test]
async fn a_stream_reader_with_tls_that_ends_its_session_leaves_at_once() {
    let server = TlsServer::start(&["--heartbeat", "1h", "--expire", "2h"]);
    let mut stream = server.connect().await;
    send(&mut stream, STREAM.as_bytes()).await;
    read_until(&mut stream, "\r\n\r\n").await;
    until(&server, "fanfare_connections", 1).await;

    soon(stream.shutdown()).await.expect("shut down");

    until(&server, "fanfare_connections", 0).await;
}
