//! What the outbox promises: whole frames in order, a Close frame last, and no gap untold.

use parking_lot::Mutex;

use super::*;
use crate::protocol::{Epoch, UserId};
use crate::server::room::{Draft, Log, LogLimits};

fn frames(texts: &[&str]) -> Vec<Arc<Frame>> {
    let frame = |(at, text): (usize, &&str)| {
        let draft = Draft::text(UserId::guest(0), None, text);
        Arc::new(Frame::new(
            draft,
            Epoch::new(0),
            Offset(at as u64 + 1),
            Offset(at as u64),
            0,
        ))
    };
    texts.iter().enumerate().map(frame).collect()
}

fn log(messages: usize, texts: &[&str]) -> Mutex<Log> {
    let mut log = Log::new(
        LogLimits {
            messages,
            bytes: usize::MAX,
        },
        Offset(0),
    );
    frames(texts)
        .into_iter()
        .for_each(|frame| log.append(frame));
    Mutex::new(log)
}

fn outbox() -> SendBuffer {
    SendBuffer::new(Format::new(Dialect::Plain), Offset(0))
}

/// Returns a page with `frames` of a log of three messages, of which those up to `gone` were trimmed.
fn page(frames: &[Arc<Frame>], gone: u64) -> CatchUpPage {
    CatchUpPage {
        frames: frames.to_vec(),
        head: Offset(3),
        gone: Offset(gone),
        is_dense: true,
    }
}

/// Everything the outbox writes when the kernel takes `piece` bytes at a time; and whether it ended there.
fn drain(outbox: &mut SendBuffer, log: &Mutex<Log>, piece: usize) -> (Vec<u8>, bool) {
    let mut written = Vec::new();
    let mut reel = FanoutBatch::new(log);
    loop {
        let taken = match outbox.next(&mut reel) {
            NextChunk::Write(bytes) => {
                let taken = bytes.len().min(piece);
                written.extend_from_slice(&bytes[..taken]);
                taken
            }
            NextChunk::Idle | NextChunk::Behind(_) => return (written, false),
            NextChunk::Finished => return (written, true),
        };
        outbox.wrote(taken, &mut reel);
    }
}

#[test]
fn own_frames_never_cut_a_frame_of_the_log_in_two() {
    let log = log(10, &["hello"]);
    for piece in 1..7 {
        let mut outbox = outbox();
        let mut reel = FanoutBatch::new(&log);
        let NextChunk::Write(bytes) = outbox.next(&mut reel) else {
            panic!("the log has a frame")
        };
        let mut written = bytes[..piece].to_vec();
        outbox.wrote(piece, &mut reel);
        outbox.push(Opcode::Pong, b"!");
        let (rest, finished) = drain(&mut outbox, &log, piece);
        written.extend(rest);
        assert_eq!(
            (written.as_slice(), finished),
            (&b"\x81\x05hello\x8a\x01!"[..], false)
        );
    }
}

#[test]
fn a_close_frame_is_the_last_thing_written() {
    let log = log(10, &["late"]);
    let mut outbox = outbox();
    outbox.push(Opcode::Pong, b"!");
    outbox.close(CloseReason::Ours(CloseCode::Expired));
    outbox.close(CloseReason::Ours(CloseCode::TooFast));
    outbox.push(Opcode::Pong, b"after");
    let (written, finished) = drain(&mut outbox, &log, 1000);
    assert!(finished);
    assert_eq!(
        written,
        [&b"\x8a\x01!"[..], &wire::close_frame(CloseCode::Expired)].concat()
    );
}

#[test]
fn nothing_follows_a_close_frame_whatever_closes_and_whenever_the_store_answers() {
    let all = frames(&["one", "two", "three"]);
    let log = log(1, &["one", "two", "three"]);
    let farewells = CloseCode::ALL
        .map(CloseReason::Ours)
        .into_iter()
        .chain([CloseReason::Echo(None), CloseReason::Echo(Some(1000))]);

    for farewell in farewells {
        for dialect in [Dialect::Plain, Dialect::Typed] {
            let mut outbox = SendBuffer::new(Format::new(dialect), Offset(0));
            drain(&mut outbox, &log, 1000);
            outbox.close(farewell);
            let (before, _) = drain(&mut outbox, &log, 1000);

            outbox.on_caught_up(&page(&all[..2], 0));
            outbox.push(Opcode::Pong, b"late");
            let (after, finished) = drain(&mut outbox, &log, 1000);

            let written = [before, after].concat();
            let close = match farewell {
                CloseReason::Ours(code) => wire::close_frame(code),
                CloseReason::Echo(code) => wire::close_echo(code),
            };
            assert!(written.ends_with(&close), "{farewell:?}");
            assert!(finished && outbox.is_finished(), "{farewell:?}");
            if farewell != CloseReason::Ours(CloseCode::GoingAway) {
                assert_eq!(written, close, "{farewell:?}");
            }
        }
    }
}

