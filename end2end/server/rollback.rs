//! Databases that are older than the last one, or that lost messages: a new epoch begins, and readers get `lost`.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::Server;
use crate::typed::{find, join, next, say};

/// Publishes `count` messages, one commit each.
async fn publish(server: &Server, count: usize) {
    let (mut peer, _) = join(server, "id=publisher").await;
    for number in 0..count {
        say(&mut peer, &format!("{number} {}", "x".repeat(500)), None).await;
        find(&mut peer, "message").await;
    }
}

/// Returns the epoch of the lobby.
async fn epoch(server: &Server) -> String {
    let (_peer, welcome) = join(server, "id=auditor").await;
    welcome["epoch"].as_str().expect("text").to_owned()
}

/// Kills the server.
async fn kill(server: Server) {
    server.signal("KILL");
    server.end().await;
}

/// Copies the content of a folder over that of another, with times and permissions.
fn copy_over(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(status.expect("cp runs").success());
}

#[tokio::test]
async fn a_reader_that_resumes_on_a_restored_copy_gets_a_gap() {
    let data = tempfile::tempdir().expect("a folder");
    let database = data.path().join("fanfare.db");
    let copy = data.path().join("copy");
    let server = Server::start_in(data.path(), &[]);

    publish(&server, 3).await;
    server.log().await;
    fs::copy(&database, &copy).expect("copied");

    let server = Server::start_in(data.path(), &[]);
    publish(&server, 5).await;
    let before = epoch(&server).await;
    server.log().await;

    fs::copy(&copy, &database).expect("put back");

    let server = Server::start_in(data.path(), &[]);
    publish(&server, 7).await;

    let (mut reader, welcome) = join(&server, &format!("id=ann&after=8&epoch={before}")).await;
    assert_eq!(welcome["recovery"], "lost", "{welcome}");
    assert_ne!(welcome["epoch"], json!(before));

    let gap: Value = next(&mut reader, "gap").await;
    assert_eq!(gap["type"], "gap");

    let log = server.log().await;
    assert!(log.contains("it is an older copy"), "{log}");
    assert!(log.contains("a new epoch begins"), "{log}");
}

/// Changes the write-ahead log at `path`.
type LogDamage = fn(&Path);

/// Inverts the byte at offset `at`.
fn flip(path: &Path, at: u64) {
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("opened");
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).expect("found");
    file.read_exact(&mut byte).expect("read");
    file.seek(SeekFrom::Start(at)).expect("found");
    file.write_all(&[!byte[0]]).expect("written");
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).expect("a file").len()
}

fn truncate(path: &Path, length: u64) {
    let file = fs::File::options().write(true).open(path).expect("opened");
    file.set_len(length).expect("truncated");
}

#[tokio::test]
async fn a_damaged_write_ahead_log_begins_a_new_epoch() {
    let damages: [(&str, LogDamage); 7] = [
        ("flipped in the header", |path| flip(path, 20)),
        ("flipped early", |path| flip(path, 32 + 10)),
        ("flipped in the middle", |path| flip(path, length(path) / 2)),
        ("flipped late", |path| flip(path, length(path) - 5000)),
        ("truncated", |path| truncate(path, length(path) / 2)),
        ("emptied", |path| truncate(path, 0)),
        ("removed", |path| fs::remove_file(path).expect("removed")),
    ];

    for (damage, apply) in damages {
        let data = tempfile::tempdir().expect("a folder");
        let server = Server::start_in(data.path(), &[]);

        publish(&server, 40).await;
        let before = epoch(&server).await;
        kill(server).await;

        apply(&data.path().join("fanfare.db-wal"));

        let server = Server::start_in(data.path(), &[]);
        let (_reader, welcome) = join(&server, &format!("id=ann&after=40&epoch={before}")).await;
        assert_eq!(welcome["recovery"], "lost", "{damage}: {welcome}");
        assert!(welcome["head"].as_u64() < Some(40), "{damage}: {welcome}");

        let log = server.log().await;
        assert!(log.contains("a new epoch begins"), "{damage}: {log}");
    }
}

#[tokio::test]
async fn a_folder_copied_while_running_and_restored_after_a_kill_begins_a_new_epoch() {
    let data = tempfile::tempdir().expect("a folder");
    let copy = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    publish(&server, 3).await;
    let before = epoch(&server).await;
    copy_over(data.path(), copy.path());
    publish(&server, 5).await;
    kill(server).await;

    copy_over(copy.path(), data.path());

    let server = Server::start_in(data.path(), &[]);
    let (_reader, welcome) = join(&server, &format!("id=ann&after=8&epoch={before}")).await;
    assert_eq!(welcome["recovery"], "lost", "{welcome}");
}

#[tokio::test]
async fn a_database_restored_under_the_log_of_a_killed_server_begins_a_new_epoch() {
    let data = tempfile::tempdir().expect("a folder");
    let database = data.path().join("fanfare.db");
    let copy = data.path().join("copy");
    let server = Server::start_in(data.path(), &[]);

    publish(&server, 3).await;
    server.log().await;
    fs::copy(&database, &copy).expect("copied");

    let server = Server::start_in(data.path(), &[]);
    publish(&server, 5).await;
    server.log().await;

    let server = Server::start_in(data.path(), &[]);
    publish(&server, 1).await;
    let before = epoch(&server).await;
    kill(server).await;

    fs::copy(&copy, &database).expect("put back");

    let server = Server::start_in(data.path(), &[]);
    assert_ne!(epoch(&server).await, before);

    let log = server.log().await;
    assert!(log.contains("a new epoch begins"), "{log}");
}

#[tokio::test]
async fn a_server_killed_during_its_start_or_shutdown_keeps_its_epoch() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    publish(&server, 3).await;
    let before = epoch(&server).await;
    server.log().await;

    for round in 0..20 {
        let server = Server::start_in(data.path(), &[]);
        assert_eq!(epoch(&server).await, before, "round {round}");

        publish(&server, 1).await;
        server.signal("TERM");

        // The pause is under test: the kill comes at another moment of the shutdown in each round.
        std::thread::sleep(std::time::Duration::from_micros(500 * round));
        kill(server).await;

        let mut starting = crate::harness::program()
            .args(["--listen", "127.0.0.1:0", "--ops-listen", "off", "--data"])
            .arg(data.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it starts");

        // The pause is under test: the kill comes at another moment of the start in each round.
        std::thread::sleep(std::time::Duration::from_millis(2 * round));
        starting.kill().expect("killed");
        starting.wait().expect("ended");
    }

    let server = Server::start_in(data.path(), &[]);
    let (_reader, welcome) = join(&server, &format!("id=ann&after=3&epoch={before}")).await;
    assert_eq!(welcome["recovery"], "resumed");
    assert_eq!(welcome["head"], 23);
}
