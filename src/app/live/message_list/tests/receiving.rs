//! Tests of received messages, gaps and history.

use super::*;

#[test]
fn a_new_page_requests_older_messages_until_it_has_them() {
    let mut page = MessageList::default();
    let subscribed_3 = vec![subscribed(1, 3, Recovery::Fresh)];
    assert_eq!(receive(&mut page, subscribed_3), [request(4)]);
    assert!(!page.is_known_empty(), "it is not known yet");
    receive(&mut page, vec![message(4, "live")]);

    page.on_disconnect();
    let commands = receive(&mut page, vec![subscribed(1, 4, Recovery::Resumed)]);

    assert_eq!(commands, [request(4)]);
    receive(&mut page, vec![history(2..=3, false)]);
    assert_eq!(shown(&page), ["2", "3", "live"]);
}

#[test]
fn after_a_reconnect_the_drawn_messages_are_requested_again() {
    let mut page = joined();
    receive(&mut page, messages(1..=4));

    page.on_disconnect();
    let commands = receive(&mut page, vec![subscribed(1, 4, Recovery::Resumed)]);

    assert_eq!(commands, [request(5)]);
}

#[test]
fn a_view_of_the_oldest_row_requests_older_messages_once() {
    let mut page = MessageList::default();
    receive(&mut page, vec![subscribed(1, 500, Recovery::Fresh)]);
    receive(&mut page, vec![history(401..=500, true)]);

    assert_eq!(scroll(&mut page, AT_TOP), [request(401)]);
    assert_eq!(scroll(&mut page, AT_TOP), []);

    receive(&mut page, vec![history(301..=400, true)]);
    assert_eq!(shown(&page), numbers(301..=500));
    assert_eq!(scroll(&mut page, AT_TOP), [request(301)]);
}

#[test]
fn a_view_of_the_oldest_message_of_the_room_requests_nothing() {
    let mut page = MessageList::default();
    receive(&mut page, vec![subscribed(1, 400, Recovery::Fresh)]);
    receive(&mut page, vec![history(301..=400, true)]);
    scroll(&mut page, AT_TOP);
    receive(&mut page, vec![history(1..=300, false)]);

    let (is_redrawn, effect) = page.set_viewport(AT_TOP, NOW);

    assert!(is_redrawn, "too many rows were drawn");
    assert_eq!(shown(&page).len(), WINDOW);
    assert_eq!(effect, ListEffect::default());
}

#[test]
fn a_message_whose_predecessor_was_not_received_has_a_gap_before_it() {
    let mut page = joined();

    receive(
        &mut page,
        vec![message(1, "a"), message(4, "d"), message(5, "e")],
    );

    assert_eq!(shown(&page), ["a", "<some>", "d", "e"]);
}

#[test]
fn a_gap_shows_the_number_of_missing_messages() {
    let mut page = joined();
    let pushes = vec![message(1, "a"), gap(1, 5, Some(3)), message(5, "e")];
    receive(&mut page, pushes);
    assert_eq!(shown(&page), ["a", "<3>", "e"]);

    page.on_disconnect();
    let pushes = vec![subscribed(1, 20, Recovery::Lost), gap(5, 18, Some(12))];
    receive(&mut page, pushes);
    receive(&mut page, vec![message(18, "r")]);

    assert_eq!(shown(&page), ["a", "<3>", "e", "<12>", "r"]);
}

#[test]
fn a_gap_is_loaded_page_by_page() {
    let mut page = joined();
    let pushes = vec![message(1, "1"), gap(1, 250, Some(248)), message(250, "250")];
    receive(&mut page, pushes);
    let id = id_of_row(&page, 1);

    assert_eq!(load_gap(&mut page, id), [request(250)]);
    assert_eq!(load_gap(&mut page, id), [], "it is requested once");
    assert_eq!(shown(&page)[1], "<248 requested>");

    receive(&mut page, vec![history(200..=249, true)]);
    assert_eq!(shown(&page)[1..3], ["<198>", "200"]);
    assert_eq!(load_gap(&mut page, id), [request(200)]);

    // The page goes back beyond the gap.
    receive(&mut page, vec![history(1..=199, false)]);
    page.show_found(page.search("1").last().copied());
    assert_eq!(
        shown(&page),
        numbers(1..=WINDOW as u64),
        "no message is missing, none is there twice"
    );
}

