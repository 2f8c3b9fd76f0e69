//! Tests of reads over all rooms that a pattern matches, and of the list of rooms.

use super::*;
use crate::protocol::RoomPattern;

const ALL: Limit = Limit::page(1000);

/// Stores a message in each of the rooms `names` in turn. Returns the offsets.
fn append(subject: &Subject, names: &[&str]) -> Vec<u64> {
    let append = |name: &&str| {
        let room = room(name);
        subject.open(&room);
        subject.append_to(&room, None, "x").expect("stored").0
    };
    names.iter().map(append).collect()
}

/// Returns the names of the rooms and the offsets of `page`.
fn listed(page: &MatchingPage) -> Vec<(&str, u64)> {
    let entry = |frame: &'_ Arc<Frame>| frame.offset().0;
    let names = page.frames.iter().map(|frame| frame.room().as_str());
    names.zip(page.frames.iter().map(entry)).collect()
}

#[test]
fn the_messages_of_all_matching_rooms_are_read_in_the_order_of_their_offsets() {
    for mut subject in Subject::each(100) {
        let at = append(&subject, &["b-1", "a", "b-2", "b-1", "c", "b-2", "b-1"]);
        let expected = [
            ("b-1", at[0]),
            ("b-2", at[2]),
            ("b-1", at[3]),
            ("b-2", at[5]),
            ("b-1", at[6]),
        ];

        for _round in 0..2 {
            let page = subject.matching("b-*", 0, 0, ALL);
            assert_eq!((listed(&page), page.more), (expected.to_vec(), false));
            assert_eq!((page.trimmed, page.damaged), (Some(0), 0));
            assert!(page.until.0 >= at[6]);

            let later = subject.matching("b-*", at[2], 0, ALL);
            assert_eq!(listed(&later), expected[2..]);
            let every = subject.matching("*", 0, 0, ALL);
            assert_eq!(every.frames.len(), 7);
            assert!(subject.matching("x*", 0, 0, ALL).frames.is_empty());
            subject.restart();
        }
    }
}

#[test]
fn rooms_and_patterns_are_read_together_and_each_message_once() {
    for subject in Subject::each(100) {
        let at = append(&subject, &["b-1", "a", "b-2", "c", "a", "b-1"]);

        let page = subject.selected(&["a", "b-*", "b-1"], 0, u64::MAX);
        let part = subject.selected(&["a", "b-*"], at[0], at[4] - 1);

        let every = [("b-1", 0), ("a", 1), ("b-2", 2), ("a", 4), ("b-1", 5)];
        let every = every.map(|(room, index)| (room, at[index]));
        assert_eq!(listed(&page), every);
        assert_eq!(listed(&part), every[1..3]);
        assert!(part.until.0 < at[4], "{part:?}");
    }
}

#[test]
fn trimmed_messages_are_counted_up_to_the_end_of_the_range() {
    for subject in [
        Subject::memory(Subject::retention(2)),
        Subject::sqlite(Subject::retention(2)),
    ] {
        let at = append(&subject, &["a", "b-1", "a", "a", "a", "a"]);

        let all = subject.selected(&["a"], 0, u64::MAX);
        let part = subject.selected(&["a", "b-*"], 0, at[2]);

        assert_eq!(
            (listed(&all), all.trimmed),
            (vec![("a", at[4]), ("a", at[5])], Some(3))
        );
        assert_eq!(
            (listed(&part), part.trimmed),
            (vec![("b-1", at[1])], Some(2))
        );
    }
}

#[test]
fn pages_of_a_pattern_follow_each_other_without_a_hole() {
    for subject in Subject::each(100) {
        let names = ["b-1", "a", "b-2", "a", "a", "b-3"];
        let rounds = (0..6).flat_map(|_| append(&subject, &names));
        let own =
            |(index, offset): (usize, u64)| [0, 2, 5].contains(&(index % 6)).then_some(offset);
        let expected: Vec<u64> = rounds.enumerate().filter_map(own).collect();
        let limit = Limit::page(4);

        let (mut read, mut after) = (Vec::new(), 0);
        loop {
            let page = subject.matching("b-*", after, 0, limit);
            read.extend(page.frames.iter().map(|frame| frame.offset().0));
            after = page.until.0;
            if !page.more {
                break;
            }
            assert_eq!(page.frames.len(), 4);
            assert_eq!(page.frames[3].offset(), page.until);
        }

        assert_eq!(read, expected);
    }
}

