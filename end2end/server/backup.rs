//! `fanfare backup` and `fanfare restore`: copies of the database, made under load and restored.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::eventually::soon;
use crate::harness::{Server, program};
use crate::typed::{find, join, next, say};

/// Runs `fanfare SUBCOMMAND FILE` on the database in `data`.
fn run(subcommand: &str, file: &Path, data: &Path) -> Output {
    program()
        .arg(subcommand)
        .arg(file)
        .arg("--data")
        .arg(data)
        .output()
        .expect("it runs")
}

/// Returns the standard error as text.
fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_backup_under_load_has_every_acknowledged_message_and_a_new_epoch() {
    let data = tempfile::tempdir().expect("a folder");
    let other = tempfile::tempdir().expect("a folder");
    let file = other.path().join("copy");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, welcome) = join(&server, "id=ann").await;
    let epoch = welcome["epoch"].as_str().expect("text").to_owned();
    let mut acknowledged = 0;

    for number in 0..300 {
        say(&mut ann, "x", Some(&number.to_string())).await;
        acknowledged = find(&mut ann, "ack").await["offset"]
            .as_u64()
            .expect("an offset");
    }

    let copying = tokio::task::spawn_blocking({
        let file = file.clone();
        let data = data.path().to_owned();
        move || run("backup", &file, &data)
    });

    let mut number = 300;
    while !copying.is_finished() {
        say(&mut ann, "x", Some(&number.to_string())).await;
        find(&mut ann, "ack").await;
        number += 1;
    }

    let copied = copying.await.expect("it ends");
    assert!(copied.status.success(), "{}", stderr(&copied));

    let restored = run("restore", &file, other.path());
    assert!(restored.status.success(), "{}", stderr(&restored));

    let server = Server::start_in(other.path(), &[]);
    let query = format!("id=ann&after={acknowledged}&epoch={epoch}");

    let (mut back, welcome) = join(&server, &query).await;
    assert_eq!(welcome["recovery"], "lost");
    assert_ne!(welcome["epoch"], epoch.as_str());
    assert!(welcome["head"].as_u64() >= Some(acknowledged), "{welcome}");

    next(&mut back, "gap").await;
    for offset in 1..=acknowledged {
        assert_eq!(next(&mut back, "message").await["offset"], offset);
    }
}

#[tokio::test]
async fn a_restore_keeps_the_replaced_database_and_is_refused_while_a_server_runs() {
    let data = tempfile::tempdir().expect("a folder");
    let copy = data.path().join("copy");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    say(&mut ann, "before the copy", Some("k")).await;
    find(&mut ann, "ack").await;

    let copied = run("backup", &copy, data.path());
    assert!(copied.status.success(), "{}", stderr(&copied));

    say(&mut ann, "after the copy", Some("l")).await;
    find(&mut ann, "ack").await;

    let refused = run("restore", &copy, data.path());
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("in use"), "{}", stderr(&refused));

    server.log().await;

    let restored = run("restore", &copy, data.path());
    assert!(restored.status.success(), "{}", stderr(&restored));

    let replaced = data.path().join("fanfare.db.replaced-1");
    assert!(stderr(&restored).contains("fanfare.db.replaced-1"));

    let bytes = fs::read(replaced).expect("the database of before");
    let text = b"after the copy";
    assert!(bytes.windows(text.len()).any(|window| window == text));

    let server = Server::start_in(data.path(), &[]);
    let (mut eve, welcome) = join(&server, "id=eve&after=0").await;
    assert_eq!(welcome["head"], 1);
    assert_eq!(next(&mut eve, "message").await["text"], "before the copy");
}

