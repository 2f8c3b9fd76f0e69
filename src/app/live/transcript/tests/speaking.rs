//! What becomes of what this page says.

use proptest::prelude::*;

use super::*;

#[test]
fn an_own_message_is_shown_at_once_and_confirmed_by_whichever_comes_first() {
    for answers in [
        [ack("k", 1, false), own(1, "a", "k")],
        [own(1, "a", "k"), ack("k", 1, false)],
    ] {
        let mut page = joined();
        assert_eq!(sent(&say(&mut page, "a", "k")), ["k"]);
        let id = id_of_row(&page, 0);
        assert_eq!(shown(&page), ["a>"]);
        let mut forgotten = Vec::new();
        for answer in answers {
            forgotten.extend(page.hear(vec![answer]).forget);
            assert_eq!(shown(&page), ["a"]);
            assert_eq!(id_of_row(&page, 0), id, "it is the same row");
        }
        assert_eq!(forgotten, [key("k")]);
    }
}

#[test]
fn someone_else_with_the_same_key_confirms_nothing() {
    let mut page = joined();
    say(&mut page, "a", "k");
    hear(
        &mut page,
        vec![Push::Message(said(1, "ann", "b", Some("k")))],
    );
    assert_eq!(shown(&page), ["b", "a>"]);
}

#[test]
fn one_message_is_on_its_way_at_a_time_and_the_next_follows_its_confirmation() {
    let mut page = joined();
    assert_eq!(sent(&say(&mut page, "a", "1")), ["1"]);
    assert_eq!(say(&mut page, "b", "2"), []);
    assert_eq!(say(&mut page, "c", "3"), []);
    assert_eq!(shown(&page), ["a>", "b?", "c?"]);
    assert_eq!(
        sent(&hear(&mut page, vec![message(1, "x"), ack("1", 2, false)])),
        ["2"]
    );
    assert_eq!(
        sent(&hear(&mut page, vec![own(2, "a", "1"), own(3, "b", "2")])),
        ["3"]
    );
    assert_eq!(shown(&page), ["x", "a", "b", "c>"]);
}

#[test]
fn without_a_connection_messages_wait_and_go_out_in_order_after_the_next_welcome() {
    let mut page = Transcript::default();
    page.introduce(user("me"));
    assert_eq!(say(&mut page, "early", "0"), []);
    assert_eq!(
        sent(&hear(&mut page, vec![welcome(1, 0, Recovery::Fresh)])),
        ["0"]
    );
    hear(&mut page, vec![own(1, "early", "0")]);
    say(&mut page, "unanswered", "1");
    page.cut_off();
    assert_eq!(say(&mut page, "later", "2"), []);
    assert_eq!(shown(&page), ["early", "unanswered?", "later?"]);
    let commands = hear(&mut page, vec![welcome(1, 1, Recovery::Resumed)]);
    // What was there is read again besides.
    assert_eq!((&commands[0], sent(&commands[1..])), (&ask(2), vec!["1"]));
    assert_eq!(sent(&hear(&mut page, vec![ack("1", 2, false)])), ["2"]);
}

#[test]
fn what_an_earlier_try_stored_is_not_sent_again() {
    let mut page = joined();
    say(&mut page, "stored", "1");
    say(&mut page, "lost", "2");
    page.cut_off();
    assert_eq!(hear(&mut page, vec![welcome(1, 2, Recovery::Resumed)]), []);
    assert_eq!(hear(&mut page, vec![own(1, "stored", "1")]), []);
    assert_eq!(sent(&hear(&mut page, vec![message(2, "x")])), ["2"]);
    assert_eq!(shown(&page), ["stored", "x", "lost>"]);
}

#[test]
fn a_page_that_comes_back_reads_on_from_where_it_spoke_and_so_sees_what_was_stored() {
    let past = Past {
        epoch: Epoch::new(1),
        head: Offset(60),
        messages: (11..=60)
            .map(|offset| said(offset, "ann", &offset.to_string(), None))
            .collect(),
        more: true,
    };
    let mut page = Transcript::new(Some(past));
    page.introduce(user("me"));
    let spoken_at = |offset| Some((Epoch::new(1), Offset(offset)));
    page.restore(vec![
        waiting("stored", "1", spoken_at(3)),
        waiting("lost", "2", spoken_at(4)),
        waiting("of another log", "3", Some((Epoch::new(2), Offset(1)))),
    ]);
    assert_eq!(page.position(), Some((&Epoch::new(1), Offset(3))));
    assert_eq!(hear(&mut page, vec![welcome(1, 60, Recovery::Resumed)]), []);
    let mut log: Vec<Push> = (4..=60)
        .map(|offset| message(offset, &offset.to_string()))
        .collect();
    log[5] = own(9, "stored", "1");
    let todo = page.hear(log);
    assert_eq!((sent(&todo.send), todo.forget), (vec!["2"], vec![key("1")]));
    assert_eq!(page.waiting(), 2);
    let mut expected = numbers(4..=60);
    expected[5] = "stored".into();
    expected.extend(["lost>".into(), "of another log?".into()]);
    assert_eq!(shown(&page), expected);
}

