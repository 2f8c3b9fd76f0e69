//! A deleted message is gone everywhere, and leaves no gap.

use std::fs;
use std::path::Path;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::call;
use crate::client::{Events, Lines, fetch, get, publish};
use crate::eventually::eventually;
use crate::harness::Server;
use crate::metrics::until;
use crate::typed::{find, join, next, say};

async fn delete(server: &Server, room: &str, offset: u64) -> (u16, Value) {
    let path = format!("rooms/{room}/messages/{offset}");
    call(server, Method::DELETE, &path, json!({})).await
}

/// Checks that `message` is the tombstone of the message of `from` at `offset`.
fn assert_tombstone(message: &Value, offset: u64, from: &str) {
    assert_eq!(message["offset"], offset, "{message}");
    assert_eq!(message["prev"], offset - 1, "{message}");
    assert_eq!(message["from"], from, "{message}");
    assert_eq!(message["deleted"], true, "{message}");
    assert_eq!(message.get("text"), None, "{message}");
    assert_eq!(message.get("data"), None, "{message}");
}

/// Starts a server with `store`, whose lobby has three messages of `ann` with the keys `k0` to `k2`.
async fn three_messages(store: &str) -> Server {
    let server = Server::start(&["--store", store]);
    let (mut ann, _) = join(&server, "id=ann").await;
    for (number, text) in ["one", "the secret", "three"].into_iter().enumerate() {
        say(&mut ann, text, Some(&format!("k{number}"))).await;
        find(&mut ann, "message").await;
    }
    server
}

#[tokio::test]
async fn connected_readers_get_a_deletion_and_plain_clients_nothing() {
    for store in ["memory", "sqlite:fanfare.db"] {
        let server = Server::start(&["--store", store]);
        let (mut ann, _) = join(&server, "id=ann").await;
        let mut plain = server.join("plain").await;
        let mut events = Events::open(&server, "").await;
        let mut lines = Lines::open(&server, "").await;
        for text in ["one", "the secret"] {
            say(&mut ann, text, None).await;
            find(&mut ann, "message").await;
            events.next("message").await;
            lines.next().await;
        }

        let expected = json!({ "room": "lobby", "offset": 2, "before": false });
        assert_eq!(delete(&server, "lobby", 2).await, (200, expected));

        let deleted = find(&mut ann, "deleted").await;
        assert_eq!(deleted["offset"], 2, "{deleted}");
        assert!(deleted["at"].as_u64().is_some(), "{deleted}");
        assert_eq!(events.next("deleted").await, deleted);
        assert_eq!(lines.next().await, deleted);

        publish(&server, "lobby", "three").await;
        assert_eq!(plain.texts(3).await, ["one", "the secret", "three"]);
    }
}

#[tokio::test]
async fn later_readers_get_a_tombstone_and_plain_clients_nothing() {
    for store in ["memory", "sqlite:fanfare.db"] {
        let server = three_messages(store).await;
        delete(&server, "lobby", 2).await;

        let page = get(&server, "/api/v1/rooms/lobby/messages").await;
        assert_tombstone(&page["messages"][1], 2, "ann");
        assert_eq!(page["messages"][0]["text"], "one");
        assert_eq!(page["messages"][2]["text"], "three");

        let (mut late, _) = join(&server, "id=late&after=1").await;
        assert_tombstone(&next(&mut late, "message").await, 2, "ann");
        assert_eq!(next(&mut late, "message").await["text"], "three");

        late.send(json!({ "type": "history" }).to_string()).await;
        let history = find(&mut late, "history").await;
        assert_tombstone(&history["messages"][1], 2, "ann");

        let mut lines = Lines::open(&server, "after=1").await;
        assert_tombstone(&lines.next().await, 2, "ann");
        let mut plain = server.join_with("id=plain&after=0").await;
        assert_eq!(plain.texts(2).await, ["one", "three"]);
    }
}

