//! The accepted values of `Host`. `rebinding.hydrate.spec.ts` tests DNS rebinding in a browser. The rules beyond
//! loopback have unit tests, because these tests listen on loopback.

use std::net::SocketAddr;

use crate::harness::Server;
use crate::raw::answer;

/// Sends a `GET` of `target` with these `Host` headers; returns the status and the error code.
async fn status_and_code(
    address: SocketAddr,
    target: &str,
    version: &str,
    hosts: &[&str],
) -> (u16, String) {
    let hosts: String = hosts
        .iter()
        .map(|host| format!("Host: {host}\r\n"))
        .collect();
    let request = format!("GET {target} HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");

    let answer = answer(address, &request).await;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    let code = answer
        .split("\"code\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());

    (status, code.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn on_loopback_only_loopback_names_and_public_hosts_are_accepted() {
    let server = Server::start(&[
        "--public-host",
        "chat.example.org",
        "--public-host",
        "https://lan.example:8443",
    ]);

    for (host, is_accepted) in [
        ("localhost", true),
        ("LocalHost:12345", true),
        ("app.localhost", true),
        ("127.0.0.1", true),
        ("127.1.2.3:80", true),
        ("[::1]:80", true),
        ("chat.example.org", true),
        ("Chat.Example.Org:9999", true),
        ("lan.example:8443", true),
        ("lan.example", false),
        ("evil.example", false),
        ("localhost.evil.example", false),
        ("127.0.0.1.evil.example", false),
        ("chat.example.org.", true),
        ("Chat.Example.Org.:9999", true),
        ("lan.example.:8443", true),
        ("localhost.", true),
        ("LOCALHOST.:12345", true),
        ("127.0.0.1.", true),
        ("localhost:", true),
        ("[::1]:", true),
        ("chat.example.org:", true),
        ("lan.example:", false),
        ("evil.example:", false),
        ("evil.example.", false),
        ("0.0.0.0", false),
        ("10.0.0.1", false),
        ("[::]", false),
    ] {
        for (address, target) in [
            (server.address, "/"),
            (server.address, "/r/lobby"),
            (server.address, "/favicon.svg"),
            (server.address, "/api/v1/rooms/lobby/messages"),
            (server.address, "/ws"),
            (server.address, "/nowhere"),
            (server.ops, "/healthz"),
            (server.ops, "/metrics"),
        ] {
            let (status, code) = status_and_code(address, target, "1.1", &[host]).await;
            assert_eq!(status == 421, !is_accepted, "{host} {target} {status}");
            assert_eq!(
                code == "misdirected",
                !is_accepted,
                "{host} {target} {status}"
            );
        }
    }
}

#[tokio::test]
async fn a_refused_host_is_answered_with_the_flag_that_allows_it() {
    let server = Server::start(&[]);

    let request = "GET / HTTP/1.1\r\nHost: chat.lan:12345\r\nConnection: close\r\n\r\n";
    let refused = answer(server.address, request).await;
    assert!(refused.contains("421 Misdirected Request"), "{refused}");
    assert!(
        refused.contains("--public-host chat.lan:12345"),
        "{refused}"
    );

    let metrics = answer(
        server.ops,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        metrics
            .lines()
            .any(|line| line.contains("\"misdirected\"") && line.ends_with(" 1")),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_request_has_exactly_one_valid_host() {
    let server = Server::start(&[]);

    let own = server.address.to_string();

    for (version, hosts, status) in [
        ("1.1", &[][..], 400),
        ("1.1", &[own.as_str(), own.as_str()], 400),
        ("1.1", &[own.as_str(), "evil.example"], 400),
        ("1.1", &[""], 400),
        ("1.1", &["ann@localhost"], 400),
        ("1.1", &["localhost, evil.example"], 400),
        ("1.1", &["localhost:port"], 400),
        ("1.1", &["::1"], 400),
        ("1.1", &[own.as_str()], 200),
        // Health checks may use HTTP/1.0 without `Host`; browsers do not.
        ("1.0", &[], 200),
        ("1.0", &["evil.example"], 421),
    ] {
        for (address, target) in [
            (server.address, "/api/v1/openapi.json"),
            (server.ops, "/healthz"),
        ] {
            assert_eq!(
                status_and_code(address, target, version, hosts).await.0,
                status,
                "{version} {hosts:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_request_line_overrides_the_host_header() {
    let server = Server::start(&[]);

    let own = server.address.to_string();

    for (target, host, status) in [
        (
            format!("http://{own}/api/v1/openapi.json"),
            "evil.example",
            200,
        ),
        (
            "http://evil.example/api/v1/openapi.json".to_owned(),
            own.as_str(),
            421,
        ),
        (
            format!("http://ann@{own}/api/v1/openapi.json"),
            own.as_str(),
            400,
        ),
    ] {
        assert_eq!(
            status_and_code(server.address, &target, "1.1", &[host])
                .await
                .0,
            status,
            "{target} {host}"
        );
    }
}
