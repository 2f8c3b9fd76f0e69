//! A server process and its clients. Each is ended when its handle is dropped.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::eventually::{eventually, soon};
pub(crate) use crate::peer::{Peer, Refused};
use crate::raw::Raw;

/// Free ports, so that tests do not disturb each other.
const QUIET: &[&str] = &["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];

/// Returns a command that starts the program under test, without settings from the environment.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FANFARE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// The thread that reads the log: an unread pipe would fill up and block the server.
    log: Option<JoinHandle<String>>,
    pub(crate) address: SocketAddr,
    pub(crate) ops: SocketAddr,
    /// The data folder, if it is removed with the server.
    data: Option<TempDir>,
}

impl Server {
    /// Starts a server with `flags` and a new data folder. The message rate is not limited unless a flag limits it.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let path = data.path().to_str().expect("text").to_owned();
        let mut server = Self::start_by(program().args(["--data", &path]), flags);
        server.data = Some(data);
        server
    }

    /// Starts a server in the data folder `data`, which may have data already.
    pub(crate) fn start_in(data: &Path, flags: &[&str]) -> Self {
        Self::start_by(program().arg("--data").arg(data), flags)
    }

    /// Starts a server by `command`.
    pub(crate) fn start_by(command: &mut Command, flags: &[&str]) -> Self {
        Self::try_start_by(command, flags).expect("the program listens")
    }

    /// Starts a server that logs to `stderr`. [`Server::end`] then returns an empty log.
    pub(crate) fn start_logging_to(stderr: impl Into<Stdio>, flags: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mut command = program();
        command.arg("--data").arg(data.path());

        let mut server =
            Self::spawn(&mut command, flags, stderr.into()).expect("the program listens");
        server.data = Some(data);

        server
    }

    /// Starts a server by `command`; `None` if it exits before it listens.
    pub(crate) fn try_start_by(command: &mut Command, flags: &[&str]) -> Option<Self> {
        Self::spawn(command, flags, Stdio::piped())
    }

    fn spawn(command: &mut Command, flags: &[&str], stderr: Stdio) -> Option<Self> {
        let unlimited = if flags.contains(&"--message-rate") {
            &[][..]
        } else {
            &["--message-rate", "0"][..]
        };

        let quiet = if flags.contains(&"--listen") {
            &QUIET[2..]
        } else {
            QUIET
        };

        let mut child = command
            .args(quiet)
            .args(unlimited)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");

        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut address = |prefix: &str| {
            let line = lines.next()?.expect("text");
            let url = line.strip_prefix(prefix)?;
            url.split_once("://")?.1.parse().ok()
        };
        let addresses = address("listening on ").zip(address("ops on "));
        let stderr = child.stderr.take();

        let log = thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut stderr) = stderr {
                stderr.read_to_string(&mut text).expect("text");
            }
            text
        });

        let Some((address, ops)) = addresses else {
            child.wait().expect("it ends");
            return None;
        };

        Some(Self {
            address,
            ops,
            log: Some(log),
            child,
            data: None,
        })
    }

    /// Removes the folder `data` with the server.
    pub(crate) fn keeping(mut self, data: TempDir) -> Self {
        self.data = Some(data);
        self
    }

    /// Returns the process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Returns the URL of `path` on the public listener.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the URL of the WebSocket endpoint with `query`.
    pub(crate) fn socket_url(&self, query: &str) -> String {
        format!("ws://{}/ws?{query}", self.address)
    }

    /// Returns true if the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Sends `signal` ("TERM", "INT").
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([format!("-{signal}"), self.child.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the exit; returns the exit status and the log.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        let log = self.log.take().expect("the log is taken once");
        let text = soon(tokio::task::spawn_blocking(|| log.join()))
            .await
            .expect("joined")
            .expect("text");
        (self.child.wait().expect("a child"), text)
    }

    /// Stops the server with SIGTERM and returns its log.
    pub(crate) async fn log(self) -> String {
        self.signal("TERM");
        self.end().await.1
    }

    /// Opens a plain client in the lobby.
    pub(crate) async fn join(&self, id: &str) -> Peer {
        self.join_with(&format!("id={id}")).await
    }

    /// Opens a plain client with `query`.
    pub(crate) async fn join_with(&self, query: &str) -> Peer {
        self.try_join(query, &[]).await.expect("the server accepts")
    }

    /// Opens a client with `query` and `headers`, or returns the response that refused it.
    pub(crate) async fn try_join(
        &self,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Peer, Refused> {
        open_socket(&self.socket_url(query), headers).await
    }

    /// Opens a plain client as soon as the server has room for it.
    pub(crate) async fn join_when_free(&self, query: &str) -> Peer {
        eventually(async || self.try_join(query, &[]).await, Result::is_ok)
            .await
            .expect("accepted")
    }

    /// Returns the status and the body of `/readyz`.
    pub(crate) async fn readiness(&self) -> (u16, String) {
        let answer = soon(reqwest::get(format!("http://{}/readyz", self.ops)))
            .await
            .expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    /// Waits until `/readyz` answers with `status`, and returns its body.
    pub(crate) async fn until_readiness(&self, status: u16) -> String {
        let (_, body) = eventually(
            async || self.readiness().await,
            |(found, _)| *found == status,
        )
        .await;
        body
    }

    /// Opens a plain connection whose bytes the test writes itself.
    pub(crate) async fn raw(&self) -> Raw {
        Raw::open(self.address, "id=raw", None).await
    }

    /// Opens a connection with `query` and `subprotocol` whose bytes the test writes itself.
    pub(crate) async fn raw_with(&self, query: &str, subprotocol: &str) -> Raw {
        Raw::open(self.address, query, Some(subprotocol)).await
    }

    /// Returns the resident memory of the process in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");

        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a size");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens a client at `url` with `headers`, or returns the response that refused it.
pub(crate) async fn open_socket(
    url: &str,
    headers: &[(&'static str, &str)],
) -> Result<Peer, Refused> {
    let mut request = url.into_client_request().expect("an address");
    for (name, value) in headers {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_str(value).expect("a value"));
    }

    match soon(tokio_tungstenite::connect_async(request)).await {
        Ok((socket, _)) => Ok(Peer { socket }),
        Err(Error::Http(response)) => {
            let (parts, body) = response.into_parts();
            let body = String::from_utf8(body.unwrap_or_default()).expect("text");
            Err(Refused {
                status: parts.status.as_u16(),
                retry_after: parts.headers.contains_key("retry-after"),
                body,
            })
        }
        Err(error) => panic!("{error}"),
    }
}
