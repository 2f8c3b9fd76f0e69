//! Tests that every store must pass: deduplication, pages, retention, and offsets that grow. Most tests run
//! with stores in memory, SQLite and NATS. Property tests compare the stores with a plain list.

mod subject;
mod deleting;
mod hooks;
mod lifecycle;
mod matching;
mod damage;
mod rooms;
mod sequence;
mod dates;
mod reopening;

use std::collections::HashMap;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::protocol::samples::room;
use crate::protocol::{Json, Key, Kind, MessageFields, UserId};
use crate::server::room::Content;
use subject::Subject;

#[test]
fn a_repeated_key_is_stored_once() {
    for mut subject in Subject::each(100) {
        assert_eq!(subject.append(Some("a"), "x"), (1, false));
        assert_eq!(subject.append(Some("b"), "x"), (2, false));
        assert_eq!(subject.append(Some("a"), "x"), (1, true));
        subject.restart();
        assert_eq!(subject.append(Some("b"), "x"), (2, true));
        assert_eq!(subject.offsets(Span::Newest, 9), (vec![1, 2], false));
    }
}

#[test]
fn a_key_is_remembered_when_its_message_is_no_longer_kept() {
    for mut subject in Subject::each(2) {
        for key in ["a", "b", "c", "d"] {
            subject.append(Some(key), "x");
        }
        subject.restart();
        assert_eq!(subject.append(Some("a"), "x"), (1, true));
        subject.pass(601);
        assert_eq!(subject.append(Some("a"), "x"), (5, false));
    }
}

#[test]
fn a_database_that_is_closed_is_one_file_though_somebody_still_holds_the_store() {
    let subject = Subject::sqlite(Subject::retention(100));
    subject.append(None, "x");
    assert_eq!(subject.offsets(Span::Newest, 9), (vec![1], false));
    assert_eq!(subject.close(), ["test.db", "test.db.state"]);
}

#[test]
fn pages_are_read_from_either_end() {
    for mut subject in Subject::each(5) {
        for _message in 0..8 {
            subject.append(None, "x");
        }

        for _round in 0..2 {
            assert_eq!(subject.offsets(Span::Newest, 2), (vec![7, 8], true));
            assert_eq!(
                subject.offsets(Span::Before(Offset(7)), 2),
                (vec![5, 6], true)
            );
            assert_eq!(
                subject.offsets(Span::Before(Offset(6)), 2),
                (vec![4, 5], false)
            );
            assert_eq!(subject.offsets(Span::Before(Offset(4)), 2), (vec![], false));
            assert_eq!(
                subject.offsets(Span::After(Offset(0)), 2),
                (vec![4, 5], true)
            );
            assert_eq!(
                subject.offsets(Span::After(Offset(6)), 2),
                (vec![7, 8], false)
            );
            assert_eq!(subject.bounds(), (4, 8));
            subject.restart();
        }
    }
}

#[test]
fn a_page_is_bounded_by_bytes_too_but_never_empty() {
    for subject in Subject::each(5) {
        for _message in 0..3 {
            subject.append(None, "hello");
        }

        let offsets = |span, bytes| {
            let page = subject.page(span, Limit { messages: 9, bytes });
            (
                page.frames
                    .iter()
                    .map(|frame| frame.offset().0)
                    .collect::<Vec<_>>(),
                page.more,
            )
        };

        assert_eq!(offsets(Span::Newest, 1), (vec![3], true));
        assert_eq!(offsets(Span::After(Offset(0)), 1), (vec![1], true));

        let two = 2 * (size_of::<Frame>() + 7);
        assert_eq!(offsets(Span::Newest, two), (vec![2, 3], true));
    }
}

#[test]
fn what_is_too_old_goes_and_the_offsets_go_on() {
    for mut subject in Subject::each(100) {
        subject.append(None, "x");
        subject.pass(50);
        subject.append(None, "x");
        subject.pass(11);
        subject.append(None, "x");

        subject.becomes((vec![2, 3], false), |subject| {
            subject.offsets(Span::Newest, 9)
        });

        subject.restart();
        assert_eq!(
            (subject.bounds(), subject.offsets(Span::Newest, 9)),
            ((2, 3), (vec![2, 3], false))
        );

        subject.pass(500);
        subject.becomes((0, 3), Subject::bounds);

        subject.restart();
        assert_eq!(
            subject.bounds(),
            (0, 3),
            "an empty room knows where it stood"
        );

        assert_eq!(subject.append(None, "x"), (4, false));
        assert_eq!(subject.offsets(Span::Newest, 9), (vec![4], false));
    }
}

#[test]
fn what_is_too_large_together_goes_but_never_the_newest() {
    let retention = Retention {
        bytes: 4000,
        ..Subject::retention(100)
    };
    for subject in [Subject::memory(retention), Subject::sqlite(retention)] {
        for _message in 0..3 {
            subject.append(None, &"x".repeat(1800));
        }
        assert_eq!(subject.bounds(), (2, 3));

        subject.append(None, &"x".repeat(8000));
        assert_eq!(subject.bounds(), (4, 4));
    }
}

