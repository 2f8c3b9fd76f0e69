//! Tests of opening a database file: the files that are accepted, and the conditions under which the epoch continues.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Files of each version of the schema, created by the program of that version, with three messages in the lobby.
const VERSIONS: &[&[u8]] = &[
    include_bytes!("databases/version-1.db"),
    include_bytes!("databases/version-2.db"),
    include_bytes!("databases/version-3.db"),
    include_bytes!("databases/version-4.db"),
    include_bytes!("databases/version-5.db"),
    VERSION_6,
    include_bytes!("databases/version-7.db"),
];
/// A file of version 6. Its room `orders` has messages of each kind, and the first of them was trimmed.
const VERSION_6: &[u8] = include_bytes!("databases/version-6.db");
/// A file of version 4 with two rooms that were written to in turn. The lobby kept three messages.
const TWO_ROOMS: &[u8] = include_bytes!("databases/version-4-rooms.db");
/// The files left by a process that was killed in the first milliseconds of its first start.
const STUCK: (&[u8], &[u8]) = (
    include_bytes!("databases/stuck-first-start.db"),
    include_bytes!("databases/stuck-first-start.db-journal"),
);

/// A folder with a database.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("data")).expect("made");
        Self(folder)
    }

    /// Creates a folder with a database of these bytes.
    fn with(database: &[u8]) -> Self {
        let folder = Self::new();
        fs::write(folder.database(), database).expect("written");
        folder
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn backup(&self) -> PathBuf {
        self.0.path().join("backup")
    }

    fn database(&self) -> PathBuf {
        self.data().join("test.db")
    }

    /// Returns the texts of the lobby, as exported.
    fn texts(&self) -> Vec<serde_json::Value> {
        let mut texts = Vec::new();
        export(&self.database(), &RoomName::lobby(), |frame| {
            texts.push(serde_json::to_value(frame.publication())?["text"].clone());
            Ok(())
        })
        .expect("exported");
        texts
    }

    fn try_open(&self) -> Result<SqliteStore, OpenError> {
        open(&self.database())
    }

    fn open(&self) -> SqliteStore {
        self.try_open().expect("opened")
    }

    /// Opens the database, stores `count` messages and closes the database. Returns its epoch.
    fn run(&self, count: usize) -> Epoch {
        let store = self.open();
        for number in 0..count {
            append(&store, &number.to_string());
        }
        epoch(&store)
    }
}

fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(&SqliteSettings {
        retention: Retention::of_test(1000),
        ..SqliteSettings::of_test(path.to_owned())
    })
}

fn append(store: &SqliteStore, text: &str) {
    let draft = Draft::text(UserId::guest(1), None, text);
    block_on(store.append(&RoomName::lobby(), vec![draft], 7)).expect("stored");
}

fn epoch(store: &SqliteStore) -> Epoch {
    store.bounds(&RoomName::lobby()).expect("bounds").epoch
}

fn head(store: &SqliteStore) -> u64 {
    store.bounds(&RoomName::lobby()).expect("bounds").head.0
}

/// Runs a program of the operating system.
fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.expect("it runs").success());
}

/// Copies the content of a folder, including times and permissions, over that of another.
fn copy_over(from: &Path, to: &Path) {
    run("cp", &[Path::new("-a"), &from.join("."), to]);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").mode() & 0o777
}

#[test]
fn a_database_that_only_fanfare_touched_keeps_its_epoch() {
    let folder = Folder::new();
    let first = folder.run(3);
    assert_eq!(folder.run(0), first);

    fs::set_permissions(folder.database(), Permissions::from_mode(0o640)).expect("set");
    assert_eq!(folder.run(2), first, "permissions are no content");

    fs::rename(folder.data(), folder.backup()).expect("moved");
    fs::rename(folder.backup(), folder.data()).expect("moved back");
    assert_eq!(folder.run(0), first, "the same files at the same place");

    let reader = Connection::open(folder.database()).expect("opened");
    let count = "SELECT count(*) FROM messages";
    let count: u64 = reader.query_row(count, [], |row| row.get(0)).expect("read");
    drop(reader);
    assert_eq!((count, folder.run(0)), (5, first), "it was only read");
}

