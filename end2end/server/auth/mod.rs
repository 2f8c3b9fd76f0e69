//! Tokens: whose count, what they allow, and that nothing gives them away. Made by a library that nobody here
//! wrote.

/// Which tokens count over HTTP, and what they allow.
mod calls;
/// The same for WebSockets.
mod sockets;
/// Who administers what.
mod admins;
/// The admin page with a token.
mod admin_page;
/// Bans and kicks of a token's `sub`.
mod bans;
/// Keys of every kind, made by openssl.
mod keys;
/// The end of a token while its holder is connected, and its renewal.
mod leases;
/// `fanfare token`, and the clients that bring one.
mod commands;
/// That no token shows where others could read it.
mod secrecy;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::Server;

const SECRET: &str = "the secret of these tests, 32 bytes and more";

/// A server that has a key, and the folder of its key file.
struct Guarded {
    server: Server,
    folder: TempDir,
}

impl Guarded {
    /// With [`SECRET`].
    fn start(flags: &[&str]) -> Self {
        Self::with_key(SECRET, flags)
    }

    /// With a key file that holds `key`.
    fn with_key(key: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, key).expect("written");
        let named = ["--auth-key-file", file.to_str().expect("text")];
        Self {
            server: Server::start(&[&named, flags].concat()),
            folder,
        }
    }

    /// Its key file.
    fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// A call of the API with `token`.
    fn call(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request =
            Client::new().request(method, self.server.url(&format!("/api/v1/rooms/{path}")));
        if token.is_empty() {
            request
        } else {
            request.bearer_auth(token)
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Claims of `sub` for an hour.
fn claims(sub: &str, rooms: Value) -> Value {
    json!({"sub": sub, "rooms": rooms, "iat": unix_seconds(), "exp": unix_seconds() + 3600})
}

/// `claims` signed with [`SECRET`].
fn sign(claims: &Value) -> String {
    encode(
        &Header::default(),
        claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .expect("a token")
}

/// A token of `sub` for an hour.
fn token(sub: &str, rooms: Value) -> String {
    sign(&claims(sub, rooms))
}