#[test]
fn a_server_that_goes_away_first_catches_up_with_the_store_or_gives_up_and_closes() {
    let all = frames(&["one", "two", "three"]);
    let log = log(1, &["one", "two", "three"]);
    let close = wire::close_frame(CloseCode::GoingAway);

    for gives_up in [false, true] {
        let mut outbox = outbox();
        outbox.close(CloseReason::Ours(CloseCode::GoingAway));
        assert_eq!(drain(&mut outbox, &log, 1000), (Vec::new(), false));
        assert_eq!(outbox.behind(), Some(Offset(0)));
        assert!(!outbox.is_finished());

        if gives_up {
            outbox.end_log();
        } else {
            outbox.on_caught_up(&page(&all[..2], 0));
        }

        let text: &[u8] = if gives_up {
            b""
        } else {
            b"\x81\x03one\x81\x03two\x81\x05three"
        };
        assert_eq!(
            drain(&mut outbox, &log, 1000),
            ([text, &close].concat(), true)
        );
    }
}

#[test]
fn a_gap_is_told_also_by_a_server_that_goes_away() {
    let all = frames(&["one", "two", "three"]);
    let log = log(1, &["one", "two", "three"]);

    for dialect in [Dialect::Plain, Dialect::Typed, Dialect::Ndjson] {
        let mut outbox = SendBuffer::new(Format::new(dialect), Offset(0));
        outbox.close(CloseReason::Ours(CloseCode::GoingAway));
        drain(&mut outbox, &log, 1000);
        outbox.on_caught_up(&page(&all[2..], 2));
        let (written, finished) = drain(&mut outbox, &log, 1000);

        assert!(finished, "{dialect:?}");
        let words = String::from_utf8_lossy(&written);
        let is_told = words.contains("\"gap\"");
        assert_eq!(is_told, dialect != Dialect::Plain, "{dialect:?}");
        assert_eq!(words.contains("three"), is_told, "{dialect:?}");
    }
}

#[test]
fn what_was_queued_before_the_opening_comes_after_it() {
    let log = log(10, &["hello"]);
    let mut outbox = SendBuffer::corked(Format::new(Dialect::Plain), Offset(0));
    outbox.push(Opcode::Pong, b"!");
    assert_eq!(drain(&mut outbox, &log, 1000), (Vec::new(), false));

    outbox.uncork(wire::encode(Opcode::Text, b"welcome").to_vec());

    let (written, _) = drain(&mut outbox, &log, 1000);
    assert_eq!(written, b"\x81\x07welcome\x8a\x01!\x81\x05hello");
}

#[test]
fn a_server_that_goes_away_first_gives_what_the_log_has() {
    let log = log(10, &["hello"]);
    let mut outbox = outbox();
    outbox.close(CloseReason::Ours(CloseCode::GoingAway));
    let (written, finished) = drain(&mut outbox, &log, 3);
    assert!(finished);
    assert_eq!(
        written,
        [
            &b"\x81\x05hello"[..],
            &wire::close_frame(CloseCode::GoingAway)
        ]
        .concat()
    );
}

#[test]
fn a_reader_the_ring_has_passed_goes_on_from_the_store() {
    let all = frames(&["one", "two", "three"]);
    let log = log(1, &["one", "two", "three"]);
    let mut outbox = outbox();
    assert_eq!(drain(&mut outbox, &log, 1000), (Vec::new(), false));
    assert_eq!(outbox.behind(), Some(Offset(0)));
    outbox.on_caught_up(&page(&all[..2], 0));
    let (written, _) = drain(&mut outbox, &log, 2);
    assert_eq!(written, b"\x81\x03one\x81\x03two\x81\x05three");
}

