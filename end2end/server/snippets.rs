//! The documentation's clients, run as they stand there: each says hello and hears the room, once and in order,
//! over a restart of the server.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::harness::{PATIENCE, Server, soon};

/// A client that prints a line for each message.
struct Snippet {
    child: Child,
    lines: Receiver<String>,
}

impl Snippet {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed: run scripts/setup.sh test");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| heard.send(line))
        });
        Self { child, lines }
    }

    /// The next line, which must hold `words`.
    fn says(&self, words: &str) {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line in time");
        assert!(line.contains(words), "{words} in {line}");
    }
}

impl Drop for Snippet {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/clients")
        .join(name)
}

async fn say(server: &Server, text: &'static str) {
    let published = reqwest::Client::new()
        .post(server.url("/api/v1/rooms/lobby/messages"))
        .body(text)
        .send();
    assert_eq!(soon(published).await.expect("an answer").status(), 201);
}

/// What each of them must do; `hello` is what it says. `command` takes the server's address and the room.
async fn check(scheme: &str, hello: &str, mut command: Command) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);
    let listen = server.address.to_string();
    say(&server, "said before").await;
    let snippet = Snippet::start(command.arg(format!("{scheme}://{listen}")).arg("lobby"));
    snippet.says("said before");
    snippet.says(hello);
    drop(server);
    let server = Server::start_in(data.path(), &["--listen", &listen]);
    say(&server, "said after").await;
    snippet.says("said after");
}

#[tokio::test]
async fn the_client_in_python() {
    let mut command = Command::new("python3");
    command.arg(docs("client.py"));
    check("http", "hello from Python", command).await;
}

#[tokio::test]
async fn the_client_in_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("client");
    let mut build = Command::new("go");
    build
        .args(["build", "-o"])
        .arg(&program)
        .arg(docs("client.go"));
    build
        .env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go"))
        .env("GO111MODULE", "off");
    assert!(
        build
            .status()
            .expect("Go is installed: run scripts/setup.sh test")
            .success()
    );
    check("http", "hello from Go", Command::new(program)).await;
}

#[tokio::test]
async fn the_client_in_a_shell() {
    check(
        "http",
        "hello from a shell",
        Command::new(docs("client.sh")),
    )
    .await;
}

#[tokio::test]
async fn the_client_in_rust() {
    let build = [
        "build",
        "--quiet",
        "--locked",
        "--features",
        "ssr",
        "--example",
        "client",
    ];
    assert!(
        Command::new(env!("CARGO"))
            .args(build)
            .status()
            .expect("Cargo runs")
            .success()
    );
    let test = std::env::current_exe().expect("a path");
    let examples = test
        .parent()
        .and_then(Path::parent)
        .expect("target/debug")
        .join("examples");
    check(
        "ws",
        "hello from Rust",
        Command::new(examples.join("client")),
    )
    .await;
}