#[test]
fn a_database_that_went_back_in_time_begins_a_new_epoch() {
    type Way = fn(&Folder);
    let put_back: [(&str, Way); 6] = [
        ("the file, in place", |folder| {
            fs::copy(folder.backup().join("test.db"), folder.database()).expect("copied");
        }),
        ("the file, in place, with its times", |folder| {
            run(
                "cp",
                &[
                    Path::new("-p"),
                    &folder.backup().join("test.db"),
                    &folder.database(),
                ],
            );
        }),
        ("the file, by a rename", |folder| {
            fs::rename(folder.backup().join("test.db"), folder.database()).expect("renamed");
        }),
        ("the folder, in place, with its times", |folder| {
            copy_over(&folder.backup(), &folder.data());
        }),
        ("the folder, instead", |folder| {
            fs::remove_dir_all(folder.data()).expect("removed");
            fs::rename(folder.backup(), folder.data()).expect("renamed");
        }),
        ("a backup by SQLite", |folder| {
            let backup = Connection::open(folder.backup().join("test.db")).expect("opened");
            let into = folder.0.path().join("vacuumed.db");
            let path = into.to_str().expect("text");
            backup.execute("VACUUM INTO ?1", [path]).expect("copied");
            fs::rename(into, folder.database()).expect("renamed");
        }),
    ];

    for (way, put_back) in put_back {
        let folder = Folder::new();
        folder.run(3);
        fs::create_dir(folder.backup()).expect("made");
        copy_over(&folder.data(), &folder.backup());
        let before = folder.run(5);

        put_back(&folder);

        let store = folder.open();
        assert_ne!(epoch(&store), before, "{way}");
        assert_eq!(head(&store), 3, "{way}: what is there can be read");
        let after = epoch(&store);
        drop(store);
        assert_eq!(folder.run(1), after, "{way}: from then on it is the newest");
    }
}

#[test]
fn a_database_that_is_not_proven_to_be_the_newest_begins_a_new_epoch() {
    type Change = fn(&Folder);
    let changes: [(&str, Change); 3] = [
        ("it lacks its state file", |folder| {
            fs::remove_file(folder.data().join("test.db.state")).expect("removed");
        }),
        ("its state file is garbled", |folder| {
            fs::write(folder.data().join("test.db.state"), "none").expect("written");
        }),
        ("it was removed", |folder| {
            fs::remove_file(folder.database()).expect("removed");
        }),
    ];

    for (what, change) in changes {
        let folder = Folder::new();
        let before = folder.run(3);

        change(&folder);

        let after = folder.run(1);
        assert_ne!(after, before, "{what}");
        assert_eq!(folder.run(0), after, "{what}: once");
    }
}

#[test]
fn files_of_each_version_are_opened_with_what_they_hold() {
    for (version, database) in VERSIONS.iter().enumerate() {
        let folder = Folder::with(database);
        let before = folder.texts();
        let store = folder.open();
        append(&store, "new");
        drop(store);

        let texts = folder.texts();
        assert_eq!(before, texts[..3], "version {}", version + 1);
        assert_eq!(
            texts,
            [
                "first".into(),
                "雪".into(),
                serde_json::Value::Null,
                "new".into()
            ],
            "version {}",
            version + 1
        );
    }
}

