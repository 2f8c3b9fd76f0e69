//! Tests of the send buffer: whole frames in order, a Close frame at the end, and a notice for every gap.

use std::convert::Infallible;

use parking_lot::Mutex;

use super::*;
use crate::protocol::{RoomName, UserId};
use crate::server::room::{Draft, FanoutBatch, Log, LogLimits};
use crate::server::session::RoomReader;

const DIALECTS: [Dialect; 4] = [
    Dialect::Plain,
    Dialect::Typed,
    Dialect::Sse,
    Dialect::Ndjson,
];

fn frames(texts: &[&str]) -> Vec<Arc<Frame>> {
    (1..)
        .zip(texts)
        .map(|(offset, text)| {
            let draft = Draft::text(UserId::guest(0), None, *text);
            let frame = Frame::of_test(&RoomName::lobby(), draft, offset);
            Arc::new(frame.numbered(offset))
        })
        .collect()
}

/// Returns a log of which the ring keeps the newest `messages` of `texts`.
fn log(messages: usize, texts: &[&str]) -> Mutex<Log> {
    let limits = LogLimits {
        messages,
        bytes: usize::MAX,
    };
    let mut log = Log::new(limits, Offset(0));
    for frame in frames(texts) {
        log.append(frame);
    }
    Mutex::new(log)
}

/// Returns three messages, and their log, of which the ring keeps only the last one.
fn trimmed_log() -> (Vec<Arc<Frame>>, Mutex<Log>) {
    let texts = ["one", "two", "three"];
    (frames(&texts), log(1, &texts))
}

/// Returns a page with `frames` of a log of three messages, of which those up to `gone` were trimmed.
fn page(frames: &[Arc<Frame>], gone: u64) -> CatchUpPage {
    CatchUpPage {
        room: RoomName::lobby().into(),
        is_linked: true,
        after: Offset(0),
        frames: frames.to_vec(),
        more: false,
        upper_bound: Offset(3),
        gone: Offset(gone),
        trimmed: Some(gone),
        damaged: Some(0),
    }
}

/// A reader of a log, from its start.
struct TestReader {
    buffer: SendBuffer,
    cursor: LogCursor,
}

impl TestReader {
    fn new(dialect: Dialect) -> Self {
        Self {
            buffer: SendBuffer::new(Format::new(dialect)),
            cursor: LogCursor::new(Offset(0)),
        }
    }

    fn shutting_down(dialect: Dialect) -> Self {
        let mut reader = Self::new(dialect);
        reader
            .buffer
            .close(CloseReason::Local(CloseCode::GoingAway));
        reader
    }

    /// Writes all that the buffer has, `piece` bytes at a time. Returns the bytes, and true if the output has ended.
    fn drain(&mut self, log: &Mutex<Log>, piece: usize) -> (Vec<u8>, bool) {
        let mut written = Vec::new();

        loop {
            match self.write(log, piece, &mut written) {
                WriteStep::Wrote(_) => {}
                WriteStep::Idle | WriteStep::Behind => return (written, false),
                WriteStep::Finished => return (written, true),
            }
        }
    }

    /// Writes at most `piece` bytes to the end of `written`.
    fn write(&mut self, log: &Mutex<Log>, piece: usize, written: &mut Vec<u8>) -> WriteStep {
        let mut batch = FanoutBatch::new(log);
        let mut reader = RoomReader {
            cursor: &mut self.cursor,
            batch: &mut batch,
        };
        let Ok(step) = self.buffer.write_next(&mut reader, |bytes| {
            let accepted = bytes.len().min(piece);
            written.extend_from_slice(&bytes[..accepted]);
            Ok::<usize, Infallible>(accepted)
        });
        step
    }

    fn catch_up(&mut self, page: &CatchUpPage) -> Vec<GapReason> {
        let Self { buffer, cursor, .. } = self;
        let mut gaps = buffer.begin_page(cursor, page);
        gaps.extend(buffer.continue_page(cursor, page, Offset(u64::MAX)));
        gaps
    }
}

fn close_frame(reason: CloseReason) -> Bytes {
    match reason {
        CloseReason::Local(code) => wire::close_frame(code),
        CloseReason::Echo(code) => wire::close_echo(code),
    }
}

#[test]
fn queued_frames_follow_the_whole_frame_of_the_log() {
    let log = log(10, &["hello"]);

    for piece in 1..7 {
        let mut reader = TestReader::new(Dialect::Plain);
        let mut written = Vec::new();
        reader.write(&log, piece, &mut written);

        reader.buffer.push(Opcode::Pong, b"!");
        let (rest, finished) = reader.drain(&log, piece);

        written.extend(rest);
        assert_eq!(written, b"\x81\x05hello\x8a\x01!");
        assert!(!finished);
    }
}

