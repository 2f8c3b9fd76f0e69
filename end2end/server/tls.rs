//! TLS in the program itself: page, API and WebSocket over TLS, and certificates that are replaced while it runs.

use std::fs;
use std::io::Write;
use std::process::Output;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::authority::{Certificate, CertificateAuthority};
use crate::eventually::{eventually, soon};
use crate::harness::{Server, program};
use crate::metrics::{figure, until};
use crate::peer::Peer;
use crate::raw::masked;
use crate::tls_server::{Secure, TlsServer, connect, connect_by, join, start_with, text};

const HELD: &str = "fanfare_held_bytes";

/// Requests `path` with curl, which trusts only `authority`.
async fn curl(
    server: &Server,
    authority: &CertificateAuthority,
    path: &str,
    arguments: &[&str],
) -> Output {
    let url = format!("https://{}{path}", server.address);
    let ca = authority.file();
    let command = ["--silent", "--show-error", "--cacert", text(&ca), &url];
    soon(Command::new("curl").args(command).args(arguments).output())
        .await
        .expect("curl runs")
}

/// Opens a plain WebSocket client that trusts `authority`.
async fn join_trusting(server: &Server, authority: &CertificateAuthority) -> Peer<Secure> {
    let stream = connect(server.address, &authority.file()).await;
    join(stream, server.address, "").await
}

/// Returns the number of files that the server has open.
fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.process()))
        .expect("it runs")
        .count()
}

