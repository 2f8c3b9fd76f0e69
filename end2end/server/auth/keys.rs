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

/// Returns the JWK of a public Ed25519 key in PEM.
pub(super) fn ed25519_jwk(public: &str, kid: &str) -> Value {
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
    json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig"})
}

fn p384() -> (String, String) {
    key_pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"])
}

pub(super) fn rsa(bits: u32) -> (String, String) {
    let bits = format!("rsa_keygen_bits:{bits}");
    key_pair(&["-algorithm", "RSA", "-pkeyopt", &bits])
}

/// Returns the JWK of a public RSA key in PEM with the exponent 65537.
pub(super) fn rsa_jwk(public: &str, kid: &str) -> Value {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), public).expect("written");
    let output = Command::new("openssl")
        .args(["rsa", "-pubin", "-noout", "-modulus", "-in"])
        .arg(file.path())
        .output()
        .expect("openssl runs");

    let modulus = String::from_utf8(output.stdout).expect("text");
    let hex = modulus.trim().strip_prefix("Modulus=").expect("a modulus");
    let digits = hex.as_bytes().chunks(2);
    let bytes: Vec<u8> = digits
        .map(|pair| str::from_utf8(pair).expect("ASCII"))
        .map(|pair| u8::from_str_radix(pair, 16).expect("hex"))
        .collect();
    let n = URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "RSA", "n": n, "e": "AQAB", "kid": kid, "use": "sig", "alg": "RS256"})
}

/// Signs the claims of ann with a private key.
fn sign_with(private: &str, algorithm: Algorithm, kid: Option<&str>) -> String {
    sign_claims_with(private, algorithm, kid, &ann())
}

/// Signs `claims` with a private key.
pub(super) fn sign_claims_with(
    private: &str,
    algorithm: Algorithm,
    kid: Option<&str>,
    claims: &Value,
) -> String {
    let key = match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(private.as_bytes()),
        _ => EncodingKey::from_rsa_pem(private.as_bytes()),
    };
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    };
    encode(&header, claims, &key.expect("a private key")).expect("a token")
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
        (Algorithm::ES384, p384),
        (Algorithm::RS256, || rsa(2048)),
        (Algorithm::PS256, || rsa(3072)),
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
    let secret = b"a secret that is long enough for this";
    let k = URL_SAFE_NO_PAD.encode(secret);
    let set = json!({"keys": [
        ed25519_jwk(&public, "new"),
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

#[tokio::test]
async fn other_algorithms_of_a_key_are_refused() {
    let (private, public) = rsa(2048);
    let guarded = Guarded::with_key(&public, &[]);

    for (algorithm, expected) in [
        (Algorithm::RS256, 200),
        (Algorithm::PS256, 200),
        (Algorithm::RS384, 401),
        (Algorithm::RS512, 401),
        (Algorithm::PS512, 401),
    ] {
        let token = sign_with(&private, algorithm, None);
        assert_eq!(status(&guarded, &token).await, expected, "{algorithm:?}");
    }
}

#[tokio::test]
async fn tokens_for_other_audiences_or_of_other_issuers_are_refused() {
    let (private, public) = rsa(2048);
    let flags = ["--token-audience", "chat", "--token-audience", "chat-2"];
    let issuer = ["--token-issuer", "https://id.example"];
    let guarded = Guarded::with_key(&public, &[&flags[..], &issuer].concat());

    for (aud, iss, expected) in [
        (json!("chat"), json!("https://id.example"), ""),
        (json!(["x", "chat-2"]), json!("https://id.example"), ""),
        (
            json!("other"),
            json!("https://id.example"),
            "--token-audience",
        ),
        (Value::Null, json!("https://id.example"), "--token-audience"),
        (
            json!("chat"),
            json!("https://evil.example"),
            "--token-issuer",
        ),
        (json!("chat"), Value::Null, "--token-issuer"),
    ] {
        let mut claims = ann();
        let fields = claims.as_object_mut().expect("an object");
        let named = [("aud", aud), ("iss", iss)].map(|(name, value)| (name.to_owned(), value));
        fields.extend(named.into_iter().filter(|(_, value)| !value.is_null()));
        let token = sign_claims_with(&private, Algorithm::RS256, None, &claims);

        let (status, answer) = fetch(guarded.call(Method::GET, "lobby/messages", &token)).await;

        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(status == 200, expected.is_empty(), "{claims}: {answer}");
        assert!(message.contains(expected), "{claims}: {answer}");
    }
}

#[tokio::test]
async fn other_claims_may_have_the_id_and_the_rooms() {
    let (private, public) = rsa(2048);
    let id = ["--claim-id", "preferred_username"];
    let rooms = ["--claim-rooms", "realm_access.roles"];
    let guarded = Guarded::with_key(&public, &[&id[..], &rooms].concat());
    let mut claims = claims("7f1c", json!({"staff": "admin"}));
    claims["preferred_username"] = "ann".into();
    claims["realm_access"] = json!({"roles": ["offline_access", "lobby:rw", "class-*:r"]});
    let token = sign_claims_with(&private, Algorithm::RS256, None, &claims);

    let published = guarded.call(Method::POST, "lobby/messages", &token);
    let (status, _) = fetch(published.body("x")).await;
    let (_, history) = fetch(guarded.call(Method::GET, "lobby/messages", &token)).await;
    let in_class = fetch(guarded.call(Method::GET, "class-1/messages", &token)).await;
    let in_staff = fetch(guarded.call(Method::GET, "staff/messages", &token)).await;

    assert_eq!(status, 201);
    assert_eq!(history["messages"][0]["from"], "ann");
    assert_eq!(in_class.0, 200);
    assert_eq!(in_staff.0, 403, "the claim rooms is not read");
}

#[test]
fn an_unusable_key_file_prevents_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");

    for (key, expected) in [
        ("short".to_owned(), "at least 32 bytes"),
        (String::new(), "at least 32 bytes"),
        (ed25519().0, "public key only"),
        (rsa(1024).1, "2048 to 4096 bits"),
        (rsa(2048).0, "public key only"),
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