#[test]
fn a_file_of_version_6_keeps_contents_fields_positions_and_the_number_of_trimmed_messages() {
    let folder = Folder::with(VERSION_6);
    let orders = RoomName::parse("orders").expect("a name");
    let limit = Limit::page(9);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");

    let store = folder.open();
    let page = runtime.block_on(store.read(&orders, Span::Newest, limit));
    let frames = page.expect("a page").frames;
    let messages = frames.iter().map(|frame| {
        let mut message = serde_json::to_value(frame.publication()).expect("JSON");
        message.as_object_mut().expect("an object").remove("at");
        message
    });

    let message = |offset, prev, content| {
        let mut message =
            json!({ "room": "orders", "offset": offset, "prev": prev, "from": "ann" });
        for (field, value) in content {
            message[field] = value;
        }
        message
    };
    let big = serde_json::from_str(r#"{"id":1,"b":12345678901234567890}"#).expect("JSON");
    let expected = [
        message(
            4,
            2,
            vec![
                ("json", big),
                ("kind", json!("order.created")),
                ("key", json!("k1")),
            ],
        ),
        message(6, 4, vec![("data", json!("Ynl0ZXM="))]),
        message(
            7,
            6,
            vec![
                ("text", json!("answer")),
                ("kind", json!("note")),
                ("key", json!("k2")),
                ("reply_to", json!(4)),
            ],
        ),
        message(
            8,
            7,
            vec![
                ("text", json!("edited")),
                ("key", json!("k3")),
                ("edits", json!(7)),
            ],
        ),
    ];
    assert_eq!(messages.collect::<Vec<_>>(), expected);
    let trimmed = runtime.block_on(store.count(&orders, Offset(2)));
    assert_eq!(trimmed, Ok(Some(1)));

    let ann = UserId::parse("ann").expect("a name");
    let again = Draft::text(ann, Key::parse("k0").ok(), "again");
    let stored = block_on(store.append(&orders, vec![again], 7)).expect("stored");
    assert_eq!(
        stored[0].offset(),
        Offset(2),
        "the key of the trimmed message is known"
    );
    assert!(stored[0].frame().is_none(), "it is a duplicate");
}

/// Returns the offset, the previous offset and the text of each message of `room`; no text for a deleted one.
fn messages(store: &SqliteStore, room: &RoomName) -> Vec<(u64, u64, String)> {
    let limit = Limit::page(9);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let page = runtime.block_on(store.read(room, Span::Newest, limit));
    let message = |frame: &Arc<Frame>| {
        let message = serde_json::to_value(frame.publication()).expect("JSON");
        let text = message["text"].as_str().unwrap_or_default();
        (frame.offset().0, frame.prev().0, text.to_owned())
    };
    page.expect("a page").frames.iter().map(message).collect()
}

#[test]
fn messages_of_two_rooms_get_offsets_of_one_sequence_in_the_order_of_their_times() {
    let folder = Folder::with(TWO_ROOMS);
    let other = RoomName::parse("b").expect("a name");
    let store = folder.open();

    let message = |offset, prev, text: &str| (offset, prev, text.to_owned());
    let lobby = [
        message(6, 4, "a2"),
        message(7, 6, "a3"),
        message(9, 7, "a4"),
    ];
    assert_eq!(messages(&store, &RoomName::lobby()), lobby);
    assert_eq!(
        messages(&store, &other),
        [message(5, 0, ""), message(8, 5, "b2")]
    );

    // The key of the trimmed first message is still known.
    let ann = UserId::parse("ann").expect("a name");
    let append = |key: &str, room: &RoomName| {
        let draft = Draft::text(ann.clone(), Key::parse(key).ok(), "again");
        let stored = block_on(store.append(room, vec![draft], 7)).expect("stored");
        (stored[0].offset().0, stored[0].frame().is_some())
    };
    assert_eq!(append("old", &RoomName::lobby()), (4, false));
    assert_eq!(append("new", &RoomName::lobby()), (7, false));
    assert_eq!(append("new", &other), (10, true));
}

#[test]
fn after_a_kill_all_rooms_go_on_after_their_newest_messages() {
    let folder = Folder::new();
    let rooms = ["a", "b"].map(|name| RoomName::parse(name).expect("a name"));
    let store = folder.open();
    for number in 0..6 {
        let draft = Draft::text(UserId::guest(1), None, number.to_string());
        block_on(store.append(&rooms[number % 2], vec![draft], 7)).expect("stored");
    }

    let killed = Folder::new();
    for suffix in ["", "-wal"] {
        let file = format!("test.db{suffix}");
        fs::copy(folder.data().join(&file), killed.data().join(&file)).expect("copied");
    }
    drop(store);

    for _start in 0..2 {
        let store = killed.open();
        for (room, head) in rooms.iter().zip([5, 6]) {
            let bounds = store.bounds(room).expect("bounds");
            assert_eq!(
                (bounds.first, bounds.head),
                (Offset(head - 4), Offset(head))
            );
        }
    }
    let store = killed.open();
    append(&store, "next");
    assert_eq!(head(&store), 7);
}

#[test]
fn a_first_start_that_was_killed_is_followed_by_another() {
    let folder = Folder::with(STUCK.0);
    fs::write(folder.data().join("test.db-journal"), STUCK.1).expect("written");

    let store = folder.open();

    append(&store, "first");
    assert_eq!(head(&store), 1);
}

/// Leaves the files of a process that was killed in the middle of a transaction in `folder`. The database has no
/// write-ahead log, but a journal to be rolled back.
fn leave_journal(folder: &Folder) {
    let other = tempfile::tempdir().expect("a folder");
    let path = other.path().join("test.db");
    fs::copy(folder.database(), &path).expect("copied");

    let database = Connection::open(&path).expect("opened");
    database
        .execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; BEGIN;
             CREATE TABLE filler (bytes); INSERT INTO filler VALUES (randomblob(100000));
             INSERT INTO filler SELECT bytes FROM filler;",
        )
        .expect("begun");

    for suffix in ["", "-journal"] {
        fs::copy(
            other.path().join(format!("test.db{suffix}")),
            folder.data().join(format!("test.db{suffix}")),
        )
        .expect("copied");
    }

    drop(database);
}

