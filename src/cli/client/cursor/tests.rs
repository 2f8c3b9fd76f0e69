//! The cursor against a server that says what each test needs, and against one that generates histories.

use proptest::prelude::*;

use super::*;
use crate::protocol::Body;
use crate::protocol::RoomName;
use crate::protocol::UserId;

fn welcome(epoch: &str, first: u64, head: u64, recovery: Recovery) -> Push {
    Push::Welcome(Welcome {
        room: RoomName::lobby(),
        id: UserId::anonymous(),
        connection: 1,
        epoch: Epoch::from(epoch.to_owned()),
        head: Offset(head),
        first: Offset(first),
        recovery,
        heartbeat_ms: 25_000,
        expire_ms: 60_000,
        max_message: 100,
        message_rate: None,
        message_burst: None,
        count: 1,
        members: None,
    })
}

fn message(offset: u64, prev: u64) -> Push {
    Push::Message(Publication {
        offset: Offset(offset),
        prev: Offset(prev),
        at: 0,
        from: UserId::anonymous(),
        body: Body::Text(offset.to_string()),
        key: None,
    })
}

fn gap(after: u64, before: u64, count: Option<u64>) -> Push {
    Push::Gap {
        after: Offset(after),
        before: Offset(before),
        count,
        reason: GapReason::Expired,
    }
}

fn seen(text: &str) -> Option<Seen> {
    Seen::parse(text).ok()
}

/// What a reader hears, in short: an offset, or a gap as the two offsets around it.
fn heard(cursor: &mut Cursor, pushes: impl IntoIterator<Item = Push>) -> Vec<(u64, Option<u64>)> {
    pushes
        .into_iter()
        .flat_map(|push| cursor.hear(&push))
        .map(|heard| match heard {
            Heard::Message(publication) => (publication.offset.0, None),
            Heard::Deleted { .. } => panic!("nobody deletes here"),
            Heard::Gap { after, before, .. } => (after.0, Some(before.0)),
        })
        .collect()
}

#[test]
fn what_was_seen_is_an_offset_with_or_without_its_epoch() {
    assert_eq!(
        seen("0"),
        Some(Seen {
            epoch: None,
            offset: Offset(0)
        })
    );
    assert_eq!(
        seen("5f3e9a01:17"),
        Some(Seen {
            epoch: Some(Epoch::new(0x5f3e_9a01)),
            offset: Offset(17)
        })
    );
    for wrong in ["", ":", "a:", "a:b", "-1", "1.5", "99999999999999999999"] {
        assert_eq!(Seen::parse(wrong), Err(SeenError), "{wrong}");
    }
}

#[test]
fn a_reader_that_heard_nothing_before_the_drop_reads_on_from_the_newest_of_its_first_welcome() {
    let mut cursor = Cursor::new(None);
    assert!(!cursor.has_caught_up());
    assert!(heard(&mut cursor, [welcome("a", 1, 7, Recovery::Fresh)]).is_empty());
    assert!(cursor.has_caught_up());
    cursor.cut_off();
    assert!(!cursor.has_caught_up());
    assert_eq!(cursor.seen(), seen("a:7").as_ref());
}

#[test]
fn after_0_asks_for_all_that_is_kept_and_not_for_what_is_gone() {
    let mut cursor = Cursor::new(seen("0"));
    let pushes = [
        welcome("a", 3, 4, Recovery::Resumed),
        message(3, 2),
        message(4, 3),
    ];
    assert_eq!(heard(&mut cursor, pushes), [(3, None), (4, None)]);
    let mut cursor = Cursor::new(seen("0"));
    assert!(heard(&mut cursor, [welcome("a", 0, 9, Recovery::Resumed)]).is_empty());
    assert_eq!(cursor.seen(), seen("a:9").as_ref());
}