#[test]
fn a_gap_whose_request_was_lost_is_requested_again_after_a_reconnect() {
    let mut page = joined();
    let pushes = vec![message(1, "1"), gap(1, 250, Some(248)), message(250, "250")];
    receive(&mut page, pushes);
    let id = id_of_row(&page, 1);
    load_gap(&mut page, id);

    page.on_disconnect();
    let commands = receive(&mut page, vec![subscribed(1, 250, Recovery::Resumed)]);
    assert_eq!(commands, [request(250)]);

    let commands = receive(&mut page, vec![history(150..=249, true)]);
    assert_eq!(commands, [request(251)], "the drawn messages follow");
    assert_eq!(load_gap(&mut page, id), [], "one request at a time");
    let commands = receive(&mut page, vec![history(151..=250, true)]);
    assert_eq!(commands, [request(150)]);
}

#[test]
fn messages_that_the_server_no_longer_keeps_are_shown_as_gone() {
    let mut page = joined();
    let pushes = vec![
        message(1, "1"),
        gap(1, 9, Some(7)),
        message(9, "9"),
        message(20, "20"),
    ];
    receive(&mut page, pushes);
    let gaps = [1, 3].map(|at| id_of_row(&page, at));

    assert_eq!(load_gap(&mut page, gaps[0]), [request(9)]);
    assert_eq!(load_gap(&mut page, gaps[1]), [], "one request at a time");
    let commands = receive(&mut page, vec![history(6..=8, false)]);
    assert_eq!(commands, [request(20)]);
    let nothing = Push::History {
        room: RoomName::lobby(),
        messages: vec![],
        more: false,
    };
    receive(&mut page, vec![nothing]);

    assert_eq!(
        shown(&page),
        ["1", "<4 gone>", "6", "7", "8", "9", "<some gone>", "20"]
    );
}

#[test]
fn a_deleted_message_is_shown_as_deleted() {
    let mut page = joined();
    receive(&mut page, messages(1..=3));
    let deleted = |offset| Publication {
        body: Body::Deleted(true),
        ..publication(offset, "ann", "", None)
    };

    let deletion = |offset| Push::Deleted {
        room: RoomName::lobby(),
        offset: Offset(offset),
        at: 9,
    };
    receive(&mut page, vec![deletion(2), deletion(9)]);
    assert_eq!(shown(&page), ["1", "deleted", "3"]);

    let history = Push::History {
        room: RoomName::lobby(),
        messages: vec![deleted(3)],
        more: false,
    };
    receive(&mut page, vec![history, Push::Message(deleted(4))]);
    assert_eq!(shown(&page), ["1", "deleted", "deleted", "deleted"]);
}

/// Returns a page of history in which each fiftieth message is deleted.
fn partly_deleted(offsets: std::ops::RangeInclusive<u64>, more: bool) -> Push {
    let message = |offset| {
        let mut message = publication(offset, "ann", "x", None);
        if offset % 50 == 0 {
            message.body = Body::Deleted(true);
        }
        message
    };
    Push::History {
        room: RoomName::lobby(),
        messages: offsets.map(message).collect(),
        more,
    }
}

#[test]
fn a_deletion_during_a_disconnect_is_shown_once_the_page_has_caught_up() {
    let mut page = joined();
    receive(&mut page, messages(1..=300));

    page.on_disconnect();
    let commands = receive(&mut page, vec![subscribed(1, 301, Recovery::Resumed)]);
    assert_eq!(commands, [], "it has not caught up");
    let commands = receive(&mut page, vec![message(301, "301")]);
    assert_eq!(commands, [request(301)]);

    let commands = receive(&mut page, vec![partly_deleted(201..=300, true)]);
    assert_eq!(commands, [], "these are all that are drawn");
    let deleted = shown(&page).iter().filter(|row| *row == "deleted").count();
    assert_eq!(deleted, 2);
}

