//! `fanfare token`, and the commands that use a token.

use std::process::{Output, Stdio};

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::keys::{ed25519, p256};
use super::{Guarded, SECRET, token};
use crate::client::fetch;
use crate::eventually::soon;
use crate::harness::program;
use crate::typed::join;

/// Runs `fanfare token` with a key file that contains `file`.
fn make(file: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    std::fs::write(&path, file).expect("written");

    program()
        .arg("token")
        .arg("--auth-key-file")
        .arg(path)
        .args(arguments)
        .output()
        .expect("it runs")
}

/// Runs `fanfare token`, which must succeed, and returns the token.
fn made(file: &str, arguments: &[&str]) -> String {
    let output = make(file, arguments);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");

    let line = String::from_utf8(output.stdout).expect("text");
    line.strip_suffix('\n').expect("one line").to_owned()
}

#[tokio::test]
async fn a_token_made_by_the_program_grants_the_rooms_it_names() {
    let ed = ed25519();
    let p = p256();
    let set = json!({"keys": [
        {"kty": "oct", "kid": "old", "k": "b2xkIHNlY3JldCBvZiBhdCBsZWFzdCAzMiBieXRlcyBoZXJl"},
        {"kty": "oct", "kid": "new", "k": "bmV3IHNlY3JldCBvZiBhdCBsZWFzdCAzMiBieXRlcyBoZXJl"},
    ]})
    .to_string();
    let ann = [
        "--sub",
        "ann",
        "--room",
        "lobby:rw",
        "--room",
        "class-*:r",
        "--expires",
        "1h",
    ];

    for (private, public, more) in [
        (SECRET, SECRET, &[][..]),
        (&ed.0, &ed.1, &[]),
        (&p.0, &p.1, &["--kid", "any"]),
        (&set, &set, &["--kid", "new"]),
    ] {
        let guarded = Guarded::with_key(public, &[]);
        let token = made(private, &[&ann, more].concat());
        let call = async |method, path| fetch(guarded.call(method, path, &token).body("x")).await.0;

        assert_eq!(call(Method::POST, "lobby/messages").await, 201);
        assert_eq!(call(Method::GET, "class-7b/messages").await, 200);
        assert_eq!(call(Method::POST, "class-7b/messages").await, 403);
    }
}

#[tokio::test]
async fn fanfare_token_writes_the_rate_that_the_token_allows() {
    let guarded = Guarded::start(&["--message-rate", "20/s"]);
    let ann = ["--sub", "ann", "--room", "lobby:rw"];

    for (more, expected) in [(&["--rate", "5"][..], 5), (&["--rate", "0"], 0), (&[], 20)] {
        let token = made(SECRET, &[&ann, more].concat());
        let (_peer, welcome) = join(&guarded.server, &format!("token={token}")).await;

        assert_eq!(welcome["message_rate"], expected, "{more:?}");
    }
}

#[test]
fn fanfare_token_reports_a_wrong_argument_with_the_allowed_values() {
    for (arguments, expected) in [
        (["--sub", "a\tb", "--room", "lobby:r"], "control character"),
        (["--sub", "ann", "--room", "lobby"], "ROOM:ACCESS"),
        (["--sub", "ann", "--room", "a b:r"], "A-Z a-z 0-9"),
        (["--sub", "ann", "--room", "lobby:x"], "r, w, rw or admin"),
        (
            ["--room=lobby:r", "--sub=ann", "--expires", "soon"],
            "1ms to 365d",
        ),
        (
            ["--room=lobby:r", "--sub=ann", "--expires", "1ms"],
            "at least 1s",
        ),
        (["--sub", "ann", "--room", "lobby:r"], "at least 32 bytes"),
    ] {
        let output = make("short", &arguments);
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(output.stdout.is_empty(), "{stderr}");
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }

    let (_, public) = ed25519();

    for (file, expected) in [
        (public.as_str(), "public key"),
        ("{}", "JWK set"),
        ("-----BEGIN RSA PRIVATE KEY-----", "PKCS #8"),
    ] {
        let output = make(file, &["--sub", "ann", "--room", "lobby:rw"]);
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[tokio::test]
async fn send_and_listen_use_a_token_and_its_sub() {
    let guarded = Guarded::start(&[]);
    let token = token("ann", json!({"lobby": "rw"}));
    let url = guarded.server.url("");
    let command = |arguments: &[&str]| {
        let mut command = Command::from(program());
        command
            .args(arguments)
            .args(["--url", &url])
            .kill_on_drop(true);
        command
    };

    let send = soon(
        command(&["send", "lobby", "hello"])
            .env("FANFARE_TOKEN", &token)
            .output(),
    )
    .await
    .expect("it runs");
    assert!(send.status.success(), "{send:?}");

    let (_, history) = fetch(guarded.call(Method::GET, "lobby/messages", &token)).await;
    assert_eq!(history["messages"][0]["from"], "ann");
    assert_eq!(history["messages"][0]["text"], "hello");

    let mut listen = command(&[
        "listen", "lobby", "--after", "0", "--json", "--token", &token,
    ]);
    let mut listen = listen.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(listen.stdout.take().expect("piped")).lines();

    let line = soon(lines.next_line())
        .await
        .expect("read")
        .expect("a line");
    assert!(line.contains("hello"), "{line}");
    assert!(line.contains("\"ann\""), "{line}");

    for (arguments, expected) in [
        (&["send", "lobby", "x"][..], "4500"),
        (&["listen", "lobby"], "4500"),
        (
            &["send", "lobby", "x", "--token", "a.b.c"],
            "JSON Web Token",
        ),
        (
            &["send", "lobby", "x", "--token", &token, "--from", "bob"],
            "4501",
        ),
        (&["send", "other", "x", "--token", &token], "4501"),
    ] {
        let output = soon(command(arguments).output()).await.expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert!(!output.status.success(), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(!stderr.contains(&token), "{stderr}");
    }
}

#[test]
fn help_never_shows_the_token_of_the_environment() {
    for command in ["send", "listen", "bench", "admin", "token"] {
        let output = program()
            .args([command, "--help"])
            .env("FANFARE_TOKEN", "s3cret")
            .env("FANFARE_AUTH_KEY_FILE", "k3y")
            .output();
        let stdout = output.expect("it runs").stdout;

        let help = String::from_utf8(stdout).expect("text");
        assert!(!help.is_empty(), "{help}");
        assert!(!help.contains("s3cret"), "{help}");
        assert!(!help.contains("k3y"), "{help}");
    }
}

#[tokio::test]
async fn verify_uses_a_token_for_its_rooms() {
    let guarded = Guarded::start(&["--message-rate", "20"]);
    let token = made(
        SECRET,
        &["--sub", "ann", "--room", "verify-*:rw", "--expires", "1h"],
    );
    let small = [
        "verify",
        "--readers",
        "4",
        "--rooms",
        "2",
        "--storms",
        "1",
        "--every",
        "1",
        "--rate",
        "10",
    ];

    let mut command = Command::from(program());
    command
        .args(small)
        .arg(guarded.server.url(""))
        .env("FANFARE_TOKEN", &token)
        .kill_on_drop(true);

    let output = soon(command.output()).await.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("\nlost         0\n"),
        "{output:?}"
    );
}