#[tokio::test]
async fn a_damaged_or_unwritable_backup_is_an_error_and_changes_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    server.join("ann").await.send("x").await;

    let nowhere = data.path().join("no-such-folder/copy");
    let refused = run("backup", &nowhere, data.path());
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("no-such-folder/copy"),
        "{}",
        stderr(&refused)
    );

    server.log().await;

    let database = data.path().join("fanfare.db");
    let before = fs::read(&database).expect("a database");
    let letter = data.path().join("letter");
    fs::write(&letter, "this is a letter").expect("written");

    for (file, code) in [(letter, 1), (data.path().join("nothing"), 1)] {
        let refused = run("restore", &file, data.path());
        assert_eq!(refused.status.code(), Some(code), "{}", stderr(&refused));
    }

    let itself = run("backup", &database, data.path());
    assert_eq!(itself.status.code(), Some(1), "{}", stderr(&itself));

    assert_eq!(fs::read(&database).expect("a database"), before);

    let memory = program()
        .args(["backup", "copy", "--store", "memory"])
        .output()
        .expect("it runs");
    assert_eq!(memory.status.code(), Some(2), "{}", stderr(&memory));
}

#[tokio::test]
async fn only_the_ops_listener_serves_a_backup() {
    let data = tempfile::tempdir().expect("a folder");
    let other = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    say(&mut ann, "hello", Some("k")).await;
    find(&mut ann, "ack").await;

    let path = "/api/v1/admin/backup";
    let answer = soon(reqwest::get(format!("http://{}{path}", server.ops))).await;

    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 200);

    let copy = soon(answer.bytes()).await.expect("a copy");
    let public = soon(reqwest::get(server.url(path))).await;
    assert_ne!(public.expect("an answer").status(), 200);

    let file = other.path().join("copy");
    fs::write(&file, copy).expect("written");

    let restored = run("restore", &file, other.path());
    assert!(restored.status.success(), "{}", stderr(&restored));

    let server = Server::start_in(other.path(), &[]);
    let (mut eve, _) = join(&server, "id=eve&after=0").await;
    let message = next(&mut eve, "message").await;
    assert_eq!(message["text"], "hello");
    assert_eq!(message["offset"], 1);

    let names: Vec<_> = fs::read_dir(data.path())
        .expect("a folder")
        .map(|file| file.expect("a file").file_name())
        .filter(|name| name.to_string_lossy().contains("part"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[tokio::test]
async fn a_backup_replaces_only_an_earlier_backup() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(data.path(), &[]);

    let (mut ann, _) = join(&server, "id=ann").await;
    say(&mut ann, "x", Some("key")).await;
    find(&mut ann, "ack").await;

    let other = tempfile::tempdir().expect("a folder");
    let at = |name: &str| other.path().join(name);
    fs::write(at("text"), "not a copy").expect("written");
    std::os::unix::fs::symlink(at("text"), at("link")).expect("linked");
    std::os::unix::fs::symlink(at("text"), at("copy.part")).expect("linked");

    let own = [
        "fanfare.db",
        "fanfare.db-wal",
        "fanfare.db-shm",
        "fanfare.db.state",
    ];
    let own = own.map(|name| data.path().join(name));

    for target in own.into_iter().chain([at("text"), at("link")]) {
        let refused = run("backup", &target, data.path());
        assert_eq!(refused.status.code(), Some(1), "{}", target.display());
        assert!(
            stderr(&refused).contains("cannot be replaced"),
            "{}",
            stderr(&refused)
        );
    }

    for _copy in 0..2 {
        let copied = run("backup", &at("copy"), data.path());
        assert!(copied.status.success(), "{}", stderr(&copied));
    }

    assert_eq!(fs::read_to_string(at("text")).expect("read"), "not a copy");

    say(&mut ann, "y", Some("other key")).await;
    find(&mut ann, "ack").await;
}

#[test]
fn a_restore_of_anything_but_a_backup_is_refused_with_the_path_and_the_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("empty"), "").expect("written");
    fs::write(at("letter"), "this is a letter").expect("written");
    fs::create_dir(at("folder")).expect("a folder");

    for (name, reason) in [
        ("empty", "is empty"),
        ("letter", "is no SQLite database"),
        ("folder", "is not a regular file"),
        ("nothing", "No such file"),
    ] {
        let refused = run("restore", &at(name), &at("data"));

        let error = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{error}");
        assert!(error.contains(&at(name).display().to_string()), "{error}");
        assert!(error.contains(reason), "{error}");
        assert!(!at("data").exists(), "{name}");
    }
}