#[test]
fn a_deletion_during_a_disconnect_is_shown_when_its_row_is_drawn() {
    let mut page = joined();
    receive(&mut page, messages(1..=300));
    page.on_disconnect();
    receive(
        &mut page,
        vec![subscribed(1, 301, Recovery::Resumed), message(301, "301")],
    );
    receive(&mut page, vec![partly_deleted(201..=300, true)]);

    page.show_found(page.search("101").first().copied());
    let viewport = Viewport {
        at_end: false,
        above: 1500.0,
        below: 1500.0,
        rows: 4000.0,
        first: 50,
    };
    assert_eq!(scroll(&mut page, viewport), [request(176)]);
    assert_eq!(scroll(&mut page, viewport), [], "it is requested once");

    // The server no longer keeps the messages before 149.
    let commands = receive(&mut page, vec![partly_deleted(149..=175, false)]);
    assert_eq!(commands, []);
    let expected = [
        numbers(26..=149),
        vec!["deleted".to_owned()],
        numbers(151..=175),
    ];
    assert_eq!(shown(&page), expected.concat());
}

#[test]
fn a_request_that_was_refused_is_sent_again_after_a_pause() {
    let mut page = joined();
    receive(&mut page, vec![message(1, "1"), message(9, "9")]);
    let id = id_of_row(&page, 1);
    assert_eq!(load_gap(&mut page, id), [request(9)]);

    let refused = Push::Error {
        room: None,
        code: ErrorCode::RateLimited,
        message: String::new(),
        retry: true,
        key: None,
    };
    let effect = page.receive(vec![refused], NOW);

    assert_eq!(effect.send, []);
    assert_eq!(effect.wake_after, Some(PAUSE));
    assert_eq!(page.on_timer(PAUSE).send, [request(9)]);
}

#[test]
fn a_log_that_began_anew_follows_all_that_was_shown() {
    // Another epoch, or the same one without its end.
    for epoch in [2, 1] {
        let mut page = joined();
        receive(&mut page, vec![message(1, "a"), message(2, "b")]);
        send(&mut page, "mine", "k");

        page.on_disconnect();
        let pushes = vec![subscribed(epoch, 1, Recovery::Lost), gap(0, 1, None)];
        assert_eq!(receive(&mut page, pushes), []);
        let commands = receive(&mut page, vec![message(1, "new")]);
        assert_eq!(sent(&commands), ["k"]);
        assert_eq!(shown(&page), ["a", "b", "<perhaps gone>", "new", "mine>"]);

        receive(&mut page, vec![ack("k", 2, false), own(2, "mine", "k")]);
        assert_eq!(shown(&page), ["a", "b", "<perhaps gone>", "new", "mine"]);
        assert_eq!(page.position(), Some(&position(epoch, 2)));
    }
}

#[test]
fn only_the_end_of_a_long_log_is_drawn() {
    let mut page = joined();

    receive(&mut page, messages(1..=1000));

    assert_eq!(shown(&page), numbers(1001 - FOLLOWED as u64..=1000));
    let (above, below) = page.spaces();
    assert!(above > 10_000 && below == 0);
}

#[test]
fn the_result_of_a_search_is_drawn_and_marked() {
    let mut page = joined();
    receive(&mut page, messages(1..=1000));
    assert!(page.search("").is_empty(), "no words find nothing");

    page.show_found(page.search("417").first().copied());

    let found = page.views(|_| 0).iter().filter(|view| view.found).count();
    assert_eq!(found, 1);
    assert!(page.spaces().1 > 10_000 && !page.follows());
}

#[test]
fn messages_of_others_are_unread_while_nobody_sees_the_end() {
    let mut page = joined();
    page.set_attended(false);
    send(&mut page, "mine", "k");
    let pushes = vec![own(1, "mine", "k"), message(2, "a"), message(3, "b")];

    receive(&mut page, pushes);

    assert_eq!(page.unread().count, 2);
    let unread: Vec<bool> = page.views(|_| 0).iter().map(|view| view.unread).collect();
    assert_eq!(unread, [false, true, false]);

    assert!(page.set_attended(true));
    assert_eq!(page.unread().count, 0);
}

#[test]
fn joins_and_leaves_are_shown_and_never_unread() {
    let mut page = joined();
    page.set_attended(false);
    let of_kind = |offset, from, kind| {
        let mut publication = publication(offset, from, "{}", None);
        publication.fields.kind = Some(kind);
        Push::Message(publication)
    };

    let pushes = vec![
        message(1, "a"),
        of_kind(2, "bob", Kind::join()),
        of_kind(3, "me", Kind::leave()),
    ];
    receive(&mut page, pushes);

    assert_eq!(shown(&page), ["a", "joined", "left"]);
    assert_eq!(page.unread().count, 1);
}

