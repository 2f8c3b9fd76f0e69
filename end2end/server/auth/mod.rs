//! Tokens: validity, grants and secrecy. The tests sign their own tokens, without code of the server.

/// Tokens over HTTP.
mod calls;
/// Tokens of WebSockets.
mod sockets;
/// Tokens and the rooms of one connection.
mod subscriptions;
/// Edits of one's own messages.
mod edits;
/// Signals and states.
mod signals;
/// Access without a token, by the rules for rooms.
mod public_rooms;
/// Streams.
mod streams;
/// The admin API on the public listener.
mod admins;
/// The admin page on the public listener.
mod admin_page;
/// Bans and kicks of a token's `sub`.
mod bans;
/// The rate claim, and the rates of admins.
mod rates;
/// Keys of every kind, made by openssl.
mod keys;
/// Users whom a proxy names.
mod proxy_users;
/// The sign-in of the page.
mod sign_in;
/// Tokens of an OpenID provider.
mod provider;
/// Tokens with the claims of well-known providers, and the settings for them in the documentation.
mod provider_claims;
/// Tokens that expire on an open connection, and their renewal.
mod leases;
/// `fanfare token`, and the commands that use a token.
mod commands;
/// Tokens in responses and logs.
mod secrecy;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::Server;

const SECRET: &str = "the secret of these tests, 32 bytes and more";

/// A server with a key, and the folder of its key file.
struct Guarded {
    server: Server,
    folder: TempDir,
}

impl Guarded {
    /// Starts a server with the key [`SECRET`].
    fn start(flags: &[&str]) -> Self {
        Self::with_key(SECRET, flags)
    }

    /// Starts a server with the key `key`.
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

    /// Returns the path of the key file.
    fn key_file(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// Returns a request to `path` of the API with `token`, which may be empty.
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

/// Returns the seconds since 1970.
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Returns claims of `sub` that are valid for an hour.
fn claims(sub: &str, rooms: Value) -> Value {
    json!({"sub": sub, "rooms": rooms, "iat": unix_seconds(), "exp": unix_seconds() + 3600})
}

/// Signs `claims` with [`SECRET`].
fn sign(claims: &Value) -> String {
    encode(
        &Header::default(),
        claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .expect("a token")
}

/// Returns a token of `sub` that is valid for an hour.
fn token(sub: &str, rooms: Value) -> String {
    sign(&claims(sub, rooms))
}