#[tokio::test]
async fn page_api_and_websocket_work_over_tls() {
    let server = TlsServer::start(&[]);
    let authority = &server.authority;

    let page = curl(&server, authority, "/", &[]).await;
    assert!(
        String::from_utf8_lossy(&page.stdout).contains("id=\"result\""),
        "{page:?}"
    );

    let mut ann = server.join("").await;
    let posted = curl(
        &server,
        authority,
        "/api/v1/rooms/lobby/messages",
        &["--data-binary", "in private"],
    );
    assert!(String::from_utf8_lossy(&posted.await.stdout).contains("\"offset\":1"));
    assert_eq!(ann.text().await, "in private");

    server.signal("TERM");
    assert_eq!(ann.close_code().await, u16::from(CloseCode::Away));
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_its_room() {
    let server = TlsServer::start(&[]);

    let ann = server.join("").await;
    let presence = async || {
        let output = curl(
            &server,
            &server.authority,
            "/api/v1/rooms/lobby/presence",
            &[],
        )
        .await;
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    eventually(&presence, |body| body.contains("\"count\":1")).await;
    drop(ann);
    eventually(&presence, |body| body.contains("\"count\":0")).await;
}

#[tokio::test]
async fn a_request_is_answered_after_its_client_closed_its_sending_side() {
    let server = TlsServer::start(&[]);
    let request = b"POST /api/v1/rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
                    Content-Length: 5\r\n\r\nhello";

    for is_notified in [true, false] {
        let mut client = server.connect().await;
        soon(client.write_all(request)).await.expect("written");
        soon(client.flush()).await.expect("sent");

        if is_notified {
            soon(client.shutdown()).await.expect("close_notify");
        } else {
            soon(client.get_mut().0.shutdown()).await.expect("an end");
        }

        let mut answer = vec![0; 12];
        soon(client.read_exact(&mut answer))
            .await
            .expect("answered");

        assert_eq!(answer, b"HTTP/1.1 201");
    }
}

#[tokio::test]
async fn connections_that_do_not_speak_tls_or_send_nothing_are_closed_and_counted() {
    let server = TlsServer::start(&["--header-timeout", "200ms"]);

    let mut plain = soon(TcpStream::connect(server.address))
        .await
        .expect("it listens");
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .expect("sent");

    let mut answer = Vec::new();
    // The server may reset the connection.
    let _ = soon(plain.read_to_end(&mut answer)).await;
    assert!(
        !answer.starts_with(b"HTTP"),
        "no HTTP in plain text: {answer:?}"
    );

    let mut silent = soon(TcpStream::connect(server.address))
        .await
        .expect("it listens");
    // The server may reset the connection.
    let _ = soon(silent.read_to_end(&mut answer)).await;

    let mut greeted = server.connect().await;
    // The server may reset the connection.
    let _ = soon(greeted.read_to_end(&mut answer)).await;

    let metrics = soon(reqwest::get(format!("http://{}/metrics", server.ops)))
        .await
        .expect("an answer");

    let metrics = soon(metrics.text()).await.expect("text");
    for counted in ["tls_handshake\"} 1", "header_timeout\"} 2"] {
        assert!(metrics.contains(counted), "{counted}: {metrics}");
    }
}

#[tokio::test]
async fn long_messages_pass_in_both_directions_with_each_version() {
    // More than the buffers on the way can hold.
    let long = "x".repeat(60_000);
    let server = TlsServer::start(&[]);

    for version in [&TLS12, &TLS13] {
        let authority = server.authority.file();
        let stream = connect_by(server.address, &authority, &[version]).await;
        let mut ann = join(stream, server.address, "id=ann").await;

        for _message in 0..40 {
            ann.send(long.as_str()).await;
            assert_eq!(ann.text().await, long);
        }
        ann.leave().await;
    }
}

#[tokio::test]
async fn a_client_may_replace_its_keys_at_any_time() {
    let server = TlsServer::start(&[]);
    let mut ann = server.join("id=ann").await;

    for number in 0..100 {
        let text = number.to_string();
        let session = ann.socket.get_mut().get_mut().1;
        session.refresh_traffic_keys().expect("TLS 1.3");
        ann.send(text.as_str()).await;
        assert_eq!(ann.text().await, text);
    }
}

#[tokio::test]
async fn frames_that_arrive_with_the_handshake_are_handled() {
    let server = TlsServer::start(&[]);
    let mut stream = server.connect().await;
    let request = crate::raw::handshake(server.address, "id=ann&room=lobby", None);

    // Several records in one system call, the last of which is received in part.
    let frames = masked(0x81, &[b'x'; 20_000]).repeat(3);
    let bytes = [request.as_bytes(), &frames].concat();
    soon(stream.write_all(&bytes)).await.expect("written");
    soon(stream.flush()).await.expect("sent");

    let mut received = Vec::new();
    let texts = b"x".repeat(60_000);
    while received.iter().filter(|byte| **byte == b'x').count() < texts.len() {
        let read = soon(stream.read_buf(&mut received)).await.expect("open");
        assert!(read > 0, "closed after {} bytes", received.len());
    }
}

#[tokio::test]
async fn the_end_of_a_connection_is_signed() {
    let server = TlsServer::start(&[]);

    let mut client = server.raw("id=ann", None).await;
    client.write(&masked(0x88, &1000_u16.to_be_bytes())).await;
    // An end without `close_notify` would be an error.
    assert_eq!(client.close_code().await, 1000);

    let mut client = server.connect().await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    soon(client.write_all(request)).await.expect("written");
    let mut answer = Vec::new();
    soon(client.read_to_end(&mut answer)).await.expect("an end");
    assert!(answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
}

#[tokio::test]
async fn a_request_that_is_not_http_is_answered_with_400() {
    let server = TlsServer::start(&[]);
    let mut client = server.connect().await;

    soon(client.write_all(b"no request\r\n\r\n"))
        .await
        .expect("written");
    let mut answer = Vec::new();
    soon(client.read_to_end(&mut answer)).await.expect("an end");

    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{answer:?}");
}

#[tokio::test]
async fn a_stream_reader_that_half_closes_or_disconnects_leaves_at_once() {
    let server = TlsServer::start(&["--heartbeat", "1h", "--expire", "2h"]);
    let request = b"GET /api/v1/rooms/lobby/stream?id=reader HTTP/1.1\r\nHost: localhost\r\n\r\n";

    for is_half_close in [true, false] {
        let mut client = server.connect().await;
        soon(client.write_all(request)).await.expect("written");
        soon(client.read_u8()).await.expect("a head");
        until(&server, "fanfare_connections", 1).await;

        if is_half_close {
            soon(client.shutdown()).await.expect("close_notify");
        } else {
            drop(client);
        }
        until(&server, "fanfare_connections", 0).await;
    }
}

#[tokio::test]
async fn a_connection_needs_one_file() {
    const CLIENTS: usize = 20;
    let server = TlsServer::start(&[]);
    // The files of the store are open.
    server.join("").await.leave().await;
    until(&server, "fanfare_connections", 0).await;
    let before = eventually(async || open_files(&server), |_| true).await;

    let mut clients = Vec::new();
    for _client in 0..CLIENTS {
        clients.push(server.join("").await);
    }

    // The first connection may still be closing, and the metrics are read over another one.
    let opened = open_files(&server) - before;
    assert!(
        (CLIENTS - 2..CLIENTS + 5).contains(&opened),
        "{opened} files"
    );
}

#[tokio::test]
async fn a_slow_reader_receives_everything_in_order() {
    const MESSAGES: u64 = 300;
    let server = TlsServer::start(&[]);
    let slow = server.connect().await;
    SockRef::from(slow.get_ref().0)
        .set_recv_buffer_size(32 * 1024)
        .expect("set");
    let mut slow = join(slow, server.address, "id=slow").await;
    let mut ann = server.join("id=ann").await;

    // Each burst is more than the kernel holds for the slow reader, so records are accepted in part.
    let read = async {
        for number in 1..=MESSAGES {
            let text = slow.text().await;
            assert_eq!(text.trim_end(), number.to_string());
            assert_eq!(text.len(), 20_000);
        }
    };
    tokio::join!(ann.publish_long(MESSAGES, 20_000), read);
}

#[tokio::test]
async fn clients_that_do_not_read_hold_little_memory() {
    const CLIENTS: u64 = 20;
    /// A record, the state of its session, and what a connection without TLS holds.
    const MOST_BYTES: u64 = 32 * 1024;

    let server = TlsServer::start(&[
        "--history-messages",
        "10",
        "--heartbeat",
        "1h",
        "--expire",
        "2h",
    ]);
    let mut ann = server.join("id=ann").await;
    ann.publish_long(500, 10_000).await;
    let before = figure(&server, HELD).await;

    let mut stalled = Vec::new();
    for _client in 0..CLIENTS {
        stalled.push(server.join("id=stalled").await);
    }
    ann.publish_long(2000, 10_000).await;

    // The ring itself may be larger by some messages.
    let held = figure(&server, HELD).await.saturating_sub(before);
    assert!(
        held < CLIENTS * MOST_BYTES + 256 * 1024,
        "{CLIENTS} clients made the server hold {held} bytes more"
    );
}

#[tokio::test]
async fn sighup_reloads_the_certificate_and_keeps_the_old_one_if_the_new_one_is_invalid() {
    let before = CertificateAuthority::new();
    let after = CertificateAuthority::new();

    let used = before.certify("IP:127.0.0.1", -1, 20);
    let server = start_with(&used, &[]);
    let mut ann = join_trusting(&server, &before).await;
    let replace = |certificate: &Certificate| {
        fs::copy(&certificate.certificate, &used.certificate).expect("copied");
        fs::copy(&certificate.key, &used.key).expect("copied");
    };

    replace(&after.certify("IP:127.0.0.1", -1, 20));
    server.signal("HUP");

    let page = async || curl(&server, &after, "/", &[]).await;
    eventually(page, |output| output.status.success()).await;

    assert!(!curl(&server, &before, "/", &[]).await.status.success());

    ann.send("still here").await;
    assert_eq!(ann.text().await, "still here");

    fs::write(&used.key, "no key").expect("written");
    server.signal("HUP");
    server.signal("HUP");

    assert!(curl(&server, &after, "/", &[]).await.status.success());

    server.signal("TERM");
    let (_, log) = server.end().await;
    assert!(log.contains("reloaded certificate"), "{log}");
    assert!(log.contains("could not reload certificate"), "{log}");
}

#[tokio::test]
async fn invalid_or_mismatched_certificates_and_keys_are_reported_at_the_start() {
    let authority = CertificateAuthority::new();

    let one = authority.certify("IP:127.0.0.1", -1, 20);
    let other = authority.certify("DNS:other.example", -1, 20);
    let mut no_pem = tempfile::NamedTempFile::new().expect("a file");
    writeln!(no_pem, "hello").expect("written");
    let no_pem = text(no_pem.path());

    let certificate = text(&one.certificate);
    let key = text(&one.key);

    for (flags, expected) in [
        (vec!["--tls-cert", certificate], "--tls-key is missing"),
        (vec!["--tls-key", key], "--tls-cert is missing"),
        (
            vec!["--tls-cert", no_pem, "--tls-key", key],
            "-----BEGIN CERTIFICATE-----",
        ),
        (
            vec!["--tls-cert", certificate, "--tls-key", no_pem],
            "-----BEGIN PRIVATE KEY-----",
        ),
        (
            vec!["--tls-cert", certificate, "--tls-key", text(&other.key)],
            "do not match",
        ),
        (
            vec!["--tls-cert", "no/such/file", "--tls-key", key],
            "--tls-cert",
        ),
    ] {
        let output = program()
            .arg("check-config")
            .args(&flags)
            .output()
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {stderr}");
        assert!(stderr.contains(expected), "{flags:?}: {stderr}");
    }
}