#[test]
fn contents_senders_fields_and_times_are_read_back_as_they_were_published() {
    for mut subject in Subject::each(9) {
        let ann = UserId::parse("ann ✓").expect("a name");
        let drafts = vec![
            Draft::text(ann.clone(), Key::parse("k").ok(), "\u{0}<b>雪</b>\n"),
            Draft::binary(ann.clone(), &[0, 255, 128]),
            Draft::text(ann.clone(), None, ""),
            Draft::new(
                ann.clone(),
                Content::Json(Json::from_compact(
                    r#"{"b":12345678901234567890123,"a":null}"#,
                )),
                MessageFields {
                    kind: Kind::parse("order.created").ok(),
                    key: Key::parse("j").ok(),
                    reply_to: Some(Offset(1)),
                    edits: Some(Offset(2)),
                },
            ),
            Draft::new(
                ann,
                Content::Binary(vec![1]),
                MessageFields::keyed(Key::parse("d").ok()),
            ),
        ];

        let append = subject.store.append(&RoomName::lobby(), drafts, 1234);
        let stored = block_on(append).expect("stored");

        let told: Vec<_> = stored
            .iter()
            .map(|stored| match stored {
                Stored::New(frame) => frame.publication(),
                other => panic!("{other:?} is not new"),
            })
            .collect();

        subject.restart();
        let read = subject.publications();

        assert_eq!((&read, read[0].at), (&told, 1234));
    }
}

#[test]
fn a_room_of_another_name_is_another_log() {
    for subject in Subject::each(9) {
        subject.append(None, "x");
        let other = RoomName::parse("other").expect("a name");
        subject.open(&other);
        let bounds = subject.store.bounds(&other).expect("bounds");
        assert_eq!((bounds.first, bounds.head), (Offset(0), Offset(0)));
    }
}

#[test]
fn a_read_that_is_broken_off_keeps_its_connection_from_nobody_else() {
    let subject = Subject::sqlite(Subject::retention(3000));
    for _message in 0..2000 {
        subject.append(None, "x");
    }

    for _round in 0..50 {
        subject.break_off_reads(8);
        assert_eq!(subject.offsets(Span::Newest, 1), (vec![2000], true));
    }
}

#[derive(Clone, Debug)]
enum KeyStep {
    Append(Option<u8>),
    Wait(u32),
    Restart,
}

fn step() -> impl Strategy<Value = KeyStep> {
    prop_oneof![
        8 => prop::option::of(0u8..5).prop_map(KeyStep::Append),
        2 => (0u32..40).prop_map(KeyStep::Wait),
        1 => Just(KeyStep::Restart),
    ]
}

/// Compares `subject`, which keeps `messages` messages, with a plain list of (offset, key, second).
fn hold(
    mut subject: Subject,
    steps: &[KeyStep],
    messages: usize,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let (mut said, mut key_of, mut seconds) = (Vec::new(), HashMap::new(), 0);

    for step in steps {
        match step {
            KeyStep::Append(key) => {
                let head = said.len() as u64;
                let known = key.and_then(|key| key_of.get(&key).copied());
                // Keys are remembered for 600 s and 20 messages of the room; NATS applies only the time.
                let known = known.filter(|&(offset, second)| {
                    (head - offset < 20 || subject.is_nats()) && seconds - second < 600
                });
                let stored = subject.append(key.map(|key| key.to_string()).as_deref(), "x");
                if let Some((offset, _)) = known {
                    prop_assert_eq!(stored, (offset, true));
                } else {
                    prop_assert_eq!(stored, (head + 1, false));
                    said.push(seconds);
                    if let Some(key) = key {
                        key_of.insert(*key, (head + 1, seconds));
                    }
                }
            }
            // Expiry in NATS has its own test; waiting here would take minutes.
            KeyStep::Wait(_) if subject.is_nats() => {}
            KeyStep::Wait(time) => {
                subject.pass(*time);
                seconds += time;
            }
            KeyStep::Restart => subject.restart(),
        }

        let head = said.len() as u64;
        let (offsets, _) = subject.offsets(Span::Newest, 1000);
        // Messages expire after a minute; a message of exactly that age may be there or not.
        let young = said
            .iter()
            .filter(|second| seconds - **second < 60)
            .count()
            .min(messages);
        let kept = said
            .iter()
            .filter(|second| seconds - **second <= 60)
            .count()
            .min(messages);

        prop_assert_eq!(subject.bounds().1, head);
        prop_assert!(offsets.len() >= young, "{:?} {} {}", offsets, young, head);
        if matches!(step, KeyStep::Append(_)) {
            prop_assert!(offsets.len() <= kept.max(1));
        }
        prop_assert_eq!(
            &offsets,
            &(head + 1 - offsets.len() as u64..=head).collect::<Vec<_>>()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn offsets_of_one_room_grow_by_one_whatever_is_repeated_trimmed_or_restarted(
        steps in prop::collection::vec(step(), 1..40), messages in 1usize..10,
    ) {
        let retention = Subject::retention(messages);
        hold(Subject::memory(retention), &steps, messages)?;
        hold(Subject::sqlite(retention), &steps, messages)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn in_a_stream_of_one_room_they_do_so_too(
        steps in prop::collection::vec(step(), 1..40), messages in 1usize..10,
    ) {
        // A message must outlast the test.
        let retention = Retention { age: Duration::from_secs(36_000), ..Subject::retention(messages) };
        hold(Subject::nats(retention), &steps, messages)?;
    }
}
