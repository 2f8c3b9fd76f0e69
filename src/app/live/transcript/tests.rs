//! The transcript against a server that says what each test needs.

use proptest::prelude::*;

use super::super::rows::MOST_ROWS;
use super::*;
use crate::protocol::Body;
use crate::protocol::GapReason;
use crate::protocol::RoomName;

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

fn key(key: &str) -> Key {
    Key::parse(key).expect("a key")
}

fn welcome(epoch: u32, head: u64, recovery: Recovery) -> Push {
    Push::Welcome(Welcome {
        room: RoomName::lobby(),
        id: user("me"),
        connection: 1,
        epoch: Epoch::new(epoch),
        head: Offset(head),
        first: Offset(1),
        recovery,
        heartbeat_ms: 25_000,
        expire_ms: 60_000,
        max_message: 20,
        message_rate: None,
        message_burst: None,
        count: 1,
        members: None,
    })
}

fn said(offset: u64, from: &str, text: &str, given: Option<&str>) -> Publication {
    Publication {
        offset: Offset(offset),
        prev: Offset(offset - 1),
        at: offset,
        from: user(from),
        body: Body::Text(text.into()),
        key: given.map(key),
    }
}

fn message(offset: u64, text: &str) -> Push {
    Push::Message(said(offset, "ann", text, None))
}

fn own(offset: u64, text: &str, given: &str) -> Push {
    Push::Message(said(offset, "me", text, Some(given)))
}

fn ack(given: &str, offset: u64, duplicate: bool) -> Push {
    Push::Ack { key: key(given), offset: Offset(offset), duplicate }
}

fn refusal(given: &str, code: ErrorCode) -> Push {
    Push::Error { code, message: String::new(), retry: code.invites_retry(), key: Some(key(given)) }
}

fn gap(after: u64, before: u64, count: Option<u64>) -> Push {
    Push::Gap { after: Offset(after), before: Offset(before), count, reason: GapReason::Expired }
}

/// A page that has just joined an empty room.
fn joined() -> Transcript {
    let mut page = Transcript::default();
    assert_eq!(page.hear(vec![welcome(1, 0, Recovery::Fresh)]), []);
    page
}

/// What the page shows, a word for each row: `?` waits, `!` has failed.
fn shown(page: &Transcript) -> Vec<String> {
    let word = |row: &Row| match &row.entry {
        Entry::Gap(Missing::Count(count)) => format!("<{count}>"),
        Entry::Gap(Missing::Some) => "<some>".to_owned(),
        Entry::Gap(Missing::Perhaps) => "<perhaps>".to_owned(),
        Entry::Message(Message { words: Words::Binary { .. }, .. }) => "binary".to_owned(),
        Entry::Message(Message { words: Words::Text(text), state, .. }) => match state {
            State::Stored => text.to_string(),
            State::Pending => format!("{text}?"),
            State::Failed { .. } => format!("{text}!"),
        },
    };
    page.rows().map(word).collect()
}

fn says(command: &Command) -> &str {
    match command {
        Command::Say { key: Some(key), .. } => key.as_str(),
        other => panic!("{other:?} says nothing"),
    }
}

fn sent(commands: &[Command]) -> Vec<&str> {
    commands.iter().map(says).collect()
}

#[test]
fn an_own_message_is_shown_at_once_and_confirmed_by_whichever_comes_first() {
    for answers in [[ack("k", 1, false), own(1, "a", "k")], [own(1, "a", "k"), ack("k", 1, false)]] {
        let mut page = joined();
        let command = page.say("a", key("k"), 0);
        assert_eq!(sent(command.as_slice()), ["k"]);
        let id = page.rows().next().expect("a row").id;
        assert_eq!(shown(&page), ["a?"]);
        for answer in answers {
            page.hear(vec![answer]);
            assert_eq!(shown(&page), ["a"]);
            assert_eq!(page.rows().next().expect("a row").id, id, "it is the same row");
        }
    }
}

