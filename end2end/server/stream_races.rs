//! Appends to streams while servers are killed, and while streams are deleted, expire and end: what was accepted is stored
//! exactly once.

use std::collections::HashSet;
use std::path::Path;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method, Response};
use serde_json::json;

use crate::client::get;
use crate::eventually::{eventually, soon};
use crate::harness::Server;
use crate::streams::{CLOSE, JSON, delete, header, post, put, read, request};

/// Appends batches as one producer until the server is gone, each again until it is accepted. Returns the number of batches that
/// were accepted.
pub(crate) async fn produce(server: &Server, from: u64) -> u64 {
    let mut seq = from;

    loop {
        let url = server.url("/streams/s");
        let batch: Vec<u64> = (seq * 10..seq * 10 + 10).collect();
        let request = Client::new()
            .post(url)
            .header("content-type", "application/json")
            .header("producer-id", "p")
            .header("producer-epoch", "0")
            .header("producer-seq", seq)
            .body(json!(batch).to_string());

        match soon(request.send()).await {
            // The store did not confirm the batch in time, so it may be stored.
            Ok(response) if response.status().as_u16() == 503 => {}
            Ok(response) => {
                assert!(response.status().is_success(), "{response:?}");
                seq += 1;
            }
            Err(_) => return seq,
        }
    }
}

/// Kills a server in the middle of a producer's batches. The producer repeats the batch that was not answered.
async fn kill_round(data: &Path, accepted: &mut u64) {
    let server = Server::start_in(data, &[]);
    put(&server, "s", JSON, "").await;
    let least = *accepted;

    let producing = async {
        *accepted = produce(&server, least).await;
    };
    let killing = async {
        // Killed under load, after a random number of batches.
        let enough = (least + fastrand::u64(2..40)) * 10;
        eventually(
            async || get(&server, "/api/v1/rooms/s/messages?limit=1").await["head"].as_u64(),
            |head| head.is_some_and(|head| head >= enough),
        )
        .await;
        server.signal("KILL");
    };
    futures::join!(producing, killing);
}

#[tokio::test]
async fn the_batches_of_a_producer_are_stored_exactly_once_whenever_the_server_is_killed() {
    let data = tempfile::tempdir().expect("a folder");
    let mut accepted = 0;
    for _ in 0..5 {
        kill_round(data.path(), &mut accepted).await;
    }

    let server = Server::start_in(data.path(), &[]);
    let stored = numbers(&server).await;

    // The batch that was not answered may have been stored.
    assert!(stored.len() as u64 >= accepted * 10, "{accepted}");
    let expected: Vec<u64> = (0..stored.len() as u64).collect();
    assert_eq!(stored, expected);
    assert_eq!(stored.len() % 10, 0, "a batch is stored whole");
}

/// The numbers that were appended while the stream ended and was created many times.
#[derive(Default)]
struct RacingAppends {
    /// Those that were accepted, each with the offset after it.
    accepted: Vec<(u64, String)>,
    /// Those that may be stored, because the answer was that the store did not confirm them in time.
    uncertain: Vec<u64>,
}

/// Appends numbers from `first` on, in steps of 100, until the stream is closed. While the stream does not exist, numbers
/// are refused.
async fn append_until_closed(server: &Server, first: u64) -> RacingAppends {
    let mut appends = RacingAppends::default();
    for number in (first..).step_by(100) {
        let response = request(server, Method::POST, "s", JSON, &number.to_string()).await;
        match response.status().as_u16() {
            204 => appends.accepted.push((number, next_offset(&response))),
            404 => {}
            409 => break,
            503 => appends.uncertain.push(number),
            other => panic!("{other}: {:?}", soon(response.text()).await),
        }
    }
    appends
}

pub(crate) fn next_offset(response: &Response) -> String {
    header(response, "stream-next-offset")
}

/// Returns all numbers of the stream.
pub(crate) async fn numbers(server: &Server) -> Vec<u64> {
    let (mut numbers, mut offset) = (Vec::new(), "-1".to_owned());
    loop {
        let name = format!("s?offset={offset}");
        let response = eventually(
            async || request(server, Method::GET, &name, &[], "").await,
            |response| response.status().as_u16() != 503,
        )
        .await;
        offset = next_offset(&response);
        let page: Vec<u64> = soon(response.json()).await.expect("JSON");
        if page.is_empty() {
            return numbers;
        }
        numbers.extend(page);
    }
}

