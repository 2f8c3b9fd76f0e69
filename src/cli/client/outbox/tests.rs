//! The outbox against a server that says what each test needs, and against one that breaks at any moment.

use proptest::prelude::*;

use super::*;
use crate::protocol::Body;
use crate::protocol::Epoch;
use crate::protocol::ErrorCode;
use crate::protocol::Publication;
use crate::protocol::Recovery;
use crate::protocol::RoomName;
use crate::protocol::Welcome;

fn me() -> UserId {
    UserId::parse("me").expect("a name")
}

fn key(number: u64) -> Key {
    Key::parse(&number.to_string()).expect("a key")
}

fn welcome(limit: Option<(u32, u32)>) -> Push {
    Push::Welcome(Welcome {
        room: RoomName::lobby(),
        id: me(),
        connection: 1,
        epoch: Epoch::new(1),
        head: Offset(0),
        first: Offset(0),
        recovery: Recovery::Fresh,
        heartbeat_ms: 25_000,
        expire_ms: 60_000,
        max_message: 100,
        message_rate: limit.map(|(rate, _)| rate),
        message_burst: limit.map(|(_, burst)| burst),
        count: 1,
        members: None,
    })
}

fn ack(number: u64, offset: u64, duplicate: bool) -> Push {
    Push::Ack {
        key: key(number),
        offset: Offset(offset),
        duplicate,
    }
}

fn message(from: UserId, number: u64, offset: u64) -> Push {
    let body = Body::Text(number.to_string());
    let (offset, prev) = (Offset(offset), Offset(offset - 1));
    Push::Message(Publication {
        offset,
        prev,
        at: 0,
        from,
        body,
        key: Some(key(number)),
    })
}

fn error(number: u64, code: ErrorCode) -> Push {
    Push::Error {
        code,
        message: "no".into(),
        retry: code.invites_retry(),
        key: Some(key(number)),
    }
}

/// The numbers of what goes out now.
fn sent(outbox: &mut Outbox, now: Instant) -> Vec<u64> {
    std::iter::from_fn(|| match outbox.next(now) {
        Next::Send(Command::Say { text, key: Some(_) }) => text.parse().ok(),
        _ => None,
    })
    .collect()
}

fn filled(
    numbers: std::ops::RangeInclusive<u64>,
    limit: Option<(u32, u32)>,
    now: Instant,
) -> Outbox {
    let mut outbox = Outbox::new(me());
    numbers.for_each(|number| outbox.push(number, key(number), number.to_string()));
    assert_eq!(
        outbox.next(now),
        Next::Idle,
        "nothing goes out before the welcome"
    );
    assert_eq!(outbox.hear(&welcome(limit), now), None);
    outbox
}

fn outcome(settled: Option<Settled>) -> Option<(u64, Outcome)> {
    settled.map(|settled| (settled.number, settled.outcome))
}

#[test]
fn all_go_out_in_order_and_what_is_unanswered_goes_out_again_on_the_next_connection() {
    let now = Instant::now();
    let mut outbox = filled(1..=4, Some((0, 1)), now);
    assert_eq!(sent(&mut outbox, now), [1, 2, 3, 4]);
    let stored = Outcome::Stored {
        offset: Offset(7),
        duplicate: false,
    };
    assert_eq!(
        outcome(outbox.hear(&ack(1, 7, false), now)),
        Some((1, stored))
    );
    outbox.cut_off();
    assert_eq!((outbox.next(now), outbox.len()), (Next::Idle, 3));
    outbox.hear(&welcome(Some((0, 1))), now);
    assert_eq!(sent(&mut outbox, now), [2, 3, 4]);
}

#[test]
fn what_an_earlier_connection_got_stored_is_settled_by_the_log_and_not_sent_again() {
    let now = Instant::now();
    let mut outbox = filled(1..=2, Some((0, 1)), now);
    sent(&mut outbox, now);
    assert_eq!(
        outbox.hear(&message(me(), 1, 1), now),
        None,
        "its ack is to come"
    );
    outbox.cut_off();
    outbox.hear(&welcome(Some((0, 1))), now);
    let stored = Outcome::Stored {
        offset: Offset(1),
        duplicate: true,
    };
    assert_eq!(
        outbox.hear(&message(UserId::anonymous(), 2, 2), now),
        None,
        "another's key"
    );
    assert_eq!(
        outcome(outbox.hear(&message(me(), 1, 1), now)),
        Some((1, stored))
    );
    assert_eq!(sent(&mut outbox, now), [2]);
    assert_eq!(
        outbox.hear(&ack(1, 1, true), now),
        None,
        "it is settled once"
    );
}

#[test]
fn after_a_refusal_that_will_pass_everything_waits_and_goes_on_in_order() {
    let now = Instant::now();
    let mut outbox = filled(1..=4, Some((0, 1)), now);
    assert_eq!(sent(&mut outbox, now), [1, 2, 3, 4]);
    outbox.hear(&ack(1, 1, false), now);
    for number in 2..=4 {
        assert_eq!(
            outbox.hear(&error(number, ErrorCode::RateLimited), now),
            None
        );
    }
    assert_eq!(outbox.next(now), Next::Wait(REFUSED_PAUSE));
    assert_eq!(sent(&mut outbox, now + REFUSED_PAUSE), [2]);
    outbox.hear(&ack(2, 2, false), now + REFUSED_PAUSE);
    assert_eq!(sent(&mut outbox, now + REFUSED_PAUSE), [3, 4]);
}

