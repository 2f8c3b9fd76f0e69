//! Security headers of every response. The tests in a browser check that Chromium reports no violation.

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::{Client, Method, Response};

use crate::client::publish;
use crate::eventually::soon;
use crate::harness::Server;

const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Sends a `GET` for `url`.
async fn get(url: String) -> Response {
    soon(Client::new().get(url).send())
        .await
        .expect("an answer")
}

/// Returns the header `name`, or an empty text.
fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().expect("text"))
}

/// Returns the values of the directive `name` of a policy.
fn directive<'a>(policy: &'a str, name: &str) -> Vec<&'a str> {
    let found = policy
        .split(';')
        .map(str::trim)
        .find_map(|part| part.strip_prefix(name));
    found
        .unwrap_or_else(|| panic!("{name} in {policy}"))
        .split_whitespace()
        .collect()
}

#[tokio::test]
async fn every_response_has_the_security_headers() {
    let server = Server::start(&[]);

    let page = server.url("/nowhere");
    for (url, status) in [
        (server.url("/"), 200),
        (server.url("/api/v1/openapi.json"), 200),
        (server.url("/api/v1/rooms/lobby/messages"), 200),
        (server.url("/api/v1/rooms/lobby/stream"), 200),
        (server.url("/api/v1/rooms/a%20b/messages"), 400),
        (server.url("/ws"), 426),
        (page, 404),
        (server.url(&format!("/{}", "x".repeat(9000))), 414),
        (format!("http://{}/healthz", server.ops), 200),
        (format!("http://{}/nowhere", server.ops), 404),
    ] {
        let response = get(url.clone()).await;
        assert_eq!(response.status().as_u16(), status, "{url}");
        assert_eq!(
            header(&response, "x-content-type-options"),
            "nosniff",
            "{url}"
        );
        assert_eq!(header(&response, "referrer-policy"), "same-origin", "{url}");
        assert_eq!(
            header(&response, "cross-origin-resource-policy"),
            "same-origin",
            "{url}"
        );

        if url != server.url("/") {
            assert_eq!(
                header(&response, "content-security-policy"),
                NOTHING,
                "{url}"
            );
        }
    }

    let refused = soon(
        Client::new()
            .get(server.url("/"))
            .header("host", "evil.example")
            .send(),
    )
    .await;
    assert_eq!(
        header(&refused.expect("an answer"), "content-security-policy"),
        NOTHING
    );
}

#[tokio::test]
async fn the_page_may_load_and_run_only_its_own_files() {
    let server = Server::start(&[]);

    let mut nonces = Vec::new();

    for _visit in 1..=2 {
        let response = get(server.url("/r/lobby")).await;
        let policy = header(&response, "content-security-policy").to_owned();

        for (name, allowed) in [
            ("default-src", &["'none'"][..]),
            ("style-src", &["'self'"]),
            ("img-src", &["'self'"]),
            ("connect-src", &["'self'"]),
            ("manifest-src", &["'self'"]),
            ("base-uri", &["'none'"]),
            ("form-action", &["'self'"]),
            ("frame-ancestors", &["'none'"]),
        ] {
            assert_eq!(directive(&policy, name), allowed, "{policy}");
        }

        let [own, nonce, wasm] = directive(&policy, "script-src")[..] else {
            panic!("{policy}")
        };
        assert_eq!(own, "'self'");
        assert_eq!(wasm, "'wasm-unsafe-eval'");

        let nonce = nonce
            .trim_start_matches("'nonce-")
            .trim_end_matches('\'')
            .to_owned();
        let permissions = header(&response, "permissions-policy");
        assert!(permissions.contains("camera=()"), "{permissions}");
        assert!(
            permissions.contains("clipboard-write=(self)"),
            "{permissions}"
        );

        let html = soon(response.text()).await.expect("text");
        assert!(
            html.contains(&format!("nonce=\"{nonce}\"")),
            "the page's scripts carry {nonce}"
        );
        assert!(!html.contains(" style=\""), "{html}");
        assert!(!html.contains("javascript:"), "{html}");

        nonces.push(nonce);
    }

    assert_ne!(nonces[0], nonces[1], "each response has a new nonce");
}

#[tokio::test]
async fn the_page_may_be_framed_only_by_named_origins() {
    let named = Server::start(&[
        "--allow-embed",
        "https://shop.example",
        "--allow-embed",
        "http://a.example:8080",
    ]);

    let any = Server::start(&["--allow-embed", "any"]);

    for (server, allowed) in [
        (
            &named,
            &["https://shop.example", "http://a.example:8080"][..],
        ),
        (&any, &["*"][..]),
    ] {
        let response = get(server.url("/")).await;
        let policy = header(&response, "content-security-policy");
        assert_eq!(directive(policy, "frame-ancestors"), allowed);

        let response = get(server.url("/api/v1/openapi.json")).await;
        assert_eq!(header(&response, "content-security-policy"), NOTHING);
    }
}

/// Sends a request for `path` from a client that accepts gzip.
async fn with_gzip(server: &Server, method: Method, path: &str, body: &str) -> Response {
    let request = Client::new()
        .request(method, server.url(path))
        .header("accept-encoding", "gzip, br")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.to_owned());
    soon(request.send()).await.expect("an answer")
}

#[tokio::test]
async fn the_page_and_pages_of_history_are_compressed_and_are_the_same_as_without() {
    let server = Server::start(&[]);
    for number in 1..=50 {
        publish(&server, "lobby", &format!("message {number}")).await;
    }

    for path in ["/", "/r/lobby", "/api/v1/rooms/lobby/messages"] {
        let plain = get(server.url(path)).await;
        assert_eq!(header(&plain, "content-encoding"), "", "{path}");
        let plain = soon(plain.bytes()).await.expect("a body");

        let packed = with_gzip(&server, Method::GET, path, "").await;
        assert_eq!(header(&packed, "content-encoding"), "gzip", "{path}");
        let varies = packed.headers().get_all("vary").iter();
        let mut varies = varies.filter_map(|value| value.to_str().ok());
        let has_encoding = varies.any(|value| value.eq_ignore_ascii_case("accept-encoding"));
        assert!(has_encoding, "{path}");
        let packed = soon(packed.bytes()).await.expect("a body");
        assert!(packed.len() * 2 < plain.len(), "{path}: {}", packed.len());

        let mut text = String::new();
        let read = GzDecoder::new(&packed[..]).read_to_string(&mut text);
        read.expect("gzip");
        assert!(text.contains("message 50"), "{path}");
    }
}

#[tokio::test]
async fn responses_that_repeat_a_request_or_go_on_are_not_compressed() {
    let server = Server::start(&[]);
    let form = format!("text={}&from=ann", "x".repeat(70_000));

    let refused = with_gzip(&server, Method::POST, "/r/lobby", &form).await;
    let stream = with_gzip(&server, Method::GET, "/api/v1/rooms/lobby/stream", "").await;
    let log = with_gzip(&server, Method::GET, "/streams/lobby", "").await;

    for response in [refused, stream, log] {
        assert_eq!(
            header(&response, "content-encoding"),
            "",
            "{}",
            response.url()
        );
    }
}
