//! Several nodes that share one NATS, all of them real: what is said on one is heard on each, once and in one order,
//! whatever dies or is cut off.

/// A way to NATS that can be cut off without a word.
mod proxy;
/// One order, one place for each key, one position for all nodes.
mod order;
/// Nodes that are killed, a NATS that is restarted, a way that goes silent.
mod failure;
/// Who is there, on whichever node.
mod presence;
/// Publishing: no room waits for another, and batches are whole.
mod publishing;
/// Rooms that were only asked for.
mod naming;
/// Streams that an earlier version left.
mod versions;
/// Kicks, bans, closed rooms, deleted messages.
mod operators;
/// Messages that leave the stream under the nodes' feet.
mod trimming;
/// Who we are to NATS, and how that is kept secret.
mod login;
/// Nodes that are restarted one by one.
mod rolling;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Peer, Server, soon};

/// The file that configures it, in its folder.
const CONFIG: &str = "nats.conf";

/// A nats-server of the test's own, on a free port.
pub(crate) struct Nats {
    child: Child,
    folder: TempDir,
    pub(crate) port: u16,
}

impl Nats {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// One that does what its configuration file says: `config`, beside where it listens and what it keeps.
    pub(crate) async fn start_with(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(CONFIG), config).expect("written");
        let child = spawn(folder.path(), "-1");
        let port = soon(async {
            loop {
                if let Some(port) = port(folder.path()) {
                    return port;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        Self {
            child,
            folder,
            port,
        }
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(self.folder.path(), &self.port.to_string());
    }

    /// A node that reaches it by `port`.
    pub(crate) fn node_by(port: u16, flags: &[&str]) -> Server {
        let store = format!("nats://127.0.0.1:{port}");
        let mut all = vec![
            "--store",
            &store,
            "--connect-rate",
            "0",
            "--publish-rate",
            "0",
        ];
        all.extend_from_slice(flags);
        Server::start(&all)
    }

    /// A node that reaches it through `proxy`, whose tasks go on while it starts.
    pub(crate) async fn node_behind(proxy: &proxy::Proxy) -> Server {
        let port = proxy.port;
        let starting = tokio::task::spawn_blocking(move || Self::node_by(port, &[]));
        soon(starting).await.expect("it starts")
    }

    /// So many nodes.
    pub(crate) fn nodes<const N: usize>(&self) -> [Server; N] {
        std::array::from_fn(|_| Self::node_by(self.port, &[]))
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn spawn(folder: &Path, port: &str) -> Child {
    Command::new("nats-server")
        .args(["-js", "-a", "127.0.0.1", "-p", port, "-sd"])
        .arg(folder)
        .arg("--ports_file_dir")
        .arg(folder)
        .arg("-c")
        .arg(folder.join(CONFIG))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server is there: scripts/setup.sh test installs it")
}

/// Where the server in `folder` listens, once it says so.
fn port(folder: &Path) -> Option<u16> {
    let is_ports = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "ports")
    };
    let entries = std::fs::read_dir(folder).expect("a folder");
    let file = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(is_ports)?;
    let ports: Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
}

/// Whether the node is ready, and what it says.
pub(crate) async fn readiness(node: &Server) -> (u16, String) {
    let answer = soon(reqwest::get(format!("http://{}/readyz", node.ops)))
        .await
        .expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

/// Waits until the node says `status` at `/readyz`.
pub(crate) async fn until(node: &Server, status: u16) {
    soon(async {
        while readiness(node).await.0 != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// The next `count` messages, in the order in which they come, whatever else comes between.
pub(crate) async fn messages(peer: &mut Peer, count: usize) -> Vec<Value> {
    let mut heard = Vec::with_capacity(count);
    while heard.len() < count {
        let frame = peer.json().await;
        assert_ne!(frame["type"], "gap", "{frame}");
        if frame["type"] == "message" {
            heard.push(frame);
        }
    }
    heard
}

/// Says every text with itself as its key until each is acknowledged, again and again where that is invited, so
/// many at once; gives where each is.
pub(crate) async fn say_all(
    peer: &mut Peer,
    texts: &[String],
    ahead: usize,
) -> BTreeMap<String, u64> {
    let mut acked = BTreeMap::new();
    let mut open: Vec<&String> = texts.iter().rev().collect();
    let mut waiting = 0;
    while acked.len() < texts.len() {
        while waiting < ahead
            && let Some(text) = open.pop()
        {
            peer.send(json!({ "type": "say", "text": text, "key": text }).to_string())
                .await;
            waiting += 1;
        }
        let frame = peer.json().await;
        let Some(key) = frame["key"]
            .as_str()
            .filter(|_| frame["type"] == "ack" || frame["type"] == "error")
        else {
            continue;
        };
        waiting -= 1;
        if frame["type"] == "ack" {
            acked.insert(key.to_owned(), frame["offset"].as_u64().expect("an offset"));
        } else {
            assert_eq!(frame["retry"], true, "{frame}");
            open.push(texts.iter().find(|text| *text == key).expect("one of ours"));
            // What is refused at once would be asked for as fast.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    acked
}

/// All of `room` that the node has, by pages over HTTP; each message's `prev` is the one before it.
pub(crate) async fn log(node: &Server, room: &str) -> Vec<Value> {
    let mut log: Vec<Value> = Vec::new();
    loop {
        let after = log
            .last()
            .map_or(0, |last| last["offset"].as_u64().expect("an offset"));
        let path = format!("/api/v1/rooms/{room}/messages?after={after}&limit=100");
        let page = crate::client::get(node, &path).await;
        for message in page["messages"].as_array().expect("a list") {
            if let Some(last) = log.last() {
                assert_eq!(message["prev"], last["offset"], "{message}");
            }
            log.push(message.clone());
        }
        if page["more"] == false {
            return log;
        }
    }
}
