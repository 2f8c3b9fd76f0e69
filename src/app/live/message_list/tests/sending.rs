//! Tests of outgoing messages.

use proptest::prelude::*;

use super::*;

/// The pause of the outbox after a refusal.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

#[test]
fn an_own_message_is_shown_at_once_and_stays_the_same_row() {
    for answers in [
        [ack("k", 1, false), own(1, "a", "k")],
        [own(1, "a", "k"), ack("k", 1, false)],
    ] {
        let mut page = joined();
        assert_eq!(sent(&send(&mut page, "a", "k")), ["k"]);
        let id = id_of_row(&page, 0);
        assert_eq!(shown(&page), ["a>"]);

        let mut forgotten = Vec::new();
        for answer in answers {
            forgotten.extend(page.receive(vec![answer], NOW).forget);
            assert_eq!(shown(&page), ["a"]);
            assert_eq!(id_of_row(&page, 0), id);
        }
        assert_eq!(forgotten, [key("k")]);
    }
}

#[test]
fn a_message_of_another_user_with_the_same_key_confirms_nothing() {
    let mut page = joined();
    send(&mut page, "a", "k");

    let other = publication(1, "ann", "b", Some("k"));
    receive(&mut page, vec![Push::Message(other)]);

    assert_eq!(shown(&page), ["b", "a>"]);
}

#[test]
fn messages_without_an_answer_are_sent_again_in_order_after_a_reconnect() {
    let mut page = joined();
    receive(&mut page, vec![message(1, "x")]);
    send(&mut page, "unanswered", "1");

    page.on_disconnect();
    assert_eq!(send(&mut page, "later", "2"), []);
    assert_eq!(shown(&page), ["x", "unanswered?", "later?"]);

    let commands = receive(&mut page, vec![subscribed(1, 1, Recovery::Resumed)]);
    assert_eq!(commands[0], request(2), "the drawn messages");
    assert_eq!(sent(&commands[1..]), ["1"]);
    let commands = receive(&mut page, vec![ack("1", 2, false)]);
    assert_eq!(sent(&commands), ["2"]);
}

#[test]
fn the_messages_of_a_user_are_not_sent_by_the_next_one() {
    let mut page = joined();
    send(&mut page, "unanswered", "1");
    send(&mut page, "queued", "2");
    page.on_disconnect();

    page.set_user(user("bob"));
    page.restore(vec![PendingMessage {
        from: user("bob"),
        ..pending("of bob", "3", None)
    }]);

    assert_eq!(shown(&page), ["of bob?"]);
    let commands = receive(&mut page, vec![subscribed(1, 0, Recovery::Resumed)]);
    assert_eq!(sent(&commands), ["3"]);
}

#[test]
fn a_page_with_pending_messages_continues_from_where_they_were_sent() {
    let past = HistoryPage {
        epoch: Epoch::new(1),
        head: Offset(60),
        messages: (11..=60)
            .map(|offset| publication(offset, "ann", &offset.to_string(), None))
            .collect(),
        more: true,
    };
    let mut page = MessageList::new(Some(past), None);
    page.set_user(user("me"));
    page.restore(vec![
        pending("stored", "1", Some(position(1, 3))),
        pending("lost", "2", Some(position(1, 4))),
        pending("of another log", "3", Some(position(2, 1))),
    ]);
    assert_eq!(page.position(), Some(&position(1, 3)));

    let commands = receive(&mut page, vec![subscribed(1, 60, Recovery::Resumed)]);
    assert_eq!(commands, []);
    let mut log = messages(4..=60);
    log[5] = own(9, "stored", "1");
    let effect = page.receive(log, NOW);

    assert_eq!(sent(&effect.send), ["2"]);
    assert_eq!(effect.forget, [key("1")]);
    assert_eq!(page.pending_count(), 2);
    let mut expected = numbers(4..=60);
    expected[5] = "stored".into();
    expected.extend(["lost>".into(), "of another log?".into()]);
    assert_eq!(shown(&page), expected);
}

#[test]
fn a_message_that_was_sent_too_fast_waits_and_is_sent_before_those_behind_it() {
    let mut page = joined();
    send(&mut page, "a", "1");
    send(&mut page, "b", "2");

    let effect = page.receive(vec![refusal("1", ErrorCode::RateLimited)], NOW);
    assert_eq!(effect.send, []);
    assert_eq!(effect.wake_after, Some(REFUSED_PAUSE));
    assert_eq!(send(&mut page, "c", "3"), []);
    assert_eq!(shown(&page), ["a?", "b?", "c?"]);

    assert_eq!(sent(&page.on_timer(REFUSED_PAUSE).send), ["1"]);
}

