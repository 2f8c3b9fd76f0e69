//! The end of a token while its holder is connected, and its renewal.

use serde_json::{Value, json};

use super::{Guarded, claims, sign, token, unix_seconds};
use crate::client::{Events, Lines};
use crate::harness::Peer;
use crate::typed::{join, next, say};

/// A token of ann's for the lobby that ends at `exp`.
fn ending(exp: u64) -> String {
    let mut claims = claims("ann", json!({"lobby": "rw"}));
    claims["exp"] = exp.into();
    sign(&claims)
}

async fn renew(peer: &mut Peer, token: &str) {
    peer.send(json!({"type": "token", "token": token}).to_string())
        .await;
}

/// Answered only by a connection that lives on.
async fn lives(peer: &mut Peer) {
    peer.send(r#"{"type":"ping"}"#).await;
    next(peer, "pong").await;
}

/// The next `error` with this code.
async fn refused(peer: &mut Peer, code: &str) {
    assert_eq!(next(peer, "error").await["code"], code);
}

#[tokio::test]
async fn whoever_is_connected_is_closed_with_4500_when_its_token_ends() {
    let guarded = Guarded::start(&["--heartbeat", "1s"]);
    // One that has time left, and one that came within the leeway.
    for (later, earlier) in [(2, 0), (0, 27)] {
        let exp = unix_seconds() + later - earlier;
        let query = format!("token={}", ending(exp));
        let (mut typed, _) = join(&guarded.server, &query).await;
        let mut plain = guarded.server.join_with(&query).await;
        let mut events = Events::open(&guarded.server, &query).await;
        let mut lines = Lines::open(&guarded.server, &query).await;
        assert_eq!(
            (typed.close_code().await, plain.close_code().await),
            (4500, 4500)
        );
        assert!(events.event().await.is_none(), "the stream ends");
        while let Some(line) = lines.line().await {
            assert_eq!(line, "", "nothing but signs of life before the end");
        }
        assert!(unix_seconds() >= exp, "not before its time");
    }
}

#[tokio::test]
async fn a_connection_goes_on_with_the_token_that_it_sends_in_time() {
    let guarded = Guarded::start(&["--heartbeat", "1s"]);
    let query = format!("token={}", ending(unix_seconds() + 3));
    let (mut renewed, _) = join(&guarded.server, &query).await;
    let (mut idle, _) = join(&guarded.server, &query).await;
    let exp = unix_seconds() + 3600;
    renew(&mut renewed, &ending(exp)).await;
    assert_eq!(
        next(&mut renewed, "token").await["expires_at"],
        json!(exp * 1000)
    );
    // The first token is over when it ends the other connection.
    assert_eq!(idle.close_code().await, 4500);
    say(&mut renewed, "still here", Some("k")).await;
    assert_eq!(crate::typed::find(&mut renewed, "ack").await["key"], "k");
}

#[tokio::test]
async fn a_token_that_does_not_renew_is_answered_with_the_reason_and_changes_nothing() {
    let guarded = Guarded::start(&[]);
    let (mut ann, _) = join(
        &guarded.server,
        &format!("token={}", ending(unix_seconds() + 3600)),
    )
    .await;
    let lobby = json!({"lobby": "rw"});
    for (token, code) in [
        ("a.b.c".to_owned(), "bad_token"),
        (ending(unix_seconds() - 60), "bad_token"),
        (token("bob", lobby), "not_allowed"),
        (token("ann", json!({"other": "rw"})), "not_allowed"),
        (token("ann", json!({"lobby": "w"})), "not_allowed"),
    ] {
        renew(&mut ann, &token).await;
        refused(&mut ann, code).await;
    }
    ann.send(r#"{"type":"token"}"#).await;
    refused(&mut ann, "bad_field").await;
    lives(&mut ann).await;
}

#[tokio::test]
async fn a_renewed_token_may_allow_less() {
    let guarded = Guarded::start(&[]);
    let (mut ann, _) = join(
        &guarded.server,
        &format!("token={}", ending(unix_seconds() + 3600)),
    )
    .await;
    renew(&mut ann, &token("ann", json!({"lobby": "r"}))).await;
    next(&mut ann, "token").await;
    say(&mut ann, "x", None).await;
    refused(&mut ann, "not_allowed").await;
}

#[tokio::test]
async fn in_open_mode_any_token_renews_what_never_ends() {
    let server = crate::harness::Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    renew(&mut ann, "a.b.c").await;
    assert_eq!(next(&mut ann, "token").await["expires_at"], Value::Null);
}
