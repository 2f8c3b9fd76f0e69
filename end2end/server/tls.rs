//! TLS in the program itself: page, API and WebSocket over TLS, and certificates that are replaced while it runs.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::authority::{Authority, Certificate};
use crate::eventually::{eventually, soon};
use crate::harness::{Server, program};

/// Returns `path` as text.
fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Starts a server with `certificate`.
fn start(certificate: &Certificate, flags: &[&str]) -> Server {
    let files = [
        "--tls-cert",
        text(&certificate.certificate),
        "--tls-key",
        text(&certificate.key),
    ];
    Server::start(&[&files[..], flags].concat())
}

/// Requests `path` with curl, which trusts only `authority`.
async fn curl(server: &Server, authority: &Authority, path: &str, arguments: &[&str]) -> Output {
    let url = format!("https://{}{path}", server.address);
    let ca = authority.file();
    let command = ["--silent", "--show-error", "--cacert", text(&ca), &url];
    soon(Command::new("curl").args(command).args(arguments).output())
        .await
        .expect("curl runs")
}

/// Opens a TLS connection that trusts `authority`.
async fn connect(address: SocketAddr, authority: &Authority) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority.file()).expect("a certificate"))
        .expect("an authority");

    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();

    let stream = soon(TcpStream::connect(address)).await.expect("it listens");
    let name = ServerName::from(address.ip());

    soon(TlsConnector::from(Arc::new(config)).connect(name, stream))
        .await
        .expect("trusted")
}

/// Opens a plain WebSocket client over TLS.
async fn join(server: &Server, authority: &Authority) -> WebSocketStream<TlsStream<TcpStream>> {
    let stream = connect(server.address, authority).await;
    let url = format!("wss://{}/ws", server.address);
    soon(tokio_tungstenite::client_async(url, stream))
        .await
        .expect("accepted")
        .0
}

#[tokio::test]
async fn page_api_and_websocket_work_over_tls() {
    let authority = Authority::new();

    let server = start(&authority.certify("IP:127.0.0.1", -1, 20), &[]);
    let page = curl(&server, &authority, "/", &[]).await;
    assert!(
        String::from_utf8_lossy(&page.stdout).contains("id=\"result\""),
        "{page:?}"
    );

    let mut socket = join(&server, &authority).await;
    let posted = curl(
        &server,
        &authority,
        "/api/v1/rooms/lobby/messages",
        &["--data-binary", "in private"],
    );
    assert!(String::from_utf8_lossy(&posted.await.stdout).contains("\"offset\":1"));
    assert_eq!(
        soon(socket.next()).await.expect("open").expect("a frame"),
        Message::text("in private")
    );

    // More than the buffers on the way can hold.
    let long = "x".repeat(60_000);

    for _ in 0..40 {
        soon(socket.send(Message::text(long.as_str())))
            .await
            .expect("sent");
        assert_eq!(
            soon(socket.next()).await.expect("open").expect("a frame"),
            Message::text(long.as_str())
        );
    }

    server.signal("TERM");
    let last = loop {
        let frame = soon(socket.next()).await.expect("a Close frame");
        if let Message::Close(close) = frame.expect("a frame") {
            break close.expect("a code");
        }
    };
    assert_eq!(last.code, CloseCode::Away);
    assert!(server.end().await.0.success());
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_its_room() {
    let authority = Authority::new();

    let server = start(&authority.certify("IP:127.0.0.1", -1, 20), &[]);
    let socket = join(&server, &authority).await;
    let presence = async || {
        let output = curl(&server, &authority, "/api/v1/rooms/lobby/presence", &[]).await;
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    eventually(&presence, |body| body.contains("\"count\":1")).await;
    drop(socket);
    eventually(&presence, |body| body.contains("\"count\":0")).await;
}

#[tokio::test]
async fn a_request_is_answered_after_its_client_closed_its_sending_side() {
    let authority = Authority::new();

    let server = start(&authority.certify("IP:127.0.0.1", -1, 20), &[]);
    let request = b"POST /api/v1/rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
                    Content-Length: 5\r\n\r\nhello";

    for is_notified in [true, false] {
        let mut client = connect(server.address, &authority).await;
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
    let authority = Authority::new();

    let server = start(
        &authority.certify("IP:127.0.0.1", -1, 20),
        &["--header-timeout", "200ms"],
    );

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

    let mut greeted = connect(server.address, &authority).await;
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
async fn sighup_reloads_the_certificate_and_keeps_the_old_one_if_the_new_one_is_invalid() {
    let before = Authority::new();
    let after = Authority::new();

    let used = before.certify("IP:127.0.0.1", -1, 20);
    let server = start(&used, &[]);
    let mut socket = join(&server, &before).await;
    let replace = |certificate: &Certificate| {
        fs::copy(&certificate.certificate, &used.certificate).expect("copied");
        fs::copy(&certificate.key, &used.key).expect("copied");
    };

    replace(&after.certify("IP:127.0.0.1", -1, 20));
    server.signal("HUP");

    let page = async || curl(&server, &after, "/", &[]).await;
    eventually(page, |output| output.status.success()).await;

    assert!(!curl(&server, &before, "/", &[]).await.status.success());

    soon(socket.send(Message::text("still here")))
        .await
        .expect("open connections are kept");
    assert_eq!(
        soon(socket.next()).await.expect("open").expect("a frame"),
        Message::text("still here")
    );

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
    let authority = Authority::new();

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
