//! The clients in the documentation and the examples in Rust, run unchanged: each sends or receives every message once
//! and in order, across a restart of the server.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc as channel;

use crate::eventually::{PATIENCE, eventually, soon};
use crate::harness::Server;

/// A client that prints a line for each message.
pub(crate) struct Snippet {
    child: Child,
    lines: Receiver<String>,
}

impl Snippet {
    /// Starts the client `command`.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is installed: run scripts/setup.sh test");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();

        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });

        Self { child, lines }
    }

    /// Checks that the next line contains `words`.
    pub(crate) fn expect_line(&self, words: &str) {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line in time");
        assert!(line.contains(words), "{words} in {line}");
    }
}

impl Drop for Snippet {
    fn drop(&mut self) {
        // Errors mean that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the path of a client in the documentation.
fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/clients")
        .join(name)
}

/// Publishes `text` in the lobby.
async fn publish(server: &Server, text: &'static str) {
    crate::client::publish(server, "lobby", text).await;
}

/// Checks a client that follows the lobby and a pattern: it receives earlier messages, publishes `hello` in the lobby if
/// given, and continues after a restart. `command` gets the address of the server, the room and the pattern as arguments.
async fn check(scheme: &str, hello: Option<&str>, mut command: Command) {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let listen = server.address.to_string();
    publish(&server, "before").await;
    crate::client::publish(&server, "builds%2F1", "built").await;

    let url = format!("{scheme}://{listen}");
    let snippet = Snippet::start(command.args([url.as_str(), "lobby", "builds/*"]));
    snippet.expect_line("before");
    snippet.expect_line("built");
    if let Some(hello) = hello {
        snippet.expect_line(hello);
    }

    drop(server);

    let server = Server::start_in(data.path(), &["--listen", &listen]);
    publish(&server, "after").await;
    crate::client::publish(&server, "builds%2F2", "rebuilt").await;
    snippet.expect_line("after");
    snippet.expect_line("rebuilt");
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.arg(docs("client.py"));
    command
}

/// Builds the client in Go in `folder`.
fn go(folder: &Path) -> Command {
    let program = folder.join("client");

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

    Command::new(program)
}

#[tokio::test]
async fn the_client_in_python() {
    check("http", Some("hello from Python"), python()).await;
}

#[tokio::test]
async fn the_client_in_go() {
    let folder = tempfile::tempdir().expect("a folder");
    check("http", Some("hello from Go"), go(folder.path())).await;
}

#[tokio::test]
async fn the_client_in_a_shell() {
    check(
        "http",
        Some("hello from a shell"),
        Command::new(docs("client.sh")),
    )
    .await;
}

/// Builds the example `name`.
fn example(name: &str) -> Command {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--features", "ssr"]);
    build.args(["--example", name]);

    // `cargo test` sets these. Build scripts read them, so libraries would be built again.
    let is_of_package = |name: &str| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR";
    for (name, _) in std::env::vars().filter(|(name, _)| is_of_package(name)) {
        build.env_remove(name);
    }
    assert!(build.status().expect("Cargo runs").success());

    let test = std::env::current_exe().expect("a path");
    let folder = test.parent().and_then(Path::parent);
    Command::new(folder.expect("target/debug").join("examples").join(name))
}

/// Returns the texts of the lobby.
async fn texts(server: &Server) -> Vec<String> {
    let request = reqwest::get(server.url("/api/v1/rooms/lobby/messages"));
    let answer = soon(request).await.expect("an answer");
    let page: Value = soon(answer.json()).await.expect("JSON");
    let messages = page["messages"].as_array().expect("a list");

    messages
        .iter()
        .map(|message| message["text"].as_str().expect("text").to_owned())
        .collect()
}

/// Waits until the lobby has as many texts as `expected`, which they must be.
async fn check_texts(server: &Server, expected: &[&str]) {
    let probe = async || texts(server).await;
    let found = eventually(probe, |texts| texts.len() >= expected.len()).await;
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_quick_start_of_durable_streams_runs_as_it_is_written() {
    let server = Server::start(&[]);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/streams.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let commands = page.split("```").nth(1).expect("a block");
    let commands = commands.strip_prefix("sh\n").expect("of a shell");

    let script = commands
        .replace("127.0.0.1:12345", &server.address.to_string())
        // The reader in the background ends with the stream.
        .replace("curl -i -X DELETE", "wait; curl -i -X DELETE");
    let mut shell = Command::new("sh");
    shell.args(["-ec", &script]);
    let running = tokio::task::spawn_blocking(move || shell.output());
    let output = soon(running).await.expect("joined").expect("it runs");

    let text = String::from_utf8(output.stdout).expect("text");
    let statuses = text
        .lines()
        .filter_map(|line| line.split("HTTP/1.1 ").nth(1))
        .map(|status| &status[..3]);
    assert_eq!(statuses.collect::<Vec<_>>(), ["201", "204", "200", "204"]);
    // The reader may begin after the last piece, and get both as one event.
    assert!(text.contains("is 42.\n"), "{text}");
    assert!(text.contains(r#""streamClosed":true"#), "{text}");
}

#[tokio::test]
async fn the_example_follow_prints_every_message_once_over_a_restart() {
    check("ws", None, example("follow")).await;
}

#[tokio::test]
async fn the_example_publish_tries_until_there_is_a_server_that_stores_its_message() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);

    let url = format!("http://{address}");

    let publisher =
        Snippet::start(example("publish").args([url.as_str(), "lobby", "hello from Rust"]));
    let server = Server::start(&["--listen", &address]);

    publisher.expect_line("stored with offset 1");
    assert_eq!(texts(&server).await, ["hello from Rust"]);
}

#[tokio::test]
async fn the_example_bot_answers_each_command_once_over_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let listen = server.address.to_string();
    let bot = Snippet::start(example("bot").args([server.url("").as_str(), "lobby"]));
    bot.expect_line("following");

    publish(&server, "no command").await;
    publish(&server, "!echo one").await;
    check_texts(&server, &["no command", "!echo one", "one"]).await;
    drop(server);

    let server = Server::start_in(data.path(), &["--listen", &listen]);
    publish(&server, "!echo two").await;

    let all = ["no command", "!echo one", "one", "!echo two", "two"];
    check_texts(&server, &all).await;
}

/// A server that accepts every message and sends the streams of the test, each cut off at its end.
struct Script {
    address: SocketAddr,
    /// The heads of the requests for a stream.
    heads: channel::UnboundedReceiver<String>,
}

impl Script {
    async fn play(streams: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, heads) = channel::unbounded_channel();

