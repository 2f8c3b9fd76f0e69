//! `fanfare listen --cursor FILE --exec COMMAND`: a command handles each batch of messages at least once and in order.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::Client;
use crate::client::publish;
use crate::eventually::eventually;
use crate::harness::Server;

/// Returns the flags of `fanfare listen` with a cursor in `folder` and `command`, which runs with `folder` as `$0`.
fn flags(server: &Server, folder: &TempDir, command: &str) -> Vec<String> {
    let cursor = folder.path().join("cursor");
    let command = format!("cd {:?} && {command}", folder.path());
    [
        "--url",
        &server.url(""),
        "--json",
        "--cursor",
        cursor.to_str().expect("text"),
        "--exec",
        &command,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn listen(rooms: &[&str], flags: &[String]) -> Client {
    let flags = flags.iter().map(String::as_str);
    let arguments: Vec<&str> = ["listen"]
        .into_iter()
        .chain(rooms.iter().copied())
        .chain(flags)
        .collect();
    Client::start(&arguments)
}

/// Returns the content of `name` in `folder`; empty if there is no file.
fn read(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap_or_default()
}

/// Returns the texts of the messages in the lines of `name`.
fn texts(folder: &TempDir, name: &str) -> Vec<String> {
    let content = read(folder, name);
    let frames = content.lines().map(|line| {
        let frame: serde_json::Value = serde_json::from_str(line).expect("JSON");
        frame["text"].as_str().expect("text").to_owned()
    });
    frames.collect()
}

/// Waits until the command has handled `expected`, and the cursor is at the offset of the last of them.
async fn until_handled(folder: &TempDir, expected: &[&str], offset: u64) {
    eventually(async || texts(folder, "out"), |found| found == expected).await;
    let end = format!(":{offset}\n");
    eventually(
        async || read(folder, "cursor"),
        |cursor| cursor.ends_with(&end),
    )
    .await;
}

/// Waits until there is a cursor: later messages are not missed.
async fn until_started(folder: &TempDir) {
    let cursor = folder.path().join("cursor");
    eventually(async || Path::exists(&cursor), |exists| *exists).await;
}

#[tokio::test]
async fn a_command_gets_each_message_once_over_a_restart_of_both_sides() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);
    let listen_address = server.address.to_string();
    publish(&server, "orders-1", "before the first start").await;

    let flags = flags(&server, &folder, "cat >> out");
    let first = listen(&["orders-*", "lobby"], &flags);
    until_started(&folder).await;
    publish(&server, "orders-1", "one").await;
    publish(&server, "lobby", "two").await;
    until_handled(&folder, &["one", "two"], 3).await;
    drop(first);
    publish(&server, "orders-2", "three").await;
    drop(server);
    let server = Server::start_in(data.path(), &["--listen", &listen_address]);
    publish(&server, "orders-1", "four").await;
    let _second = listen(&["orders-*", "lobby"], &flags);

    until_handled(&folder, &["one", "two", "three", "four"], 5).await;
}

#[tokio::test]
async fn a_batch_whose_command_fails_is_repeated_and_does_not_move_the_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&[]);
    let command = "cat >> tried && test -e ready && tail -n 1 tried >> out";

    let listen = listen(&["orders"], &flags(&server, &folder, command));
    until_started(&folder).await;
    publish(&server, "orders", "one").await;
    eventually(async || texts(&folder, "tried"), |tried| tried.len() >= 2).await;
    assert!(read(&folder, "cursor").ends_with(":0\n"));
    fs::write(folder.path().join("ready"), "").expect("written");

    until_handled(&folder, &["one"], 1).await;
    drop(listen);
}

#[tokio::test]
async fn a_cursor_without_a_command_continues_after_the_printed_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&[]);
    publish(&server, "lobby", "one").await;
    let cursor = folder.path().join("cursor");
    let cursor = cursor.to_str().expect("text");
    let url = server.url("");
    let arguments = [
        "listen", "lobby", "--url", &url, "--after", "0", "--cursor", cursor,
    ];

    let mut first = Client::start(&arguments);
    assert!(first.line().await.ends_with(" one"));
    eventually(
        async || read(&folder, "cursor"),
        |text| text.ends_with(":1\n"),
    )
    .await;
    drop(first);
    publish(&server, "lobby", "two").await;
    let mut second = Client::start(&arguments);

    assert!(second.line().await.ends_with(" two"));
}

#[tokio::test]
async fn a_command_without_a_cursor_is_wrong_usage() {
    let ended = Client::run(&["listen", "lobby", "--exec", "cat"]).await;

    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--cursor"), "{ended:?}");
}
