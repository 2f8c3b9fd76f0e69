//! The receivers in the documentation, which check signatures with the libraries of Standard Webhooks.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SECRET, hook, publish, start};
use crate::snippets::Snippet;

/// Returns a path in the repository.
fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns a port on which nothing listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Returns the receiver in Python, with the library in `target/python`.
fn python() -> Command {
    let libraries = std::fs::read_dir(root("target/python"))
        .into_iter()
        .flatten();
    let library = libraries
        .filter_map(Result::ok)
        .find(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("standardwebhooks==")
        })
        .expect("the library is installed: run scripts/setup.sh test");
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", library.path())
        .arg(root("docs/clients/hook.py"));
    command
}

/// Returns the receiver in JavaScript, with the library in `end2end/hooks`.
fn node() -> Command {
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", root("end2end/hooks/node_modules"))
        .arg(root("docs/clients/hook.cjs"));
    command
}

/// Checks that the receiver `command` accepts what the server has signed, and nothing else.
async fn check(mut command: Command) {
    let data = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/");
    let server = start(data.path(), &hook("orders", &url, &["orders-*"]), &[]);
    let receiver = Snippet::start(command.args([&port.to_string(), SECRET]));

    publish(&server, "orders-1", &["one", "zwei — 二 😀"]).await;
    receiver.expect_line("orders-1: anonymous: one");
    receiver.expect_line("orders-1: anonymous: zwei — 二 😀");

    let forged = reqwest::Client::new()
        .post(&url)
        .header("webhook-id", "554f3d5f:9")
        .header("webhook-timestamp", "1796228331")
        .header(
            "webhook-signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        )
        .body("[]");
    let refused = crate::eventually::soon(forged.send()).await;
    assert_eq!(refused.expect("an answer").status(), 401);

    // A receiver that continues from before gets messages that it has seen.
    publish(&server, "orders-2", &["three"]).await;
    receiver.expect_line("orders-2: anonymous: three");
}

#[tokio::test]
async fn the_receiver_in_python_accepts_what_the_server_has_signed() {
    check(python()).await;
}

#[tokio::test]
async fn the_receiver_in_javascript_accepts_what_the_server_has_signed() {
    check(node()).await;
}