#[test]
fn a_transaction_that_was_killed_before_the_database_had_a_log_is_rolled_back() {
    let folder = Folder::with(VERSIONS[1]);
    leave_journal(&folder);

    let exported = export(&folder.database(), &RoomName::lobby(), |_| Ok(()));
    assert!(exported.is_ok(), "{exported:?}");
    leave_journal(&folder);
    let store = folder.open();

    assert_eq!(head(&store), 6, "the three messages have new offsets");
    append(&store, "fourth");
}

#[test]
fn the_journal_of_another_program_is_left_alone() {
    let folder = Folder::new();
    let other = Connection::open(folder.database()).expect("opened");
    other
        .execute_batch("PRAGMA application_id = 7; CREATE TABLE letters (text)")
        .expect("made");
    drop(other);
    leave_journal(&folder);
    let before = fs::read(folder.database()).expect("read");

    let opened = folder.try_open();

    assert!(
        matches!(opened, Err(OpenError::Foreign { .. })),
        "{opened:?}"
    );
    assert_eq!(fs::read(folder.database()).expect("read"), before);
    assert!(folder.data().join("test.db-journal").exists());
}

#[test]
fn a_database_is_opened_once_under_any_name() {
    let folder = Folder::new();
    let link = folder.0.path().join("link.db");
    symlink(folder.database(), &link).expect("linked");
    let store = open(&link).expect("opened");
    append(&store, "x");
    let hard_link = folder.0.path().join("hard.db");
    fs::hard_link(folder.database(), &hard_link).expect("linked");

    for path in [folder.database(), link.clone(), hard_link] {
        let second = open(&path);
        assert!(
            matches!(second, Err(OpenError::InUse { .. })),
            "{}: {second:?}",
            path.display()
        );
    }

    // The path through the link leads to the same files.
    let before = epoch(&store);
    drop(store);
    fs::remove_file(folder.0.path().join("hard.db")).expect("removed");
    assert_eq!(folder.run(0), before);
}

#[test]
fn nobody_else_may_read_the_files_of_a_database() {
    let folder = Folder::new();
    folder.run(1);
    fs::set_permissions(folder.data(), Permissions::from_mode(0o755)).expect("set");
    for file in ["test.db", "test.db.state"] {
        let path = folder.data().join(file);
        fs::set_permissions(path, Permissions::from_mode(0o644)).expect("set");
    }

    let store = folder.open();
    append(&store, "x");

    for suffix in ["", "-wal", "-shm", ".state"] {
        let path = folder.data().join(format!("test.db{suffix}"));
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
