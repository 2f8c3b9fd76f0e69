//! The commands as a shell runs them: arguments, pipes, signals, exit codes.

/// A proxy that breaks connections.
mod proxy;
/// A server whose frames the test scripts.
mod scripted_server;

/// `fanfare send`.
mod send;
/// `fanfare listen`.
mod listen;
mod handler;
/// Output that cannot be written, and control characters in output.
mod output;
/// `fanfare admin`.
mod admin;
/// `fanfare send` and `listen` while the server restarts.
mod restart;
/// `fanfare verify`.
mod verify;
/// `fanfare bench`.
mod bench;
/// Servers over TLS.
mod tls;
/// `fanfare doctor`.
mod doctor;
/// `fanfare demo`.
mod demo;
/// `fanfare completions` and `fanfare man`.
mod shell_files;

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::eventually::soon;
use crate::harness::program;

/// A running command with pipes; it is killed when it is dropped.
struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    /// The standard error until now.
    stderr: watch::Receiver<String>,
    reading_stderr: JoinHandle<()>,
}

/// The exit code and the output of a command.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    /// The standard output that the test did not read before.
    stdout: String,
    stderr: String,
}

impl Client {
    /// Starts a command.
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
        let mut pipe = child.stderr.take().expect("piped");
        let (sender, stderr) = watch::channel(String::new());

        let reading_stderr = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
                let part = String::from_utf8_lossy(&buffer[..length]).into_owned();
                sender.send_modify(|text| text.push_str(&part));
            }
        });

        Self {
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
            reading_stderr,
        }
    }

    /// Runs a command without input to its end.
    async fn run(arguments: &[&str]) -> Ended {
        Self::start(arguments).end().await
    }

    /// Writes to the standard input.
    async fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("it is not closed");
        soon(stdin.write_all(text.as_bytes()))
            .await
            .expect("it reads on");
    }

    /// Returns the next line of the standard output.
    async fn line(&mut self) -> String {
        soon(self.stdout.next_line())
            .await
            .expect("text")
            .expect("another line")
    }

    /// Returns the next line, which must be JSON.
    async fn json(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.line().await).expect("JSON")
    }

    /// Waits until the standard error contains `text`.
    async fn until_stderr(&mut self, text: &str) {
        let found = soon(self.stderr.wait_for(|stderr| stderr.contains(text))).await;
        found.unwrap_or_else(|_| panic!("the command ended without {text:?} on standard error"));
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

    /// Closes the standard input and waits for the exit.
    async fn end(mut self) -> Ended {
        drop(self.stdin.take());

        let mut lines = Vec::new();
        while let Some(line) = soon(self.stdout.next_line()).await.expect("text") {
            lines.push(line + "\n");
        }

        let code = soon(self.child.wait()).await.expect("a child").code();
        soon(self.reading_stderr).await.expect("read to its end");

        Ended {
            code,
            stdout: lines.concat(),
            stderr: self.stderr.borrow().clone(),
        }
    }

    /// Closes the standard output, as `head` does, and waits for the exit.
    async fn end_unread(self) -> Ended {
        let Self {
            mut child,
            stdin: _open,
            stdout,
            stderr,
            reading_stderr,
        } = self;

        drop(stdout);
        let code = soon(child.wait()).await.expect("a child").code();
        soon(reading_stderr).await.expect("read to its end");

        Ended {
            code,
            stdout: String::new(),
            stderr: stderr.borrow().clone(),
        }
    }
}

#[tokio::test]
async fn wrong_arguments_are_reported_with_exit_code_2() {
    for (arguments, expected) in [
        (&["send", "a b", "hi"][..], "A-Z a-z 0-9 - _ . : @ ~ /"),
        (&["listen", "a=b"], "A-Z a-z 0-9 - _ . : @ ~ /"),
        (&["send", "..", "hi"], "between slashes"),
        (&["listen", "a//b"], "between slashes"),
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
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_fanfare_ends_send_and_listen_with_1_and_the_reason() {
    let server = crate::harness::Server::start(&[]);
    let ops = format!("http://{}", server.ops);

    for arguments in [
        &["send", "lobby", "hi", "--url", &ops][..],
        &["listen", "lobby", "--url", &ops],
    ] {
        let ended = Client::run(arguments).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("404"), "{ended:?}");
        assert!(ended.stderr.contains(&ops), "{ended:?}");
    }
}
