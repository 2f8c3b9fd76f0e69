//! The cursor against a server that sends what each test needs, and against one that generates histories.

use proptest::prelude::*;

use super::*;
use crate::protocol::{RoomName, UserId, samples};

fn subscribed(epoch: &str, first: u64, head: u64, recovery: Recovery) -> Push {
    Push::Subscribed(Subscribed {
        epoch: Epoch::from(epoch.to_owned()),
        head: Offset(head),
        first: Offset(first),
        recovery,
        ..samples::subscribed()
    })
}

fn message(offset: u64, prev: u64) -> Push {
    Push::Message(Publication {
        prev: Offset(prev),
        ..samples::publication(offset, &offset.to_string())
    })
}

fn gap(after: u64, before: u64, count: Option<u64>) -> Push {
    Push::Gap {
        room: RoomName::lobby().into(),
        after: Offset(after),
        before: Offset(before),
        count,
        reason: GapReason::Expired,
    }
}

fn position(text: &str) -> Option<ReadPosition> {
    text.parse().ok()
}

/// Passes `pushes` to `cursor` and returns the updates: an offset for a message, two offsets for a gap, `None` for a
/// restart.
fn receive(
    cursor: &mut Cursor,
    pushes: impl IntoIterator<Item = Push>,
) -> Vec<Option<(u64, Option<u64>)>> {
    pushes
        .into_iter()
        .flat_map(|push| cursor.on_push(&push))
        .map(|update| match update {
            Update::Restarted => None,
            Update::Message(publication) => Some((publication.offset.0, None)),
            Update::Deleted { .. } => panic!("no message is deleted here"),
            Update::Gap { after, before, .. } => Some((after.0, Some(before.0))),
        })
        .collect()
}

#[test]
fn a_position_is_an_offset_with_or_without_its_epoch() {
    let offset = ReadPosition {
        epoch: None,
        offset: Offset(0),
    };
    let both = ReadPosition {
        epoch: Some(Epoch::new(0x5f3e_9a01)),
        offset: Offset(17),
    };

    assert_eq!("0".parse(), Ok(offset));
    assert_eq!("5f3e9a01:17".parse(), Ok(both));

    for wrong in ["", ":", "a:", "a:b", "-1", "1.5", "99999999999999999999"] {
        assert_eq!(
            wrong.parse::<ReadPosition>(),
            Err(ReadPositionError),
            "{wrong}"
        );
    }
}