#[test]
fn a_refused_message_is_shown_after_the_others_with_the_reason() {
    let mut page = joined();
    send(&mut page, "a", "k");
    send(&mut page, "b", "l");

    let outage = vec![refusal("k", ErrorCode::StoreUnavailable)];
    assert_eq!(sent(&receive(&mut page, outage)), ["l"]);
    receive(&mut page, vec![message(1, "x"), ack("l", 2, false)]);

    assert_eq!(shown(&page), ["x", "b", "a!"]);
    let message = page.message(id_of_row(&page, 2)).expect("a message");
    let failed = MessageState::Failed {
        reason: Reason::Unavailable,
        retry: true,
    };
    assert_eq!(message.state, failed);
}

#[test]
fn a_refused_message_can_be_sent_again_with_its_key() {
    let mut page = joined();
    send(&mut page, "a", "k");
    receive(&mut page, vec![refusal("k", ErrorCode::StoreUnavailable)]);
    let id = id_of_row(&page, 0);

    assert_eq!(sent(&page.retry(id, NOW).send), ["k"]);
    assert_eq!(shown(&page), ["a>"]);

    receive(&mut page, vec![ack("k", 1, false)]);
    assert_eq!(shown(&page), ["a"]);
}

#[test]
fn a_refused_message_that_the_log_contains_is_shown_as_stored() {
    let mut page = joined();
    send(&mut page, "a", "k");
    receive(&mut page, vec![refusal("k", ErrorCode::StoreUnavailable)]);

    let effect = page.receive(vec![own(1, "a", "k")], NOW);

    assert_eq!(shown(&page), ["a"]);
    assert_eq!(effect.forget, [key("k")]);
}

#[test]
fn a_message_that_is_too_long_is_not_sent_and_can_be_taken_back() {
    let mut page = joined();
    let long = "far more than twenty bytes";
    assert_eq!(send(&mut page, long, "1"), []);
    assert_eq!(sent(&send(&mut page, "short", "2")), ["2"]);
    assert_eq!(shown(&page), [format!("{long}!"), "short>".into()]);

    let (text, effect) = page.take_back(id_of_row(&page, 0)).expect("it has failed");

    assert_eq!((text.as_str(), effect.forget), (long, vec![key("1")]));
    assert_eq!(shown(&page), ["short>"]);
}

#[test]
fn a_message_in_flight_cannot_be_taken_back() {
    let mut page = joined();
    send(&mut page, "a", "k");

    assert_eq!(page.take_back(id_of_row(&page, 0)), None);
}

#[test]
fn all_waiting_messages_fail_when_the_server_refuses_the_page() {
    let mut page = joined();
    send(&mut page, "a", "k");

    page.on_refused();

    assert_eq!(shown(&page), ["a!"]);
}

proptest! {
    /// Messages may arrive late, twice, live or by history. Each is shown once, in the order of the log, and each own
    /// one is confirmed.
    #[test]
    fn each_message_is_shown_once_in_order(
        own_ones in prop::collection::vec(any::<bool>(), 1..12),
        acks in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        paged in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<bool>(), 12),
    ) {
        let mut page = joined();
        for (at, _) in own_ones.iter().enumerate().filter(|(_, own)| **own) {
            send(&mut page, &(at + 1).to_string(), &at.to_string());
        }
        let log: Vec<Publication> = own_ones.iter().enumerate().map(|(at, own)| {
            let (text, name) = ((at + 1).to_string(), at.to_string());
            let (from, given) = if *own { ("me", Some(name.as_str())) } else { ("ann", None) };
            publication(at as u64 + 1, from, &text, given)
        }).collect();
        let head = log.len() as u64;

        for at in acks {
            let at = at.index(log.len());
            if own_ones[at] {
                receive(&mut page, vec![ack(&at.to_string(), at as u64 + 1, false)]);
            }
        }
        for (at, publication) in log.iter().enumerate() {
            if cuts[at] {
                page.on_disconnect();
                let commands = receive(&mut page, vec![subscribed(1, head, Recovery::Resumed)]);
                prop_assert!(commands.is_empty(), "it has not caught up");
            }
            receive(&mut page, vec![Push::Message(publication.clone())]);
            if at == paged.index(log.len()) {
                let room = RoomName::lobby();
                receive(&mut page, vec![Push::History { room, messages: log.clone(), more: false }]);
            }
        }

        prop_assert_eq!(shown(&page), numbers(1..=head));
        let mut ids: Vec<u64> = page.views(|_| 0).iter().map(|view| view.row.id).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len() as u64, head);
    }
}