        tokio::spawn(async move {
            let mut streams = streams.into_iter();
            let mut open = Vec::new();

            loop {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let head = request(&mut stream).await;

                if head.starts_with("POST") {
                    let stored =
                        "HTTP/1.1 201 Created\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                    stream.write_all(stored.as_bytes()).await.expect("written");
                    continue;
                }

                sender.send(head).expect("the test runs");
                let next = streams.next();
                let is_over = next.is_none();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nlast-event-id: e:0\r\nconnection: close\r\n\r\n{}",
                    next.unwrap_or_default()
                );

                stream.write_all(answer.as_bytes()).await.expect("written");
                if is_over {
                    open.push(stream);
                }
            }
        });

        Self { address, heads }
    }

    /// Returns the `Last-Event-ID` of the next request for a stream.
    async fn seen(&mut self) -> Option<String> {
        let head = soon(self.heads.recv()).await.expect("a request");
        head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("last-event-id")
                .then(|| value.to_owned())
        })
    }
}

/// Reads a request to its end; returns its head.
async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }

    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse().expect("a length"))
    });

    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await.expect("a body");

    head
}

/// Returns the JSON of a message.
fn message(offset: u64, text: &str) -> String {
    let prev = offset - 1;
    format!(
        r#"{{"type":"message","room":"lobby","offset":{offset},"prev":{prev},"at":1,"from":"ann","text":"{text}"}}"#
    )
}

/// Checks `command` against streams that break in the middle of a message. `event` encodes a message.
async fn check_cuts(event: fn(u64, &str) -> String, mut command: Command) {
    let second = event(2, "second");
    let cuts = [1, 4, second.len() / 2, second.len() - 2, second.len() - 1];
    let long = "x".repeat(3 << 20);
    let mut streams: Vec<String> = cuts.iter().map(|cut| second[..*cut].to_owned()).collect();
    streams[0].insert_str(0, &event(1, "first"));
    streams.push(second);
    streams.push(event(3, &long) + &event(4, "fourth"));

    let mut script = Script::play(streams).await;
    let snippet = Snippet::start(
        command
            .arg(format!("http://{}", script.address))
            .arg("lobby"),
    );

    assert_eq!(script.seen().await, None);

    for cut in cuts {
        let seen = script.seen().await;
        assert_eq!(seen.as_deref(), Some("e:1"), "after a cut at {cut}");
    }

    assert_eq!(script.seen().await.as_deref(), Some("e:2"));
    assert_eq!(script.seen().await.as_deref(), Some("e:4"));

    for words in ["first", "second", &long, "fourth"] {
        snippet.expect_line(words);
    }
}

fn line(offset: u64, text: &str) -> String {
    message(offset, text) + "\n"
}

fn sse(offset: u64, text: &str) -> String {
    format!("id: e:{offset}\ndata: {}\n\n", message(offset, text))
}

#[tokio::test]
async fn the_client_in_python_misses_and_repeats_no_message_whose_line_was_cut() {
    check_cuts(line, python()).await;
}

#[tokio::test]
async fn the_client_in_go_misses_and_repeats_no_message_whose_line_was_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    check_cuts(line, go(folder.path())).await;
}

#[tokio::test]
async fn the_client_in_a_shell_misses_and_repeats_no_message_whose_event_was_cut() {
    check_cuts(sse, Command::new(docs("client.sh"))).await;
}
