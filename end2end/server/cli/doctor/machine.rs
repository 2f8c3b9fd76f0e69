//! Faults of the server's own machine: disk, file limit, clock, NATS, data folder.

use std::path::Path;
use std::process::Command;

use super::{DoctorRun, SMALL, ops};
use crate::authority::CertificateAuthority;
use crate::daemon;
use crate::disk::SmallDisk;
use crate::eventually::eventually;
use crate::faults::faulty;
use crate::harness::Server;
use crate::nats::Nats;

#[tokio::test]
async fn a_full_disk_is_reported() {
    let disk = SmallDisk::new();

    let server = disk.start(SMALL);
    disk.fill();
    let client = reqwest::Client::new();
    let messages = server.url("/api/v1/rooms/lobby/messages");

    // Small messages fill the space that is too small for large ones.
    for bytes in [60_000, 100] {
        let publish = async || {
            client
                .post(&messages)
                .body("x".repeat(bytes))
                .send()
                .await
                .expect("an answer")
                .status()
        };

        eventually(publish, |status| *status == 503).await;
    }

    let verdict = DoctorRun::of(&[&server.url(""), "--ops", &ops(&server)]).await;
    assert_eq!(verdict.code, Some(1));

    verdict.check("ready", "bad", "the disk is full", "--history-bytes");
    verdict.check("message size", "bad", "the disk is full", "");
}

/// Starts a server that may open 300 files.
fn start_with_300_files(data: &Path, flags: &[&str]) -> Server {
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
async fn a_file_limit_that_one_address_can_use_up_is_reported() {
    let data = tempfile::tempdir().expect("a folder");
    let server = start_with_300_files(data.path(), &[]);

    let verdict = DoctorRun::of(&[&server.url(""), "--ops", &ops(&server)]).await;
    assert_eq!(verdict.code, Some(1), "{:#?}", verdict.findings);
    assert_eq!(verdict.bad(), ["files"], "{:#?}", verdict.findings);

    let seen = "300 files are enough for 236 connections; a single address may open 1000";
    verdict.check("files", "bad", seen, "LimitNOFILE=");
}

#[tokio::test]
async fn with_tls_each_connection_counts_one_file() {
    let data = tempfile::tempdir().expect("a folder");
    let authority = CertificateAuthority::new();

    let used = authority.certify("IP:127.0.0.1", -1, 60);
    let ca = authority.file();
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let certificate = text(&used.certificate);
    let key = text(&used.key);
    let server = start_with_300_files(
        data.path(),
        &["--tls-cert", &certificate, "--tls-key", &key],
    );
    let url = format!("https://{}", server.address);

    let verdict = DoctorRun::of(&[&url, "--ca", &text(&ca), "--ops", &ops(&server)]).await;
    assert_eq!(verdict.code, Some(1), "{:#?}", verdict.findings);
    assert_eq!(verdict.bad(), ["files"], "{:#?}", verdict.findings);

    let seen = "300 files are enough for 236 connections; a single address may open 1000";
    verdict.check("files", "bad", seen, "--max-connections 236");
}

#[tokio::test]
async fn a_clock_that_is_a_minute_ahead_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "60").expect("written");

    let data = folder.path().join("data");
    let mut command = faulty(&data, &[("FAULT_CLOCK", clock.to_str().expect("text"))]);
    let server = Server::start_by(&mut command, SMALL);

    let verdict = DoctorRun::of(&[&server.url(""), "--ops", &ops(&server)]).await;
    assert_eq!(verdict.code, Some(1), "{:#?}", verdict.findings);
    assert_eq!(verdict.bad(), ["clock"], "{:#?}", verdict.findings);

    verdict.check("clock", "bad", "ahead of this machine's", "set-ntp");
}

#[tokio::test]
async fn a_nats_that_cannot_be_reached_is_reported() {
    let nats = Nats::start().await;
    let server = Nats::node_by(nats.port, SMALL);

    let url = server.url("");
    let by = |store: String| {
        let url = url.clone();
        let ops = ops(&server);
        async move { DoctorRun::of(&[&url, "--ops", &ops, "--store", &store]).await }
    };

    let there = by(format!("nats://127.0.0.1:{}", nats.port)).await;
    assert_eq!(there.code, Some(0), "{:#?}", there.findings);
    assert!(there.bad().is_empty(), "{:#?}", there.findings);

    there.check("nats", "good", "with JetStream", "");

    let away = by(format!("nats://{}", daemon::free_address())).await;
    assert_eq!(away.code, Some(1), "{:#?}", away.findings);
    assert_eq!(away.bad(), ["nats"], "{:#?}", away.findings);

    away.check("nats", "bad", "nothing answers", "nats-server -js");

    let other = by(format!("nats://{}", server.address)).await;
    assert_eq!(other.bad(), ["nats"], "{:#?}", other.findings);
}

#[tokio::test]
async fn a_missing_data_folder_is_reported_and_an_existing_one_is_left_unchanged() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), SMALL);
    let count = || std::fs::read_dir(data.path()).expect("a folder").count();

    let before = count();
    let folder = data.path().to_str().expect("text").to_owned();

    let by = |folder: String| {
        let url = server.url("");
        let ops = ops(&server);
        async move { DoctorRun::of(&[&url, "--ops", &ops, "--data", &folder]).await }
    };
    by(folder.clone()).await.finding("fsync");
    assert_eq!(count(), before);

    let missing = by(format!("{folder}/none")).await;
    assert_eq!(missing.code, Some(1));
    assert_eq!(missing.bad(), ["disk"]);

    missing.check("disk", "bad", "cannot be read", "--data");
}
