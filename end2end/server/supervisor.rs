//! Service managers: notifications, passed sockets, zero-downtime restarts and signals.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::eventually::{PATIENCE, eventually, soon};
use crate::harness::{Server, program};

/// A script that passes its standard input as the first socket, as systemd does.
const PASS: &str = r#"exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@""#;

/// Starts a server on the socket `listener` with the data folder `data`.
fn start_on(listener: &TcpListener, data: &Path) -> Server {
    let program = program();
    let mut command = Command::new("bash");
    command.args(["-c", PASS]).arg(program.get_program());
    command.stdin(OwnedFd::from(
        listener.try_clone().expect("a second handle"),
    ));

    Server::start_by(command.arg("--data").arg(data), &["--connect-rate", "0"])
}

/// Returns the next notification of the service manager.
fn notification(manager: &UnixDatagram) -> String {
    let mut words = [0; 256];
    let length = manager.recv(&mut words).expect("a notification in time");
    String::from_utf8_lossy(&words[..length]).trim().to_owned()
}

#[tokio::test]
async fn the_service_manager_is_notified_of_ready_watchdog_and_stopping() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");

    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager
        .set_read_timeout(Some(PATIENCE))
        .expect("it may wait");

    let mut command = program();
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "20000")
        .arg("--data")
        .arg(folder.path());

    let server = Server::start_by(&mut command, &[]);

    assert_eq!(notification(&manager), "READY=1");

    for _ in 0..3 {
        assert_eq!(notification(&manager), "WATCHDOG=1");
    }

    server.signal("TERM");
    while notification(&manager) != "STOPPING=1" {}

    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn a_restart_on_a_passed_socket_refuses_no_connection() {
    let data = tempfile::tempdir().expect("a folder");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");

    let server = start_on(&listener, data.path());
    assert_eq!(server.address, address, "the passed socket, not --listen");

    let is_over = Arc::new(AtomicBool::new(false));
    let visitors: Vec<_> = (0..4)
        .map(|visitor| tokio::spawn(visit(address, visitor, is_over.clone())))
        .collect();
    let mut ann = server.join("ann").await;

    ann.send("before").await;
    assert_eq!(ann.text().await, "before");

    server.signal("TERM");
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log}");

    // No server runs now: new connections wait.
    let waiting =
        tokio::spawn(async move { reqwest::get(format!("http://{address}/")).await.map(|_| ()) });
    let server = start_on(&listener, data.path());

    soon(waiting)
        .await
        .expect("no panic")
        .expect("it is answered by the next server");

    let mut bob = server.join("bob").await;
    bob.send("after").await;
    assert_eq!(bob.text().await, "after");

    is_over.store(true, Ordering::Relaxed);
    for visitor in visitors {
        let visits = soon(visitor).await.expect("no connection is refused");
        assert!(visits > 1, "the visitor connected again");
    }
}

/// Publishes repeatedly, each time over a new connection, and fails if a connection is refused.
async fn visit(address: SocketAddr, visitor: usize, is_over: Arc<AtomicBool>) -> usize {
    let mut visits = 0;

    while !is_over.load(Ordering::Relaxed) {
        let client = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client");
        let answer = client
            .post(format!("http://{address}/api/v1/rooms/visitors/messages"))
            .header("idempotency-key", format!("{visitor}-{visits}"))
            .body("here");

        let answer = soon(answer.send()).await.expect("it is answered");
        assert_eq!(answer.status(), 201);

        visits += 1;
    }

    visits
}

#[test]
fn a_passed_socket_that_cannot_be_served_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");

    let (one, _other) = UnixDatagram::pair().expect("a pair");
    let program = program();
    let mut command = Command::new("bash");
    command
        .args(["-c", PASS])
        .arg(program.get_program())
        .arg("--data")
        .arg(folder.path());

    let Output { status, stderr, .. } = command
        .stdin(OwnedFd::from(one))
        .output()
        .expect("bash runs");

    let errors = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("the socket passed for --listen does not listen for TCP"),
        "{errors}"
    );
}

#[tokio::test]
async fn systemd_can_pass_the_socket() {
    let data = tempfile::tempdir().expect("a folder");

    let free = TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a port");
    let program = program();
    let mut manager = Command::new("systemd-socket-activate");
    manager
        .args(["--listen", &free.to_string()])
        .arg(program.get_program());
    manager
        .args(["--ops-listen", "off", "--data"])
        .arg(data.path());
    let mut manager = manager
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd is installed");

    // systemd-socket-activate starts the program with the first connection.
    let url = format!("http://{free}/api/v1/rooms/lobby/messages");
    let answer = eventually(async || reqwest::get(&url).await, Result::is_ok).await;
    let page: Value = soon(answer.expect("checked").json()).await.expect("JSON");
    assert_eq!(page["head"], 0);

    // The program runs now under the same process id.
    manager.kill().expect("it runs");
    manager.wait().expect("a child");
}

#[tokio::test]
async fn a_sighup_with_nothing_to_reload_is_logged_and_ignored() {
    let server = Server::start(&[]);
    server.signal("HUP");

    let mut ann = server.join("ann").await;
    ann.send("still here").await;
    assert_eq!(ann.text().await, "still here");

    let log = server.log().await;
    assert!(log.contains("SIGHUP: nothing to read again"), "{log}");
}

#[tokio::test]
async fn in_a_terminal_a_sighup_stops_the_server_only_if_the_terminal_is_gone() {
    let data = tempfile::tempdir().expect("a folder");

    let program = program();
    let mut command = Command::new("bash");

    // The standard error goes to the test, everything else to the terminal.
    command
        .args(["-c", r#"exec script -qec "exec $0 $* 2>&3" /dev/null 3>&2"#])
        .arg(program.get_program());
    command.stdin(Stdio::null()).arg("--data").arg(data.path());

    let server = Server::start_by(&mut command, &[]);
    let terminal = server.process().to_string();
    let children = format!("/proc/{terminal}/task/{terminal}/children");

    let process = std::fs::read_to_string(children)
        .expect("it runs")
        .trim()
        .to_owned();
    assert!(
        Command::new("kill")
            .args(["-HUP", &process])
            .status()
            .expect("kill runs")
            .success()
    );

    let mut ann = server.join("ann").await;
    ann.send("still here").await;
    assert_eq!(ann.text().await, "still here");

    server.signal("KILL");
    let (_, log) = server.end().await;
    assert!(log.contains("SIGHUP: nothing to read again"), "{log}");
    assert!(log.contains("SIGHUP: the terminal is gone"), "{log}");
    assert!(log.contains("stopped"), "{log}");
}

#[tokio::test]
async fn the_version_is_served_and_printed() {
    let server = Server::start(&[]);
    let answer = soon(reqwest::get(format!("http://{}/version", server.ops)))
        .await
        .expect("an answer");

    let version: Value = soon(answer.json()).await.expect("JSON");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));

    let output = program().arg("--version").output().expect("it runs").stdout;
    assert!(
        String::from_utf8_lossy(&output)
            .starts_with(&format!("fanfare {}", env!("CARGO_PKG_VERSION")))
    );
}
