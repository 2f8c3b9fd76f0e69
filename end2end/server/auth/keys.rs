//! Keys of every kind. The asymmetric ones are made with openssl.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Guarded, claims};
use crate::client::fetch;
use crate::eventually::eventually;
use crate::harness::{Server, program};
use crate::typed::{join, next};

/// Creates a key of `kind`; returns the private and the public key in PEM.
fn key_pair(kind: &[&str]) -> (String, String) {
    let openssl = |arguments: &[&str], input: &Path| {
        let output = Command::new("openssl")
            .args(arguments)
            .arg("-in")
            .arg(input)
            .output()
            .expect("openssl runs");
        String::from_utf8(output.stdout).expect("text")
    };

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("private.pem");

    let made = Command::new("openssl")
        .arg("genpkey")
        .args(kind)
        .arg("-out")
        .arg(&file)
        .output();
    assert!(made.expect("openssl runs").status.success());

    (
        std::fs::read_to_string(&file).expect("made"),
        openssl(&["pkey", "-pubout"], &file),
    )
}

pub(super) fn ed25519() -> (String, String) {
    key_pair(&["-algorithm", "ed25519"])
}

pub(super) fn p256() -> (String, String) {
    key_pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
}

/// Signs the claims of ann with a private key.
fn sign_with(private: &str, algorithm: Algorithm, kid: Option<&str>) -> String {
    let key = match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
        _ => EncodingKey::from_ec_pem(private.as_bytes()),
    };
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    };
    encode(&header, &ann(), &key.expect("a private key")).expect("a token")
}

/// Returns claims of ann for the lobby.
fn ann() -> Value {
    claims("ann", json!({"lobby": "r"}))
}

/// Reads the history of the lobby with `token`; returns the status.
async fn status(guarded: &Guarded, token: &str) -> u16 {
    fetch(guarded.call(Method::GET, "lobby/messages", token))
        .await
        .0
}

#[tokio::test]
async fn a_public_key_verifies_tokens_of_its_private_key_and_is_no_secret() {
    for (algorithm, make) in [
        (Algorithm::EdDSA, ed25519 as fn() -> _),
        (Algorithm::ES256, p256),
    ] {
        let (private, public) = make();
        let guarded = Guarded::with_key(&public, &[]);
        assert_eq!(
            status(&guarded, &sign_with(&private, algorithm, None)).await,
            200,
            "{algorithm:?}"
        );

        let (other, _) = make();
        assert_eq!(
            status(&guarded, &sign_with(&other, algorithm, None)).await,
            401,
            "{algorithm:?}"
        );

        // A public key must not be accepted as an HS256 secret (CVE-2015-9235).
        for secret in [public.as_bytes(), public.trim().as_bytes()] {
            let confused = encode(
                &Header::default(),
                &ann(),
                &EncodingKey::from_secret(secret),
            )
            .expect("a token");
            assert_eq!(status(&guarded, &confused).await, 401, "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn each_key_of_a_set_verifies_only_its_own_kid() {
    let (private, public) = ed25519();
    let (_, der) = public.split_once('\n').expect("lines");
    let der: String = der
        .lines()
        .take_while(|line| !line.starts_with('-'))
        .collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(der)
        .expect("base64");

    // The last 32 bytes of an Ed25519 SubjectPublicKeyInfo are the key (RFC 8410 section 4).
    let x = URL_SAFE_NO_PAD.encode(&der[der.len() - 32..]);
    let secret = b"a secret that is long enough for this";
    let k = URL_SAFE_NO_PAD.encode(secret);
    let set = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "new", "use": "sig"},
        {"kty": "oct", "k": k, "kid": "old", "alg": "HS256"},
    ]});
    let guarded = Guarded::with_key(&set.to_string(), &[]);
    let old = |kid: &str| {
        let header = Header {
            kid: Some(kid.to_owned()),
            ..Header::default()
        };
        encode(&header, &ann(), &EncodingKey::from_secret(secret)).expect("a token")
    };

    for (token, expected) in [
        (sign_with(&private, Algorithm::EdDSA, Some("new")), 200),
        (sign_with(&private, Algorithm::EdDSA, None), 200),
        (sign_with(&private, Algorithm::EdDSA, Some("old")), 401),
        (old("old"), 200),
        (old("new"), 401),
        (old("older"), 401),
    ] {
        assert_eq!(status(&guarded, &token).await, expected);
    }
}

#[test]
fn an_unusable_key_file_prevents_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");

    let rsa = key_pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).1;

    for (key, expected) in [
        ("short".to_owned(), "at least 32 bytes"),
        (String::new(), "at least 32 bytes"),
        (ed25519().0, "public key only"),
        (rsa, "Ed25519 or P-256"),
        ("{}".to_owned(), "JWK set"),
    ] {
        std::fs::write(&file, &key).expect("written");
        let output = program()
            .arg("--auth-key-file")
            .arg(&file)
            .output()
            .expect("it runs");

        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(key.is_empty() || !stderr.contains(key.trim()), "{stderr}");
    }

    let absent = Server::try_start_by(&mut program(), &["--auth-key-file", "/no/such/file"]);
    assert!(absent.is_none());
}

#[tokio::test]
async fn sighup_reloads_the_keys_and_keeps_open_connections() {
    let first = "the first secret, of 32 bytes and more";
    let second = "the second secret, of 32 bytes and more";
    let by = |secret: &str| {
        encode(
            &Header::default(),
            &ann(),
            &EncodingKey::from_secret(secret.as_bytes()),
        )
        .expect("a token")
    };

    let guarded = Guarded::with_key(first, &[]);
    let (mut ann, _) = join(&guarded.server, &format!("token={}", by(first))).await;

    assert_eq!(status(&guarded, &by(first)).await, 200);
    assert_eq!(status(&guarded, &by(second)).await, 401);

    std::fs::write(guarded.key_file(), second).expect("written");
    assert_eq!(
        status(&guarded, &by(second)).await,
        401,
        "not before SIGHUP"
    );

    guarded.server.signal("HUP");
    let probe = async || status(&guarded, &by(second)).await;
    eventually(probe, |status| *status == 200).await;
    assert_eq!(status(&guarded, &by(first)).await, 401);

    ann.send(r#"{"type":"ping"}"#).await;
    next(&mut ann, "pong").await;

    // An invalid key file changes nothing.
    std::fs::write(guarded.key_file(), "short").expect("written");
    guarded.server.signal("HUP");
    assert_eq!(status(&guarded, &by(second)).await, 200);
    assert!(
        !guarded.server.log().await.contains("secret,"),
        "the log holds no secret"
    );
}

#[tokio::test]
async fn the_start_logs_the_access_mode_and_warns_of_a_readable_secret() {
    use std::os::unix::fs::PermissionsExt;

    let open = Server::start(&[]).log().await;
    assert!(open.contains("open mode"), "{open}");
    assert!(open.contains("names are not verified"), "{open}");

    for (mode, warns) in [(0o644, true), (0o600, false)] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, "a secret that is long enough for this").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("set");

        let log = Server::start(&["--auth-key-file", file.to_str().expect("text")])
            .log()
            .await;
        assert!(log.contains("tokens are required"), "{log}");
        assert!(!log.contains("open mode"), "{log}");
        assert_eq!(log.contains("chmod 600"), warns, "{log}");
    }
}
