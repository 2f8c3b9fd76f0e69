//! A server process and clients to talk to it. Everything ends when its handle is dropped.

use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

pub(crate) use crate::peer::{Peer, Refused};
use crate::raw::Raw;

/// Long enough for anything a test waits for on a busy machine; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Settings that keep one test out of another's way and every limit out of a test that is not about it.
const QUIET: &[&str] = &["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];

/// Waits for `what`, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("what the test waits for must happen")
}

/// The program under test, not yet started.
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
    /// Collects the log: a pipe that nobody reads would fill and stop the server.
    log: Option<JoinHandle<String>>,
    pub(crate) address: SocketAddr,
    pub(crate) ops: SocketAddr,
    /// Its data folder, if that ends with it.
    data: Option<TempDir>,
}

impl Server {
    /// Starts with no rate limit, in a data folder of its own, and `flags`.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let path = data.path().to_str().expect("text").to_owned();
        let mut server = Self::start_by(program().args(["--data", &path]), flags);
        server.data = Some(data);
        server
    }

    /// Starts in the data folder `data`, that an earlier one may have left.
    pub(crate) fn start_in(data: &Path, flags: &[&str]) -> Self {
        Self::start_by(program().arg("--data").arg(data), flags)
    }

    /// Starts by a command of the test's own.
    pub(crate) fn start_by(command: &mut Command, flags: &[&str]) -> Self {
        Self::try_start_by(command, flags).expect("the program says where it is")
    }

    /// Starts with a standard error of the test's own, whose lines [`Server::end`] does not give.
    pub(crate) fn start_logging_to(stderr: impl Into<Stdio>, flags: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let mut command = program();
        command.arg("--data").arg(data.path());
        let mut server =
            Self::spawn(&mut command, flags, stderr.into()).expect("the program says where it is");
        server.data = Some(data);
        server
    }

    /// Starts by a command of the test's own; nothing if it ends before it listens.
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

    /// Its process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn socket_url(&self, query: &str) -> String {
        format!("ws://{}/ws?{query}", self.address)
    }

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

    /// Waits for the end; gives its verdict and its log.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        let log = self.log.take().expect("it ends once");
        let text = soon(tokio::task::spawn_blocking(|| log.join()))
            .await
            .expect("joined")
            .expect("text");
        (self.child.wait().expect("a child"), text)
    }

    /// Ends it and gives its log.
    pub(crate) async fn log(self) -> String {
        self.signal("TERM");
        self.end().await.1
    }

    /// A plain client in the lobby.
    pub(crate) async fn join(&self, id: &str) -> Peer {
        self.join_with(&format!("id={id}")).await
    }

    /// A plain client by any query.
    pub(crate) async fn join_with(&self, query: &str) -> Peer {
        self.try_join(query, &[]).await.expect("the server accepts")
    }

    /// A plain client with headers of its own, or the HTTP status, headers and body that refused it.
    pub(crate) async fn try_join(
        &self,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Peer, Refused> {
        let mut request = self
            .socket_url(query)
            .into_client_request()
            .expect("an address");
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

    /// Asks again until the server accepts: for places that become free.
    pub(crate) async fn join_when_free(&self, query: &str) -> Peer {
        soon(async {
            loop {
                if let Ok(peer) = self.try_join(query, &[]).await {
                    return peer;
                }
            }
        })
        .await
    }

    /// A connection that has been upgraded by hand, to send bytes that no library would.
    pub(crate) async fn raw(&self) -> Raw {
        Raw::open(self.address, "id=raw", None).await
    }

    /// The same, of a subprotocol.
    pub(crate) async fn raw_with(&self, query: &str, subprotocol: &str) -> Raw {
        Raw::open(self.address, query, Some(subprotocol)).await
    }

    /// What the process holds of memory.
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
        // Both fail only if it has already ended.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}
