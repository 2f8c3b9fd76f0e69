//! Other real programs beside a server, with settings of the test: proxies, a Prometheus, an OpenID provider.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::eventually::eventually;

/// A running program; it is killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The folder with its configuration and its data.
    _folder: TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Errors mean that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a loopback address with a free port.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a port")
}

/// Starts a program that listens at `address`. `settings` returns its configuration, and `command` the command that
/// reads it from a file.
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

    let mut spawn = || {
        command
            .spawn()
            .expect("the program is installed: run scripts/setup.sh test")
    };
    let mut daemon = Daemon {
        child: spawn(),
        address,
        _folder: folder,
    };

    let connect = async || {
        // A client of another test may have had the port for a moment, so that the program ended.
        if daemon.child.try_wait().expect("a child").is_some() {
            daemon.child = spawn();
        }
        TcpStream::connect(address).await
    };
    eventually(connect, Result::is_ok)
        .await
        .expect("it listens");

    daemon
}

/// Starts an nginx whose `http` block is `site`, which must listen at `address`.
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

/// Starts an HAProxy with the configuration `site`, which must listen at `address`.
pub(crate) async fn haproxy(address: SocketAddr, site: &str) -> Daemon {
    let settings = |_: &Path| site.to_owned();
    start(address, settings, |file| {
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-db").arg("-f").arg(file);
        command
    })
    .await
}

/// Starts a Prometheus that listens at `address`.
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

/// Starts an OpenID provider that listens at `address` and keeps its keys in the file `keys`.
pub(crate) async fn openid_provider(address: SocketAddr, keys: &Path) -> Daemon {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("end2end/identity/provider.js");

    start(
        address,
        |_| String::new(),
        |_| {
            let mut command = Command::new("node");
            command
                .arg(program)
                .arg(address.port().to_string())
                .arg(keys);
            command
        },
    )
    .await
}

/// Starts a Caddy with the configuration `site`, which must listen at `address`.
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
