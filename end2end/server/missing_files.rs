//! Files of the database that are removed, moved or overwritten while the server runs.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::faults::{readiness, until_ready};
use crate::harness::{Server, soon};
use crate::typed::{find, join};

/// Does something to the files in a folder.
type Act = fn(&Path);

/// Publishes `text`; returns the `ack` or the `error`.
async fn answer(server: &Server, text: &str) -> Value {
    let (mut peer, _) = join(server, "id=ann").await;
    peer.send(json!({ "type": "say", "text": text, "key": text }).to_string())
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

/// Waits until `/readyz` is red; returns the reason.
async fn refusal(server: &Server) -> String {
    soon(async {
        loop {
            let (status, reason) = readiness(server).await;
            if status == 503 {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

fn rename(data: &Path, from: &str, to: &str) {
    fs::rename(data.join(from), data.join(to)).expect("renamed");
}

#[tokio::test]
async fn a_server_whose_files_are_gone_or_overwritten_notices_without_a_publish_and_refuses() {
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
            assert_eq!(answer(&server, &number.to_string()).await["type"], "ack");
        }

        act(&data);

        let reason = refusal(&server).await;
        let path = data.join(file).display().to_string();
        assert!(reason.contains(&path), "{what}: {reason}");
        let refused = answer(&server, "later").await;
        assert_eq!(refused["code"], "store_unavailable", "{what}: {refused}");
        let log = server.log().await;
        assert!(log.contains(&path), "{what}: {log}");
    }
}

#[tokio::test]
async fn files_that_are_put_back_are_written_to_again() {
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
        assert_eq!(answer(&server, "first").await["offset"], 1);

        take(&data);
        refusal(&server).await;
        assert_eq!(answer(&server, "second").await["type"], "error", "{what}");
        put_back(&data);
        until_ready(&server).await;

        assert_eq!(answer(&server, "second").await["offset"], 2, "{what}");
        server.log().await;
        let server = Server::start_in(&data, &[]);
        let (mut again, now) = join(&server, "id=late&after=0").await;
        assert_eq!(now["epoch"], welcome["epoch"], "{what}");
        assert_eq!(find(&mut again, "message").await["text"], "first");
    }
}

#[tokio::test]
async fn a_folder_that_is_moved_away_for_good_is_whole_at_its_new_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, moved) = (folder.path().join("data"), folder.path().join("moved"));
    let server = Server::start_in(&data, &[]);
    for number in 0..3 {
        assert_eq!(answer(&server, &number.to_string()).await["type"], "ack");
    }

    fs::rename(&data, &moved).expect("moved");
    refusal(&server).await;
    server.log().await;

    let (_reader, welcome) = join(&Server::start_in(&moved, &[]), "id=ann").await;
    assert_eq!(welcome["head"], 3, "{welcome}");
}

#[tokio::test]
async fn a_link_to_the_data_folder_that_is_changed_while_the_server_runs_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["first", "second"] {
        fs::create_dir(at(name)).expect("made");
    }
    std::os::unix::fs::symlink(at("first"), at("current")).expect("linked");
    let server = Server::start_in(&at("current"), &[]);
    assert_eq!(answer(&server, "before").await["type"], "ack");

    std::os::unix::fs::symlink(at("second"), at("next")).expect("linked");
    rename(folder.path(), "next", "current");

    let reason = refusal(&server).await;
    assert!(reason.contains("current"), "{reason}");
    assert_eq!(answer(&server, "after").await["type"], "error");
}
