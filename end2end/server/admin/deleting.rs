//! What an operator deletes is gone everywhere, and leaves no hole.

use std::fs;
use std::path::Path;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::call;
use crate::client::{Events, Lines, ask, get, publish};
use crate::harness::{Server, soon};
use crate::metrics::until;
use crate::typed::{find, join, next, say};

async fn delete(server: &Server, room: &str, offset: u64) -> (u16, Value) {
    call(
        server,
        Method::DELETE,
        &format!("rooms/{room}/messages/{offset}"),
        json!({}),
    )
    .await
}

/// What is left of the message that was said at `offset` by `from`.
fn assert_tombstone(message: &Value, offset: u64, from: &str) {
    assert_eq!(
        (&message["offset"], &message["prev"]),
        (&json!(offset), &json!(offset - 1)),
        "{message}"
    );
    assert_eq!(
        (&message["from"], &message["deleted"]),
        (&json!(from), &json!(true)),
        "{message}"
    );
    assert!(
        message.get("text").is_none() && message.get("data").is_none(),
        "{message}"
    );
}

#[tokio::test]
async fn a_deleted_message_is_gone_for_readers_of_every_kind_and_its_place_is_not() {
    for store in ["memory", "sqlite:fanfare.db"] {
        let server = Server::start(&["--store", store]);
        let (mut ann, welcome) = join(&server, "id=ann").await;
        let mut plain = server.join("plain").await;
        let (mut events, mut lines) = (
            Events::open(&server, "").await,
            Lines::open(&server, "").await,
        );
        for (number, text) in ["one", "the secret", "three"].into_iter().enumerate() {
            say(&mut ann, text, Some(&format!("k{number}"))).await;
            find(&mut ann, "message").await;
        }
        for _said in 0..3 {
            events.next("message").await;
            lines.next().await;
        }
        let expected = json!({ "room": "lobby", "offset": 2, "before": false });
        assert_eq!(delete(&server, "lobby", 2).await, (200, expected));
        let told = find(&mut ann, "deleted").await;
        assert_eq!(told["offset"], json!(2), "{told}");
        assert!(told["at"].as_u64().is_some(), "{told}");
        assert_eq!(events.next("deleted").await, told);
        assert_eq!(lines.next().await, told);

        let page = get(&server, "/api/v1/rooms/lobby/messages").await;
        assert_tombstone(&page["messages"][1], 2, "ann");
        assert_eq!(
            (&page["messages"][0]["text"], &page["messages"][2]["text"]),
            (&json!("one"), &json!("three"))
        );
        ann.send(json!({ "type": "history" }).to_string()).await;
        assert_tombstone(&find(&mut ann, "history").await["messages"][1], 2, "ann");
        let (mut late, _) = join(&server, "id=late&after=1").await;
        assert_tombstone(&next(&mut late, "message").await, 2, "ann");
        assert_eq!(next(&mut late, "message").await["text"], "three");
        assert_tombstone(
            &Lines::open(&server, "after=1").await.next().await,
            2,
            "ann",
        );

        // A plain client hears nothing of it, before and after; nor what is gone.
        let mut late = server.join_with("id=late&after=0").await;
        publish(&server, "lobby", "four").await;
        assert_eq!(plain.texts(4).await, ["one", "the secret", "three", "four"]);
        assert_eq!(late.texts(3).await, ["one", "three", "four"]);

        // A repeated send is still known.
        say(&mut ann, "the secret", Some("k1")).await;
        let ack = find(&mut ann, "ack").await;
        assert_eq!(
            (&ack["offset"], &ack["duplicate"]),
            (&json!(2), &json!(true)),
            "{ack}"
        );
        // Whoever had read it and was away when it was deleted is told on coming back.
        let epoch = welcome["epoch"].as_str().expect("text");
        let (mut back, _) = join(&server, &format!("id=back&after=3&epoch={epoch}")).await;
        assert_eq!(next(&mut back, "deleted").await, told);
    }
}

#[tokio::test]
async fn deleting_again_changes_nothing_and_what_is_not_there_is_said() {
    let server = Server::start(&["--history-messages", "2"]);
    for text in ["one", "two", "three"] {
        publish(&server, "lobby", text).await;
    }
    assert_eq!(delete(&server, "lobby", 3).await.1["before"], json!(false));
    assert_eq!(delete(&server, "lobby", 3).await.1["before"], json!(true));
    for offset in [0, 1, 4, u64::MAX] {
        let (status, answer) = delete(&server, "lobby", offset).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (404, &json!("no_such_message")),
            "{offset}"
        );
    }
    for path in ["rooms/A/messages/1", "rooms/lobby/messages/x"] {
        assert_eq!(
            call(&server, Method::DELETE, path, json!({})).await.0,
            400,
            "{path}"
        );
    }
    let public = server.url("/api/v1/admin/rooms/lobby/messages/2");
    assert_eq!(ask(Client::new().delete(public)).await.0, 403);
    until(&server, "fanfare_admin_acts_total{act=\"delete\"}", 1).await;
    let log = server.log().await;
    assert!(
        log.contains("deleted a message") && !log.contains("three"),
        "{log}"
    );
}

/// Whether `words` stand in any file of `folder`.
fn is_anywhere(folder: &Path, words: &str) -> bool {
    fs::read_dir(folder).expect("a folder").any(|file| {
        let bytes = fs::read(file.expect("a file").path()).expect("bytes");
        bytes
            .windows(words.len())
            .any(|there| there == words.as_bytes())
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
    assert_eq!(publish(&server, "lobby", "four").await["offset"], json!(4));
    // What the kill left in the write-ahead log goes when the next server has looked at it.
    soon(async {
        while is_anywhere(data.path(), secret) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
