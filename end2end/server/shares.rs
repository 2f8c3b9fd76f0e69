//! Shared resources are divided by address: a client that uses too much does not exclude others.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use reqwest::{Client, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::eventually::soon;
use crate::harness::{Server, program};
use crate::metrics::{figure, until};

const MESSAGES: &str = "/api/v1/rooms/lobby/messages";
const DOCUMENT: &str = "/api/v1/openapi.json";

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

/// Returns an HTTP client at the loopback address that ends with `last`.
fn client_at(last: u8) -> Client {
    Client::builder()
        .local_address(IpAddr::from([127, 0, 0, last]))
        .build()
        .expect("a client")
}

/// Requests a small document.
async fn get(client: &Client, server: &Server) -> Response {
    soon(client.get(server.url(DOCUMENT)).send())
        .await
        .expect("an answer")
}

/// Returns the head of a request with a body of `length` bytes.
fn head(path: &str, kind: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn half_sent_bodies_delay_only_their_own_address() {
    // Sixteen addresses share the budget: one may send two bodies of this size at once.
    const BODY: usize = 1 << 20;

    let server = Server::start(&["--memory-budget", "32MiB", "--log-level", "error"]);

    let mut half_sent = Vec::new();

    for _body in 0..200 {
        let mut stream = connect_from(2, server.address).await;
        let head = head(MESSAGES, "application/x-ndjson", BODY);
        stream.write_all(head.as_bytes()).await.expect("written");
        // The server reads only as much as it has memory for.
        let _ = stream.try_write(&vec![b' '; BODY / 2]);
        half_sent.push(stream);
    }

    let publish = |client: Client| client.post(server.url(MESSAGES)).body("hello").send();
    let own = tokio::spawn(publish(client_at(2)));

    for _message in 0..10 {
        let other = soon(publish(client_at(3))).await.expect("an answer");
        assert_eq!(other.status(), 201);
    }

    assert!(!own.is_finished(), "it waits for memory");

    drop(half_sent);
    let own = soon(own).await.expect("joined").expect("an answer");
    assert_eq!(own.status(), 201);
}

#[tokio::test]
async fn a_body_that_gets_no_memory_in_time_is_refused_with_the_limit_and_counted() {
    // One address may use a sixteenth of the budget, which is enough for four of these bodies.
    let server = Server::start(&["--memory-budget", "4MiB", "--log-level", "error"]);

    let head = head(MESSAGES, "text/plain", 64 << 10);
    let mut half_sent = Vec::new();

    for _body in 0..20 {
        let mut stream = connect_from(2, server.address).await;
        stream.write_all(head.as_bytes()).await.expect("written");
        half_sent.push(stream);
    }

    // Waiting bodies are refused after a timeout.
    let mut refused = 0;

    for stream in &mut half_sent {
        let mut answer = vec![0; 4096];
        let length = soon(stream.read(&mut answer)).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..length]);

        if answer.starts_with("HTTP/1.1 429") {
            assert!(answer.contains("262144"), "{answer}");
            assert!(answer.contains("--memory-budget"), "{answer}");
            refused += 1;
        }
    }

    assert!(refused > 0);

    until(
        &server,
        "fanfare_requests_refused_total{code=\"busy\"}",
        refused,
    )
    .await;
}

