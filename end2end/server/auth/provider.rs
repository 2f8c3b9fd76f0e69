//! Tokens of a real OpenID provider, whose keys the server fetches from a URL.

use std::net::SocketAddr;
use std::path::PathBuf;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{claims, keys};
use crate::authority::CertificateAuthority;
use crate::client::fetch;
use crate::daemon::{self, Daemon};
use crate::eventually::{eventually, soon};
use crate::harness::{Server, program};
use crate::typed::{find, join};

/// An OpenID provider that can be stopped and started again, with the same keys.
struct Provider {
    address: SocketAddr,
    /// The folder with its keys.
    folder: TempDir,
    daemon: Option<Daemon>,
}

impl Provider {
    async fn start() -> Self {
        let mut provider = Self {
            address: daemon::free_address(),
            folder: tempfile::tempdir().expect("a folder"),
            daemon: None,
        };
        provider.start_again().await;
        provider
    }

    async fn start_again(&mut self) {
        let keys = self.keys();
        self.daemon = Some(daemon::openid_provider(self.address, &keys).await);
    }

    fn stop(&mut self) {
        self.daemon = None;
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the flags of a server that accepts the tokens of the provider.
    fn flags(&self) -> Vec<String> {
        let jwks = self.url("/jwks");
        let issuer = self.url("");
        let named = [
            ("--jwks", jwks.as_str()),
            ("--token-issuer", &issuer),
            ("--token-audience", "chat"),
            ("--claim-rooms", "realm_access.roles"),
        ];
        let flags = named.iter().flat_map(|(name, value)| [*name, *value]);
        flags.map(str::to_owned).collect()
    }

    /// Starts a server that accepts the tokens of the provider.
    fn server(&self) -> Server {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Server::start(&flags)
    }

    /// Returns a new access token of `backend`, which may read and write in the lobby, signed with `algorithm`.
    async fn token(&self, algorithm: &str) -> String {
        let request = Client::new()
            .post(self.url("/token"))
            .basic_auth("backend", Some("the%20secret%20of%20the%20backend"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!(
                "grant_type=client_credentials&resource=urn:chat:{algorithm}"
            ));
        let (status, answer) = fetch(request).await;

        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// Replaces all keys of the provider.
    async fn rotate(&self) {
        let rotated = soon(Client::new().post(self.url("/rotate")).send()).await;
        assert_eq!(rotated.expect("an answer").status().as_u16(), 200);
    }
}

/// Calls the lobby's messages with `token`; returns the status and the body of the answer.
async fn call(server: &Server, method: Method, token: &str) -> (u16, Value) {
    let url = server.url("/api/v1/rooms/lobby/messages");
    let request = Client::new().request(method, url).bearer_auth(token);
    fetch(request.body("x")).await
}

/// Reads the lobby with `token`; returns the status.
async fn status(server: &Server, token: &str) -> u16 {
    call(server, Method::GET, token).await.0
}

#[tokio::test]
async fn tokens_of_a_provider_are_accepted_with_each_algorithm() {
    let provider = Provider::start().await;
    let server = provider.server();

    for algorithm in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        let token = provider.token(algorithm).await;
        let (status, _) = call(&server, Method::POST, &token).await;
        assert_eq!(status, 201, "{algorithm}");
    }

    let token = provider.token("ES384").await;
    let (_, history) = call(&server, Method::GET, &token).await;
    assert_eq!(history["messages"][4]["from"], "backend");
    let (_peer, welcome) = join(&server, &format!("token={token}")).await;
    assert_eq!(welcome["id"], "backend");
}

#[tokio::test]
async fn a_key_is_fetched_when_a_token_names_it_and_removed_with_the_next_fetch() {
    let provider = Provider::start().await;
    let server = provider.server();
    let before = provider.token("RS256").await;
    assert_eq!(status(&server, &before).await, 200);
    let (mut open, _) = join(&server, &format!("token={before}")).await;

    provider.rotate().await;
    let after = provider.token("RS256").await;
    eventually(
        async || status(&server, &after).await,
        |status| *status == 200,
    )
    .await;

    assert_eq!(status(&server, &before).await, 401);
    open.send(json!({"type": "token", "token": after}).to_string())
        .await;
    find(&mut open, "token").await;
}

#[tokio::test]
async fn an_open_connection_is_renewed_with_a_token_of_a_new_key() {
    let provider = Provider::start().await;
    let server = provider.server();
    let before = provider.token("ES256").await;
    let (mut open, _) = join(&server, &format!("token={before}")).await;

    provider.rotate().await;
    let after = provider.token("ES256").await;

    let renewal = json!({"type": "token", "token": after}).to_string();
    // A moment after a fetch, there is not another one.
    loop {
        open.send(renewal.clone()).await;
        let answer = loop {
            let frame = open.json().await;
            if frame["type"] == "token" || frame["type"] == "error" {
                break frame;
            }
        };
        if answer["type"] == "token" {
            break;
        }
        assert_eq!(answer["code"], "bad_token", "{answer}");
    }
}

#[tokio::test]
async fn an_outage_of_the_provider_refuses_no_token_of_a_known_key() {
    let mut provider = Provider::start().await;
    let server = provider.server();
    let token = provider.token("RS256").await;
    assert_eq!(status(&server, &token).await, 200);

    provider.stop();
    // A token of an unknown key causes a fetch, which fails.
    let (private, _) = keys::ed25519();
    let algorithm = jsonwebtoken::Algorithm::EdDSA;
    let unknown = claims("eve", json!({"lobby": "rw"}));
    let unknown = keys::sign_claims_with(&private, algorithm, Some("unknown"), &unknown);
    assert_eq!(status(&server, &unknown).await, 401);

    assert_eq!(status(&server, &token).await, 200);
}

#[tokio::test]
async fn a_server_starts_without_its_provider_and_answers_503_until_keys_are_fetched() {
    let mut provider = Provider::start().await;
    let token = provider.token("RS256").await;
    provider.stop();

    let server = provider.server();
    let (refused, answer) = call(&server, Method::GET, &token).await;
    let mut socket = server.join_with(&format!("id=backend&token={token}")).await;

    assert_eq!(refused, 503, "{answer}");
    assert_eq!(answer["error"]["code"], "no_keys");
    assert_eq!(socket.close_code().await, 1013, "so that clients try again");

    provider.start_again().await;
    eventually(
        async || status(&server, &token).await,
        |status| *status == 200,
    )
    .await;
    let log = server.log().await;
    assert!(log.contains("could not fetch keys (--jwks)"), "{log}");
    assert!(log.contains("fetched keys (--jwks)"), "{log}");
}

#[tokio::test]
async fn keys_are_fetched_over_https_from_a_trusted_server_only() {
    let (private, public) = keys::ed25519();
    let set = json!({"keys": [keys::ed25519_jwk(&public, "one")]});
    let token = keys::sign_claims_with(
        &private,
        jsonwebtoken::Algorithm::EdDSA,
        Some("one"),
        &claims("ann", json!({"lobby": "r"})),
    );
    let authority = CertificateAuthority::new();
    let certificate = authority.certify("DNS:localhost", -1, 1);
    let address = daemon::free_address();
    let site = format!(
        "server {{ listen {address} ssl; ssl_certificate {}; ssl_certificate_key {};\n\
         location / {{ default_type application/json; return 200 '{set}'; }} }}",
        certificate.certificate.display(),
        certificate.key.display()
    );
    let _provider = daemon::nginx(address, &site).await;

    let data = tempfile::tempdir().expect("a folder");
    let jwks = format!("https://localhost:{}/jwks", address.port());
    let start = |trusted: PathBuf| {
        let mut command = program();
        command.env("SSL_CERT_FILE", trusted);
        command.arg("--data").arg(data.path());
        Server::start_by(&mut command, &["--jwks", &jwks])
    };

    let trusting = start(authority.file());
    assert_eq!(status(&trusting, &token).await, 200);
    drop(trusting);

    let distrusting = start(CertificateAuthority::new().file());
    assert_eq!(status(&distrusting, &token).await, 503);
}

/// Answers each request at a new address with `answer`, and then reads until the client closes.
pub(super) async fn answering(answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                // The client may have closed the connection.
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
            });
        }
    });
    address
}