#[test]
fn the_query_names_the_room_the_id_and_the_position() {
    let id = UserId::parse("李雷 & co").expect("a name");

    let query = Cursor::new(position("a:7")).query(&RoomName::lobby(), Some(&id));

    let fields: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let expected = [
        ("room", "lobby"),
        ("id", "李雷 & co"),
        ("after", "7"),
        ("epoch", "a"),
    ];
    assert_eq!(
        fields,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_reader_that_received_no_message_continues_from_the_head_of_its_first_subscribed() {
    let mut cursor = Cursor::new(None);
    assert!(!cursor.has_caught_up());

    let updates = receive(&mut cursor, [subscribed("a", 1, 7, Recovery::Fresh)]);
    assert_eq!(updates, []);
    assert!(cursor.has_caught_up());

    cursor.on_disconnect();
    assert!(!cursor.has_caught_up());
    assert_eq!(cursor.position(), position("a:7").as_ref());
}

#[test]
fn a_reader_of_all_that_is_kept_sees_no_gap_before_it() {
    let mut cursor = Cursor::new(position("0"));

    let pushes = [
        subscribed("a", 3, 4, Recovery::Resumed),
        message(3, 2),
        message(4, 3),
    ];

    assert_eq!(
        receive(&mut cursor, pushes),
        [Some((3, None)), Some((4, None))]
    );
}

#[test]
fn a_reader_of_all_that_is_kept_has_caught_up_with_an_empty_log() {
    let mut cursor = Cursor::new(position("0"));

    let updates = receive(&mut cursor, [subscribed("a", 0, 9, Recovery::Resumed)]);

    assert_eq!(updates, []);
    assert_eq!(cursor.position(), position("a:9").as_ref());
}

#[test]
fn a_message_that_arrives_again_is_not_reported() {
    let mut cursor = Cursor::new(position("a:1"));

    let pushes = [
        subscribed("a", 1, 2, Recovery::Resumed),
        message(1, 0),
        message(2, 1),
        message(2, 1),
    ];

    assert_eq!(receive(&mut cursor, pushes), [Some((2, None))]);
}

#[test]
fn a_gap_of_the_server_is_reported_once() {
    let mut cursor = Cursor::new(position("a:1"));

    let pushes = [
        subscribed("a", 5, 6, Recovery::Lost),
        gap(1, 5, Some(3)),
        gap(1, 5, Some(3)),
        message(5, 4),
        message(6, 5),
    ];

    assert_eq!(
        receive(&mut cursor, pushes),
        [Some((1, Some(5))), Some((5, None)), Some((6, None))]
    );
}

#[test]
fn a_message_whose_predecessor_was_not_read_reports_a_gap() {
    let mut cursor = Cursor::new(position("a:1"));

    let pushes = [
        subscribed("a", 1, 1, Recovery::Resumed),
        message(4, 3),
        message(5, 4),
    ];

    assert_eq!(
        receive(&mut cursor, pushes),
        [Some((1, Some(4))), Some((4, None)), Some((5, None))]
    );
}

#[test]
fn a_log_that_began_anew_is_reported_even_if_it_is_empty() {
    let mut cursor = Cursor::new(position("a:5"));

    let pushes = [
        subscribed("b", 0, 0, Recovery::Lost),
        gap(0, 1, None),
        message(1, 0),
    ];

    assert_eq!(
        receive(&mut cursor, pushes),
        [None, Some((0, Some(1))), Some((1, None))]
    );
    assert_eq!(cursor.position(), position("b:1").as_ref());
}

#[test]
fn a_log_that_began_anew_is_reported_even_if_it_is_longer_than_the_old_one() {
    let mut cursor = Cursor::new(position("a:2"));

    let pushes = [
        subscribed("b", 1, 9, Recovery::Lost),
        gap(0, 1, None),
        message(1, 0),
        message(2, 1),
    ];

    assert_eq!(
        receive(&mut cursor, pushes),
        [None, Some((0, Some(1))), Some((1, None)), Some((2, None))]
    );
    assert!(!cursor.has_caught_up());
}

#[test]
fn a_position_after_the_newest_message_of_the_room_is_kept_if_the_server_resumes_it() {
    let mut cursor = Cursor::new(position("e1:9"));

    let updates = receive(&mut cursor, [subscribed("e1", 1, 7, Recovery::Resumed)]);

    assert_eq!(updates, []);
    assert_eq!(cursor.position(), position("e1:9").as_ref());
}

#[test]
fn a_log_that_lost_its_end_is_reported_as_one_that_began_anew() {
    let mut cursor = Cursor::new(position("a:2"));

    let pushes = [subscribed("a", 1, 1, Recovery::Lost), message(1, 0)];

    assert_eq!(
        receive(&mut cursor, pushes),
        [None, Some((0, Some(1))), Some((1, None))]
    );
}

#[test]
fn a_cursor_moves_back_and_never_forward_on_request() {
    let mut cursor = Cursor::new(position("a:5"));

    cursor.rewind(Offset(9));
    assert_eq!(cursor.position(), position("a:5").as_ref());

    cursor.rewind(Offset(3));
    assert_eq!(cursor.position(), position("a:3").as_ref());
}

/// Returns the first `sent` frames that the server sends to a reader at the cursor's position.
fn serve(cursor: &Cursor, first: u64, head: u64, sent: usize) -> Vec<Push> {
    let after = cursor.position().map_or(head, |position| position.offset.0);
    let lost = (after + 1 < first).then(|| gap(after, first, Some(first - 1 - after)));
    let recovery = match (cursor.position(), &lost) {
        (None, _) => Recovery::Fresh,
        (_, Some(_)) => Recovery::Lost,
        _ => Recovery::Resumed,
    };

    let messages = (after.max(first - 1) + 1..=head).map(|offset| message(offset, offset - 1));
    [subscribed("a", first, head, recovery)]
        .into_iter()
        .chain(lost)
        .chain(messages)
        .take(sent)
        .collect()
}

proptest! {
    /// The connection breaks after any frame, while others publish and the log is trimmed, up to a hundred times.
    #[test]
    fn a_reader_gets_each_offset_once_as_a_message_or_in_a_gap(
        lives in prop::collection::vec((0u64..5, 0u64..5, 0usize..8), 1..100),
    ) {
        let (mut first, mut head) = (1, 0);
        let mut cursor = Cursor::new(None);
        let mut next = None;

        for (published, trimmed, sent) in lives {
            head += published;
            first = (first + trimmed).min(head + 1);
            for push in serve(&cursor, first, head, sent) {
                for update in cursor.on_push(&push) {
                    let (from, to) = match update {
                        Update::Message(publication) => (publication.offset.0, publication.offset.0),
                        Update::Gap { after, before, .. } => (after.0 + 1, before.0 - 1),
                        Update::Restarted | Update::Deleted { .. } => panic!("this log only grows"),
                    };
                    prop_assert!(next.is_none_or(|next| next == from) && to >= from);
                    next = Some(to + 1);
                }
            }
            cursor.on_disconnect();
        }
    }
}
