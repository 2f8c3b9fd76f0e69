//! `fanfare demo`: its rooms fill themselves, the commands that it prints work, and Ctrl-C ends it.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::Client;
use crate::eventually::{eventually, soon};

/// A running demo and what it printed.
struct Demo {
    client: Client,
    /// The URL of the page of a room.
    page: String,
    /// The commands, as a shell reads them.
    curl: String,
    listen: String,
}

impl Demo {
    /// Starts the demo, and reads its instructions to their end.
    async fn start() -> Self {
        let mut client = Client::start(&["demo"]);

        let mut printed = Vec::new();
        while !printed
            .last()
            .is_some_and(|line: &String| line.ends_with("until Ctrl-C."))
        {
            printed.push(client.line().await.trim().to_owned());
        }
        let line = |start: &str| {
            let found = printed.iter().find(|line| line.starts_with(start));
            found
                .unwrap_or_else(|| panic!("no {start} in {printed:?}"))
                .clone()
        };

        Self {
            page: line("http://"),
            curl: line("curl "),
            listen: line("fanfare "),
            client,
        }
    }
}

/// Runs `command` in a shell until it has printed each of `words`.
async fn expect_output(command: &str, words: &[&str]) {
    let program = Path::new(env!("CARGO_BIN_EXE_fanfare"));
    let folder = program.parent().expect("a folder").to_str().expect("text");
    let path = std::env::var("PATH").expect("it is set");

    let mut shell = Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .env("PATH", format!("{folder}:{path}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the shell starts");
    let mut lines = BufReader::new(shell.stdout.take().expect("piped")).lines();

    let mut missing = words.to_vec();
    while !missing.is_empty() {
        let line = soon(lines.next_line()).await.expect("text");
        let line = line.unwrap_or_else(|| panic!("{command} ended without {missing:?}"));
        missing.retain(|word| !line.contains(word));
    }
}

#[tokio::test]
async fn the_page_of_the_demo_shows_a_conversation() {
    let demo = Demo::start().await;

    let page = async || {
        let response = soon(reqwest::get(&demo.page)).await.expect("an answer");
        soon(response.text()).await.expect("text")
    };

    eventually(page, |page| page.contains("The new build is on staging.")).await;
}

#[tokio::test]
async fn the_commands_that_the_demo_prints_show_its_rooms() {
    let demo = Demo::start().await;

    expect_output(&demo.curl, &["What happens", "\"text\":\"Nothing \""]).await;
    expect_output(&demo.listen, &["demo-dashboard", "demo-agent", "demo-chat"]).await;
}

#[tokio::test]
async fn ctrl_c_ends_the_demo_with_exit_code_0_while_it_has_readers() {
    let demo = Demo::start().await;
    let url = demo.page.split("/r/").next().expect("a URL");
    let mut reader = Client::start(&["listen", "demo-chat", "--after", "0", "--url", url]);
    assert!(reader.line().await.contains("Ann"));

    demo.client.signal("INT").await;

    assert_eq!(demo.client.end().await.code, Some(0));
}

#[tokio::test]
async fn a_demo_ignores_settings_and_writes_no_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::from(crate::harness::program());
    let mut demo = command
        .arg("demo")
        .current_dir(folder.path())
        .env("FANFARE_LISTEN", "no address")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("piped")).lines();

    let first = soon(lines.next_line())
        .await
        .expect("text")
        .expect("a line");

    assert!(
        first.starts_with("Fanfare runs at http://127.0.0.1:"),
        "{first}"
    );
    let files = std::fs::read_dir(folder.path()).expect("a folder");
    assert_eq!(files.count(), 0);
}