#[tokio::test]
async fn refusals_are_sent_before_the_body_is_read() {
    let flags = ["--publish-rate", "1/s", "--publish-burst", "1"];
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(keys.path(), "a secret of at least thirty-two bytes").expect("written");
    let path = keys.path().to_str().expect("text");
    let with_keys = Server::start(&["--auth-key-file", path, "--log-level", "error"]);
    let limited = Server::start(&[&flags[..], &["--message-rate", "20"]].concat());

    let first = soon(client_at(2).post(limited.url(MESSAGES)).body("x").send());
    assert_eq!(first.await.expect("an answer").status(), 201);

    for (server, path, kind, status) in [
        (&with_keys, MESSAGES, "text/plain", "401"),
        (
            &with_keys,
            "/r/lobby",
            "application/x-www-form-urlencoded",
            "403",
        ),
        (&limited, MESSAGES, "text/plain", "429"),
    ] {
        let mut stream = connect_from(2, server.address).await;
        stream
            .write_all(head(path, kind, 10_000).as_bytes())
            .await
            .expect("written");

        let mut answer = [0; 12];
        soon(stream.read_exact(&mut answer))
            .await
            .expect("an answer");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            format!("HTTP/1.1 {status}"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn two_addresses_that_use_all_connections_do_not_exclude_a_third() {
    // The limit of HTTP connections, half of them from each address.
    const CONNECTIONS: usize = 4096;

    rlimit::increase_nofile_limit(u64::MAX).expect("files for as many sockets");
    let server = Server::start(&[
        "--connect-burst",
        "10000",
        "--header-timeout",
        "5m",
        "--log-level",
        "error",
    ]);

    let mut held = Vec::new();

    for number in 0..CONNECTIONS {
        let mut stream = connect_from(2 + (number % 2) as u8, server.address).await;
        stream
            .write_all(b"GET / HTTP/1.1\r\n")
            .await
            .expect("written");
        held.push(stream);
    }

    // Each request has its own connection.
    for _request in 0..20 {
        assert_eq!(get(&client_at(4), &server).await.status(), 200);
    }

    assert_ne!(
        figure(&server, "fanfare_requests_refused_total{code=\"evicted\"}").await,
        0
    );

    let own = get(&client_at(2), &server).await.status();
    assert!(own == 429 || own == 200, "{own}");

    drop(held);
}

#[tokio::test]
async fn behind_a_trusted_proxy_connections_are_shared_by_client() {
    // Half of the limit of HTTP connections.
    const OF_ONE_CLIENT: usize = 2048;

    rlimit::increase_nofile_limit(u64::MAX).expect("files for as many sockets");
    let server = Server::start(&[
        "--trusted-proxy",
        "127.0.0.1",
        "--connect-burst",
        "10000",
        "--header-timeout",
        "5m",
        "--log-level",
        "error",
    ]);

    let request = |client: &str| {
        format!(
            "GET /api/v1/rooms/lobby/presence HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n\r\n"
        )
    };

    let status = async |client: &str| {
        let mut stream = connect_from(1, server.address).await;
        stream
            .write_all(request(client).as_bytes())
            .await
            .expect("written");

        let mut answer = [0; 12];
        soon(stream.read_exact(&mut answer))
            .await
            .expect("an answer");

        (stream, String::from_utf8_lossy(&answer).into_owned())
    };

    let mut held = Vec::new();
    for _connection in 0..OF_ONE_CLIENT {
        let (stream, answer) = status("192.0.2.1").await;
        assert_eq!(answer, "HTTP/1.1 200");
        held.push(stream);
    }

    assert_eq!(status("192.0.2.1").await.1, "HTTP/1.1 429");
    assert_eq!(status("192.0.2.2").await.1, "HTTP/1.1 200");

    drop(held);
}

#[tokio::test]
async fn a_low_file_limit_refuses_clients_and_keeps_the_ops_listener_available() {
    const CLIENTS: usize = 80;

    let mut command = Command::new("sh");
    let data = tempfile::tempdir().expect("a folder");

    command
        .args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\""])
        .arg(program().get_program())
        .arg("--data")
        .arg(data.path());
    let server = Server::start_by(&mut command, &[]);

    let mut inside = Vec::new();
    let mut refused = Vec::new();

    for number in 0..CLIENTS {
        match server.try_join(&format!("id=client-{number}"), &[]).await {
            Ok(peer) => inside.push(peer),
            Err(reason) => refused.push(reason),
        }
    }

    let allowed = figure(&server, "fanfare_connections_limit{of=\"files\"}").await;
    assert_eq!(allowed, 36);
    assert_eq!(inside.len(), 32, "four are reserved for requests");
    assert!(refused.iter().all(|refused| refused.status == 503));
    assert_eq!(
        figure(
            &server,
            "fanfare_requests_refused_total{code=\"too_many_connections\"}"
        )
        .await,
        refused.len() as u64
    );

    let published = soon(client_at(1).post(server.url(MESSAGES)).body("x").send());
    assert_eq!(published.await.expect("an answer").status(), 201);

    drop(inside);
    let log = server.log().await;
    assert!(log.contains("room for 36 connections"), "{log}");
    assert!(!log.contains("cannot accept"), "{log}");
}

#[tokio::test]
async fn sockets_beyond_the_file_limit_are_answered_503_and_counted() {
    const SOCKETS: usize = 100;

    let mut command = Command::new("sh");
    let data = tempfile::tempdir().expect("a folder");

    command
        .args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\""])
        .arg(program().get_program())
        .arg("--data")
        .arg(data.path());
    let server = Server::start_by(&mut command, &["--header-timeout", "5m"]);

    let mut idle = Vec::new();
    for _socket in 0..SOCKETS {
        idle.push(connect_from(2, server.address).await);
    }

    let mut answers = 0;

    for stream in &mut idle {
        // Accepted connections are silent; refused ones are answered or closed.
        let request = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
        // A refused connection may be closed already.
        let _ = stream.write_all(request).await;

        let mut answer = [0; 12];
        if soon(stream.read_exact(&mut answer)).await.is_ok() {
            answers += usize::from(answer.ends_with(b"503"));
        }
    }

    assert_ne!(answers, 0);

    let refused = figure(
        &server,
        "fanfare_requests_refused_total{code=\"no_file_left\"}",
    )
    .await;
    assert!(refused >= answers as u64, "{refused} of {SOCKETS}");
    assert_eq!(
        soon(reqwest::get(format!("http://{}/healthz", server.ops)))
            .await
            .expect("an answer")
            .status(),
        200
    );
}
