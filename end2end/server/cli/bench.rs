//! `fanfare bench`: every published message reaches every subscriber of its room once.

use serde_json::Value;

use super::Client;
use crate::harness::Server;

/// Runs a load of one second with `flags`; returns its figures.
async fn figures(server: &Server, flags: &[&str]) -> Value {
    let url = server.url("");
    let load = ["bench", "--seconds", "1", "--json", "--url", &url];

    let ended = Client::run(&[&load[..], flags].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");

    serde_json::from_str(&ended.stdout).expect("one JSON object")
}

/// The flags of 6 connections with 10 rooms, in which 3 clients publish.
const MANY_ROOMS: &[&str] = &[
    "--dialect",
    "fanfare.v1",
    "--connections",
    "6",
    "--rooms",
    "10",
    "--publishers",
    "3",
    "--rate",
    "300",
];

#[tokio::test]
async fn plain_clients_have_one_room_each() {
    let server = Server::start(&[]);

    let figures = figures(&server, &["--connections", "6", "--rooms", "2"]).await;

    assert_eq!(
        figures["expected"].as_u64(),
        figures["sent"].as_u64().map(|sent| sent * 3)
    );
    assert_eq!(figures["delivered"], figures["expected"]);
}

#[tokio::test]
async fn each_connection_has_its_share_of_the_rooms() {
    let server = Server::start(&[]);

    let share = ["--rooms-per-connection", "5", "--acks"];
    let figures = figures(&server, &[MANY_ROOMS, &share].concat()).await;

    // 30 subscriptions to 10 rooms.
    assert_eq!(figures["sent"], 300);
    assert_eq!(figures["expected"], 900);
    assert_eq!(figures["delivered"], 900);
    assert_eq!(figures["unacknowledged"], 0);
}

#[tokio::test]
async fn each_connection_with_a_pattern_has_all_rooms() {
    let server = Server::start(&[]);

    let figures = figures(&server, &[MANY_ROOMS, &["--pattern"]].concat()).await;

    assert_eq!(figures["expected"], 1800);
    assert_eq!(figures["delivered"], 1800);
}

#[tokio::test]
async fn without_a_rate_the_connections_stay_idle() {
    let server = Server::start(&[]);

    let flags = [
        "--dialect",
        "fanfare.v1",
        "--connections",
        "3",
        "--rate",
        "0",
    ];
    let figures = figures(&server, &flags).await;

    assert_eq!(figures["sent"], 0);
    assert_eq!(figures["closed"], 0);
}

#[tokio::test]
async fn rooms_that_do_not_fit_the_connections_are_refused() {
    for (flags, expected) in [
        (&["--rooms", "501"][..], "a room would have no reader"),
        (
            &["--rooms-per-connection", "2", "--dialect", "fanfare.v1"],
            "more than --rooms 1",
        ),
        (&["--rooms-per-connection", "2"], "--dialect fanfare.v1"),
        (&["--pattern"], "--dialect fanfare.v1"),
    ] {
        let ended = Client::run(&[&["bench"][..], flags].concat()).await;
        assert_eq!(ended.code, Some(2), "{flags:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{flags:?}: {ended:?}");
    }
}
