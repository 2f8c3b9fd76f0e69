//! Databases that are torn, of another program, in use, or damaged.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::client::Lines;
use crate::harness::{Server, program};
use crate::metrics::until;
use crate::typed::{join, next, say};

/// Returns the bytes of a database that `statements` create.
fn database_with(statements: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.db");

    rusqlite::Connection::open(&path)
        .expect("opened")
        .execute_batch(statements)
        .expect("made");
    fs::read(path).expect("the file")
}

#[tokio::test]
async fn a_torn_or_foreign_database_is_refused_and_left_unchanged() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    for number in 0..50 {
        say(&mut ann, &format!("{number} {}", "x".repeat(2000)), None).await;
        next(&mut ann, "message").await;
    }

    server.log().await;

    let path = data.path().join("fanfare.db");
    let whole = fs::read(&path).expect("the file");
    let torn = whole[..whole.len() / 2 / 4096 * 4096].to_vec();
    let garbled = [vec![0x55; 4096], whole[4096..].to_vec()].concat();

    for (content, expected) in [
        (torn, "damaged"),
        (garbled, "damaged"),
        (b"this is a letter, not a database".repeat(100), "damaged"),
        (
            database_with("CREATE TABLE letters (text)"),
            "not one of Fanfare's",
        ),
        (
            database_with("PRAGMA application_id = 0x46414e46; PRAGMA user_version = 99"),
            "newer Fanfare",
        ),
    ] {
        fs::write(&path, &content).expect("written");

        let output = program()
            .args(["--listen", "127.0.0.1:0", "--ops-listen", "off", "--data"])
            .arg(data.path())
            .output();
        let output = output.expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("fanfare.db"), "{error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(
            fs::read(&path).expect("the file"),
            content,
            "the file is unchanged"
        );
    }
}

#[tokio::test]
async fn damage_found_by_the_quick_check_prevents_the_start() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &["--quick-check", "yes"]);

    let (mut ann, _) = join(&server, "id=ann").await;
    for number in 0..200 {
        say(&mut ann, &format!("{number} {}", "x".repeat(500)), None).await;
        next(&mut ann, "message").await;
    }

    server.log().await;

    let path = data.path().join("fanfare.db");
    let mut content = fs::read(&path).expect("the file");
    let last = content.len() - 4096;
    content[last..].fill(0xff);
    fs::write(&path, &content).expect("written");

    let output = program()
        .args([
            "--listen",
            "127.0.0.1:0",
            "--ops-listen",
            "off",
            "--quick-check",
            "yes",
            "--data",
        ])
        .arg(data.path())
        .output()
        .expect("it runs");

    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("damaged"), "{error}");
}

#[tokio::test]
async fn a_second_server_on_the_same_database_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);
    let output = program()
        .args(["--listen", "127.0.0.1:0", "--ops-listen", "off", "--data"])
        .arg(data.path())
        .output();

    let output = output.expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("in use by another fanfare"), "{error}");

    server.join("ann").await.send("the first one goes on").await;
}

/// Fills the page of the database that holds `text` with zeros.
fn zero_page_of(database: &Path, text: &str) {
    let mut bytes = fs::read(database).expect("a database");
    let at = bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes())
        .expect("the text is there");
    let start = at / 4096 * 4096;
    bytes[start..start + 4096].fill(0);
    fs::write(database, bytes).expect("written");
}

#[tokio::test]
async fn readers_continue_after_a_damaged_page_with_a_gap_and_operators_are_notified() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, welcome) = join(&server, "id=ann").await;
    let epoch = welcome["epoch"].as_str().expect("text").to_owned();

    for number in 1..=300 {
        say(&mut ann, &format!("message {number:04}"), None).await;
        next(&mut ann, "message").await;
    }

    server.log().await;
    zero_page_of(&data.path().join("fanfare.db"), "message 0150");

    let server = Server::start_in(data.path(), &[]);
    let (mut back, welcome) = join(&server, &format!("id=back&after=0&epoch={epoch}")).await;
    assert_eq!(welcome["recovery"], "resumed");

    let mut offsets = Vec::new();
    let gap = loop {
        let frame = back.json().await;
        match frame["type"].as_str() {
            Some("message") => offsets.push(frame["offset"].as_u64().expect("an offset")),
            Some("gap") => break frame,
            _ => {}
        }
    };

    let after = gap["after"].as_u64();
    let before = gap["before"].as_u64();
    let after = after.expect("an offset");
    let before = before.expect("an offset");

    assert_eq!(offsets, (1..=after).collect::<Vec<_>>());
    assert!((after..before).contains(&150), "{gap}");
    assert_eq!(gap["reason"], "damaged");
    assert_eq!(gap["count"], before - after - 1);

    for offset in before..=300 {
        assert_eq!(next(&mut back, "message").await["offset"], offset);
    }

    say(&mut back, "behind it", None).await;
    assert_eq!(next(&mut back, "message").await["offset"], 301);

    until(&server, "fanfare_gaps_total{reason=\"damaged\"}", 1).await;
    let damaged = before - after - 1;
    until(&server, "fanfare_damaged_messages_total", damaged).await;

    let answer = reqwest::get(format!("http://{}/readyz", server.ops)).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 200);

    let text = answer.text().await.expect("text");
    assert!(
        text.contains(&format!("damaged: {damaged} messages")),
        "{text}"
    );
    assert!(text.contains("room lobby"), "{text}");

    let log = server.log().await;
    assert!(log.contains("messages cannot be read"), "{log}");
}

#[tokio::test]
async fn an_event_stream_has_a_gap_where_messages_were_removed_from_the_database() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    for number in 1..=9 {
        say(&mut ann, &number.to_string(), None).await;
        next(&mut ann, "message").await;
    }

    server.log().await;

    let database = rusqlite::Connection::open(data.path().join("fanfare.db")).expect("opened");
    let removed = database.execute("DELETE FROM messages WHERE offset IN (4, 5)", []);
    assert_eq!(removed.expect("written"), 2);

    drop(database);

    let server = Server::start_in(data.path(), &[]);
    let mut stream = Lines::open(&server, "after=0").await;

    for expected in [json!(1), json!(2), json!(3)] {
        assert_eq!(stream.next().await["offset"], expected);
    }

    assert_eq!(
        stream.next().await,
        json!({ "type": "gap", "room": "lobby", "after": 3, "before": 6, "count": 2, "reason": "damaged" })
    );
    assert_eq!(stream.next().await["offset"], 6);
}

#[tokio::test]
async fn an_export_skips_damaged_messages_and_fails_with_their_number() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    for number in 1..=300 {
        say(&mut ann, &format!("message {number:04}"), None).await;
        next(&mut ann, "message").await;
    }

    server.log().await;
    zero_page_of(&data.path().join("fanfare.db"), "message 0150");

    let output = program()
        .args(["export", "lobby", "--data"])
        .arg(data.path())
        .output()
        .expect("it runs");

    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot be read"), "{error}");

    let lines = String::from_utf8(output.stdout).expect("text");
    assert!(lines.contains("message 0001"));
    assert!(lines.contains("message 0300"));
}

#[test]
fn a_state_file_that_cannot_be_read_keeps_the_server_from_starting_and_is_named() {
    let data = tempfile::tempdir().expect("a folder");
    let state = data.path().join("fanfare.db.state");
    fs::create_dir(&state).expect("a folder");

    let output = program()
        .args(["--listen", "127.0.0.1:0", "--ops-listen", "off", "--data"])
        .arg(data.path())
        .output()
        .expect("it runs");

    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains(&format!("cannot read the state file {}", state.display())),
        "{error}"
    );
}
