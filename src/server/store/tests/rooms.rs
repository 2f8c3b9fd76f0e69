//! Tests of the limit of rooms in a SQLite database. Empty rooms are dropped, and their offsets are not assigned
//! again.

use super::*;

#[test]
fn a_new_room_is_refused_at_the_limit_until_all_messages_of_another_have_expired() {
    let subject = Subject::sqlite_of(Subject::retention(100), 2);
    for name in ["a", "b"] {
        subject
            .append_to(&room(name), Some("k"), "x")
            .expect("stored");
    }

    let refused = subject.append_to(&room("c"), None, "x");
    assert_eq!(refused, Err(StoreError::TooManyRooms { limit: 2 }));
    let known = subject.append_to(&room("a"), None, "x");
    assert_eq!(known, Ok((3, false)));

    // The messages of the room have expired, but its key is still remembered.
    subject.pass(61);
    subject.becomes(0, |subject| subject.rows("messages"));
    let refused = subject.append_to(&room("c"), None, "x");
    assert_eq!(refused, Err(StoreError::TooManyRooms { limit: 2 }));

    subject.pass(600);
    assert!(subject.append_to(&room("c"), None, "x").is_ok());
    assert!(subject.append_to(&room("d"), None, "x").is_ok());
    let refused = subject.append_to(&room("e"), None, "x");
    assert_eq!(refused, Err(StoreError::TooManyRooms { limit: 2 }));
}

#[test]
fn a_refused_room_does_not_keep_others_from_being_written_in_the_same_transaction() {
    let subject = Subject::sqlite_of(Subject::retention(100), 1);
    subject.append(None, "x");
    let append = |name| {
        let drafts = vec![Draft::text(UserId::guest(1), None, "x")];
        subject.store.append(&room(name), drafts, 7)
    };

    let results = join_all(["other", "lobby", "another", "lobby"].map(append));

    let is_stored: Vec<bool> = block_on(results).iter().map(Result::is_ok).collect();
    assert_eq!(is_stored, [false, true, false, true]);
}

#[test]
fn an_empty_room_is_dropped_and_a_new_one_of_its_name_gives_no_offset_again() {
    let mut subject = Subject::sqlite(Subject::retention(100));
    for _message in 0..5 {
        subject.append(Some("k"), "x");
        subject.append(None, "x");
    }
    let head = subject.bounds().1;

    subject.pass(61);
    subject.becomes((0, head), Subject::bounds);
    assert_eq!(
        subject.rows("rooms"),
        1,
        "readers that come back missed nothing"
    );
    subject.pass(700);
    subject.becomes((0, 0), |subject| {
        (subject.rows("rooms"), subject.rows("keys"))
    });

    for _round in 0..2 {
        assert_eq!(subject.bounds(), (0, head));
        subject.restart();
    }
    assert_eq!(subject.append(None, "x"), (head + 1, false));
    subject.restart();
    assert_eq!(subject.append(None, "x"), (head + 2, false));
    let messages = subject.publications();
    let prevs: Vec<_> = messages.iter().map(|message| message.prev.0).collect();
    assert_eq!(prevs, [0, head + 1], "the first has none before it");
    let bounds = subject.store.bounds(&RoomName::lobby()).expect("bounds");
    assert_eq!(bounds.gone, Offset(head));
}

#[test]
fn keys_of_a_room_that_its_own_traffic_trims_are_bounded_and_forgotten_in_time() {
    let subject = Subject::sqlite(Subject::retention(2));

    for number in 0..100 {
        subject.append(Some(&number.to_string()), "x");
    }

    assert!(subject.rows("keys") <= 20, "{}", subject.rows("keys"));
    // The room never becomes idle for long enough to be maintained on its own.
    for _round in 0..12 {
        subject.pass(55);
        subject.append(None, "x");
    }
    subject.becomes(0, |subject| subject.rows("keys"));
}