#[tokio::test]
async fn a_resuming_reader_gets_a_deletion_that_it_missed() {
    for store in ["memory", "sqlite:fanfare.db"] {
        let server = three_messages(store).await;
        let (mut ann, welcome) = join(&server, "id=ann").await;
        delete(&server, "lobby", 2).await;
        let deleted = find(&mut ann, "deleted").await;

        let epoch = welcome["epoch"].as_str().expect("text");
        let (mut back, _) = join(&server, &format!("id=back&after=3&epoch={epoch}")).await;

        assert_eq!(next(&mut back, "deleted").await, deleted);
    }
}

#[tokio::test]
async fn a_repeated_publish_of_a_deleted_message_is_recognised() {
    for store in ["memory", "sqlite:fanfare.db"] {
        let server = three_messages(store).await;
        delete(&server, "lobby", 2).await;
        let (mut ann, _) = join(&server, "id=ann").await;

        say(&mut ann, "the secret", Some("k1")).await;

        let ack = find(&mut ann, "ack").await;
        assert_eq!(ack["offset"], 2, "{ack}");
        assert_eq!(ack["duplicate"], true, "{ack}");
    }
}

#[tokio::test]
async fn deleting_a_message_again_changes_nothing() {
    let server = Server::start(&[]);
    publish(&server, "lobby", "a secret").await;

    let first = delete(&server, "lobby", 1).await.1;
    let second = delete(&server, "lobby", 1).await.1;

    assert_eq!(first["before"], false, "{first}");
    assert_eq!(second["before"], true, "{second}");
    until(&server, "fanfare_admin_acts_total{act=\"delete\"}", 1).await;
    let log = server.log().await;
    assert!(log.contains("deleted a message"), "{log}");
    assert!(!log.contains("a secret"), "{log}");
}

#[tokio::test]
async fn a_message_that_does_not_exist_cannot_be_deleted() {
    let server = Server::start(&["--history-messages", "2"]);
    for text in ["one", "two", "three"] {
        publish(&server, "lobby", text).await;
    }

    for offset in [0, 1, 4, u64::MAX] {
        let (status, answer) = delete(&server, "lobby", offset).await;

        assert_eq!(status, 404, "{offset}");
        assert_eq!(answer["error"]["code"], "no_such_message", "{offset}");
    }

    for path in ["rooms/a%20b/messages/1", "rooms/lobby/messages/x"] {
        let (status, _) = call(&server, Method::DELETE, path, json!({})).await;
        assert_eq!(status, 400, "{path}");
    }

    let public = server.url("/api/v1/admin/rooms/lobby/messages/2");
    assert_eq!(fetch(Client::new().delete(public)).await.0, 403);
}

/// Returns true if any file of `folder` contains `words`.
fn is_anywhere(folder: &Path, words: &str) -> bool {
    fs::read_dir(folder).expect("a folder").any(|file| {
        let bytes = fs::read(file.expect("a file").path()).expect("bytes");
        let mut windows = bytes.windows(words.len());
        windows.any(|window| window == words.as_bytes())
    })
}

#[tokio::test]
async fn a_deletion_survives_a_kill_and_its_bytes_are_in_no_file() {
    let data = tempfile::tempdir().expect("a folder");
    let secret = "correct horse battery staple";
    let server = Server::start_in(data.path(), &[]);
    for text in ["one", &secret.repeat(500), secret] {
        publish(&server, "lobby", text).await;
    }
    assert!(is_anywhere(data.path(), secret));

    for offset in [2, 3] {
        assert_eq!(delete(&server, "lobby", offset).await.0, 200);
    }
    server.signal("KILL");
    drop(server.end().await);
    let server = Server::start_in(data.path(), &[]);

    let page = get(&server, "/api/v1/rooms/lobby/messages").await;
    assert_tombstone(&page["messages"][1], 2, "anonymous");
    assert_tombstone(&page["messages"][2], 3, "anonymous");
    assert_eq!(publish(&server, "lobby", "four").await["offset"], 4);
    // The bytes in the write-ahead log are gone once the new server has read it.
    eventually(async || is_anywhere(data.path(), secret), |found| !found).await;
}