#[test]
fn a_plain_reader_with_a_gap_is_closed_as_too_slow_and_any_other_is_told() {
    let all = frames(&["one", "two", "three"]);
    let log = log(1, &["one", "two", "three"]);
    for dialect in [
        Dialect::Plain,
        Dialect::Typed,
        Dialect::Sse,
        Dialect::Ndjson,
    ] {
        let mut outbox = SendBuffer::new(Format::new(dialect), Offset(0));
        drain(&mut outbox, &log, 1000);
        outbox.on_caught_up(&page(&all[2..], 2));
        let (written, finished) = drain(&mut outbox, &log, 1000);
        if dialect == Dialect::Plain {
            assert_eq!(
                (written, finished),
                (wire::close_frame(CloseCode::TooSlow).to_vec(), true)
            );
        } else {
            let (after, before) = (Offset(0), Offset(3));
            let gap = Push::Gap {
                after,
                before,
                count: Some(2),
                reason: GapReason::Lagged,
            };
            let mut expected = Vec::new();
            dialect.encode_into(&gap, &mut expected);
            expected.extend_from_slice(&all[2].encode(Format::new(dialect)));
            assert_eq!((written, finished), (expected, false));
        }
    }
}

#[test]
fn a_stream_has_no_close_frame_and_ends_after_what_the_log_has() {
    let log = log(10, &["hello"]);
    let mut outbox = SendBuffer::new(Format::new(Dialect::Ndjson), Offset(0));
    outbox.push_event(&Push::Drain {
        reconnect_after_ms: 7,
    });
    outbox.close(CloseReason::Ours(CloseCode::GoingAway));
    let (written, finished) = drain(&mut outbox, &log, 1000);
    assert!(finished);
    let lines = String::from_utf8(written).expect("text");
    assert!(
        lines.starts_with("{\"type\":\"drain\"") && lines.ends_with("\"text\":\"hello\"}\n"),
        "{lines}"
    );
}

/// The frames of an NDJSON reader from the beginning of a log of which the store still has the messages `kept`, and
/// of which those up to `gone` were trimmed.
fn caught_up(kept: &[u64], gone: u64, head: u64) -> (Vec<serde_json::Value>, Vec<GapReason>) {
    let texts: Vec<String> = (1..=head).map(|offset| offset.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let frames = frames(&texts)
        .into_iter()
        .filter(|frame| kept.contains(&frame.offset().0))
        .collect();
    let log = log(1, &texts);
    let mut outbox = SendBuffer::new(Format::new(Dialect::Ndjson), Offset(0));
    drain(&mut outbox, &log, 1000);

    let gaps = outbox.on_caught_up(&CatchUpPage {
        frames,
        head: Offset(head),
        gone: Offset(gone),
        is_dense: true,
    });

    let lines = String::from_utf8(outbox.own.clone()).expect("text");
    let frames = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    (frames, gaps)
}

/// Returns a gap in its NDJSON form.
fn gap(after: u64, before: u64, count: u64, reason: &str) -> serde_json::Value {
    serde_json::json!({
        "type": "gap", "after": after, "before": before, "count": count, "reason": reason,
    })
}

#[test]
fn a_gap_is_sent_wherever_a_message_is_missing_between_two_others() {
    let (frames, gaps) = caught_up(&[1, 2, 5, 7, 8], 0, 8);

    assert_eq!(gaps, [GapReason::Damaged; 2]);
    let offsets: Vec<_> = frames
        .iter()
        .map(|frame| frame["offset"].as_u64())
        .collect();
    assert_eq!(
        offsets,
        [Some(1), Some(2), None, Some(5), None, Some(7), Some(8)]
    );
    assert_eq!(frames[2], gap(2, 5, 2, "damaged"));
    assert_eq!(frames[4], gap(5, 7, 1, "damaged"));
}

#[test]
fn trimmed_messages_and_damaged_ones_behind_them_are_two_gaps() {
    let (frames, gaps) = caught_up(&[5], 2, 5);

    assert_eq!(gaps, [GapReason::Lagged, GapReason::Damaged]);
    assert_eq!(
        frames[..2],
        [gap(0, 3, 2, "lagged"), gap(2, 5, 2, "damaged")]
    );
}

#[test]
fn a_gap_reaches_to_the_newest_message_if_none_can_be_read() {
    let (frames, gaps) = caught_up(&[], 0, 8);

    assert_eq!(gaps, [GapReason::Damaged]);
    assert_eq!(frames, [gap(0, 9, 8, "damaged")]);
}

#[test]
fn a_plain_reader_continues_behind_damaged_messages() {
    let all = frames(&["one", "two", "three"]);
    let log = log(1, &["one", "two", "three"]);
    let mut outbox = outbox();
    drain(&mut outbox, &log, 1000);

    let kept = [all[0].clone(), all[2].clone()];
    let gaps = outbox.on_caught_up(&page(&kept, 0));

    assert_eq!(gaps, [GapReason::Damaged]);
    assert_eq!(
        drain(&mut outbox, &log, 1000),
        (b"\x81\x03one\x81\x05three".to_vec(), false)
    );
}
