//! `fanfare export` and `fanfare import`: a room is copied from one database to another, also while a server runs.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::harness::{Server, program};
use crate::typed::{find, join, next, say};

/// Runs `fanfare SUBCOMMAND ROOM` on the database in `data`.
fn run(subcommand: &str, room: &str, data: &Path, input: &str) -> Output {
    let mut child = program()
        .args([subcommand, room, "--data"])
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");

    // The command may end before it has read all of its input.
    let _ = child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes());

    child.wait_with_output().expect("it ends")
}

/// Returns the JSON lines of the output.
fn lines(output: &Output) -> Vec<Value> {
    lines_of(std::str::from_utf8(&output.stdout).expect("text"))
}

/// Returns the lines of `text`, each a JSON value.
fn lines_of(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[tokio::test]
async fn a_room_exported_while_the_server_runs_is_imported_unchanged() {
    let from = tempfile::tempdir().expect("a folder");
    let to = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(from.path(), &[]);

    let (mut ann, _) = join(&server, "id=ann&room=class").await;
    say(&mut ann, "雪 \u{1}\n<b>", Some("k1")).await;
    let first = find(&mut ann, "message").await;
    server
        .join_with("id=bob&room=class")
        .await
        .send(vec![0, 255])
        .await;
    let second = find(&mut ann, "message").await;

    let exported = run("export", "class", from.path(), "");
    assert!(exported.status.success(), "{exported:?}");

    let expected: Vec<Value> = [first, second]
        .into_iter()
        .map(|mut message| {
            message.as_object_mut().expect("an object").remove("type");
            message
        })
        .collect();
    assert_eq!(lines(&exported), expected);

    let text = String::from_utf8(exported.stdout).expect("text");

    for (stored, known) in [
        ("2 messages stored", "0 were there"),
        ("1 messages stored", "1 were there"),
    ] {
        let imported = run("import", "copy", to.path(), &text);
        let stderr = String::from_utf8_lossy(&imported.stderr).into_owned();
        assert!(imported.status.success(), "{stderr}");
        assert!(stderr.contains(stored), "{stderr}");
        assert!(stderr.contains(known), "{stderr}");
    }

    let server = Server::start_in(to.path(), &[]);
    let (mut eve, _) = join(&server, "id=eve&room=copy&after=0").await;

    for expected in &expected {
        let message = next(&mut eve, "message").await;
        for field in ["at", "from", "text", "data", "key"] {
            assert_eq!(message[field], expected[field], "{field}");
        }
    }
}

#[tokio::test]
async fn an_import_of_invalid_lines_or_into_a_database_in_use_stores_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let refused = run(
        "import",
        "class",
        data.path(),
        "{\"text\":\"fine\"}\n\n{\"txt\":\"wrong\"}\n",
    );

    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("line 3"), "{stderr}");

    let none = run("export", "class", data.path(), "");
    assert_eq!(none.status.code(), Some(1), "there is no database yet");

    let server = Server::start_in(data.path(), &[]);
    let refused = run("import", "class", data.path(), "{\"text\":\"fine\"}\n");

    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("in use by another fanfare"), "{stderr}");

    let (_ann, welcome) = join(&server, "id=ann&room=class").await;
    assert_eq!(welcome["head"], 0);

    let wrong = run("export", "Class 7", data.path(), "");
    assert_eq!(
        wrong.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&wrong.stderr)
    );
}

#[test]
fn an_imported_file_may_begin_with_a_byte_order_mark() {
    let folder = tempfile::tempdir().expect("a folder");

    let imported = run(
        "import",
        "lobby",
        folder.path(),
        "\u{feff}{\"text\":\"one\"}\n{\"text\":\"two\"}\n",
    );

    let stderr = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(imported.status.success(), "{stderr}");
    assert!(stderr.contains("2 messages stored"), "{stderr}");
}

#[test]
fn a_line_with_a_time_that_cannot_be_stored_is_named_and_nothing_is_stored() {
    let folder = tempfile::tempdir().expect("a folder");

    let lines = "{\"text\":\"fine\"}\n\n{\"text\":\"late\",\"at\":9223372036854775808}\n";
    let refused = run("import", "lobby", folder.path(), lines);

    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("line 3: `at` is 9223372036854775808; the limit is 9223372036854775807"),
        "{stderr}"
    );
    assert!(!folder.path().join("fanfare.db").exists());
}

#[test]
fn imported_json_is_kept_byte_for_byte_and_references_follow_their_messages() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = [
        r#"{"offset":7,"from":"ann","text":"first"}"#,
        r#"{"offset":8,"from":"ann","json":{"b":12345678901234567890123,"a":1.50},"kind":"order","reply_to":7}"#,
        r#"{"offset":9,"from":"ann","text":"second","edits":7,"reply_to":3}"#,
    ];

    let imported = run("import", "class", folder.path(), &lines.join("\n"));
    let exported = run("export", "class", folder.path(), "");

    let stderr = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(imported.status.success(), "{stderr}");
    let text = String::from_utf8_lossy(&exported.stdout).into_owned();
    let json = r#""json":{"b":12345678901234567890123,"a":1.50},"kind":"order","reply_to":1"#;
    assert!(text.contains(json), "{text}");
    let messages = lines_of(&text);
    assert_eq!(messages[2]["edits"], 1);
    assert_eq!(messages[2].get("reply_to"), None, "it is not in the input");
}
