//! `fanfare verify`: a correct server passes, and a server that loses messages fails.

use serde_json::Value;

use super::Client;
use crate::harness::Server;

const SMALL: &[&str] = &[
    "verify",
    "--readers",
    "20",
    "--rooms",
    "2",
    "--storms",
    "2",
    "--every",
    "1",
    "--json",
];

/// Returns the figures of a run.
fn figures(stdout: &str) -> Value {
    serde_json::from_str(stdout).expect("one JSON object")
}

#[tokio::test]
async fn a_server_that_keeps_its_promises_passes() {
    // The default rate limit: the clients stay below it.
    let server = Server::start(&["--message-rate", "20"]);

    let ended = Client::run(&[SMALL, &["--rate", "40", &server.url("")]].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let figures = figures(&ended.stdout);

    for fault in [
        "lost",
        "doubled",
        "reordered",
        "altered",
        "gaps",
        "misplaced",
        "unanswered",
    ] {
        assert_eq!(figures[fault], 0, "{fault}: {figures}");
    }

    assert_eq!(figures["cuts"], 44);
    assert_eq!(figures["returns"], 44);
    assert_eq!(figures["resumed"], 40);

    let stored = figures["stored"].as_u64().expect("a number");
    assert!(stored > 0, "{figures}");
    assert!(figures["delivered"] == stored * 10, "{figures}");
}

#[tokio::test]
async fn a_server_that_does_not_keep_missed_messages_fails() {
    let server = Server::start(&["--history-messages", "1"]);

    let ended = Client::run(&[SMALL, &["--rate", "4000", &server.url("")]].concat()).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        figures(&ended.stdout)["gaps"].as_u64() > Some(0),
        "{ended:?}"
    );
    assert!(
        ended.stderr.contains("did not keep its promises"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn an_invalid_url_ends_verify_with_2() {
    let ended = Client::run(&["verify", "ftp://127.0.0.1"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("http://HOST:PORT"), "{ended:?}");
}
