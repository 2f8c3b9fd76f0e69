//! Tests of the ring and of its readers: whole frames in order, or the error that some were dropped.

use proptest::prelude::*;

use super::*;
use crate::protocol::samples::room;
use crate::protocol::{RoomName, UserId};
use crate::server::room::{Dialect, Draft};

const PLAIN: Format = Format::new(Dialect::Plain);

fn frame(offset: u64, draft: Draft) -> Arc<Frame> {
    Arc::new(Frame::of_test(&RoomName::lobby(), draft, offset))
}

/// Returns a frame of one letter, which the plain dialect encodes to three bytes.
fn letter(offset: u64) -> Arc<Frame> {
    let text = char::from(b'a' + (offset % 26) as u8).to_string();
    frame(offset, Draft::text(UserId::guest(0), None, &text))
}

fn empty_log(messages: usize, head: u64) -> Log {
    let limits = LogLimits {
        messages,
        bytes: usize::MAX,
    };
    Log::new(limits, Offset(head))
}

fn log_of(messages: usize, appended: u64) -> Log {
    let mut log = empty_log(messages, 0);
    for offset in 1..=appended {
        log.append(letter(offset));
        assert_eq!(log.head(), Offset(offset));
    }
    log
}

fn read(log: &mut Log, after: u64, max_bytes: usize) -> Result<Option<Chunk>, Lagged> {
    let head = log.head();
    log.read(Offset(after), head, PLAIN, max_bytes, &ExcludedRooms::NONE)
}

/// Returns the offset of the last frame of a chunk after `after`.
fn read_until(log: &mut Log, after: u64, max_bytes: usize) -> Result<Option<Offset>, Lagged> {
    read(log, after, max_bytes).map(|chunk| chunk.map(|chunk| chunk.until))
}

const fn lagged(dropped: u64) -> Lagged {
    Lagged {
        dropped: Offset(dropped),
    }
}

#[test]
fn frames_of_excluded_rooms_are_not_read() {
    let excluded: ExcludedRooms = [room("b")].into_iter().collect();
    let mut log = empty_log(10, 0);
    for (offset, name) in [(1, "a"), (2, "b"), (3, "a"), (4, "b")] {
        let draft = Draft::text(UserId::guest(0), None, name);
        let frame = Frame::of_test(&room(name), draft, offset);
        log.append_unlinked(Arc::new(frame));
    }

    let chunk = log.read(Offset(0), Offset(4), PLAIN, 100, &excluded);
    let chunk = chunk.expect("in the ring").expect("frames");

    assert_eq!((chunk.until, chunk.messages), (Offset(3), 2));
    assert_eq!(log.next_offset(Offset(1), &excluded), Ok(Some(Offset(3))));
    assert_eq!(log.next_offset(Offset(3), &excluded), Ok(None));
}

#[test]
fn a_log_that_restarts_has_no_frames_and_keeps_its_redactions() {
    for (offset, dropped) in [(2, 3), (9, 9)] {
        let mut log = log_of(10, 3);
        assert!(log.redact(Offset(2), 7));

        log.restart_at(Offset(offset));

        assert_eq!(log.usage(), (0, 0));
        assert_eq!(log.head(), Offset(dropped));
        assert_eq!(read(&mut log, dropped - 1, 100), Err(lagged(dropped)));
        assert_eq!(read(&mut log, dropped, 100), Ok(None));
        assert_eq!(log.redacted(Offset(9)), [(Offset(2), 7)]);
    }
}

#[test]
fn a_chunk_has_at_least_one_frame_and_otherwise_at_most_the_maximum_size() {
    let mut log = log_of(10, 3);

    let until = [0, 3, 5, 6, 9].map(|max_bytes| read_until(&mut log, 0, max_bytes));

    assert_eq!(
        until,
        [1, 1, 1, 2, 3].map(|offset| Ok(Some(Offset(offset))))
    );
}

#[test]
fn a_ring_that_continues_after_a_restart_has_no_earlier_frames() {
    let mut log = empty_log(2, 7);

    assert_eq!(log.head(), Offset(7));
    assert_eq!(read(&mut log, 6, 1000), Err(lagged(7)));

    log.append(letter(8));
    assert_eq!(read_until(&mut log, 7, 1000), Ok(Some(Offset(8))));
}

#[test]
fn a_reader_before_a_hole_has_lagged() {
    let mut log = log_of(10, 3);

    log.append(letter(9));

    assert_eq!(read(&mut log, 3, 1000), Err(lagged(8)));
    assert_eq!(read_until(&mut log, 8, 1000), Ok(Some(Offset(9))));
}

