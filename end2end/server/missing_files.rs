//! Files of the database that are removed, moved or overwritten while the server runs.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::eventually::soon;
use crate::harness::Server;
use crate::typed::{find, join};

/// Changes the files in a folder.
type Act = fn(&Path);

/// Publishes `text`; returns the `ack` or the `error`.
async fn publish(server: &Server, text: &str) -> Value {
    let (mut peer, _) = join(server, "id=ann").await;
    peer.send(json!({ "type": "publish", "text": text, "key": text }).to_string())
        .await;

    soon(async {
        loop {
            let frame = peer.json().await;
            if frame["type"] == "ack" || frame["type"] == "error" {
                return frame;
            }
        }
    })
    .await
}

fn rename(data: &Path, from: &str, to: &str) {
    fs::rename(data.join(from), data.join(to)).expect("renamed");
}

#[tokio::test]
async fn a_server_whose_files_are_removed_or_overwritten_refuses_publishes() {
    let acts: [(&str, &str, Act); 7] = [
        ("removed", "fanfare.db", |data| {
            fs::remove_file(data.join("fanfare.db")).expect("removed");
        }),
        ("replaced", "fanfare.db", |data| {
            fs::copy(data.join("fanfare.db"), data.join("other.db")).expect("copied");
            rename(data, "other.db", "fanfare.db");
        }),
        ("overwritten", "fanfare.db", |data| {
            let content = fs::read(data.join("fanfare.db")).expect("read");
            fs::write(data.join("fanfare.db"), content).expect("written");
        }),
        ("log removed", "fanfare.db-wal", |data| {
            fs::remove_file(data.join("fanfare.db-wal")).expect("removed");
        }),
        ("log emptied", "fanfare.db-wal", |data| {
            fs::write(data.join("fanfare.db-wal"), "").expect("written");
        }),
        ("index removed", "fanfare.db-shm", |data| {
            fs::remove_file(data.join("fanfare.db-shm")).expect("removed");
        }),
        ("folder removed", "fanfare.db", |data| {
            fs::remove_dir_all(data).expect("removed");
        }),
    ];

    for (what, file, act) in acts {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let server = Server::start_in(&data, &[]);

        for number in 0..3 {
            assert_eq!(publish(&server, &number.to_string()).await["type"], "ack");
        }

        act(&data);

        let reason = server.until_readiness(503).await;

        let path = data.join(file).display().to_string();
        assert!(reason.contains(&path), "{what}: {reason}");

        let refused = publish(&server, "later").await;
        assert_eq!(refused["code"], "store_unavailable", "{what}: {refused}");

        let log = server.log().await;
        assert!(log.contains(&path), "{what}: {log}");
    }
}

#[tokio::test]
async fn files_that_are_put_back_are_used_again() {
    let acts: [(&str, Act, Act); 2] = [
        (
            "database",
            |data| rename(data, "fanfare.db", "elsewhere.db"),
            |data| rename(data, "elsewhere.db", "fanfare.db"),
        ),
        (
            "folder",
            |data| fs::rename(data, data.with_extension("moved")).expect("moved"),
            |data| fs::rename(data.with_extension("moved"), data).expect("moved back"),
        ),
    ];

    for (what, take, put_back) in acts {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let server = Server::start_in(&data, &[]);

        let (_early, welcome) = join(&server, "id=early").await;
        assert_eq!(publish(&server, "first").await["offset"], 1);

        take(&data);
        server.until_readiness(503).await;
        assert_eq!(publish(&server, "second").await["type"], "error", "{what}");

        put_back(&data);
        server.until_readiness(200).await;

        assert_eq!(publish(&server, "second").await["offset"], 2, "{what}");

        server.log().await;

        let server = Server::start_in(&data, &[]);
        let (mut again, now) = join(&server, "id=late&after=0").await;
        assert_eq!(now["epoch"], welcome["epoch"], "{what}");
        assert_eq!(find(&mut again, "message").await["text"], "first");
    }
}

#[tokio::test]
async fn a_moved_data_folder_is_complete_at_its_new_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let moved = folder.path().join("moved");
    let server = Server::start_in(&data, &[]);

    for number in 0..3 {
        assert_eq!(publish(&server, &number.to_string()).await["type"], "ack");
    }

    fs::rename(&data, &moved).expect("moved");
    server.until_readiness(503).await;
    server.log().await;

    let (_reader, welcome) = join(&Server::start_in(&moved, &[]), "id=ann").await;
    assert_eq!(welcome["head"], 3, "{welcome}");
}

#[tokio::test]
async fn a_changed_link_to_the_data_folder_is_detected() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);

    for name in ["first", "second"] {
        fs::create_dir(at(name)).expect("made");
    }

    std::os::unix::fs::symlink(at("first"), at("current")).expect("linked");

    let server = Server::start_in(&at("current"), &[]);
    assert_eq!(publish(&server, "before").await["type"], "ack");

    std::os::unix::fs::symlink(at("second"), at("next")).expect("linked");
    rename(folder.path(), "next", "current");

    let reason = server.until_readiness(503).await;
    assert!(reason.contains("current"), "{reason}");
    assert_eq!(publish(&server, "after").await["type"], "error");
}
