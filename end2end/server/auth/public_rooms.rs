//! Access without a token, by the rules for rooms in the settings file.

use std::io::Write;

use reqwest::{Client, Method};
use serde_json::json;
use tempfile::NamedTempFile;

use super::Guarded;
use crate::client::fetch;
use crate::eventually::soon;
use crate::typed::{find, next};

/// The rooms that everyone may read, except for some.
const RULES: &str = r#"
    [[rooms]]
    match = "news-*"
    anonymous = "read"
    [[rooms]]
    match = "news-staff-*"
    anonymous = "none"
"#;

/// Starts a server with [`RULES`] and `flags`. The file must outlive the server.
fn start(flags: &[&str]) -> (Guarded, NamedTempFile) {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(RULES.as_bytes()).expect("written");
    let path = file.path().to_str().expect("text").to_owned();

    (
        Guarded::start(&[&["--config", &path], flags].concat()),
        file,
    )
}

async fn status(guarded: &Guarded, room: &str) -> u16 {
    let path = format!("{room}/messages");
    fetch(guarded.call(Method::GET, &path, "")).await.0
}

#[tokio::test]
async fn clients_without_a_token_read_exactly_the_rooms_whose_rule_allows_it() {
    let (guarded, _file) = start(&[]);

    assert_eq!(status(&guarded, "news-eu").await, 200);
    assert_eq!(status(&guarded, "news-staff-1").await, 401);
    assert_eq!(status(&guarded, "lobby").await, 401);

    let request = guarded.call(Method::POST, "news-eu/messages", "");
    assert_eq!(fetch(request.body("x")).await.0, 401, "reading only");
}

#[tokio::test]
async fn clients_without_a_token_read_exactly_the_streams_whose_rule_allows_it() {
    let (guarded, _file) = start(&[]);
    let status = async |method, name: &str| {
        let url = guarded.server.url(&format!("/streams/{name}"));
        let request = Client::new().request(method, url);
        let response = soon(request.header("content-type", "text/plain").send()).await;
        response.expect("an answer").status().as_u16()
    };

    // Nobody has created it.
    assert_eq!(status(Method::GET, "news-eu").await, 404);
    assert_eq!(status(Method::GET, "news-staff-1").await, 401);
    assert_eq!(status(Method::GET, "lobby").await, 401);
    assert_eq!(status(Method::PUT, "news-eu").await, 401);
}

#[tokio::test]
async fn a_rule_excludes_rooms_where_all_others_may_be_read_without_a_token() {
    let (guarded, _file) = start(&["--anonymous", "read"]);

    assert_eq!(status(&guarded, "lobby").await, 200);
    assert_eq!(status(&guarded, "news-staff-1").await, 401);
}

#[tokio::test]
async fn a_client_without_a_token_subscribes_to_a_pattern_only_if_all_its_rooms_may_be_read() {
    let (guarded, _file) = start(&[]);
    let mut guest = guarded
        .server
        .try_join("", &[("sec-websocket-protocol", "fanfare.v1")])
        .await
        .expect("accepted");

    let subscribe = |room: &str| json!({ "type": "subscribe", "room": room }).to_string();
    guest.send(subscribe("news-eu-*")).await;
    assert_eq!(find(&mut guest, "subscribed").await["room"], "news-eu-*");
    guest.send(subscribe("news-*")).await;
    assert_eq!(next(&mut guest, "error").await["code"], "not_allowed");
}
