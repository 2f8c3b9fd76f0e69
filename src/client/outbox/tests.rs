//! The outbox against a server that sends what each test needs, and against one that breaks at any moment.

use proptest::prelude::*;

use super::*;
use crate::protocol::{Body, MessageFields, RoomName, Welcome, samples};

const NOW: Duration = Duration::ZERO;
const UNLIMITED: Option<(u32, u32)> = Some((0, 1));

/// An outbox and the cursor of its reader.
struct TestClient {
    outbox: Outbox,
    cursor: Cursor,
}

impl TestClient {
    /// A client with the messages `numbers`, which is not connected.
    fn new(mode: SendMode, numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut client = Self {
            outbox: Outbox::new(mode),
            cursor: Cursor::new(None),
        };
        numbers.into_iter().for_each(|number| client.push(number));
        client
    }

    /// A client with the messages `numbers`, connected to a server with this limit.
    fn connected(
        mode: SendMode,
        numbers: impl IntoIterator<Item = u64>,
        limit: Option<(u32, u32)>,
    ) -> Self {
        let mut client = Self::new(mode, numbers);
        assert_eq!(client.connect(limit), None);
        client
    }

    /// Connects to a server with this limit.
    fn connect(&mut self, limit: Option<(u32, u32)>) -> Option<(u64, SendOutcome)> {
        let settled = self.receive(welcome(limit));
        settled.or(self.receive(subscribed()))
    }

    fn push(&mut self, number: u64) {
        self.outbox.enqueue(outgoing(number, number.to_string()));
    }

    fn receive(&mut self, push: Push) -> Option<(u64, SendOutcome)> {
        self.receive_at(push, NOW)
    }

    fn receive_at(&mut self, push: Push, now: Duration) -> Option<(u64, SendOutcome)> {
        self.cursor.on_push(&push);
        let settled = self.outbox.on_push(&push, now)?;
        assert_eq!(settled.key, key(settled.id));
        Some((settled.id, settled.outcome))
    }

    fn next(&mut self, now: Duration) -> SendStep {
        self.outbox.next(&self.cursor, now)
    }

    /// Sends all messages that may be sent at `now`, and returns their numbers.
    fn sent(&mut self, now: Duration) -> Vec<u64> {
        std::iter::from_fn(|| match self.next(now) {
            SendStep::Send(Command::Publish {
                body: Body::Text(text),
                ..
            }) => text.parse().ok(),
            _ => None,
        })
        .collect()
    }

    fn disconnect(&mut self) {
        self.outbox.on_disconnect();
        self.cursor.on_disconnect();
    }
}

fn user() -> UserId {
    UserId::parse("me").expect("a name")
}

fn key(number: u64) -> Key {
    Key::parse(&number.to_string()).expect("a key")
}

fn outgoing(number: u64, text: String) -> OutgoingMessage {
    OutgoingMessage {
        id: number,
        key: key(number),
        from: user(),
        body: Body::Text(text),
        kind: None,
        reply_to: None,
        edits: None,
    }
}

fn welcome(limit: Option<(u32, u32)>) -> Push {
    Push::Welcome(Welcome {
        id: user(),
        message_rate: limit.map(|(rate, _)| rate),
        message_burst: limit.map(|(_, burst)| burst),
        ..samples::welcome()
    })
}

fn subscribed() -> Push {
    Push::Subscribed(samples::subscribed())
}

fn ack(number: u64, offset: u64, duplicate: bool) -> Push {
    Push::Ack {
        room: RoomName::lobby(),
        key: key(number),
        offset: Offset(offset),
        duplicate,
    }
}

fn message(from: UserId, number: u64, offset: u64) -> Push {
    Push::Message(Publication {
        from,
        fields: MessageFields::keyed(Some(key(number))),
        ..samples::publication(offset, &number.to_string())
    })
}

fn error(number: u64, code: ErrorCode) -> Push {
    Push::Error {
        room: None,
        code,
        message: "no".into(),
        retry: code.is_retryable(),
        key: Some(key(number)),
    }
}

fn stored(number: u64, offset: u64, duplicate: bool) -> Option<(u64, SendOutcome)> {
    let offset = Offset(offset);
    Some((number, SendOutcome::Stored { offset, duplicate }))
}

