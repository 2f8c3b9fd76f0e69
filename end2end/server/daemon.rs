//! Other programs beside a server, real ones with settings of the test's own: proxies, a Prometheus.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::harness::soon;

/// A program; it ends when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Its configuration, and what it keeps.
    _folder: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a port")
}

/// Starts `command`, which takes its settings from `settings` in the file whose name it is given.
async fn start(
    address: SocketAddr,
    settings: impl FnOnce(&Path) -> String,
    command: impl FnOnce(&Path) -> Command,
) -> Daemon {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings");
    fs::write(&file, settings(folder.path())).expect("written");
    let mut command = command(&file);
    command
        .env("HOME", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command
        .spawn()
        .expect("it is installed: run scripts/setup.sh test");
    let daemon = Daemon {
        child,
        address,
        _folder: folder,
    };
    soon(async { while TcpStream::connect(address).await.is_err() {} }).await;
    daemon
}

/// An nginx that listens at `address`, as `site` must say; that is what stands in its `http` block.
pub(crate) async fn nginx(address: SocketAddr, site: &str) -> Daemon {
    let settings = |folder: &Path| {
        let folder = folder.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{site}}}\n"
        )
    };
    start(address, settings, |file| {
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-c").arg(file);
        command
    })
    .await
}

/// An HAProxy that listens at `address`, as `site` must say.
pub(crate) async fn haproxy(address: SocketAddr, site: &str) -> Daemon {
    let settings = |_: &Path| site.to_owned();
    start(address, settings, |file| {
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-db").arg("-f").arg(file);
        command
    })
    .await
}

/// A Prometheus that listens at `address`.
pub(crate) async fn prometheus(address: SocketAddr, settings: &str) -> Daemon {
    start(
        address,
        |_| settings.to_owned(),
        |file| {
            let mut command = Command::new("prometheus");
            command.arg(format!("--config.file={}", file.display()));
            command.arg(format!(
                "--storage.tsdb.path={}",
                file.with_extension("series").display()
            ));
            command.arg(format!("--web.listen-address={address}"));
            command
        },
    )
    .await
}

/// A Caddy that listens at `address`, as `site` must say.
pub(crate) async fn caddy(address: SocketAddr, site: &str) -> Daemon {
    let settings = |_: &Path| format!("{{\n\tadmin off\n}}\n{site}");
    start(address, settings, |file| {
        let mut command = Command::new("caddy");
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(file);
        command
    })
    .await
}
