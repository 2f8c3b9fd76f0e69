//! Authentication at NATS: each method connects a node, and wrong credentials end it with one error line without
//! secrets. Each test has a real NATS with its own accounts.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::client::{get, publish};
use crate::harness::{Server, program};
use crate::nats::Nats;

/// Checks that a node with `store` and `flags` publishes and serves.
async fn check_connects(store: &str, flags: &[&str]) {
    let mut all = vec!["--store", store];
    all.extend_from_slice(flags);

    let node = Server::start(&all);
    publish(&node, "lobby", "connected").await;
    assert_eq!(
        get(&node, "/api/v1/rooms/lobby/messages").await["messages"][0]["text"],
        "connected"
    );
}

/// Starts a node that NATS refuses; returns its one error line.
fn error_of(store: &str, flags: &[&str]) -> String {
    let data = tempfile::tempdir().expect("a folder");

    let ended = program()
        .args([
            "--listen",
            "127.0.0.1:0",
            "--ops-listen",
            "off",
            "--log-level",
            "warn",
            "--store",
            store,
        ])
        .args(flags)
        .arg("--data")
        .arg(data.path())
        .output()
        .expect("it ends");

    let error = String::from_utf8(ended.stderr).expect("text");
    assert_eq!(ended.status.code(), Some(1), "{error}");

    let lines: Vec<&str> = error
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    assert_eq!(lines.len(), 1, "{error}");

    lines[0].to_owned()
}

/// Writes `text` to the file `name` in `folder`; returns its path.
fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("written");
    file
}

/// Returns the path as text.
fn flag(file: &Path) -> &str {
    file.to_str().expect("text")
}

#[tokio::test]
async fn a_node_connects_by_user_and_password_and_errors_show_neither() {
    let nats = Nats::start_with("authorization { user: ann, password: \"se cret/1\" }").await;

    let port = nats.port;
    check_connects(&format!("nats://ann:se%20cret%2F1@127.0.0.1:{port}"), &[]).await;

    for login in ["ann:guess-7@", "bob:guess-7@", ""] {
        let error = error_of(&format!("nats://{login}127.0.0.1:{port}"), &[]);
        assert!(error.contains("authorization violation"), "{error}");
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
        assert!(!error.contains("guess-7"), "{error}");
    }
}

#[tokio::test]
async fn a_node_connects_by_token() {
    let nats = Nats::start_with("authorization { token: t0k3n }").await;
    check_connects(&format!("nats://t0k3n@127.0.0.1:{}", nats.port), &[]).await;
    assert!(
        error_of(&format!("nats://an0ther@127.0.0.1:{}", nats.port), &[])
            .contains("authorization violation")
    );
}

#[tokio::test]
async fn a_node_connects_by_nkey() {
    let user = KeyPair::new_user();
    let stranger = KeyPair::new_user();
    let nats = Nats::start_with(&format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        user.public_key()
    ))
    .await;

    let folder = tempfile::tempdir().expect("a folder");
    let seed = |name: &str, key: &KeyPair| {
        file(
            folder.path(),
            name,
            &format!("{}\n", key.seed().expect("a seed")),
        )
    };

    let store = format!("nats://127.0.0.1:{}", nats.port);
    check_connects(&store, &["--nats-nkey", flag(&seed("user", &user))]).await;

    let error = error_of(&store, &["--nats-nkey", flag(&seed("stranger", &stranger))]);
    assert!(error.contains("authorization violation"), "{error}");

    error_of(
        &store,
        &["--nats-nkey", flag(&file(folder.path(), "none", "no seed"))],
    );
}

/// Returns a JWT of NATS for `subject`, signed by `issuer`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = part(json!({
        "jti": "none", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test",
        "sub": subject.public_key(), "nats": nats,
    }));
    let signed = format!("{header}.{claims}");

    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).expect("signed"));
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn a_node_connects_by_credentials_file() {
    let operator = KeyPair::new_operator();
    let system = KeyPair::new_account();
    let account = KeyPair::new_account();
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
        "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let of_account = json!({ "limits": limits, "type": "account", "version": 2 });
    let nats = Nats::start_with(&format!(
        "operator: {}\nsystem_account: {system_id}\nresolver: MEMORY\nresolver_preload: {{ {system_id}: {}, {}: {} }}",
        jwt(&operator, &operator, &json!({ "type": "operator", "version": 2 })),
        jwt(&operator, &system, &json!({ "limits": { "subs": -1, "data": -1, "payload": -1, "imports": -1,
            "exports": -1, "wildcards": true, "conn": -1, "leaf": -1 }, "type": "account", "version": 2 })),
        account.public_key(),
        jwt(&operator, &account, &of_account),
        system_id = system.public_key(),
    ))
    .await;

    let folder = tempfile::tempdir().expect("a folder");

    let credentials = |name: &str, issuer: &KeyPair| {
        let user = KeyPair::new_user();
        let of_user = json!({
            "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2,
        });
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            jwt(issuer, &user, &of_user),
            user.seed().expect("a seed"),
        );

        file(folder.path(), name, &text)
    };

    let store = format!("nats://127.0.0.1:{}", nats.port);

    check_connects(
        &store,
        &["--nats-creds", flag(&credentials("ours", &account))],
    )
    .await;

    let error = error_of(
        &store,
        &[
            "--nats-creds",
            flag(&credentials("others", &KeyPair::new_account())),
        ],
    );
    assert!(error.contains("authorization violation"), "{error}");

    error_of(
        &store,
        &[
            "--nats-creds",
            flag(&file(folder.path(), "none", "no credentials")),
        ],
    );
}

#[tokio::test]
async fn a_node_connects_by_tls_only_to_a_trusted_nats() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = file(
        folder.path(),
        "certificate.conf",
        "[req]\ndistinguished_name = name\nprompt = no\nx509_extensions = leaf\n[name]\nCN = nats\n\
         [leaf]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n",
    );

    let key = folder.path().join("key.pem");
    let certificate = folder.path().join("certificate.pem");

    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-noenc",
        ])
        .args([
            "-days",
            "2",
            "-config",
            flag(&config),
            "-keyout",
            flag(&key),
            "-out",
            flag(&certificate),
        ])
        .output()
        .expect("openssl runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );

    let nats = Nats::start_with(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}\nauthorization {{ token: t0k3n }}",
        key.with_file_name("certificate.pem"),
        key
    ))
    .await;

    let store = format!("tls://t0k3n@127.0.0.1:{}", nats.port);
    check_connects(&store, &["--nats-ca", flag(&certificate)]).await;

    let error = error_of(&store, &[]);
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn a_message_limit_above_that_of_nats_prevents_the_start() {
    let nats = Nats::start_with("max_payload: 128KB").await;
    let store = format!("nats://127.0.0.1:{}", nats.port);

    let error = error_of(&store, &["--max-message", "128KiB"]);
    assert!(error.contains("max_payload"), "{error}");
    assert!(error.contains("--max-message"), "{error}");

    let node = Server::start(&[
        "--store",
        &store,
        "--max-message",
        "127000",
        "--publish-rate",
        "0",
    ]);

    let longest = "x".repeat(127_000);
    let id = "\u{10ffff}".repeat(64);
    let url = node.url("/api/v1/rooms/lobby/messages");
    let body = json!({ "text": longest, "from": id, "key": "\u{10ffff}".repeat(64) });

    let (status, answer) = crate::client::fetch(reqwest::Client::new().post(url).json(&body)).await;
    assert_eq!(status, 201, "{answer}");
}
