//! The output of commands: write errors, closed pipes, and control characters.

use std::fs::File;
use std::io;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::{Client, Ended};
use crate::client::publish;
use crate::eventually::soon;
use crate::harness::{Server, program};

/// Runs a command to its end with `stdout` as its standard output.
async fn run_into(stdout: impl Into<Stdio>, arguments: &[&str]) -> Ended {
    let child = Command::from(program())
        .args(arguments)
        .stdout(stdout.into())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");

    let output = soon(child.wait_with_output()).await.expect("it ends");
    Ended {
        code: output.status.code(),
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

#[tokio::test]
async fn a_full_standard_output_ends_each_command_with_1_and_a_closed_pipe_with_0() {
    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().to_str().expect("text");
    let server = Server::start_in(data.path(), &[]);

    publish(&server, "lobby", "a word").await;

    let key = data.path().join("key");
    std::fs::write(&key, "the secret of these tests, 32 bytes and more").expect("written");
    let key = key.to_str().expect("text");
    let url = server.url("");
    let ops = format!("http://{}", server.ops);

    let token = [
        "token",
        "--sub",
        "ann",
        "--room",
        "lobby:r",
        "--auth-key-file",
        key,
    ];

    let load = ["--seconds", "1", "--connections", "1", "--rate", "1"];

    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["--version"],
        &["check-config"],
        &["completions", "bash"],
        &["demo"],
        &token,
        &["export", "lobby", "--data", folder],
        &["send", "lobby", "hi", "--json", "--url", &url],
        &["listen", "lobby", "--after", "0", "--url", &url],
        &["listen", "lobby", "--after", "0", "--json", "--url", &url],
        &["admin", "rooms", "--url", &ops],
        &["admin", "rooms", "--json", "--url", &ops],
        &["admin", "close", "other", "--url", &ops],
        &["doctor", &url, "--ops", &ops, "--quick"],
        &[
            "verify",
            &url,
            "--storms",
            "1",
            "--readers",
            "1",
            "--rooms",
            "1",
            "--every",
            "1",
        ],
        &[&["bench", "--url", &url], &load[..]].concat(),
    ] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("a device");
        let ended = run_into(full, arguments).await;
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
        assert!(
            ended
                .stderr
                .contains("standard output: No space left on device (os error 28)"),
            "{arguments:?}: {ended:?}"
        );
        assert_eq!(
            ended.stderr.matches("No space left").count(),
            1,
            "the cause is reported once: {ended:?}"
        );

        let (reader, closed) = io::pipe().expect("a pipe");
        drop(reader);

        let ended = run_into(closed, arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        assert!(!ended.stderr.contains("error"), "{arguments:?}: {ended:?}");
    }
}

/// Returns true if `c` is a control character for a terminal.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[tokio::test]
async fn control_characters_are_escaped_in_output_and_restored_from_json() {
    const WORDS: &str = "\u{7f}\u{85}\u{9b}31m\u{1b}[2J \u{202e}turned\u{2066}\u{2028}\u{200f} end";

    let data = tempfile::tempdir().expect("a folder");
    let folder = data.path().to_str().expect("text");
    let server = Server::start_in(data.path(), &[]);

    publish(&server, "lobby", WORDS).await;

    let url = server.url("");
    let mut plain = Client::start(&["listen", "lobby", "--after", "0", "--url", &url]);
    let mut json = Client::start(&["listen", "lobby", "--after", "0", "--json", "--url", &url]);

    let plain = plain.line().await;
    let json = json.line().await;
    let exported = Client::run(&["export", "lobby", "--data", folder])
        .await
        .stdout;

    for line in [&plain, &json, exported.trim_end_matches('\n')] {
        assert!(line.contains("end"), "{line:?}");
        assert!(!line.chars().any(is_active), "{line:?}");
    }

    for line in [&json, &exported] {
        let message: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(message["text"], WORDS);
    }
}
