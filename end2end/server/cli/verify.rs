//! `fanfare verify`: a correct server passes, and a server that loses messages fails.

use serde_json::Value;

use super::Client;
use crate::harness::Server;

const SMALL: &[&str] = &[
    "verify",
    "--readers",
    "20",
    "--rooms",
    "4",
    "--storms",
    "2",
    "--every",
    "1",
    "--json",
];

/// Asserts that a run of 20 readers with `flags` finds no fault. Each reader has `rooms` rooms and `subscriptions`
/// subscriptions.
async fn assert_whole(flags: &[&str], rooms: u64, subscriptions: u64) {
    // The default rate limit: the clients stay below it.
    let server = Server::start(&["--message-rate", "20"]);

    let url = server.url("");
    let ended = Client::run(&[SMALL, flags, &["--rate", "40", &url]].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let figures = figures(&ended.stdout);

    for fault in [
        "lost",
        "doubled",
        "reordered",
        "unlinked",
        "altered",
        "gaps",
        "misplaced",
        "unanswered",
    ] {
        assert_eq!(figures[fault], 0, "{fault}: {figures}");
    }

    let publishers = 4;
    assert_eq!(figures["cuts"], 2 * (20 + publishers));
    assert_eq!(figures["returns"], figures["cuts"]);
    assert_eq!(figures["resumed"], 2 * 20 * subscriptions);

    let stored = figures["stored"].as_u64().expect("a number");
    assert!(stored > 0, "{figures}");
    // Rooms have the same number of readers, and not always the same number of messages.
    assert_eq!(figures["delivered"], stored * 20 * rooms / publishers);
}

/// Returns the figures of a run.
fn figures(stdout: &str) -> Value {
    serde_json::from_str(stdout).expect("one JSON object")
}

#[tokio::test]
async fn a_server_that_keeps_its_promises_passes() {
    assert_whole(&[], 1, 1).await;
}

#[tokio::test]
async fn readers_of_several_rooms_on_one_connection_receive_all_in_order() {
    assert_whole(&["--rooms-per-connection", "3"], 3, 3).await;
}

#[tokio::test]
async fn readers_of_a_pattern_receive_all_in_order() {
    assert_whole(&["--pattern"], 4, 1).await;
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