#[test]
fn a_message_that_comes_again_is_no_news() {
    let mut cursor = Cursor::new(seen("a:1"));
    let pushes = [
        welcome("a", 1, 2, Recovery::Resumed),
        message(1, 0),
        message(2, 1),
        message(2, 1),
    ];
    assert_eq!(heard(&mut cursor, pushes), [(2, None)]);
}

#[test]
fn what_is_gone_is_told_once_by_the_gap_or_else_by_the_message_behind_it() {
    let mut cursor = Cursor::new(seen("a:1"));
    let pushes = [
        welcome("a", 5, 6, Recovery::Lost),
        gap(1, 5, Some(3)),
        message(5, 4),
        message(6, 5),
    ];
    assert_eq!(
        heard(&mut cursor, pushes),
        [(1, Some(5)), (5, None), (6, None)]
    );
    let mut cursor = Cursor::new(seen("a:1"));
    let pushes = [
        welcome("a", 1, 1, Recovery::Resumed),
        message(4, 3),
        message(5, 4),
    ];
    assert_eq!(
        heard(&mut cursor, pushes),
        [(1, Some(4)), (4, None), (5, None)]
    );
}

#[test]
fn a_log_that_began_anew_is_told_even_where_it_is_empty_or_longer_than_the_old_one() {
    let mut cursor = Cursor::new(seen("a:5"));
    let pushes = [
        welcome("b", 0, 0, Recovery::Lost),
        gap(0, 1, None),
        message(1, 0),
    ];
    assert_eq!(heard(&mut cursor, pushes), [(0, Some(1)), (1, None)]);
    assert_eq!(cursor.seen(), seen("b:1").as_ref());
    let mut cursor = Cursor::new(seen("a:2"));
    let pushes = [
        welcome("b", 1, 9, Recovery::Lost),
        gap(0, 1, None),
        message(1, 0),
        message(2, 1),
    ];
    assert_eq!(
        heard(&mut cursor, pushes),
        [(0, Some(1)), (1, None), (2, None)]
    );
    assert!(!cursor.has_caught_up());
}

/// What a server does for a reader that comes with `position`, up to `sent` frames of it; as the hub decides it.
fn serve(cursor: &Cursor, first: u64, head: u64, sent: usize) -> Vec<Push> {
    let after = cursor.seen().map_or(head, |seen| seen.offset.0);
    let (recovery, opening) = match after {
        after if after + 1 < first => (
            Recovery::Lost,
            Some(gap(after, first, Some(first - 1 - after))),
        ),
        _ => (Recovery::Resumed, None),
    };
    let recovery = if cursor.seen().is_some() {
        recovery
    } else {
        Recovery::Fresh
    };
    let messages = (after.max(first - 1) + 1..=head).map(|offset| message(offset, offset - 1));
    [welcome("a", first, head, recovery)]
        .into_iter()
        .chain(opening)
        .chain(messages)
        .take(sent)
        .collect()
}

proptest! {
    /// Drops at any frame, while others publish and the log is trimmed, ten or a hundred times.
    #[test]
    fn whatever_breaks_when_a_reader_hears_or_is_told_of_every_offset_once(
        lives in prop::collection::vec((0u64..5, 0u64..5, 0usize..8), 1..100),
    ) {
        let (mut first, mut head) = (1, 0);
        let mut cursor = Cursor::new(None);
        let mut next = None;
        for (published, trimmed, sent) in lives {
            head += published;
            first = (first + trimmed).min(head + 1);
            for push in serve(&cursor, first, head, sent) {
                for heard in cursor.hear(&push) {
                    let (from, to) = match heard {
                        Heard::Message(publication) => (publication.offset.0, publication.offset.0),
                        Heard::Deleted { .. } => panic!("nobody deletes here"),
                        Heard::Gap { after, before, .. } => (after.0 + 1, before.0 - 1),
                    };
                    prop_assert!(next.is_none_or(|next| next == from) && to >= from);
                    next = Some(to + 1);
                }
            }
            cursor.cut_off();
        }
    }
}
