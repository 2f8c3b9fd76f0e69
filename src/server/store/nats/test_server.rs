//! A `nats-server` process for one test, with a free port and a temporary directory. Dropping it kills the process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::room::DedupLimits;
use crate::server::store::{NatsLogin, NatsServers, NatsSettings, Retention};

/// See the [module docs](self).
#[derive(Debug)]
pub(in crate::server::store) struct NatsServer {
    child: Child,
    /// The address for clients.
    pub(in crate::server::store) url: String,
    _folder: TempDir,
}

impl NatsServer {
    /// Starts the process and waits until it has published its address.
    pub(in crate::server::store) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let child = Command::new("nats-server")
            .args(["-js", "-a", "127.0.0.1", "-p", "-1", "-sd"])
            .arg(folder.path())
            .arg("--ports_file_dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is there: scripts/setup.sh test installs it");

        let began = Instant::now();
        let url = loop {
            if let Some(url) = ports_file(folder.path()).and_then(|file| address(&file)) {
                break url;
            }
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "nats-server says where it listens"
            );
            std::thread::sleep(Duration::from_millis(5));
        };

        Self {
            child,
            url,
            _folder: folder,
        }
    }
}

impl NatsServer {
    /// Returns the settings of a store on this server.
    pub(in crate::server::store) fn settings(&self) -> NatsSettings {
        let keys = DedupLimits {
            messages: 20,
            age: Duration::from_secs(600),
        };

        NatsSettings {
            servers: NatsServers::parse(&self.url).expect("an address"),
            login: NatsLogin::Address,
            ca: None,
            stream: "test".to_owned(),
            replicas: 1,
            max_message: 64 * 1024,
            retention: Retention {
                messages: 100,
                bytes: usize::MAX,
                age: Duration::from_secs(600),
                keys,
            },
            rules: Arc::default(),
        }
    }

    /// Kills the process.
    pub(in crate::server::store) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

fn ports_file(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|found| found == "ports"))
}

/// Returns the address for clients; `None` while the file is being written.
fn address(file: &Path) -> Option<String> {
    let ports: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Both fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
