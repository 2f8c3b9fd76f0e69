//! Disks that are full or fail, clocks that jump: nothing acknowledged is lost, and what is wrong is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::disk::SmallDisk;
use crate::harness::{Peer, Server, program, soon};
use crate::metrics::store_state;
use crate::typed::{join, next};

/// The library that makes the faults, compiled once.
fn faults() -> &'static Path {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("faults.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/end2end/server/faults.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", source, "-ldl", "-o"])
            .arg(&library)
            .status();
        assert!(compiled.expect("cc runs").success());
        (folder, library)
    });
    library
}

/// The program with faults before it, in the data folder `data`.
pub(crate) fn faulty(data: &Path, faults_wanted: &[(&str, &str)]) -> Command {
    let mut command = program();
    command
        .arg("--data")
        .arg(data)
        .env("LD_PRELOAD", faults())
        .envs(faults_wanted.iter().copied());
    command
}

/// Says `text` with itself as its key; the answer is an `ack` or an `error`, or nothing when the server ended.
async fn ask(peer: &mut Peer, text: &str) -> Option<Value> {
    if !peer
        .try_send(json!({ "type": "say", "text": text, "key": text }).to_string())
        .await
    {
        return None;
    }
    while let Some(frame) = peer.text_or_end().await {
        let frame: Value = serde_json::from_str(&frame).expect("JSON");
        if frame["type"] == "ack" || frame["type"] == "error" {
            return Some(frame);
        }
    }
    None
}

/// Ann, unless the server ends before she is in.
async fn come(server: &Server) -> Option<Peer> {
    let mut request = server
        .socket_url("id=ann")
        .into_client_request()
        .expect("an address");
    request.headers_mut().insert(
        "sec-websocket-protocol",
        HeaderValue::from_static("fanfare.v1"),
    );
    let (socket, _) = soon(connect_async(request)).await.ok()?;
    Some(Peer { socket })
}

/// The frame that greets a client, unless the server ends before it.
async fn welcome(peer: &mut Peer) -> Option<Value> {
    let frame = peer.text_or_end().await?;
    Some(serde_json::from_str(&frame).expect("JSON"))
}

/// The texts of the lobby, each with its offset.
async fn texts(server: &Server) -> Vec<(u64, String)> {
    let (mut peer, welcome) = join(server, "id=auditor&after=0").await;
    let mut found = Vec::new();
    while found.last().map_or(0, |(offset, _)| *offset)
        < welcome["head"].as_u64().expect("an offset")
    {
        let message = next(&mut peer, "message").await;
        found.push((
            message["offset"].as_u64().expect("one"),
            message["text"].as_str().expect("text").to_owned(),
        ));
    }
    found
}

