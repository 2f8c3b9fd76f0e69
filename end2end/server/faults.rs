//! Disks that are full or fail, and clocks that jump: nothing acknowledged is lost, and the fault is reported.

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
use crate::eventually::soon;
use crate::harness::{Peer, Server, program};
use crate::metrics::store_state;
use crate::typed::{join, next};

/// Returns the library that injects faults; it is compiled once.
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

/// Returns a command that starts the program in the data folder `data` with `settings`.
pub(crate) fn faulty(data: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = program();
    command
        .arg("--data")
        .arg(data)
        .env("LD_PRELOAD", faults())
        .envs(settings.iter().copied());
    command
}

/// Publishes `text` with itself as its key; returns the `ack` or the `error`, or `None` if the server ended.
async fn publish(peer: &mut Peer, text: &str) -> Option<Value> {
    if !peer
        .try_send(json!({ "type": "publish", "text": text, "key": text }).to_string())
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

/// Opens a typed connection; `None` if the server ends before.
async fn try_join(server: &Server) -> Option<Peer> {
    let mut request = server
        .socket_url("id=ann&room=lobby")
        .into_client_request()
        .expect("an address");
    request.headers_mut().insert(
        "sec-websocket-protocol",
        HeaderValue::from_static("fanfare.v1"),
    );

    let (socket, _) = soon(connect_async(request)).await.ok()?;
    Some(Peer { socket })
}

/// Returns the `welcome` frame; `None` if the server ends before it.
async fn welcome(peer: &mut Peer) -> Option<Value> {
    let frame = peer.text_or_end().await?;
    Some(serde_json::from_str(&frame).expect("JSON"))
}

/// Returns the texts of the lobby, each with its offset.
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

#[tokio::test]
async fn on_a_full_disk_publishes_are_refused_until_there_is_room() {
    let disk = SmallDisk::new();

    let server = &disk.start(&["--max-message", "64KiB"]);
    let (mut ann, _) = join(server, "id=ann").await;
    assert_eq!(
        publish(&mut ann, "first").await.expect("an answer")["type"],
        "ack"
    );

    disk.fill();
    let refusal = publish_until_refused(&mut ann).await;
    assert_eq!(refusal["code"], "store_unavailable", "{refusal}");
    assert_eq!(refusal["retry"], true, "{refusal}");
    assert!(
        refusal["message"]
            .as_str()
            .expect("text")
            .contains("the disk is full"),
        "{refusal}"
    );

    let (status, reason) = server.readiness().await;
    assert_eq!(status, 503, "{reason}");
    assert!(reason.contains("the disk is full"), "{reason}");
    assert_eq!(store_state(server).await, "read_only");

    // Readers are still served.
    let before = texts(server).await;
    assert_eq!(before[0].1, "first");

    disk.make_room();
    server.until_readiness(200).await;
    assert_eq!(store_state(server).await, "ready");
    assert_eq!(
        publish(&mut ann, "last").await.expect("an answer")["type"],
        "ack"
    );

    let after = texts(server).await;
    assert_eq!(&after[..before.len()], &before[..]);
    assert_eq!(after.len(), before.len() + 1);
}

/// Publishes large messages until one is refused; returns the `error`.
async fn publish_until_refused(peer: &mut Peer) -> Value {
    let big = "x".repeat(60_000);

    for number in 0.. {
        let frame = json!({ "type": "publish", "text": format!("{number} {big}"), "key": format!("big-{number}") });

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

    unreachable!("the loop ends when the disk is full")
}

/// Checks that `server`, started on a full disk, serves the messages `before` in the epoch `epoch`, and refuses
/// publishes until the disk has free space.
async fn serves_readers_until_there_is_room(
    disk: &SmallDisk,
    server: &Server,
    before: &[(u64, String)],
    epoch: &Value,
) {
    let (mut ann, welcome) = join(server, "id=ann").await;
    assert_eq!(&welcome["epoch"], epoch);
    assert_eq!(texts(server).await, before);

    let refused = publish(&mut ann, "refused").await.expect("an answer");
    assert_eq!(refused["code"], "store_unavailable", "{refused}");
    assert_eq!(server.readiness().await.0, 503);

    disk.make_room();
    server.until_readiness(200).await;

    assert_eq!(
        publish(&mut ann, "stored").await.expect("an answer")["type"],
        "ack"
    );

    let after = texts(server).await;
    assert_eq!(&after[..before.len()], before);
    assert_eq!(after.last().expect("one").1, "stored");
}

#[tokio::test]
async fn a_server_stopped_on_a_full_disk_starts_for_readers() {
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
        assert_eq!(
            publish(&mut ann, text).await.expect("an answer")["type"],
            "ack"
        );
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
async fn a_failed_write_loses_nothing_acknowledged_and_the_server_recovers() {
    for number in 1..=14 {
        let data = tempfile::tempdir().expect("a folder");

        let which = number.to_string();
        let mut command = faulty(data.path(), &[("FAULT_WRITE", &which)]);

        let Some(server) = Server::try_start_by(&mut command, &[]) else {
            // The write failed while the database was created: the next start must succeed.
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
            let answer = publish(&mut ann, &text).await.expect("the server runs");

            if answer["type"] == "ack" {
                acked.push((answer["offset"].as_u64().expect("one"), text));
            } else {
                assert_eq!(answer["code"], "store_unavailable", "{answer}");
                server.until_readiness(200).await;
            }
        }

        assert!(acked.len() >= 9, "only one write failed: {acked:?}");
        assert_eq!(texts(&server).await, acked);

        server.signal("KILL");
        drop(server);
        assert_eq!(texts(&Server::start_in(data.path(), &[])).await, acked);
    }
}

#[tokio::test]
async fn a_failed_fsync_ends_the_server_and_loses_nothing_acknowledged() {
    let mut ended = 0;

    for number in 1..=8 {
        let data = tempfile::tempdir().expect("a folder");

        let which = number.to_string();
        let mut command = faulty(data.path(), &[("FAULT_FSYNC", &which)]);

        let Some(server) = Server::try_start_by(&mut command, &[]) else {
            continue;
        };

        let mut ann = try_join(&server).await;
        let before = match &mut ann {
            Some(ann) => welcome(ann).await.map(|welcome| welcome["epoch"].clone()),
            None => None,
        };
        let mut acked = Vec::new();

        for text in 0..10 {
            let (text, Some(ann)) = (text.to_string(), &mut ann) else {
                break;
            };
            match publish(ann, &text).await {
                Some(answer) if answer["type"] == "ack" => acked.push(text),
                Some(answer) => assert_eq!(answer["code"], "store_unavailable", "{answer}"),
                None => break,
            }
        }

        // A failed fsync during the creation of the database loses nothing, and the server may continue.
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

    assert!(ended >= 3, "some failed while the server ran: {ended}");
}

#[tokio::test]
async fn clock_jumps_of_30_days_lose_and_reorder_nothing() {
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
            publish(&mut ann, &number.to_string())
                .await
                .expect("an answer")["offset"],
            number + 1
        );
    }

    // The next message is acknowledged after the next removal of old messages.
    assert_eq!(
        publish(&mut ann, "0").await.expect("an answer")["duplicate"],
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
