//! Tokens that expire on an open connection, and their renewal.

use serde_json::{Value, json};

use super::{Guarded, claims, sign, token, unix_seconds};
use crate::client::{Events, Lines};
use crate::harness::Peer;
use crate::typed::{join, next, say};

/// Returns a token of ann for the lobby that expires at `exp`.
fn expiring_at(exp: u64) -> String {
    let mut claims = claims("ann", json!({"lobby": "rw"}));
    claims["exp"] = exp.into();
    sign(&claims)
}

/// Sends a new token.
async fn renew(peer: &mut Peer, token: &str) {
    peer.send(json!({"type": "token", "token": token}).to_string())
        .await;
}

/// Checks that the connection is open.
async fn check_open(peer: &mut Peer) {
    peer.send(r#"{"type":"ping"}"#).await;
    next(peer, "pong").await;
}

/// Checks that the next frame is an `error` with `code`.
async fn check_error(peer: &mut Peer, code: &str) {
    assert_eq!(next(peer, "error").await["code"], code);
}

#[tokio::test]
async fn connections_are_closed_with_4500_when_their_token_expires() {
    let guarded = Guarded::start(&["--heartbeat", "1s"]);

    // One token has time left, and one expired within the leeway.
    for (later, earlier) in [(2, 0), (0, 27)] {
        let exp = unix_seconds() + later - earlier;
        let query = format!("token={}", expiring_at(exp));

        let (mut typed, _) = join(&guarded.server, &query).await;
        let mut plain = guarded.server.join_with(&query).await;
        let mut events = Events::open(&guarded.server, &query).await;
        let mut lines = Lines::open(&guarded.server, &query).await;

        assert_eq!(typed.close_code().await, 4500);
        assert_eq!(plain.close_code().await, 4500);
        assert!(events.event().await.is_none(), "the stream ends");

        while let Some(line) = lines.line().await {
            assert_eq!(line, "", "only keep-alives before the end");
        }

        assert!(unix_seconds() >= exp, "not before it expires");
    }
}

#[tokio::test]
async fn a_connection_continues_with_a_token_sent_in_time() {
    let guarded = Guarded::start(&["--heartbeat", "1s"]);
    let query = format!("token={}", expiring_at(unix_seconds() + 3));

    let (mut renewed, _) = join(&guarded.server, &query).await;
    let (mut idle, _) = join(&guarded.server, &query).await;
    let exp = unix_seconds() + 3600;
    renew(&mut renewed, &expiring_at(exp)).await;

    assert_eq!(next(&mut renewed, "token").await["expires_at"], exp * 1000);

    // The first token has expired when the other connection is closed.
    assert_eq!(idle.close_code().await, 4500);

    say(&mut renewed, "still here", Some("k")).await;
    assert_eq!(crate::typed::find(&mut renewed, "ack").await["key"], "k");
}

#[tokio::test]
async fn a_token_that_cannot_renew_is_refused_with_the_reason() {
    let guarded = Guarded::start(&[]);
    let (mut ann, _) = join(
        &guarded.server,
        &format!("token={}", expiring_at(unix_seconds() + 3600)),
    )
    .await;

    let lobby = json!({"lobby": "rw"});
    for (token, code) in [
        ("a.b.c".to_owned(), "bad_token"),
        (expiring_at(unix_seconds() - 60), "bad_token"),
        (token("bob", lobby), "not_allowed"),
    ] {
        renew(&mut ann, &token).await;
        check_error(&mut ann, code).await;
    }

    ann.send(r#"{"type":"token"}"#).await;
    check_error(&mut ann, "bad_field").await;
    check_open(&mut ann).await;
}

#[tokio::test]
async fn a_renewed_token_that_does_not_grant_read_access_ends_the_subscription() {
    let guarded = Guarded::start(&[]);
    let query = format!("token={}", expiring_at(unix_seconds() + 3600));
    let (mut ann, _) = join(&guarded.server, &query).await;

    renew(&mut ann, &token("ann", json!({"other": "rw"}))).await;

    next(&mut ann, "token").await;
    let unsubscribed = next(&mut ann, "unsubscribed").await;
    assert_eq!(unsubscribed["room"], "lobby");
    assert_eq!(unsubscribed["code"], "not_allowed");
}

#[tokio::test]
async fn a_renewed_token_may_allow_less() {
    let guarded = Guarded::start(&[]);
    let (mut ann, _) = join(
        &guarded.server,
        &format!("token={}", expiring_at(unix_seconds() + 3600)),
    )
    .await;

    renew(&mut ann, &token("ann", json!({"lobby": "r"}))).await;
    next(&mut ann, "token").await;
    say(&mut ann, "x", None).await;
    check_error(&mut ann, "not_allowed").await;
}

#[tokio::test]
async fn in_open_mode_any_token_is_accepted_without_expiry() {
    let server = crate::harness::Server::start(&[]);
    let (mut ann, _) = join(&server, "id=ann").await;
    renew(&mut ann, "a.b.c").await;
    assert_eq!(next(&mut ann, "token").await["expires_at"], Value::Null);
}
