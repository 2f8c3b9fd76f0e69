//! What goes wrong on the server's own machine: its disk, its files, its clock, its NATS.

use std::path::Path;
use std::process::Command;

use super::{SMALL, Verdict, ops};
use crate::authority::Authority;
use crate::cluster::Nats;
use crate::daemon;
use crate::disk::SmallDisk;
use crate::faults::faulty;
use crate::harness::{Server, soon};

#[tokio::test]
async fn a_full_disk_is_found_where_the_server_says_so() {
    let disk = SmallDisk::new();
    let server = disk.start(SMALL);
    disk.fill();
    let (client, messages) = (
        reqwest::Client::new(),
        server.url("/api/v1/rooms/lobby/messages"),
    );
    // First what is large, then what is small: the last corner is used up.
    for bytes in [60_000, 100] {
        let say = async || {
            client
                .post(&messages)
                .body("x".repeat(bytes))
                .send()
                .await
                .expect("an answer")
                .status()
        };
        soon(async { while say().await != 503 {} }).await;
    }
    let verdict = Verdict::of(&[&server.url(""), "--ops", &ops(&server)]).await;
    assert_eq!(verdict.code, Some(1));
    verdict.says("ready", "bad", "the disk is full", "--history-bytes");
    verdict.says("message size", "bad", "the disk is full", "");
}

/// A server that may open 300 files.
fn confined(data: &Path, flags: &[&str]) -> Server {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 300 && exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_fanfare"),
        "--data",
    ]);
    Server::start_by(command.arg(data), flags)
}

#[tokio::test]
async fn a_server_with_fewer_files_than_one_address_may_use_up_is_found() {
    let data = tempfile::tempdir().expect("a folder");
    let server = confined(data.path(), &[]);
    let verdict = Verdict::of(&[&server.url(""), "--ops", &ops(&server)]).await;
    assert_eq!(
        (verdict.code, verdict.bad()),
        (Some(1), vec!["files"]),
        "{:#?}",
        verdict.findings
    );
    let seen = "300 files are enough for 236 connections; a single address may open 1000";
    verdict.says("files", "bad", seen, "LimitNOFILE=");
}

#[tokio::test]
async fn with_tls_three_files_are_counted_for_each_connection() {
    let data = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let (used, ca) = (authority.certify("IP:127.0.0.1", -1, 60), authority.file());
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let (certificate, key) = (text(&used.certificate), text(&used.key));
    let server = confined(
        data.path(),
        &[SMALL, &["--tls-cert", &certificate, "--tls-key", &key]].concat(),
    );
    let url = format!("https://{}", server.address);
    let verdict = Verdict::of(&[&url, "--ca", &text(&ca), "--ops", &ops(&server)]).await;
    assert_eq!(
        (verdict.code, verdict.bad()),
        (Some(1), vec!["files"]),
        "{:#?}",
        verdict.findings
    );
    let seen = "300 files are enough for 78 connections; a single address may open 100";
    verdict.says("files", "bad", seen, "--max-connections 78");
}

#[tokio::test]
async fn a_clock_that_is_a_minute_ahead_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "60").expect("written");
    let data = folder.path().join("data");
    let mut command = faulty(&data, &[("FAULT_CLOCK", clock.to_str().expect("text"))]);
    let server = Server::start_by(&mut command, SMALL);
    let verdict = Verdict::of(&[&server.url(""), "--ops", &ops(&server)]).await;
    assert_eq!(
        (verdict.code, verdict.bad()),
        (Some(1), vec!["clock"]),
        "{:#?}",
        verdict.findings
    );
    verdict.says("clock", "bad", "ahead of this machine's", "set-ntp");
}

#[tokio::test]
async fn a_nats_is_found_to_be_there_or_not() {
    let nats = Nats::start().await;
    let server = Nats::node_by(nats.port, SMALL);
    let url = server.url("");
    let by = |store: String| {
        let (url, ops) = (url.clone(), ops(&server));
        async move { Verdict::of(&[&url, "--ops", &ops, "--store", &store]).await }
    };
    let there = by(format!("nats://127.0.0.1:{}", nats.port)).await;
    assert_eq!(
        (there.code, there.bad()),
        (Some(0), vec![]),
        "{:#?}",
        there.findings
    );
    there.says("nats", "good", "with JetStream", "");
    let away = by(format!("nats://{}", daemon::free_address())).await;
    assert_eq!(
        (away.code, away.bad()),
        (Some(1), vec!["nats"]),
        "{:#?}",
        away.findings
    );
    away.says("nats", "bad", "nothing answers", "nats-server -js");
    let other = by(format!("nats://{}", server.address)).await;
    assert_eq!(other.bad(), ["nats"], "{:#?}", other.findings);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_found_and_nothing_is_left_in_one_that_is() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), SMALL);
    let count = || std::fs::read_dir(data.path()).expect("a folder").count();
    let before = count();
    let folder = data.path().to_str().expect("text").to_owned();
    let by = |folder: String| {
        let (url, ops) = (server.url(""), ops(&server));
        async move { Verdict::of(&[&url, "--ops", &ops, "--data", &folder]).await }
    };
    by(folder.clone()).await.finding("fsync");
    assert_eq!(count(), before);
    let missing = by(format!("{folder}/none")).await;
    assert_eq!((missing.code, missing.bad()), (Some(1), vec!["disk"]));
    missing.says("disk", "bad", "cannot be read", "--data");
}
