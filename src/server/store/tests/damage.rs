//! Tests of a SQLite database that is partly damaged. All undamaged messages must remain readable, and new ones must
//! be stored.

use std::fs;

use super::*;

/// The size of a page of the database.
const PAGE: usize = 4096;

/// Stores `messages` messages, closes the database, damages its bytes, and opens it again.
fn damaged(messages: u64, kept: usize, damage: impl FnOnce(&mut Vec<u8>)) -> Subject {
    let mut subject = Subject::sqlite(Subject::retention(kept));
    for number in 1..=messages {
        let key = number.to_string();
        subject.append(Some(&key), &text(number));
    }

    subject.close();
    let path = subject.path();
    let mut bytes = fs::read(&path).expect("a database");
    damage(&mut bytes);
    fs::write(&path, bytes).expect("written");

    subject.restart();
    subject
}

/// Returns the text of message `number`, which occurs nowhere else in the file.
fn text(number: u64) -> String {
    format!("this is message {number:05} of the test")
}

/// Returns the position of the text of message `number` in the file.
fn find(bytes: &[u8], number: u64) -> usize {
    let text = text(number);
    bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes())
        .expect("it is there")
}

/// Returns a function that fills the page with message `number` with zeros.
fn zero_page_of(number: u64) -> impl FnOnce(&mut Vec<u8>) {
    move |bytes| {
        let start = find(bytes, number) / PAGE * PAGE;
        bytes[start..start + PAGE].fill(0);
    }
}

/// Reads the whole room in pages, oldest first.
fn read_forward(subject: &Subject) -> Vec<u64> {
    let mut offsets = Vec::new();
    loop {
        let after = Offset(offsets.last().copied().unwrap_or_default());
        let (page, more) = subject.offsets(Span::After(after), 100);
        offsets.extend(page);
        if !more {
            return offsets;
        }
    }
}

/// Reads the whole room in pages, newest first, and returns it oldest first.
fn read_backward(subject: &Subject) -> Vec<u64> {
    let (mut offsets, mut more) = subject.offsets(Span::Newest, 100);
    while more {
        let before = Offset(offsets[0]);
        let (page, has_older) = subject.offsets(Span::Before(before), 100);
        offsets.splice(0..0, page);
        more = has_older;
    }
    offsets
}

/// Returns the offsets up to `head` that are not in `offsets`.
fn missing(offsets: &[u64], head: u64) -> Vec<u64> {
    (1..=head)
        .filter(|offset| !offsets.contains(offset))
        .collect()
}

#[test]
fn all_messages_but_those_of_a_damaged_page_are_read_from_either_end() {
    let subject = damaged(600, 1000, zero_page_of(300));

    let forward = read_forward(&subject);
    let backward = read_backward(&subject);

    assert_eq!(missing(&forward, 600), missing(&backward, 600));
    let missing = missing(&forward, 600);
    assert!(missing.contains(&300) && missing.len() < 100, "{missing:?}");
    let (first, last) = (missing[0], missing[missing.len() - 1]);
    assert_eq!(missing, (first..=last).collect::<Vec<_>>());
    let damage = subject.store.damage().expect("it was found");
    assert_eq!(damage.messages, missing.len());
}

#[test]
fn a_message_that_is_not_utf8_is_left_out_alone() {
    let subject = damaged(20, 1000, |bytes| {
        let start = find(bytes, 7);
        bytes[start..start + 2].copy_from_slice(&[0xff, 0xfe]);
    });

    assert_eq!(missing(&read_forward(&subject), 20), [7]);
    assert_eq!(missing(&read_backward(&subject), 20), [7]);
    let damage = subject.store.damage().expect("it was found");
    assert_eq!((damage.messages, damage.offset), (1, Offset(7)));
}

#[test]
fn messages_that_somebody_removed_are_found_missing() {
    let mut subject = damaged(20, 1000, |_bytes| {});
    subject.close();
    let database = rusqlite::Connection::open(subject.path()).expect("opened");
    let removed = database.execute("DELETE FROM messages WHERE offset IN (5, 6, 20)", []);
    assert_eq!(removed.expect("written"), 3);
    drop(database);
    subject.restart();

    assert_eq!(missing(&read_forward(&subject), 20), [5, 6, 20]);
    assert_eq!(subject.store.damage().expect("found").messages, 3);
}

#[test]
fn any_number_of_missing_messages_is_passed_at_once() {
    let head: u64 = 1_000_000_000_000;
    let mut subject = damaged(20, 2 * head as usize, |_bytes| {});
    subject.close();
    let database = rusqlite::Connection::open(subject.path()).expect("opened");
    let changed = database.execute("UPDATE rooms SET head = ?1, count = ?1", [head]);
    assert_eq!(changed.expect("written"), 1);
    drop(database);
    subject.restart();

    assert_eq!(read_forward(&subject), (1..=20).collect::<Vec<_>>());
    assert_eq!(read_backward(&subject), (1..=20).collect::<Vec<_>>());
    let damage = subject.store.damage().expect("found");
    assert_eq!(damage.offset, Offset(21));
}

#[test]
fn a_page_of_history_goes_past_thousands_of_damaged_messages() {
    let head = 6000;
    let mut subject = damaged(head, 10_000, |_bytes| {});
    subject.close();
    let path = subject.path();
    let mut bytes = fs::read(&path).expect("a database");
    let first = find(&bytes, 1) / PAGE;
    let last = find(&bytes, head) / PAGE;
    for page in 0..bytes.len() / PAGE {
        let content = &mut bytes[page * PAGE..][..PAGE];
        let is_leaf = content[0] == 13;
        let is_of_messages = content.windows(7).any(|window| window == b"message");
        if is_leaf && is_of_messages && page != first && page != last {
            content.fill(0);
        }
    }
    fs::write(&path, bytes).expect("written");
    subject.restart();

    let (newest, more) = subject.offsets(Span::Before(Offset(head - 200)), 1000);
    let forward = read_forward(&subject);
    let backward = read_backward(&subject);

    let oldest = forward.iter().filter(|offset| **offset < head - 200);
    assert_eq!(
        (newest.iter().collect(), more),
        (oldest.collect::<Vec<_>>(), false)
    );
    assert_eq!((forward.first(), forward.last()), (Some(&1), Some(&head)));
    assert_eq!(forward, backward);
}

#[test]
fn a_room_with_a_damaged_page_is_written_to_and_trimmed_as_any_other() {
    let subject = damaged(600, 700, zero_page_of(300));

    // Only the first read that finds the damage may fail.
    let mut failures = 0;
    for number in 601..=1200 {
        let key = number.to_string();
        while let Err(error) = subject.try_append(Some(&key), &text(number)) {
            failures += 1;
            assert!(failures == 1, "{error}");
        }
    }

    assert_eq!(*subject.store.health().borrow(), Health::Ready);
    subject.becomes((501, 1200), Subject::bounds);
    assert_eq!(read_forward(&subject), (501..=1200).collect::<Vec<_>>());
}