fn refused(number: u64, code: ErrorCode) -> Option<(u64, SendOutcome)> {
    let outcome = SendOutcome::Refused {
        code,
        message: "no".into(),
        retry: code.is_retryable(),
    };
    Some((number, outcome))
}

#[test]
fn a_message_that_an_earlier_connection_stored_is_settled_by_the_log_and_not_sent_again() {
    let mut client = TestClient::connected(SendMode::Bulk, 1..=2, UNLIMITED);
    client.sent(NOW);
    client.disconnect();
    client.connect(UNLIMITED);

    let settled = client.receive(message(user(), 1, 1));

    assert_eq!(settled, stored(1, 1, true));
    assert_eq!(client.sent(NOW), [2]);
    assert_eq!(client.receive(ack(1, 1, true)), None, "it settles once");
}

#[test]
fn a_message_is_settled_by_its_ack_or_by_the_log_whichever_is_first() {
    let mut client = TestClient::connected(SendMode::Bulk, 1..=1, UNLIMITED);
    client.sent(NOW);

    assert_eq!(client.receive(message(user(), 1, 1)), stored(1, 1, false));
    assert_eq!(client.receive(ack(1, 1, false)), None);
}

#[test]
fn a_message_of_another_user_with_the_same_key_settles_nothing() {
    let mut client = TestClient::connected(SendMode::Bulk, 1..=1, UNLIMITED);
    client.sent(NOW);

    assert_eq!(client.receive(message(UserId::anonymous(), 1, 1)), None);
}

#[test]
fn after_a_refusal_for_the_moment_all_messages_wait_and_continue_in_order() {
    let mut client = TestClient::connected(SendMode::Bulk, 1..=4, UNLIMITED);
    assert_eq!(client.sent(NOW), [1, 2, 3, 4]);
    client.receive(ack(1, 1, false));
    for number in 2..=4 {
        assert_eq!(client.receive(error(number, ErrorCode::RateLimited)), None);
    }

    assert_eq!(client.next(NOW), SendStep::Wait(REFUSED_PAUSE));
    assert_eq!(client.sent(REFUSED_PAUSE), [2]);

    client.receive_at(ack(2, 2, false), REFUSED_PAUSE);
    assert_eq!(client.sent(REFUSED_PAUSE), [3, 4]);
}

#[test]
fn a_message_that_is_refused_several_times_is_not_overtaken() {
    let mut client = TestClient::connected(SendMode::Bulk, 1..=1, UNLIMITED);
    assert_eq!(client.sent(NOW), [1]);
    client.receive(error(1, ErrorCode::RateLimited));
    client.push(2);
    client.push(3);

    let mut now = NOW;
    for _refusal in 0..3 {
        now += REFUSED_PAUSE;
        assert_eq!(client.sent(now), [1], "and no later message");
        client.receive_at(error(1, ErrorCode::RateLimited), now);
    }

    now += REFUSED_PAUSE;
    assert_eq!(client.sent(now), [1]);
    client.receive_at(ack(1, 1, false), now);
    assert_eq!(client.sent(now), [2, 3]);
}

#[test]
fn answers_to_other_messages_do_not_end_the_caution_after_a_refusal() {
    let mut client = TestClient::connected(SendMode::Bulk, 1..=3, UNLIMITED);
    assert_eq!(client.sent(NOW), [1, 2, 3]);
    client.receive(error(1, ErrorCode::RateLimited));

    client.receive(ack(2, 1, false));
    client.receive(ack(3, 2, false));
    client.push(4);

    assert_eq!(client.sent(REFUSED_PAUSE), [1]);
}

#[test]
fn a_refusal_for_good_settles_its_message_and_the_others_continue() {
    let mut client = TestClient::connected(SendMode::Bulk, 1..=2, None);
    assert_eq!(client.sent(NOW), [1]);

    let settled = client.receive(error(1, ErrorCode::BadField));

    assert_eq!(settled, refused(1, ErrorCode::BadField));
    assert_eq!(client.sent(NOW), [2]);
}

#[test]
fn an_outage_of_the_store_is_waited_out_by_programs_and_reported_to_people() {
    let outage = ErrorCode::StoreUnavailable;

    for (mode, settled) in [
        (SendMode::Bulk, None),
        (SendMode::Interactive, refused(1, outage)),
    ] {
        let mut client = TestClient::connected(mode, 1..=1, UNLIMITED);
        client.sent(NOW);

        assert_eq!(client.receive(error(1, outage)), settled, "{mode:?}");
    }
}