/// The end of a stream after which another one of the same name is created.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    Deletion,
    Expiry,
}

/// Creates the stream, which does not exist. It expires within a second if `expires` is true. Returns the offset at which it
/// begins.
async fn create_again(server: &Server, expires: bool) -> String {
    loop {
        let at = (Timestamp::now() + SignedDuration::from_millis(800)).to_string();
        let expiry = [("stream-expires-at", at.as_str())];
        let headers = if expires {
            [JSON, &expiry].concat()
        } else {
            JSON.to_vec()
        };

        let response = request(server, Method::PUT, "s", &headers, "").await;
        match response.status().as_u16() {
            201 => return next_offset(&response),
            // The store did not confirm it in time, so it may exist.
            503 => delete_surely(server).await,
            other => panic!("{other}: {:?}", soon(response.text()).await),
        }
    }
}

/// Deletes the stream, again if the store did not confirm it in time.
async fn delete_surely(server: &Server) {
    eventually(
        async || delete(server, "s").await,
        |status| matches!(status, 204 | 404),
    )
    .await;
}

/// Waits until the stream has a message.
async fn until_appended(server: &Server) {
    let room = async || get(server, "/api/v1/rooms/s").await;
    eventually(room, |room| room["first"] != 0).await;
}

/// Appends at all of `servers`, which share a store, while the stream ends and is created many times and closed at the last.
/// Checks that exactly the accepted messages of the last stream are stored, and perhaps some whose answer was that they may
/// be stored.
pub(crate) async fn race_with_the_end(servers: &[&Server], end: StreamEnd) {
    let appending = servers.iter().cycle().take(8).enumerate();
    let appending =
        join_all(appending.map(|(first, server)| append_until_closed(server, first as u64)));

    let ending = async {
        let server = servers[0];
        let rounds = match end {
            StreamEnd::Deletion => 20,
            StreamEnd::Expiry => 4,
        };
        for _ in 0..rounds {
            create_again(server, end == StreamEnd::Expiry).await;
            match end {
                StreamEnd::Deletion => {
                    until_appended(server).await;
                    delete_surely(server).await;
                }
                StreamEnd::Expiry => {
                    eventually(async || read(server, "s").await.0, |status| *status == 404).await;
                }
            }
        }

        let created = create_again(server, false).await;
        until_appended(server).await;
        eventually(
            async || post(server, "s", CLOSE, "").await,
            |status| *status == 204,
        )
        .await;
        created
    };
    let (appends, created) = futures::join!(appending, ending);

    for server in servers {
        let stored = numbers(server).await;
        let distinct: HashSet<u64> = stored.iter().copied().collect();
        assert_eq!(stored.len(), distinct.len(), "each is stored once");

        let accepted = appends.iter().flat_map(|appends| &appends.accepted);
        let last = accepted.filter(|(_, offset)| *offset > created);
        let last: HashSet<u64> = last.map(|(number, _)| *number).collect();
        let missing: Vec<_> = last.difference(&distinct).collect();
        assert!(missing.is_empty(), "{missing:?} were accepted");

        let uncertain = appends.iter().flat_map(|appends| &appends.uncertain);
        let possible: HashSet<u64> = uncertain.copied().chain(last).collect();
        let refused: Vec<_> = distinct.difference(&possible).collect();
        assert!(refused.is_empty(), "{refused:?} were not accepted");
    }
}

/// Starts a server with `store` and without limits of requests.
fn start_without_rates(store: &str) -> Server {
    let rates = ["--publish-rate", "0", "--connect-rate", "0"];
    Server::start(&[&["--store", store], &rates[..]].concat())
}

#[tokio::test]
async fn an_append_that_races_with_deletions_and_the_end_is_stored_if_it_was_accepted() {
    for store in ["sqlite:fanfare.db", "memory"] {
        let server = start_without_rates(store);
        race_with_the_end(&[&server], StreamEnd::Deletion).await;
    }
}

#[tokio::test]
async fn an_append_that_races_with_the_expiry_and_the_end_is_stored_if_it_was_accepted() {
    for store in ["sqlite:fanfare.db", "memory"] {
        let server = start_without_rates(store);
        race_with_the_end(&[&server], StreamEnd::Expiry).await;
    }
}
