//! Requests whose head is too large or malformed: each is refused with the limit or the reason.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::eventually::{eventually, soon};
use crate::harness::Server;
use crate::metrics::{figure, until};

/// Sends a request for `target` with `headers`; returns the whole response.
async fn answer(server: &Server, target: &str, headers: &str) -> String {
    let mut stream = soon(TcpStream::connect(server.address))
        .await
        .expect("the server listens");
    let head =
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");

    soon(stream.write_all(head.as_bytes()))
        .await
        .expect("written");

    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer))
        .await
        .expect("an answer and the end");

    String::from_utf8(answer).expect("text")
}

/// Returns true if `answer` has this status, error code and limit.
fn is_refusal(answer: &str, status: u16, code: &str, allowed: &str) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {status} "))
        && answer.contains(code)
        && answer.contains(allowed)
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_with_the_limit() {
    let server = Server::start(&[]);

    let target = "/api/v1/openapi.json";

    let within = answer(
        &server,
        &format!("{target}?{}", "x".repeat(8000)),
        &"a: b\r\n".repeat(98),
    )
    .await;
    assert!(within.starts_with("HTTP/1.1 200 "), "{within}");

    let many = answer(&server, target, &"a: b\r\n".repeat(99)).await;
    assert!(
        is_refusal(&many, 431, "head_too_large", "100 headers"),
        "{many}"
    );

    let large = answer(&server, target, &format!("a: {}\r\n", "x".repeat(17_000))).await;
    assert!(
        is_refusal(&large, 431, "head_too_large", "16384 bytes"),
        "{large}"
    );

    let long = answer(&server, &format!("{target}?{}", "x".repeat(8200)), "").await;
    assert!(
        is_refusal(&long, 414, "address_too_long", "8192 bytes"),
        "{long}"
    );

    until(
        &server,
        "fanfare_requests_refused_total{code=\"head_too_large\"}",
        2,
    )
    .await;

    until(
        &server,
        "fanfare_requests_refused_total{code=\"address_too_long\"}",
        1,
    )
    .await;
}

#[tokio::test]
async fn a_head_far_beyond_the_limit_is_refused_too() {
    let server = Server::start(&[]);
    let crowd = answer(&server, "/", &"a: b\r\n".repeat(300)).await;
    assert!(
        is_refusal(&crowd, 431, "head_too_large", "100 headers"),
        "{crowd}"
    );
}

#[tokio::test]
async fn an_endless_head_is_cut_off_and_counted() {
    let server = Server::start(&[]);

    let endless = async || {
        let mut stream = TcpStream::connect(server.address)
            .await
            .expect("the server listens");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nendless: ")
            .await
            .expect("written");
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    };

    // A connection that the flood breaks before the answer is written is not counted: try again.
    let refused = async || {
        endless().await;
        figure(
            &server,
            "fanfare_requests_refused_total{code=\"head_too_large\"}",
        )
        .await
    };
    eventually(refused, |count| *count > 0).await;
}

#[tokio::test]
async fn malformed_requests_are_answered_in_json_and_counted() {
    let server = Server::start(&[]);

    let malformed = [
        "GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "G\u{0}T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/7.0\r\nHost: localhost\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0} is no HTTP at all\r\n\r\n",
    ];
    for head in malformed {
        let answer = crate::raw::answer(server.address, head).await;
        assert!(
            is_refusal(&answer, 400, "malformed_request", "malformed: "),
            "{head:?}: {answer}"
        );
        assert!(
            answer.contains("content-type: application/json"),
            "{answer}"
        );
    }

    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let answer = crate::raw::answer(server.address, preface).await;
    assert!(
        is_refusal(&answer, 505, "http_version_not_supported", "HTTP/1.1"),
        "{answer}"
    );

    let refused = |code: &str| format!("fanfare_requests_refused_total{{code=\"{code}\"}}");
    until(&server, &refused("malformed_request"), 5).await;
    until(&server, &refused("http_version_not_supported"), 1).await;
}

#[tokio::test]
async fn a_malformed_request_after_a_valid_one_is_counted_and_the_first_is_answered() {
    let server = Server::start(&[]);
    let first = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let answers = crate::raw::answer(server.address, &format!("{first}no request\r\n\r\n")).await;
    assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 400 "), "{answers}");

    let series = "fanfare_requests_refused_total{code=\"malformed_request\"}";
    until(&server, series, 1).await;
}