#[test]
fn an_interactive_client_has_one_message_in_flight() {
    let mut client = TestClient::connected(SendMode::Interactive, 1..=2, UNLIMITED);

    assert_eq!(client.sent(NOW), [1]);
    assert!(client.outbox.is_in_flight(1) && !client.outbox.is_in_flight(2));

    client.receive(ack(1, 1, false));
    assert_eq!(client.sent(NOW), [2]);
}

#[test]
fn a_limited_connection_sends_a_burst_and_then_at_the_rate() {
    let mut client = TestClient::connected(SendMode::Bulk, 1..=4, Some((10, 2)));
    assert_eq!(client.sent(NOW), [1, 2]);
    assert_eq!(client.next(NOW), SendStep::Idle);

    client.receive(ack(1, 1, false));
    client.receive(ack(2, 2, false));

    let pause = Duration::from_millis(101);
    assert_eq!(client.next(NOW), SendStep::Wait(pause));
    assert_eq!(client.sent(pause), [3]);
}

#[test]
fn a_message_longer_than_the_server_accepts_is_not_sent() {
    let mut client = TestClient::connected(SendMode::Bulk, [], UNLIMITED);
    client.outbox.enqueue(outgoing(1, "x".repeat(101)));
    client.push(2);

    let too_long = Settled {
        id: 1,
        key: key(1),
        outcome: SendOutcome::TooLong(100),
    };
    assert_eq!(client.next(NOW), SendStep::Settled(too_long));
    assert_eq!(client.sent(NOW), [2]);
}

#[test]
fn a_removed_message_is_not_sent() {
    let mut client = TestClient::connected(SendMode::Bulk, 1..=2, UNLIMITED);

    client.outbox.remove(1);

    assert_eq!(client.sent(NOW), [2]);
}

#[test]
fn the_outbox_has_room_for_256_messages_and_a_mebibyte() {
    let mut full = Outbox::new(SendMode::Bulk);
    full.enqueue(outgoing(1, "x".repeat(MAX_BYTES)));
    assert!(!full.has_capacity());

    let mut outbox = Outbox::new(SendMode::Bulk);
    for number in 0..MAX_MESSAGES as u64 {
        assert!(outbox.has_capacity());
        outbox.enqueue(outgoing(number, String::new()));
    }
    assert!(!outbox.has_capacity());
}

proptest! {
    /// The server keeps a log and the keys of stored messages. The network loses frames in both directions.
    #[test]
    fn each_message_is_stored_once_and_in_order_however_connections_break(
        messages in 1u64..40,
        breaks in prop::collection::vec((0usize..6, 0usize..6, any::<bool>()), 0..60),
    ) {
        let mut client = TestClient::new(SendMode::Bulk, 0..messages);
        let mut log: Vec<u64> = Vec::new();
        let mut settled = Vec::new();

        // The last connection does not break.
        let lives = breaks.into_iter().chain([(usize::MAX, usize::MAX, false)]);
        for (arrives, answered, sends_log) in lives {
            client.disconnect();
            settled.extend(client.connect(UNLIMITED));
            for (at, number) in log.iter().enumerate().filter(|_| sends_log) {
                settled.extend(client.receive(message(user(), *number, at as u64 + 1)));
            }

            let mut answers = Vec::new();
            for number in client.sent(NOW).into_iter().take(arrives) {
                let known = log.iter().position(|stored| *stored == number);
                let at = known.unwrap_or_else(|| {
                    log.push(number);
                    log.len() - 1
                });
                answers.push(ack(number, at as u64 + 1, known.is_some()));
            }

            for answer in answers.into_iter().take(answered) {
                settled.extend(client.receive(answer));
            }
        }

        prop_assert!(client.outbox.is_empty());
        prop_assert_eq!(log, (0..messages).collect::<Vec<_>>());
        for (at, (number, outcome)) in settled.into_iter().enumerate() {
            prop_assert_eq!(number, at as u64);
            let offset = match outcome {
                SendOutcome::Stored { offset, .. } => offset,
                other => panic!("{number}: {other:?}"),
            };
            prop_assert_eq!(offset, Offset(number + 1));
        }
    }
}