#[test]
fn a_line_that_is_refused_again_and_again_is_not_overtaken() {
    let now = Instant::now();
    let mut outbox = filled(1..=1, Some((0, 1)), now);
    assert_eq!(sent(&mut outbox, now), [1]);
    outbox.hear(&error(1, ErrorCode::RateLimited), now);
    outbox.push(2, key(2), "2".into());
    outbox.push(3, key(3), "3".into());
    let mut later = now;
    for _refusal in 0..3 {
        later += REFUSED_PAUSE;
        assert_eq!(sent(&mut outbox, later), [1], "and not what came meanwhile");
        outbox.hear(&error(1, ErrorCode::RateLimited), later);
    }
    later += REFUSED_PAUSE;
    assert_eq!(sent(&mut outbox, later), [1]);
    outbox.hear(&ack(1, 1, false), later);
    assert_eq!(sent(&mut outbox, later), [2, 3]);
}

#[test]
fn an_answer_to_what_was_on_its_way_beside_a_refused_line_does_not_end_the_caution() {
    let now = Instant::now();
    let mut outbox = filled(1..=3, Some((0, 1)), now);
    assert_eq!(sent(&mut outbox, now), [1, 2, 3]);
    outbox.hear(&error(1, ErrorCode::RateLimited), now);
    outbox.hear(&ack(2, 1, false), now);
    outbox.hear(&ack(3, 2, false), now);
    outbox.push(4, key(4), "4".into());
    assert_eq!(sent(&mut outbox, now + REFUSED_PAUSE), [1]);
}

#[test]
fn a_refusal_for_good_settles_its_line_and_the_rest_goes_on() {
    let now = Instant::now();
    let mut outbox = filled(1..=2, None, now);
    assert_eq!(sent(&mut outbox, now), [1]);
    let settled = outbox.hear(&error(1, ErrorCode::BadField), now);
    assert_eq!(outcome(settled), Some((1, Outcome::Refused("no".into()))));
    assert_eq!(sent(&mut outbox, now), [2]);
}

#[test]
fn a_limited_connection_sends_its_burst_and_then_as_fast_as_allowed() {
    let now = Instant::now();
    let mut outbox = filled(1..=4, Some((10, 2)), now);
    assert_eq!(sent(&mut outbox, now), [1, 2]);
    assert_eq!(outbox.next(now), Next::Idle);
    outbox.hear(&ack(1, 1, false), now);
    outbox.hear(&ack(2, 2, false), now);
    assert_eq!(outbox.next(now), Next::Wait(Duration::from_millis(101)));
    assert_eq!(sent(&mut outbox, now + Duration::from_millis(101)), [3]);
}

#[test]
fn it_takes_no_more_than_it_should_hold() {
    let mut outbox = Outbox::new(me());
    outbox.push(1, key(1), "x".repeat(MOST_BYTES));
    assert!(!outbox.has_room());
    let mut outbox = Outbox::new(me());
    for number in 0..MOST_LINES as u64 {
        assert!(outbox.has_room());
        outbox.push(number, key(number), String::new());
    }
    assert!(!outbox.has_room());
}

proptest! {
    /// A server with a log and a memory for keys, a network that loses what is on its way in both directions.
    #[test]
    fn whatever_breaks_each_line_is_stored_once_and_in_order(
        lines in 1u64..40,
        breaks in prop::collection::vec((0usize..6, 0usize..6, any::<bool>()), 0..60),
    ) {
        let now = Instant::now();
        let mut outbox = Outbox::new(me());
        (0..lines).for_each(|number| outbox.push(number, key(number), number.to_string()));
        let mut log: Vec<u64> = Vec::new();
        let mut settled = Vec::new();
        // In the end a connection that holds.
        let lives = breaks.into_iter().chain([(usize::MAX, usize::MAX, false)]);
        for (arrives, answered, tells_log) in lives {
            outbox.cut_off();
            settled.extend(outbox.hear(&welcome(Some((0, 1))), now));
            for (at, number) in log.iter().enumerate().filter(|_| tells_log) {
                settled.extend(outbox.hear(&message(me(), *number, at as u64 + 1), now));
            }
            let mut answers = Vec::new();
            for number in sent(&mut outbox, now).into_iter().take(arrives) {
                let known = log.iter().position(|stored| *stored == number);
                let at = known.unwrap_or_else(|| {
                    log.push(number);
                    log.len() - 1
                });
                answers.push(ack(number, at as u64 + 1, known.is_some()));
            }
            settled.extend(answers.iter().take(answered).filter_map(|answer| outbox.hear(answer, now)));
        }
        prop_assert!(outbox.is_empty());
        prop_assert_eq!(log, (0..lines).collect::<Vec<_>>());
        let numbers: Vec<u64> = settled.iter().map(|settled| settled.number).collect();
        prop_assert_eq!(numbers, (0..lines).collect::<Vec<_>>());
        for Settled { number, outcome, .. } in settled {
            let Outcome::Stored { offset, .. } = outcome else { panic!("{number} was refused") };
            prop_assert_eq!(offset, Offset(number + 1));
        }
    }
}
