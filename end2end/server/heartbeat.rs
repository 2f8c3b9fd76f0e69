//! Any traffic is a sign of life; silence is pinged, and then it is the end.

use crate::harness::Server;
use crate::raw::masked;

const QUICK: &[&str] = &[
    "--heartbeat",
    "200ms",
    "--expire",
    "1s",
    "--max-connections",
    "1",
];

#[tokio::test]
async fn a_silent_client_is_pinged_then_closed_with_4000_and_gone_from_the_hub() {
    let server = Server::start(QUICK);
    let mut silent = server.raw().await;
    let mut pings = 0;
    let code = loop {
        match silent.frame().await {
            (0x89, _) => pings += 1,
            (0x88, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 4000);
    assert!(
        (1..=5).contains(&pings),
        "pinged at most each 200 ms of one second, not {pings} times"
    );
    // Its socket is still open; its place is free all the same.
    server.join_when_free("id=next").await.leave().await;
    assert!(server.log().await.contains("4000 expired"));
}

#[tokio::test]
async fn any_traffic_counts_as_life_not_only_pongs() {
    let server = Server::start(QUICK);
    let mut talker = server.raw().await;
    // Each ping marks 200 ms of silence: ten of them are well past the expiry.
    for _round in 0..10 {
        while talker.frame().await.0 != 0x89 {}
        talker.write(&masked(0x81, b"no pong, but a message")).await;
        while talker.frame().await.0 != 0x81 {}
    }
}

#[tokio::test]
async fn a_client_that_talks_is_not_pinged() {
    let server = Server::start(&["--heartbeat", "2s", "--expire", "4s"]);
    let mut talker = server.join("talker").await;
    for number in 0..500 {
        talker.send(number.to_string()).await;
        assert!(talker.frame().await.is_text());
    }
}

#[tokio::test]
async fn a_client_that_only_listens_is_pinged_though_much_is_sent_to_it() {
    let server = Server::start(&["--heartbeat", "100ms", "--expire", "2s"]);
    let mut listener = server.join("listener").await;
    let mut speaker = server.join("speaker").await;
    let mut frames = 0;
    while !listener.frame().await.is_ping() {
        speaker.send("busy").await;
        frames += 1;
        assert!(frames < 1_000_000);
    }
}
