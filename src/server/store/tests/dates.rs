//! Tests of SQLite stores with a wrong date. Setting the wall clock must not expire messages or keys too early.

use super::*;

#[test]
fn a_database_that_is_opened_while_the_date_is_a_month_ahead_keeps_its_messages() {
    let subject = Subject::sqlite(Subject::retention(100));
    subject.append(None, "x");
    subject.close();
    let month_ms = 30 * 24 * 60 * 60 * 1000_u64;
    let database = rusqlite::Connection::open(subject.path()).expect("opened");
    // The wall clock alone indicates that the store was closed a month ago.
    let set_back =
        "UPDATE meta SET value = CAST(value AS INTEGER) - ?1 WHERE name IN ('clock', 'wall')";
    assert_eq!(database.execute(set_back, [month_ms]).expect("written"), 2);
    for set_back in [
        "UPDATE rooms SET clock = clock - ?1",
        "UPDATE messages SET clock = clock - ?1",
    ] {
        assert_eq!(database.execute(set_back, [month_ms]).expect("written"), 1);
    }
    drop(database);

    let store = SqliteStore::open(subject.settings()).expect("opened");
    // Storing a message trims its room.
    let drafts = vec![Draft::text(UserId::guest(1), None, "x")];
    block_on(store.append(&RoomName::lobby(), drafts, 7)).expect("stored");

    let bounds = store.bounds(&RoomName::lobby()).expect("bounds");
    assert_eq!((bounds.first, bounds.head), (Offset(1), Offset(2)));
}
