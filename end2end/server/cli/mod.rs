//! `fanfare send`, `listen`, `verify` and `doctor` as a shell runs them: arguments, pipes, signals, exit codes.

/// A network that breaks on demand.
mod proxy;
/// A server of another make.
mod stranger;

/// What is said arrives once, in order, or is told.
mod send;
/// What is heard is printed once, in order, or is told.
mod listen;
/// Output that cannot be written, and output that would play with a terminal.
mod output;
/// What operators ask and do.
mod admin;
/// Both, while the server under them is killed and comes back.
mod restart;
/// A storm of clients that come back, and its verdict.
mod verify;
/// Servers by TLS.
mod tls;
/// What goes wrong in practice, and what is said of it.
mod doctor;

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::{program, soon};

/// A running command with pipes; killed when it is dropped.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    /// What it has said on standard error so far.
    told: watch::Receiver<String>,
    telling: JoinHandle<()>,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    /// What was not read before.
    stdout: String,
    stderr: String,
}

impl Client {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::from(program());
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut stderr = child.stderr.take().expect("piped");
        let (tell, told) = watch::channel(String::new());
        let telling = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
                tell.send_modify(|told| told.push_str(&String::from_utf8_lossy(&buffer[..length])));
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            stdout,
            told,
            telling,
        }
    }

    /// Runs a command that needs no input to its end.
    async fn run(arguments: &[&str]) -> Ended {
        Self::start(arguments).end().await
    }

    /// Writes to its standard input.
    async fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("it is not closed");
        soon(stdin.write_all(text.as_bytes()))
            .await
            .expect("it reads on");
    }

    /// The next line of its standard output.
    async fn line(&mut self) -> String {
        soon(self.stdout.next_line())
            .await
            .expect("text")
            .expect("another line")
    }

    /// The next line, which is JSON.
    async fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.line().await).expect("JSON")
    }

    /// Waits until it has said `words` on standard error.
    async fn tells(&mut self, words: &str) {
        let told = soon(self.told.wait_for(|told| told.contains(words))).await;
        told.unwrap_or_else(|_| panic!("it ended without saying {words:?}"));
    }

    /// Sends a signal ("INT", "TERM").
    async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let status = soon(
            Command::new("kill")
                .args([&format!("-{signal}"), &id])
                .status(),
        )
        .await;
        assert!(status.expect("kill runs").success());
    }

    /// Closes its standard input and waits for the end.
    async fn end(mut self) -> Ended {
        drop(self.stdin.take());
        let mut lines = Vec::new();
        while let Some(line) = soon(self.stdout.next_line()).await.expect("text") {
            lines.push(line + "\n");
        }
        let code = soon(self.child.wait()).await.expect("a child").code();
        soon(self.telling).await.expect("read to its end");
        Ended {
            code,
            stdout: lines.concat(),
            stderr: self.told.borrow().clone(),
        }
    }

    /// Closes its standard output as `head` does when it has enough, and waits for the end.
    async fn end_unread(self) -> Ended {
        let Self {
            mut child,
            stdin: _open,
            stdout,
            told,
            telling,
        } = self;
        drop(stdout);
        let code = soon(child.wait()).await.expect("a child").code();
        soon(telling).await.expect("read to its end");
        Ended {
            code,
            stdout: String::new(),
            stderr: told.borrow().clone(),
        }
    }
}

#[tokio::test]
async fn wrong_use_is_told_in_one_line_with_exit_code_2_before_anything_is_connected() {
    for (arguments, says) in [
        (&["send", "Lobby", "hi"][..], "a-z 0-9 - _ ."),
        (&["listen", "a/b"], "a-z 0-9 - _ ."),
        (&["send", "..", "hi"], "no URL can carry"),
        (&["listen", "."], "no URL can carry"),
        (&["send", "lobby", ""], "not empty"),
        (
            &["send", "lobby", "hi", "--from", "a\u{7}b"],
            "control character",
        ),
        (&["send", "lobby", "hi", "--timeout", "soon"], "0 for never"),
        (
            &[
                "send",
                "lobby",
                "hi",
                "--url",
                "https://127.0.0.1:1",
                "--ca",
                "/dev/null",
            ],
            "BEGIN CERTIFICATE",
        ),
        (
            &["listen", "lobby", "--url", "127.0.0.1:1"],
            "http://HOST:PORT",
        ),
        (&["listen", "lobby", "--after", "yesterday"], "EPOCH:OFFSET"),
        (&["bench", "--url", "ftp://127.0.0.1:1"], "http://HOST:PORT"),
    ] {
        let ended = Client::run(arguments).await;
        assert_eq!(
            (ended.code, ended.stderr.lines().count()),
            (Some(2), 1),
            "{arguments:?}: {ended:?}"
        );
        assert!(
            ended.stderr.contains(says) && ended.stdout.is_empty(),
            "{arguments:?}: {ended:?}"
        );
    }
    let ended = Client::run(&["listen", "A", "--after", "x", "--url", "y"]).await;
    assert_eq!(
        (ended.code, ended.stderr.lines().count()),
        (Some(2), 3),
        "all mistakes at once: {ended:?}"
    );
}

#[tokio::test]
async fn what_is_no_fanfare_server_ends_both_with_1_and_the_reason() {
    let server = crate::harness::Server::start(&[]);
    let ops = format!("http://{}", server.ops);
    for arguments in [
        &["send", "lobby", "hi", "--url", &ops][..],
        &["listen", "lobby", "--url", &ops],
    ] {
        let ended = Client::run(arguments).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.stderr.contains("404") && ended.stderr.contains(&ops),
            "{ended:?}"
        );
    }
}