#[test]
fn someone_else_with_the_same_key_confirms_nothing() {
    let mut page = joined();
    page.say("a", key("k"), 0);
    page.hear(vec![Push::Message(said(1, "ann", "b", Some("k")))]);
    assert_eq!(shown(&page), ["b", "a?"]);
}

#[test]
fn what_waits_stays_behind_what_is_stored() {
    let mut page = joined();
    page.say("a", key("1"), 0);
    page.say("b", key("2"), 0);
    page.hear(vec![message(1, "x"), ack("2", 3, false), own(2, "a", "1")]);
    assert_eq!(shown(&page), ["x", "a", "b"]);
}

#[test]
fn without_a_connection_messages_wait_and_go_out_in_order_after_the_next_welcome() {
    let mut page = Transcript::default();
    assert_eq!(page.say("early", key("0"), 0), None);
    assert_eq!(sent(&page.hear(vec![welcome(1, 0, Recovery::Fresh)])), ["0"]);
    page.hear(vec![own(1, "early", "0")]);
    page.say("unanswered", key("1"), 0);
    page.cut_off();
    assert_eq!(page.say("later", key("2"), 0), None);
    assert_eq!(shown(&page), ["early", "unanswered?", "later?"]);
    assert_eq!(sent(&page.hear(vec![welcome(1, 1, Recovery::Resumed)])), ["1", "2"]);
}

#[test]
fn what_an_earlier_try_stored_is_not_sent_again() {
    let mut page = joined();
    page.say("stored", key("1"), 0);
    page.say("lost", key("2"), 0);
    page.cut_off();
    assert_eq!(page.hear(vec![welcome(1, 2, Recovery::Resumed)]), []);
    assert_eq!(page.hear(vec![own(1, "stored", "1")]), []);
    assert_eq!(sent(&page.hear(vec![message(2, "x")])), ["2"]);
    assert_eq!(shown(&page), ["stored", "x", "lost?"]);
}

#[test]
fn a_refused_message_says_so_where_it_was_and_can_be_tried_again_with_its_key() {
    let mut page = joined();
    page.say("a", key("k"), 0);
    page.hear(vec![refusal("k", ErrorCode::RateLimited), message(1, "x")]);
    assert_eq!(shown(&page), ["a!", "x"]);
    let id = page.rows().next().expect("a row").id;
    let state = State::Failed { reason: Reason::TooFast, retry: true };
    assert_eq!(page.message(id).map(|message| message.state), Some(state));

    assert_eq!(sent(page.retry(id).as_slice()), ["k"]);
    assert_eq!(shown(&page), ["x", "a?"]);
    page.hear(vec![ack("k", 2, false)]);
    assert_eq!(shown(&page), ["x", "a"]);
}

#[test]
fn a_message_that_the_server_would_close_for_is_not_sent() {
    let mut page = Transcript::default();
    page.say("far more than twenty bytes", key("1"), 0);
    assert_eq!(page.hear(vec![welcome(1, 0, Recovery::Fresh)]), []);
    assert_eq!(page.say("again more than twenty bytes", key("2"), 0), None);
    assert!(shown(&page).iter().all(|row| row.ends_with('!')));
}

#[test]
fn when_no_connection_will_come_what_waits_has_failed() {
    let mut page = joined();
    page.say("a", key("k"), 0);
    page.give_up();
    assert_eq!(shown(&page), ["a!"]);
}

#[test]
fn a_newcomer_asks_once_for_what_was_said_before_and_sees_it_above() {
    let ask = Command::History { before: Some(Offset(4)), limit: Some(HISTORY) };
    let mut page = Transcript::default();
    assert_eq!(page.hear(vec![welcome(1, 3, Recovery::Fresh)]), std::slice::from_ref(&ask));
    assert!(!page.is_silent(), "nobody knows yet");
    page.hear(vec![message(4, "live")]);
    page.cut_off();
    assert_eq!(page.hear(vec![welcome(1, 4, Recovery::Resumed)]), [ask]);
    let publication = |offset| said(offset, "ann", &offset.to_string(), None);
    let messages = (2..=4).map(publication).collect();
    page.hear(vec![Push::History { messages, more: true }]);
    assert_eq!(shown(&page), ["2", "3", "live"]);
    page.cut_off();
    assert_eq!(page.hear(vec![welcome(1, 4, Recovery::Resumed)]), []);
}