#[test]
fn a_message_is_redacted_once() {
    let mut log = log_of(10, 3);

    let results = [2, 9, 2].map(|offset| log.redact(Offset(offset), 7));

    assert_eq!(results, [true, true, false]);
    assert!(log.redacted(Offset(1)).is_empty());
    assert_eq!(log.redacted(Offset(3)), [(Offset(2), 7)]);
}

#[test]
fn a_redacted_frame_is_a_tombstone_in_json_and_empty_in_the_plain_dialect() {
    let mut log = log_of(10, 3);
    let (_, bytes) = log.usage();

    log.redact(Offset(2), 7);

    assert_eq!(log.usage(), (3, bytes - 1), "one letter less");
    let all = read(&mut log, 0, 1000)
        .expect("in the ring")
        .expect("three frames");
    assert_eq!(all.until, Offset(3));
    assert_eq!(&all.bytes[..], b"\x81\x01b\x81\x01d");
    let mut redacted = |format| {
        log.read(Offset(1), Offset(2), format, 0, &ExcludedRooms::NONE)
            .expect("in the ring")
            .expect("one frame")
    };
    let line = redacted(Format::new(Dialect::Ndjson));
    assert!(
        line.bytes.ends_with(b"\"deleted\":true}\n"),
        "{:?}",
        line.bytes
    );
    let plain = redacted(PLAIN);
    assert_eq!(plain.until, Offset(2));
    assert_eq!(plain.bytes.len(), 0);
}

#[test]
fn the_newest_frame_is_kept_even_if_it_exceeds_the_limit() {
    let limits = LogLimits {
        messages: 10,
        bytes: 100,
    };
    let mut log = Log::new(limits, Offset(0));
    log.append(letter(1));

    log.append(frame(2, Draft::binary(UserId::guest(0), &[0; 1000])));

    assert_eq!(read_until(&mut log, 1, 1), Ok(Some(Offset(2))));
}

#[test]
fn a_truncated_log_keeps_its_head() {
    let mut log = log_of(10, 3);
    let (_, bytes) = log.usage();

    log.truncate(bytes - 1);
    assert_eq!(log.head(), Offset(3));
    assert_eq!(read(&mut log, 0, 1000), Err(lagged(1)));

    log.truncate(0);
    assert_eq!(log.head(), Offset(3));
    assert_eq!(log.usage(), (0, 0));
    assert_eq!(read(&mut log, 3, 1000), Ok(None));

    log.append(letter(4));
    assert_eq!(read_until(&mut log, 3, 1000), Ok(Some(Offset(4))));
}

#[test]
fn deliveries_are_added_to_the_counters_at_the_end_of_a_pass() {
    let limits = LogLimits {
        messages: 1,
        bytes: 1,
    };
    let log = Mutex::new(Log::new(limits, Offset(0)));
    let counters = DeliveryCounters::default();

    let mut batch = FanoutBatch::new(&log).counted(&counters);
    batch.count_delivery(2, 30);
    batch.count_delivery(1, 12);
    let during = counters.read();
    drop(batch);

    assert_eq!(during, (0, 0));
    assert_eq!(counters.read(), (3, 42));
}

proptest! {
    /// Readers that read at any time and with any chunk size, with a writer and a ring of any size.
    #[test]
    fn every_reader_receives_all_frames_in_order_or_the_lagged_error(
        capacity in 1usize..20,
        steps in prop::collection::vec((0usize..4, 0usize..40), 1..200),
    ) {
        let mut log = log_of(capacity, 0);
        let mut readers = [0; 3];

        for (reader, max_bytes) in steps {
            let Some(after) = readers.get_mut(reader) else {
                log.append(letter(log.head().0 + 1));
                continue;
            };

            match read(&mut log, *after, max_bytes) {
                Ok(None) => prop_assert_eq!(*after, log.head().0),
                Ok(Some(chunk)) => {
                    let expected: Vec<u8> = (*after + 1..=chunk.until.0)
                        .flat_map(|offset| PLAIN.encode(&letter(offset)).to_vec())
                        .collect();
                    prop_assert_eq!(&chunk.bytes[..], &expected[..]);
                    *after = chunk.until.0;
                }
                Err(lagged) => {
                    prop_assert!(lagged.dropped.0 > *after);
                    prop_assert_eq!(lagged.dropped.0 + capacity as u64, log.head().0);
                    *after = lagged.dropped.0;
                }
            }
        }
    }
}
