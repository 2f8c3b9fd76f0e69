//! The harness for NATS: a real nats-server for each test, its nodes, and a proxy in front of it.

/// A proxy that can be silent.
mod proxy;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::eventually::{eventually, soon};
use crate::harness::Server;

pub(crate) use self::proxy::NatsProxy;

/// The name of the configuration file in the folder of a server.
const CONFIG: &str = "nats.conf";

/// A nats-server on a free port; it is killed when it is dropped.
pub(crate) struct Nats {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
}

impl Nats {
    /// Starts a server with the default configuration.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts a server with `config` in its configuration file.
    pub(crate) async fn start_with(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(CONFIG), config).expect("written");
        let child = spawn(folder.path(), "-1");

        let port = eventually(async || read_port(folder.path()), Option::is_some).await;

        Self {
            child,
            folder,
            port: port.expect("checked"),
        }
    }

    /// Kills the server.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts the server again on the same port and data.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.folder.path(), &self.port.to_string());
    }

    /// Starts a node that connects to `port`.
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

    /// Starts a node that connects through `proxy`, whose tasks run meanwhile.
    pub(crate) async fn node_behind(proxy: &NatsProxy) -> Server {
        let port = proxy.port;
        let starting = tokio::task::spawn_blocking(move || Self::node_by(port, &[]));
        soon(starting).await.expect("it starts")
    }

    /// Starts `N` nodes.
    pub(crate) fn nodes<const N: usize>(&self) -> [Server; N] {
        std::array::from_fn(|_| Self::node_by(self.port, &[]))
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        // Errors mean that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts nats-server with its configuration and data in `folder`.
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
        .expect("nats-server is installed: run scripts/setup.sh test")
}

/// Reads the port that the server in `folder` listens on; `None` before it listens.
fn read_port(folder: &Path) -> Option<u16> {
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