pub(crate) async fn readiness(server: &Server) -> (u16, String) {
    let answer = soon(reqwest::get(format!("http://{}/readyz", server.ops)))
        .await
        .expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

pub(crate) async fn until_ready(server: &Server) {
    soon(async {
        while readiness(server).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_sent_and_keeps_what_was_acknowledged_until_there_is_room_again()
 {
    let disk = SmallDisk::new();
    let server = &disk.start(&["--max-message", "64KiB"]);
    let (mut ann, _) = join(server, "id=ann").await;
    assert_eq!(
        ask(&mut ann, "first").await.expect("an answer")["type"],
        "ack"
    );
    disk.fill();
    let refusal = publish_until_refused(&mut ann).await;
    assert_eq!(
        (&refusal["code"], &refusal["retry"]),
        (&json!("store_unavailable"), &json!(true)),
        "{refusal}"
    );
    assert!(
        refusal["message"]
            .as_str()
            .expect("text")
            .contains("the disk is full"),
        "{refusal}"
    );
    let (status, reason) = readiness(server).await;
    assert_eq!(
        (status, reason.contains("the disk is full")),
        (503, true),
        "{reason}"
    );
    assert_eq!(store_state(server).await, "refusing");
    // Readers go on.
    let before = texts(server).await;
    assert_eq!(before[0].1, "first");

    disk.make_room();
    until_ready(server).await;
    assert_eq!(store_state(server).await, "ready");
    assert_eq!(
        ask(&mut ann, "last").await.expect("an answer")["type"],
        "ack"
    );
    let after = texts(server).await;
    assert_eq!(
        (&after[..before.len()], after.len()),
        (&before[..], before.len() + 1)
    );
}

/// Publishes large messages until one is refused; returns the `error`.
async fn publish_until_refused(peer: &mut Peer) -> Value {
    let big = "x".repeat(60_000);
    for number in 0.. {
        let frame = json!({ "type": "say", "text": format!("{number} {big}"), "key": format!("big-{number}") });
        peer.send(frame.to_string()).await;
        let answer = loop {
            let frame = peer.json().await;
            if frame["type"] == "ack" || frame["type"] == "error" {
                break frame;
            }
        };
        if answer["type"] == "error" {
            return answer;
        }
    }
    unreachable!("a disk is full some time")
}

/// Checks that `server`, started on a full disk, serves readers what they had in `epoch` and refuses what is
/// published, until there is room.
async fn serves_readers_until_there_is_room(
    disk: &SmallDisk,
    server: &Server,
    before: &[(u64, String)],
    epoch: &Value,
) {
    let (mut ann, welcome) = join(server, "id=ann").await;
    assert_eq!(&welcome["epoch"], epoch);
    assert_eq!(texts(server).await, before);
    let refused = ask(&mut ann, "refused").await.expect("an answer");
    assert_eq!(refused["code"], "store_unavailable", "{refused}");
    assert_eq!(readiness(server).await.0, 503);

    disk.make_room();
    until_ready(server).await;

    assert_eq!(
        ask(&mut ann, "stored").await.expect("an answer")["type"],
        "ack"
    );
    let after = texts(server).await;
    assert_eq!(&after[..before.len()], before);
    assert_eq!(after.last().expect("one").1, "stored");
}

#[tokio::test]
async fn a_server_that_ended_on_a_full_disk_starts_there_for_readers() {
    let disk = SmallDisk::new();
    let server = disk.start(&["--max-message", "64KiB"]);
    let (mut ann, welcome) = join(&server, "id=ann").await;
    disk.fill();
    publish_until_refused(&mut ann).await;
    let before = texts(&server).await;
    server.log().await;
    disk.fill();

    let server = disk.start(&[]);

    serves_readers_until_there_is_room(&disk, &server, &before, &welcome["epoch"]).await;
    server.log().await;
    let (_again, now) = join(&disk.start(&[]), "id=ann").await;
    assert_eq!(now["epoch"], welcome["epoch"]);
}

#[tokio::test]
async fn a_server_whose_disk_filled_while_it_was_stopped_starts_for_readers() {
    let disk = SmallDisk::new();
    let server = disk.start(&[]);
    let (mut ann, welcome) = join(&server, "id=ann").await;
    for text in ["first", "second"] {
        assert_eq!(ask(&mut ann, text).await.expect("an answer")["type"], "ack");
    }
    let before = texts(&server).await;
    server.log().await;
    disk.fill();

    let server = disk.start(&[]);

    serves_readers_until_there_is_room(&disk, &server, &before, &welcome["epoch"]).await;
    server.log().await;
    let (_again, now) = join(&disk.start(&[]), "id=ann").await;
    assert_eq!(now["epoch"], welcome["epoch"]);
}

#[tokio::test]
async fn whichever_write_fails_nothing_acknowledged_is_lost_and_the_server_recovers_by_itself() {
    for number in 1..=14 {
        let data = tempfile::tempdir().expect("a folder");
        let which = number.to_string();
        let mut command = faulty(data.path(), &[("FAULT_WRITE", &which)]);
        let Some(server) = Server::try_start_by(&mut command, &[]) else {
            // It failed while the file was made: the next start must find nothing broken.
            Server::start_in(data.path(), &[])
                .join("ann")
                .await
                .send("x")
                .await;
            continue;
        };
        let (mut ann, _) = join(&server, "id=ann").await;
        let mut acked = Vec::new();
        for text in 0..10 {
            let text = text.to_string();
            let answer = ask(&mut ann, &text).await.expect("it goes on");
            if answer["type"] == "ack" {
                acked.push((answer["offset"].as_u64().expect("one"), text));
            } else {
                assert_eq!(answer["code"], "store_unavailable", "{answer}");
                until_ready(&server).await;
            }
        }
        assert!(acked.len() >= 9, "one write failed, not more: {acked:?}");
        assert_eq!(texts(&server).await, acked);
        server.signal("KILL");
        drop(server);
        assert_eq!(texts(&Server::start_in(data.path(), &[])).await, acked);
    }
}

#[tokio::test]
async fn whichever_fsync_fails_the_server_ends_and_says_why_and_nothing_acknowledged_is_lost() {
    let mut ended = 0;
    for number in 1..=8 {
        let data = tempfile::tempdir().expect("a folder");
        let which = number.to_string();
        let mut command = faulty(data.path(), &[("FAULT_FSYNC", &which)]);
        let Some(server) = Server::try_start_by(&mut command, &[]) else {
            continue;
        };
        let mut ann = come(&server).await;
        let before = match &mut ann {
            Some(ann) => welcome(ann).await.map(|welcome| welcome["epoch"].clone()),
            None => None,
        };
        let mut acked = Vec::new();
        for text in 0..10 {
            let (text, Some(ann)) = (text.to_string(), &mut ann) else {
                break;
            };
            match ask(ann, &text).await {
                Some(answer) if answer["type"] == "ack" => acked.push(text),
                Some(answer) => assert_eq!(answer["code"], "store_unavailable", "{answer}"),
                None => break,
            }
        }
        // While the file is made there is nothing to lose, and SQLite may go on.
        let is_lost = acked.len() < 10;
        if is_lost {
            let (status, log) = server.end().await;
            assert_eq!(status.code(), Some(1), "{log}");
            assert!(log.contains("fsync failed"), "{log}");
            ended += 1;
        } else {
            server.log().await;
        }
        let server = Server::start_in(data.path(), &[]);
        if let Some(before) = before {
            let (_peer, welcome) = join(&server, "id=auditor").await;
            assert_eq!(
                welcome["epoch"] != before,
                is_lost,
                "fsync {number}: a new epoch begins after a failed fsync"
            );
        }
        let kept: Vec<String> = texts(&server)
            .await
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(
            &kept[..acked.len()],
            &acked[..],
            "an acknowledged message is lost"
        );
    }
    assert!(ended >= 3, "some of them failed while it ran: {ended}");
}

#[tokio::test]
async fn a_clock_that_is_set_back_or_forward_by_30_days_loses_nothing_and_mixes_nothing_up() {
    const MONTH: i64 = 30 * 86_400;
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    let data = folder.path().join("data");
    fs::write(&clock, "0").expect("written");
    let file = clock.to_str().expect("text").to_owned();
    let server = Server::start_by(
        &mut faulty(&data, &[("FAULT_CLOCK", &file)]),
        &["--history-age", "7d"],
    );
    let (mut ann, _) = join(&server, "id=ann").await;
    for (number, offset) in [0, -MONTH, MONTH, -MONTH, 0].into_iter().enumerate() {
        fs::write(&clock, offset.to_string()).expect("written");
        assert_eq!(
            ask(&mut ann, &number.to_string()).await.expect("an answer")["offset"],
            number + 1
        );
    }
    // A look for what is too old has been had when the next message is stored and acknowledged.
    assert_eq!(
        ask(&mut ann, "0").await.expect("an answer")["duplicate"],
        true
    );
    let expected: Vec<(u64, String)> = (0..5)
        .map(|number| (number + 1, number.to_string()))
        .collect();
    assert_eq!(texts(&server).await, expected);
    server.log().await;
    let server = Server::start_in(&data, &["--history-age", "7d"]);
    assert_eq!(texts(&server).await, expected);
}