#[test]
fn a_few_matching_rooms_are_found_among_many_messages_of_others() {
    for subject in Subject::each_local(5000) {
        let first = append(&subject, &["b-1"]);
        let drafts = vec![Draft::text(UserId::guest(1), None, "x"); 3000];
        block_on(subject.store.append(&room("a"), drafts, 7)).expect("stored");
        let last = append(&subject, &["b-2", "b-1"]);
        let limit = Limit::page(2);

        let page = subject.matching("b-*", 0, 0, limit);

        assert_eq!(listed(&page), [("b-1", first[0]), ("b-2", last[0])]);
        assert!(page.more);
        let rest = subject.matching("b-*", last[0], 0, limit);
        assert_eq!((listed(&rest), rest.more), (vec![("b-1", last[1])], false));
    }
}

#[test]
fn a_page_of_a_pattern_is_bounded_by_bytes_but_never_empty() {
    for subject in Subject::each(100) {
        let at = append(&subject, &["b-1", "b-2", "b-1"]);

        let page = subject.matching(
            "b-*",
            0,
            0,
            Limit {
                messages: 9,
                bytes: 1,
            },
        );

        assert_eq!((listed(&page), page.more), (vec![("b-1", at[0])], true));
    }
}

#[test]
fn trimmed_messages_of_all_matching_rooms_are_counted_within_the_page() {
    for mut subject in Subject::each_local(2) {
        // Five messages of b-1 and one of b-2 are trimmed, and all but two of the other room.
        let quiet = append(&subject, &["b-2", "b-2", "b-2"]);
        let at = append(
            &subject,
            &["b-1", "a", "a", "b-1", "a", "b-1", "b-1", "b-1"],
        );
        let newest = append(&subject, &["b-1", "b-1"]);

        for _round in 0..2 {
            let page = subject.matching("b-*", 0, 0, ALL);
            assert_eq!(
                listed(&page),
                [
                    ("b-2", quiet[1]),
                    ("b-2", quiet[2]),
                    ("b-1", newest[0]),
                    ("b-1", newest[1]),
                ]
            );
            assert_eq!((page.trimmed, page.gone), (Some(6), Offset(at[7])));

            let known = subject.matching("b-*", 0, at[3], ALL);
            assert_eq!(known.trimmed, Some(3));
            let later = subject.matching("b-*", at[7], 0, ALL);
            assert_eq!(later.trimmed, Some(0));

            let two = Limit::page(2);
            let first = subject.matching("b-*", 0, 0, two);
            assert_eq!((first.trimmed, first.until.0), (Some(1), quiet[2]));
            let second = subject.matching("b-*", quiet[2], 0, two);
            assert_eq!(second.trimmed, Some(5));
            subject.restart();
        }
    }
}

#[test]
fn a_room_that_begins_later_is_part_of_the_pattern() {
    for subject in Subject::each(100) {
        let before = append(&subject, &["b-1"]);
        let seen = subject.matching("b-*", 0, 0, ALL).until;

        let born = append(&subject, &["b-new"]);

        let page = subject.matching("b-*", seen.0, 0, ALL);
        assert_eq!(listed(&page), [("b-new", born[0])]);
        assert!(born[0] > before[0]);
    }
}

#[test]
fn a_deleted_message_is_a_tombstone_in_its_place() {
    for mut subject in Subject::each(100) {
        let at = append(&subject, &["b-1", "b-2", "b-1"]);
        let delete = subject.store.delete(&room("b-1"), Offset(at[0]), 9);
        assert_eq!(subject.run(delete), Deleted::Now);

        for _round in 0..2 {
            let page = subject.matching("b-*", 0, 0, ALL);
            let deleted: Vec<bool> = page.frames.iter().map(|frame| frame.is_deleted()).collect();
            assert_eq!(
                listed(&page),
                [("b-1", at[0]), ("b-2", at[1]), ("b-1", at[2])]
            );
            assert_eq!(deleted, [true, false, false]);
            subject.restart();
        }
    }
}