#[test]
fn the_close_frame_is_written_last() {
    let log = log(10, &["late"]);
    let mut reader = TestReader::new(Dialect::Plain);

    reader.buffer.push(Opcode::Pong, b"!");
    reader.buffer.close(CloseReason::Local(CloseCode::Expired));
    reader.buffer.close(CloseReason::Local(CloseCode::TooFast));
    reader.buffer.push(Opcode::Pong, b"after");
    let (written, finished) = reader.drain(&log, 1000);

    let close = wire::close_frame(CloseCode::Expired);
    assert_eq!(written, [&b"\x8a\x01!"[..], &close].concat());
    assert!(finished);
}

#[test]
fn nothing_follows_a_close_frame_even_if_the_store_responds_later() {
    let (all, log) = trimmed_log();
    let reasons = CloseCode::ALL
        .map(CloseReason::Local)
        .into_iter()
        .chain([CloseReason::Echo(None), CloseReason::Echo(Some(1000))]);

    for reason in reasons {
        for dialect in [Dialect::Plain, Dialect::Typed] {
            let mut reader = TestReader::new(dialect);
            reader.drain(&log, 1000);
            reader.buffer.close(reason);
            let (before, _) = reader.drain(&log, 1000);

            reader.catch_up(&page(&all[..2], 0));
            reader.buffer.push(Opcode::Pong, b"late");
            let (after, finished) = reader.drain(&log, 1000);

            let written = [before, after].concat();
            assert!(written.ends_with(&close_frame(reason)), "{reason:?}");
            assert!(finished, "{reason:?}");
            assert!(reader.buffer.is_finished(), "{reason:?}");
            if reason != CloseReason::Local(CloseCode::GoingAway) {
                assert_eq!(written, close_frame(reason), "{reason:?}");
            }
        }
    }
}

#[test]
fn at_a_shutdown_the_log_is_written_before_the_close_frame() {
    let log = log(10, &["hello"]);
    let mut reader = TestReader::shutting_down(Dialect::Plain);
    let (written, finished) = reader.drain(&log, 3);

    let close = wire::close_frame(CloseCode::GoingAway);
    assert_eq!(written, [&b"\x81\x05hello"[..], &close].concat());
    assert!(finished);
}

#[test]
fn at_a_shutdown_a_lagging_reader_first_catches_up_from_the_store() {
    let (all, log) = trimmed_log();
    let mut reader = TestReader::shutting_down(Dialect::Plain);
    let before = reader.drain(&log, 1000);
    let is_behind = reader.cursor.is_behind();
    reader.catch_up(&page(&all[..2], 0));
    let (written, finished) = reader.drain(&log, 1000);

    let close = wire::close_frame(CloseCode::GoingAway);
    let texts = b"\x81\x03one\x81\x03two\x81\x05three";
    assert_eq!(before, (Vec::new(), false));
    assert!(is_behind);
    assert_eq!(written, [&texts[..], &close].concat());
    assert!(finished);
}

#[test]
fn at_a_shutdown_a_lagging_reader_is_closed_if_the_log_is_ended() {
    let (_, log) = trimmed_log();
    let mut reader = TestReader::shutting_down(Dialect::Plain);
    reader.drain(&log, 1000);

    reader.buffer.end_log();
    let (written, finished) = reader.drain(&log, 1000);

    assert_eq!(written, wire::close_frame(CloseCode::GoingAway));
    assert!(finished);
}

#[test]
fn at_a_shutdown_gaps_are_sent_as_well() {
    let (all, log) = trimmed_log();

    for dialect in [Dialect::Plain, Dialect::Typed, Dialect::Ndjson] {
        let mut reader = TestReader::shutting_down(dialect);
        reader.drain(&log, 1000);

        reader.catch_up(&page(&all[2..], 2));
        let (written, finished) = reader.drain(&log, 1000);

        let text = String::from_utf8_lossy(&written);
        let has_gaps = dialect != Dialect::Plain;
        assert!(finished, "{dialect:?}");
        assert_eq!(text.contains("\"gap\""), has_gaps, "{dialect:?}");
        assert_eq!(text.contains("three"), has_gaps, "{dialect:?}");
    }
}

#[test]
fn a_plain_reader_with_a_gap_is_closed_as_too_slow() {
    let (all, log) = trimmed_log();
    let mut reader = TestReader::new(Dialect::Plain);
    reader.drain(&log, 1000);

    reader.catch_up(&page(&all[2..], 2));
    let (written, finished) = reader.drain(&log, 1000);

    assert_eq!(written, wire::close_frame(CloseCode::TooSlow));
    assert!(finished);
}

#[test]
fn readers_of_all_other_dialects_are_notified_of_a_gap() {
    let (all, log) = trimmed_log();
    let gap = Push::Gap {
        room: RoomName::lobby().into(),
        after: Offset(0),
        before: Offset(3),
        count: Some(2),
        reason: GapReason::Lagged,
    };

    for dialect in DIALECTS.into_iter().filter(|d| *d != Dialect::Plain) {
        let mut reader = TestReader::new(dialect);
        reader.drain(&log, 1000);

        reader.catch_up(&page(&all[2..], 2));
        let (written, finished) = reader.drain(&log, 1000);

        let expected = [dialect.encode(&gap), Format::new(dialect).encode(&all[2])].concat();
        assert_eq!(written, expected);
        assert!(!finished);
    }
}