#[test]
fn a_message_that_came_too_fast_rests_and_goes_out_before_those_behind_it() {
    let mut page = joined();
    say(&mut page, "a", "1");
    say(&mut page, "b", "2");
    let todo = page.hear(vec![refusal("1", ErrorCode::RateLimited)]);
    assert_eq!((todo.send, todo.rest), (vec![], true));
    assert_eq!(
        say(&mut page, "c", "3"),
        [],
        "nobody speaks while the page rests"
    );
    assert_eq!(shown(&page), ["a?", "b?", "c?"]);
    assert_eq!(sent(&page.go_on().send), ["1"]);
}

#[test]
fn a_refused_message_says_so_below_the_others_and_can_be_tried_again_with_its_key() {
    let mut page = joined();
    say(&mut page, "a", "k");
    say(&mut page, "b", "l");
    assert_eq!(
        sent(&hear(
            &mut page,
            vec![refusal("k", ErrorCode::StoreUnavailable)]
        )),
        ["l"]
    );
    hear(&mut page, vec![message(1, "x"), ack("l", 2, false)]);
    assert_eq!(shown(&page), ["x", "b", "a!"]);
    let id = id_of_row(&page, 2);
    let state = State::Failed {
        reason: Reason::Unavailable,
        retry: true,
    };
    assert_eq!(page.message(id).map(|message| message.state), Some(state));

    assert_eq!(sent(&page.retry(id).send), ["k"]);
    assert_eq!(shown(&page), ["x", "b", "a>"]);
    hear(&mut page, vec![ack("k", 3, false)]);
    assert_eq!(shown(&page), ["x", "b", "a"]);
}

#[test]
fn a_message_that_the_server_would_close_for_is_not_sent_and_can_be_taken_back() {
    let mut page = joined();
    let long = "far more than twenty bytes";
    assert_eq!(say(&mut page, long, "1"), []);
    assert_eq!(sent(&say(&mut page, "short", "2")), ["2"]);
    assert_eq!(shown(&page), [format!("{long}!"), "short>".into()]);
    let (text, todo) = page.take_back(id_of_row(&page, 0)).expect("it is there");
    assert_eq!((text.as_str(), todo.forget), (long, vec![key("1")]));
    assert_eq!(shown(&page), ["short>"]);
}

#[test]
fn when_no_connection_will_come_what_waits_has_failed() {
    let mut page = joined();
    say(&mut page, "a", "k");
    page.give_up();
    assert_eq!(shown(&page), ["a!"]);
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
            say(&mut page, &(at + 1).to_string(), &at.to_string());
        }
        let log: Vec<Publication> = own_ones.iter().enumerate().map(|(at, own)| {
            let (offset, name) = (at as u64 + 1, at.to_string());
            if *own { said(offset, "me", &offset.to_string(), Some(&name)) } else { said(offset, "ann", &offset.to_string(), None) }
        }).collect();
        let head = log.len() as u64;
        for at in acks {
            let at = at.index(log.len());
            if own_ones[at] { hear(&mut page, vec![ack(&at.to_string(), at as u64 + 1, false)]); }
        }
        for (at, publication) in log.iter().enumerate() {
            if cuts[at] {
                page.cut_off();
                let commands = hear(&mut page, vec![welcome(1, head, Recovery::Resumed)]);
                prop_assert!(commands.is_empty(), "nothing is said before all is here");
            }
            hear(&mut page, vec![Push::Message(publication.clone())]);
            if at == paged.index(log.len()) {
                hear(&mut page, vec![Push::History { messages: log.clone(), more: false }]);
            }
        }
        prop_assert_eq!(shown(&page), numbers(1..=head));
        let mut ids: Vec<u64> = page.shown(|_| 0).iter().map(|shown| shown.row.id).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len() as u64, head);
    }
}
