//! `fanfare token`, and the clients that bring one.

use std::process::{Output, Stdio};

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::keys::{ed25519, p256};
use super::{Guarded, SECRET, token};
use crate::client::ask;
use crate::harness::{program, soon};

/// Runs `fanfare token` with the key that `file` holds.
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

/// What it printed, which is a token and a line end.
fn made(file: &str, arguments: &[&str]) -> String {
    let output = make(file, arguments);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let line = String::from_utf8(output.stdout).expect("text");
    line.strip_suffix('\n').expect("one line").to_owned()
}

#[tokio::test]
async fn a_token_made_by_the_program_opens_the_rooms_it_names() {
    let (ed, p) = (ed25519(), p256());
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
        let call = async |method, path| ask(guarded.call(method, path, &token).body("x")).await.0;
        assert_eq!(call(Method::POST, "lobby/messages").await, 201);
        assert_eq!(call(Method::GET, "class-7b/messages").await, 200);
        assert_eq!(call(Method::POST, "class-7b/messages").await, 403);
    }
}

#[test]
fn what_is_wrong_with_a_token_to_be_made_is_told_all_at_once() {
    let arguments = [
        "--sub",
        "a\tb",
        "--room",
        "lobby",
        "--room",
        "LOBBY:r",
        "--room",
        "lobby:x",
        "--expires",
        "soon",
    ];
    let output = make("short", &arguments);
    let told = String::from_utf8(output.stderr).expect("text");
    assert_eq!(
        (output.status.code(), output.stdout.is_empty()),
        (Some(2), true),
        "{told}"
    );
    for said in [
        "--sub",
        "ROOM:ACCESS",
        "a-z 0-9",
        "r, w, rw or admin",
        "1ms to 365d",
        "at least 32 bytes",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let (_, public) = ed25519();
    for (file, said) in [
        (public.as_str(), "public key"),
        ("{}", "JWK set"),
        ("-----BEGIN RSA PRIVATE KEY-----", "PKCS #8"),
    ] {
        let output = make(file, &["--sub", "ann", "--room", "lobby:rw"]);
        let told = String::from_utf8(output.stderr).expect("text");
        assert!(
            output.status.code() == Some(2) && told.contains(said),
            "{told}"
        );
    }
}

#[tokio::test]
async fn send_and_listen_bring_a_token_and_are_its_sub() {
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
    let (_, history) = ask(guarded.call(Method::GET, "lobby/messages", &token)).await;
    assert_eq!(
        (
            &history["messages"][0]["from"],
            &history["messages"][0]["text"]
        ),
        (&json!("ann"), &json!("hello"))
    );

    let mut listen = command(&[
        "listen", "lobby", "--after", "0", "--json", "--token", &token,
    ]);
    let mut listen = listen.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(listen.stdout.take().expect("piped")).lines();
    let line = soon(lines.next_line())
        .await
        .expect("read")
        .expect("a line");
    assert!(line.contains("hello") && line.contains("\"ann\""), "{line}");

    for (arguments, said) in [
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
        let told = String::from_utf8(output.stderr).expect("text");
        assert!(
            !output.status.success() && told.contains(said) && !told.contains(&token),
            "{told}"
        );
    }
}

#[test]
fn no_help_shows_the_token_that_the_environment_holds() {
    for command in ["send", "listen", "bench", "admin", "token"] {
        let output = program()
            .args([command, "--help"])
            .env("FANFARE_TOKEN", "s3cret")
            .env("FANFARE_AUTH_KEY_FILE", "k3y")
            .output();
        let told = output.expect("it runs").stdout;
        let told = String::from_utf8(told).expect("text");
        assert!(
            !told.is_empty() && !told.contains("s3cret") && !told.contains("k3y"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn verify_brings_a_token_for_its_rooms() {
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