#[test]
fn a_stream_ends_after_the_log_without_a_close_frame() {
    let log = log(10, &["hello"]);
    let mut reader = TestReader::new(Dialect::Ndjson);

    reader.buffer.push_event(&Push::Drain {
        reconnect_after_ms: 7,
    });
    reader
        .buffer
        .close(CloseReason::Local(CloseCode::GoingAway));
    let (written, finished) = reader.drain(&log, 1000);

    let lines = String::from_utf8(written).expect("text");
    assert!(lines.starts_with("{\"type\":\"drain\""), "{lines}");
    assert!(lines.ends_with("\"text\":\"hello\"}\n"), "{lines}");
    assert!(finished);
}

/// Returns the NDJSON frames and the gaps that a reader receives from the start of a log up to `head`, of which the
/// store has the messages `readable`, and of which those up to `gone` were trimmed.
fn caught_up(readable: &[u64], gone: u64, head: u64) -> (Vec<serde_json::Value>, Vec<GapReason>) {
    let texts: Vec<String> = (1..=head).map(|offset| offset.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let frames = frames(&texts)
        .into_iter()
        .filter(|frame| readable.contains(&frame.offset().0))
        .collect();
    let log = log(1, &texts);
    let mut reader = TestReader::new(Dialect::Ndjson);
    reader.drain(&log, 1000);

    let before = readable.first().map_or(head, |first| first - 1);
    let gaps = reader.catch_up(&CatchUpPage {
        more: false,
        room: RoomName::lobby().into(),
        is_linked: true,
        after: Offset(0),
        frames,
        upper_bound: Offset(head),
        gone: Offset(gone),
        trimmed: Some(gone),
        damaged: Some(before - gone),
    });

    let lines = String::from_utf8(reader.buffer.queue.clone()).expect("text");
    let frames = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    (frames, gaps)
}

/// Returns a gap in its NDJSON form.
fn gap(after: u64, before: u64, count: u64, reason: &str) -> serde_json::Value {
    serde_json::json!({
        "type": "gap", "room": "lobby", "after": after, "before": before, "count": count, "reason": reason,
    })
}

#[test]
fn a_gap_is_sent_wherever_a_message_is_missing_between_two_others() {
    let (frames, gaps) = caught_up(&[1, 2, 5, 7, 8], 0, 8);

    let offsets: Vec<_> = frames
        .iter()
        .map(|frame| frame["offset"].as_u64())
        .collect();
    let expected = [Some(1), Some(2), None, Some(5), None, Some(7), Some(8)];
    assert_eq!(offsets, expected);
    assert_eq!(frames[2], gap(2, 5, 2, "damaged"));
    assert_eq!(frames[4], gap(5, 7, 1, "damaged"));
    assert_eq!(gaps, [GapReason::Damaged; 2]);
}

#[test]
fn trimmed_messages_and_damaged_ones_after_them_are_two_gaps() {
    let (frames, gaps) = caught_up(&[5], 2, 5);

    let expected = [gap(0, 3, 2, "lagged"), gap(2, 5, 2, "damaged")];
    assert_eq!(frames[..2], expected);
    assert_eq!(gaps, [GapReason::Lagged, GapReason::Damaged]);
}

#[test]
fn a_gap_reaches_to_the_newest_message_if_none_can_be_read() {
    let (frames, gaps) = caught_up(&[], 0, 8);

    assert_eq!(frames, [gap(0, 9, 8, "damaged")]);
    assert_eq!(gaps, [GapReason::Damaged]);
}

#[test]
fn a_plain_reader_continues_after_damaged_messages() {
    let (all, log) = trimmed_log();
    let mut reader = TestReader::new(Dialect::Plain);
    reader.drain(&log, 1000);

    let readable = [all[0].clone(), all[2].clone()];
    let gaps = reader.catch_up(&page(&readable, 0));
    let (written, finished) = reader.drain(&log, 1000);

    assert_eq!(gaps, [GapReason::Damaged]);
    assert_eq!(written, b"\x81\x03one\x81\x05three");
    assert!(!finished);
}

#[test]
fn the_rest_of_a_chunk_that_the_kernel_did_not_accept_counts_as_reclaimable() {
    let mut buffer = SendBuffer::new(Format::new(Dialect::Sse));
    let chunk = Memory::of_process().track(Bytes::from_static(b"a message"), 0);

    let accepted = buffer.write_shared(&chunk, |_| Ok::<_, Infallible>(2));

    assert_eq!(accepted, Ok(2));
    assert_eq!(buffer.queued_bytes(), 0);
    assert_eq!(buffer.reclaimable(), "message".len());
}
