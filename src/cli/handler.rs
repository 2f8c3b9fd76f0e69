//! The program of `fanfare listen --exec`, which handles messages in batches.

use std::io::{self, ErrorKind};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::sleep;

use crate::cli::output::note;
use crate::client::Backoff;

/// A shell command that reads lines from its standard input.
#[derive(Debug)]
pub(super) struct Handler(String);

impl Handler {
    /// Creates a handler that runs `command` in a shell.
    pub(super) const fn new(command: String) -> Self {
        Self(command)
    }

    /// Runs the command with `lines` on its standard input, until it exits with 0. Each failure is followed by a longer
    /// pause. The command is killed if the future is dropped.
    pub(super) async fn handle(&self, lines: &str) {
        let mut backoff = Backoff::default();
        loop {
            let problem = match self.run(lines).await {
                Ok(status) if status.success() => return,
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };

            let pause = backoff.next_delay(Duration::ZERO, fastrand::f64());
            note(&format!("{} failed ({problem}); trying again", self.0));
            sleep(pause).await;
        }
    }

    async fn run(&self, lines: &str) -> io::Result<ExitStatus> {
        let mut child = Command::new("sh")
            .args(["-c", &self.0])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;

        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(lines.as_bytes()).await {
                // A command need not read all lines: its exit code counts.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        child.wait().await
    }
}
