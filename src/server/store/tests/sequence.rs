//! Tests of the one sequence of offsets of all rooms: its order, the links between the messages of a room, and the
//! number of messages between two offsets.

use super::*;

/// The rooms in which messages are stored in turn.
const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Stores messages `from` to `to` in turn in [`ROOMS`], and returns their offsets.
fn append_in_turn(subject: &Subject, from: usize, to: usize) -> Vec<u64> {
    (from..to)
        .map(|number| {
            let room = room(ROOMS[number % ROOMS.len()]);
            subject.open(&room);
            let stored = subject.append_to(&room, Some(&number.to_string()), "x");
            stored.expect("stored").0
        })
        .collect()
}

/// Returns the offsets of the kept messages of `room`, each with that of the message before it.
fn links(subject: &Subject, room: &RoomName) -> Vec<(u64, u64)> {
    subject.open(room);
    let limit = Limit::page(100);
    let page = subject.page_of(room, Span::After(Offset(0)), limit);
    let link = |frame: &Arc<Frame>| (frame.offset().0, frame.prev().0);
    page.frames.iter().map(link).collect()
}

/// Returns the number of messages of `room` after `after` up to `until`.
fn count(subject: &Subject, room: &RoomName, after: u64, until: u64) -> Option<u64> {
    let until = subject.count(room, until)?;
    Some(until - subject.count(room, after)?)
}

#[test]
fn offsets_grow_over_all_rooms_and_each_message_names_the_one_before_it_in_its_room() {
    for mut subject in Subject::each(100) {
        let mut offsets = append_in_turn(&subject, 0, 6);
        subject.restart();
        offsets.extend(append_in_turn(&subject, 6, 9));

        assert!(offsets.is_sorted_by(|one, next| one < next), "{offsets:?}");
        for (index, name) in ROOMS.iter().enumerate() {
            let own = |number: usize| offsets[index + ROOMS.len() * number];
            let expected = [(own(0), 0), (own(1), own(0)), (own(2), own(1))];
            assert_eq!(links(&subject, &room(name)), expected);
        }
    }
}

#[test]
fn no_offset_is_given_again_though_the_newest_messages_have_expired() {
    for mut subject in Subject::each_local(100) {
        let offsets = append_in_turn(&subject, 0, 6);

        // The rooms are dropped after this time.
        subject.pass(61);
        subject.becomes((0, 0), Subject::bounds);
        subject.pass(700);
        subject.restart();
        let more = append_in_turn(&subject, 6, 9);

        assert!(more[0] > offsets[5], "{offsets:?} {more:?}");
    }
}

#[test]
fn the_messages_between_two_offsets_are_counted_though_they_are_trimmed() {
    for mut subject in Subject::each_local(2) {
        let offsets = append_in_turn(&subject, 0, 30);
        let a = room("a");

        for _round in 0..2 {
            // Every third message is one of the room.
            for (number, offset) in offsets.iter().enumerate().step_by(3) {
                let later = (offsets.len() - 1 - number) / 3;
                assert_eq!(
                    count(&subject, &a, *offset, offsets[29]),
                    Some(later as u64)
                );
            }
            assert_eq!(count(&subject, &a, 0, offsets[29]), Some(10));
            assert_eq!(count(&subject, &a, offsets[1], offsets[5]), Some(1));
            subject.restart();
        }
    }
}

#[test]
fn nats_does_not_count_messages() {
    let subject = Subject::nats(Subject::retention(2));
    let offset = subject.append(None, "x").0;

    assert_eq!(subject.count(&RoomName::lobby(), offset), None);
}

#[test]
fn a_key_is_remembered_for_a_number_of_messages_of_its_room() {
    for subject in Subject::each_local(5) {
        let (quiet, busy) = (room("quiet"), room("busy"));
        let first = subject.append_to(&quiet, Some("k"), "x").expect("stored");

        // The limit of remembered keys is 20 messages.
        for _message in 0..30 {
            subject.append_to(&busy, None, "x").expect("stored");
        }
        for _message in 0..19 {
            let again = subject.append_to(&quiet, Some("k"), "x").expect("stored");
            assert_eq!(again, (first.0, true));
            subject.append_to(&quiet, None, "x").expect("stored");
        }

        subject.append_to(&quiet, None, "x").expect("stored");
        let forgotten = subject.append_to(&quiet, Some("k"), "x").expect("stored");
        assert!(!forgotten.1);
    }
}

#[test]
fn a_position_in_an_earlier_room_of_that_name_is_known_to_be_gone() {
    let subject = Subject::memory(Subject::retention(100));
    let (a, b) = (room("a"), room("b"));
    subject.append_to(&a, None, "x").expect("stored");
    let head = subject.append_to(&a, None, "x").expect("stored").0;

    subject.store.release(&a);
    let offset = subject.append_to(&a, None, "x").expect("stored").0;
    let bounds = subject.store.bounds(&a).expect("bounds");
    let other = subject.store.bounds(&b).expect("bounds");

    assert!(offset > head);
    assert_eq!((bounds.gone, bounds.first), (Offset(head), Offset(offset)));
    assert_eq!(subject.count(&a, head - 1), None);
    assert_eq!((other.newest, other.is_known), (Offset(offset), false));
}