#[tokio::test]
async fn an_answer_that_is_not_a_bounded_set_of_keys_is_refused() {
    let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(300 * 1024));
    let secret = r#"{"keys":[{"kty":"oct","k":"YSBzZWNyZXQgb2YgYXQgbGVhc3QgMzIgYnl0ZXMsIHllcw"}]}"#;

    for (answer, expected) in [
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
            "302",
        ),
        (long, "262144 bytes"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>".to_owned(),
            "JWK set",
        ),
        (
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{secret}",
                secret.len()
            ),
            "a public key for signatures",
        ),
        (String::new(), "no complete answer within 4 s"),
    ] {
        let address = answering(answer).await;
        let jwks = format!("http://{address}/jwks");
        let server = Server::start(&["--jwks", &jwks]);

        let refused = status(&server, &super::token("ann", json!({"lobby": "r"}))).await;

        assert_eq!(refused, 503, "{expected}");
        let log = server.log().await;
        assert!(log.contains(expected), "{expected}: {log}");
    }
}

#[test]
fn keys_in_a_file_and_at_a_url_exclude_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, super::SECRET).expect("written");

    for jwks in ["https://id.example.org/jwks", "http://id.example.org/jwks"] {
        let output = program()
            .arg("check-config")
            .arg("--auth-key-file")
            .arg(&file)
            .args(["--jwks", jwks])
            .output()
            .expect("it runs");

        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--jwks is"), "{stderr}");
    }
}