#[test]
fn a_message_whose_predecessor_was_not_seen_has_a_gap_before_it() {
    let mut page = joined();
    page.hear(vec![message(1, "a"), message(4, "d"), message(5, "e")]);
    assert_eq!(shown(&page), ["a", "<some>", "d", "e"]);
}

#[test]
fn a_gap_says_how_many_are_missing_and_is_told_once() {
    let mut page = joined();
    page.hear(vec![message(1, "a"), gap(1, 5, Some(3)), message(5, "e")]);
    assert_eq!(shown(&page), ["a", "<3>", "e"]);
    page.cut_off();
    page.hear(vec![welcome(1, 20, Recovery::Lost), gap(5, 18, Some(12))]);
    page.hear(vec![message(18, "r")]);
    assert_eq!(shown(&page), ["a", "<3>", "e", "<12>", "r"]);
}

#[test]
fn a_log_that_began_anew_comes_after_all_that_was_shown() {
    for epoch in [1, 2] {
        let mut page = joined();
        page.hear(vec![message(1, "a"), message(2, "b")]);
        page.say("mine", key("k"), 0);
        page.cut_off();
        // Of another epoch, or of the same one that lost its end.
        let commands = page.hear(vec![welcome(epoch, 1, Recovery::Lost), gap(0, 1, None)]);
        assert_eq!(commands, []);
        let commands = page.hear(vec![message(1, "new")]);
        assert_eq!(sent(&commands), ["k"]);
        assert_eq!(shown(&page), ["a", "b", "<perhaps>", "new", "mine?"]);
        page.hear(vec![ack("k", 2, false), own(2, "mine", "k")]);
        assert_eq!(shown(&page), ["a", "b", "<perhaps>", "new", "mine"]);
        assert_eq!(page.position(), Some((&Epoch::new(epoch), Offset(2))));
    }
}

#[test]
fn the_window_keeps_the_newest_rows() {
    let mut page = joined();
    let most = MOST_ROWS as u64;
    page.hear((1..=most + 5).map(|offset| message(offset, &offset.to_string())).collect());
    assert_eq!(shown(&page), (6..=most + 5).map(|offset| offset.to_string()).collect::<Vec<_>>());
}

proptest! {
    /// Whatever is delivered late, twice, by history or live: each message once, in the log's order, and
    /// each own one confirmed.
    #[test]
    fn each_message_is_shown_once_in_order(
        own_ones in prop::collection::vec(any::<bool>(), 1..12),
        acks in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        paged in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<bool>(), 12),
    ) {
        let mut page = joined();
        for (at, _) in own_ones.iter().enumerate().filter(|(_, own)| **own) {
            page.say(&(at + 1).to_string(), key(&at.to_string()), 0);
        }
        let log: Vec<Publication> = own_ones.iter().enumerate().map(|(at, own)| {
            let (offset, name) = (at as u64 + 1, at.to_string());
            if *own { said(offset, "me", &offset.to_string(), Some(&name)) } else { said(offset, "ann", &offset.to_string(), None) }
        }).collect();
        let head = log.len() as u64;
        for at in acks {
            let at = at.index(log.len());
            if own_ones[at] { page.hear(vec![ack(&at.to_string(), at as u64 + 1, false)]); }
        }
        for (at, publication) in log.iter().enumerate() {
            if cuts[at] {
                page.cut_off();
                let commands = page.hear(vec![welcome(1, head, Recovery::Resumed)]);
                prop_assert!(commands.is_empty(), "nothing is said before all is here");
            }
            page.hear(vec![Push::Message(publication.clone())]);
            if at == paged.index(log.len()) {
                page.hear(vec![Push::History { messages: log.clone(), more: false }]);
            }
        }
        prop_assert_eq!(shown(&page), (1..=head).map(|offset| offset.to_string()).collect::<Vec<_>>());
        let mut ids: Vec<u64> = page.rows().map(|row| row.id).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len() as u64, head);
    }
}