#[test]
fn the_messages_of_a_dropped_room_are_gone_and_their_number_is_unknown() {
    let mut subject = Subject::sqlite(Subject::retention(100));
    let dropped = append(&subject, &["b-1", "b-1"]);
    subject.pass(61);
    subject.becomes(0, |subject| subject.rows("messages"));
    subject.pass(700);
    subject.becomes(0, |subject| subject.rows("rooms"));
    let kept = append(&subject, &["b-2"]);

    for _round in 0..2 {
        let page = subject.matching("b-*", 0, 0, ALL);
        assert_eq!(listed(&page), [("b-2", kept[0])]);
        assert_eq!((page.trimmed, page.gone), (None, Offset(dropped[1])));

        let later = subject.matching("b-*", dropped[1], 0, ALL);
        assert_eq!(later.trimmed, Some(0));
        subject.restart();
    }
}

#[test]
fn the_bounds_of_a_pattern_are_those_of_its_rooms_together() {
    for subject in Subject::each_local(2) {
        let at = append(&subject, &["b-2", "b-1", "b-1", "b-1", "a"]);

        let bounds = subject.matching_bounds("b-*");

        assert_eq!((bounds.first.0, bounds.head.0), (at[0], at[3]));
        assert_eq!((bounds.gone.0, bounds.newest.0), (at[1], at[4]));
        assert!(bounds.is_known);
        let none = subject.matching_bounds("x*");
        assert_eq!(
            (none.first, none.head, none.is_known),
            (Offset(0), Offset(0), false)
        );
        assert_eq!(none.newest.0, at[4]);
    }
}

#[test]
fn rooms_are_listed_by_name_after_a_name_and_with_a_prefix() {
    for mut subject in Subject::each(100) {
        let at = append(&subject, &["b-2", "a", "b-1", "b-1", "c", "b-1-hidden"]);
        subject.open(&room("b-unused"));

        for _round in 0..2 {
            let names = |prefix: &str, after: Option<&str>, limit| {
                let rooms = subject.rooms(prefix, after, limit);
                let names = rooms.iter().map(|room| room.room.to_string());
                names.collect::<Vec<_>>()
            };
            assert_eq!(names("", None, 9), ["a", "b-1", "b-2", "c"]);
            assert_eq!(names("b-", None, 9), ["b-1", "b-2"]);
            assert_eq!(names("", Some("a"), 2), ["b-1", "b-2"]);
            assert_eq!(names("b-", Some("b-1"), 9), ["b-2"]);
            assert_eq!(names("b-", Some("a"), 1), ["b-1"]);
            assert!(names("b-", Some("b-2"), 9).is_empty());

            let found = subject.rooms("b-1", None, 9).remove(0);
            assert_eq!((found.first.0, found.head.0), (at[2], at[3]));
            assert_eq!(found.count, Some(2));
            subject.restart();
        }
    }
}

#[test]
fn the_changes_have_the_messages_of_other_nodes_in_watched_rooms_that_are_not_open() {
    let subject = Subject::nats(Subject::retention(100));
    let other = subject.another_node();
    let mut changes = subject.store.changes();
    let publish = |name: &str| {
        let drafts = vec![Draft::text(UserId::guest(1), None, "x")];
        subject.run(other.open(&room(name)));
        subject
            .run(other.append(&room(name), drafts, 7))
            .remove(0)
            .offset()
    };
    let pattern = RoomPattern::parse("b-*").expect("a pattern");

    let unseen = publish("b-1");
    subject.run(subject.store.reach(unseen));
    let after = subject.store.watch(&pattern);
    assert!(after >= unseen);
    let expected = [publish("b-1"), publish("b-new"), publish("b-1")];
    publish("a");
    subject.run(other.delete(&room("b-1"), expected[0], 9));

    let (mut appended, mut deleted) = (Vec::new(), None);
    while deleted.is_none() {
        for change in subject.next_changes(&mut changes) {
            match change {
                LogChange::Appended(room, frames) => {
                    assert!(pattern.matches(&room));
                    appended.extend(frames.iter().map(|frame| (frame.offset(), frame.prev())));
                }
                LogChange::Deleted(room, offset, at) => deleted = Some((room, offset, at)),
                other => panic!("an unexpected change: {other:?}"),
            }
        }
    }
    let [first, new, second] = expected;
    assert_eq!(
        appended,
        [(first, unseen), (new, Offset(0)), (second, first)]
    );
    assert_eq!(deleted, Some((room("b-1"), first, 9)));
    subject.store.unwatch(&pattern);
}
