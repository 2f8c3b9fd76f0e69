//! Files that the server must not touch: torn, of another program, or in use.

use std::fs;

use crate::harness::{Server, program};
use crate::typed::{join, next, say};

/// A database that `statements` made.
fn of_another_program(statements: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.db");
    rusqlite::Connection::open(&path)
        .expect("opened")
        .execute_batch(statements)
        .expect("made");
    fs::read(path).expect("the file")
}

#[tokio::test]
async fn a_torn_or_foreign_file_is_refused_with_its_name_and_left_as_it_is() {
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
    for (content, said) in [
        (torn, "damaged"),
        (garbled, "damaged"),
        (b"this is a letter, not a database".repeat(100), "damaged"),
        (
            of_another_program("CREATE TABLE letters (text)"),
            "not one of Fanfare's",
        ),
        (
            of_another_program("PRAGMA application_id = 0x46414e46; PRAGMA user_version = 99"),
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
        assert!(
            error.contains("fanfare.db") && error.contains(said),
            "{error}"
        );
        assert_eq!(
            fs::read(&path).expect("the file"),
            content,
            "nothing was changed"
        );
    }
}

#[tokio::test]
async fn what_a_quick_check_finds_keeps_the_server_from_starting() {
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
    assert!(
        output.status.code() == Some(1) && error.contains("damaged"),
        "{error}"
    );
}

#[tokio::test]
async fn two_servers_never_share_a_file() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);
    let output = program()
        .args(["--listen", "127.0.0.1:0", "--ops-listen", "off", "--data"])
        .arg(data.path())
        .output();
    let output = output.expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && error.contains("in use by another fanfare"),
        "{error}"
    );
    server.join("ann").await.send("the first one goes on").await;
}
