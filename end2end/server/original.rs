//! The faults of the original program, in the order in which they were found. The fifth, a message whose HTML ran in
//! every page, is tested in a browser: `chat.hydrate.spec.ts`.

use futures::future::join_all;
use tokio::io::AsyncWriteExt;

use crate::eventually::soon;
use crate::harness::Server;
use crate::raw::masked;

/// 1. A crash by "concurrent map iteration and map write", within seconds at 500 clients.
#[tokio::test(flavor = "multi_thread")]
async fn joins_and_leaves_under_load_neither_crash_the_server_nor_disturb_others() {
    const MESSAGES: usize = 2000;

    let mut server = Server::start(&[]);
    let mut speaker = server.join("speaker").await;

    let mut listeners = Vec::new();
    for at in 0..20 {
        listeners.push(server.join(&format!("listener-{at}")).await);
    }

    let visitors = join_all((0..10).map(|visitor| {
        let server = &server;
        async move {
            for visit in 0..50 {
                let peer = server.join(&format!("visitor-{visitor}-{visit}")).await;
                if visit % 2 == 0 {
                    peer.leave().await
                } else {
                    drop(peer)
                }
            }
        }
    }));

    let speaking = async {
        for number in 0..MESSAGES {
            speaker.send(number.to_string()).await;
            assert_eq!(speaker.text().await, number.to_string());
        }
    };

    let listening = join_all(
        listeners
            .iter_mut()
            .map(|listener| listener.texts(MESSAGES)),
    );
    let (_, (), received) = futures::join!(visitors, speaking, listening);

    let expected: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    assert!(received.iter().all(|received| *received == expected));
    assert!(server.is_running());
}

/// 2. Every client was closed after a minute, because nothing renewed its deadline.
#[tokio::test]
async fn a_client_that_answers_pings_does_not_expire() {
    let server = Server::start(&["--heartbeat", "200ms", "--expire", "1s"]);
    let mut quiet = server.join("quiet").await;

    for _ping in 0..10 {
        assert!(quiet.frame().await.is_ping());
    }

    server.join("speaker").await.send("still there?").await;
    assert_eq!(quiet.text().await, "still there?");
}

/// 3. One reader that stopped reading blocked the broadcast to all clients.
#[tokio::test]
async fn a_reader_that_stops_reading_delays_nobody_else() {
    const MESSAGES: usize = 1000;

    let server = Server::start(&[]);
    let _stuck = server.raw().await;
    let mut listener = server.join("listener").await;
    let mut speaker = server.join("speaker").await;

    // 60 MB, far more than the kernel buffers for a reader.
    let long = "x".repeat(60_000);

    for number in 0..MESSAGES {
        speaker.send(format!("{number} {long}")).await;
        for text in [speaker.text().await, listener.text().await] {
            assert!(text.starts_with(&format!("{number} ")));
            assert!(text.ends_with(&long));
        }
    }
}

/// 4. A second client with the same id replaced the first, and its leave removed the other.
#[tokio::test]
async fn two_clients_with_one_id_receive_and_leave_independently() {
    let server = Server::start(&[]);
    let mut first = server.join("ann").await;
    let mut second = server.join("ann").await;
    let mut speaker = server.join("speaker").await;

    speaker.send("to both").await;
    assert_eq!(first.text().await, "to both");
    assert_eq!(second.text().await, "to both");

    second.leave().await;
    speaker.send("to the one who stayed").await;
    assert_eq!(first.text().await, "to the one who stayed");
}

/// 6. A closed client was unregistered twice, and its resources were never freed.
#[tokio::test]
async fn every_kind_of_leave_frees_one_connection() {
    let server = Server::start(&["--max-connections", "3"]);

    for round in 0..30 {
        match round % 3 {
            0 => server.join_when_free("id=clean").await.leave().await,
            1 => drop(server.join_when_free("id=abrupt").await),
            _ => {
                // The server closes this client for an invalid frame, which is another way to leave.
                let place = server.join_when_free("id=place").await;
                place.leave().await;

                let mut raw = server.raw().await;
                raw.write(&masked(0xFF, b"nonsense")).await;
                assert_eq!(raw.close_code().await, 1002);
                soon(raw.stream.shutdown()).await.ok();
            }
        }
    }

    let _one = server.join_when_free("id=one").await;
    let _two = server.join_when_free("id=two").await;
    let _three = server.join_when_free("id=three").await;

    let refused = server
        .try_join("id=four", &[])
        .await
        .expect_err("only three fit");
    assert_eq!(refused.status, 503);
}