#[test]
fn the_messages_after_the_read_mark_of_an_earlier_visit_are_loaded_and_counted() {
    let mut page = MessageList::in_background();
    page.restore_read_mark(Some(position(1, 240)));

    let commands = receive(&mut page, vec![subscribed(1, 500, Recovery::Fresh)]);
    assert_eq!(commands, [request(501)]);
    assert_eq!(
        receive(&mut page, vec![history(401..=500, true)]),
        [request(401)]
    );
    assert!(page.unread().is_more);
    receive(&mut page, vec![history(301..=400, true)]);
    assert_eq!(receive(&mut page, vec![history(201..=300, true)]), []);

    assert_eq!(page.unread().to_string(), "260");
    assert_eq!(page.on_shown(NOW), ListEffect::default());
    page.set_attended(true);
    assert_eq!((page.unread().count, page.missed().count), (0, 260));
    assert_eq!(page.read_mark(), Some(position(1, 500)));
    page.show_unread();
    let first = page.views(|_| 0).into_iter().find(|view| view.unread);
    assert_eq!(first.map(|view| view.row.order), Some(241));
}

#[test]
fn a_room_in_the_background_without_news_loads_nothing_until_it_is_shown() {
    let mut page = MessageList::in_background();
    page.restore_read_mark(Some(position(1, 500)));

    let commands = receive(&mut page, vec![subscribed(1, 500, Recovery::Fresh)]);
    assert_eq!(commands, []);

    assert_eq!(page.on_shown(NOW).send, [request(501)]);
}

#[test]
fn a_read_mark_of_another_epoch_is_ignored() {
    let mut page = MessageList::in_background();
    page.restore_read_mark(Some(position(2, 1)));

    let commands = receive(&mut page, vec![subscribed(1, 500, Recovery::Fresh)]);

    assert_eq!(commands, []);
    assert_eq!(page.read_mark(), Some(position(1, 500)));
}

#[test]
fn the_count_of_missed_messages_ends_when_the_line_is_in_view() {
    let mut page = joined();
    receive(&mut page, messages(1..=200));
    page.restore_read_mark(Some(position(1, 180)));
    assert_eq!(page.missed().count, 20);

    let end = Viewport {
        at_end: true,
        above: 2700.0,
        below: 0.0,
        rows: 3000.0,
        first: 90,
    };
    scroll(&mut page, end);
    assert_eq!(page.missed().count, 20, "the end does not show the line");

    scroll(&mut page, Viewport { first: 79, ..end });
    assert_eq!(page.missed().count, 0);
}

#[test]
fn a_day_begins_with_its_first_message() {
    let mut page = joined();
    let pushes = vec![
        message(1, "a"),
        message(2, "b"),
        message(5, "after a gap"),
        message(6, "c"),
    ];
    receive(&mut page, pushes);

    let day = |at: u64| (at >= 5).into();
    let begins: Vec<bool> = page.views(day).iter().map(|view| view.new_day).collect();

    assert_eq!(begins, [true, false, false, true, false]);
}

#[test]
fn a_deleted_room_loses_its_messages_but_not_those_that_wait() {
    let mut page = joined();
    receive(&mut page, messages(1..=3));
    send(&mut page, "in flight", "a");
    send(&mut page, "waits", "b");

    let stored = ack("a", 4, false);
    receive(&mut page, vec![stored, deleted_room()]);
    assert_eq!(shown(&page).len(), 1);
    assert!(!page.cursor().is_subscribed());
    assert!(!page.is_known_empty(), "it may have new messages");

    let commands = receive(&mut page, vec![subscribed(1, 0, Recovery::Fresh)]);
    assert_eq!(sent(&commands), ["b"]);
}

#[test]
fn a_subscription_that_begins_and_ends_in_one_batch_has_ended() {
    let mut page = MessageList::default();
    let banned = Push::Unsubscribed {
        room: RoomName::lobby().into(),
        code: UnsubscribeCode::Banned,
        message: String::new(),
    };

    receive(&mut page, vec![subscribed(1, 0, Recovery::Fresh), banned]);

    assert!(!page.cursor().is_subscribed());
}
