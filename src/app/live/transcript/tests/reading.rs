//! What the page shows of the log, and what it says is missing.

use super::*;

#[test]
fn a_newcomer_asks_once_for_what_was_said_before_and_sees_it_above() {
    let mut page = Transcript::default();
    assert_eq!(
        hear(&mut page, vec![welcome(1, 3, Recovery::Fresh)]),
        [ask(4)]
    );
    assert!(!page.is_silent(), "nobody knows yet");
    hear(&mut page, vec![message(4, "live")]);
    page.cut_off();
    assert_eq!(
        hear(&mut page, vec![welcome(1, 4, Recovery::Resumed)]),
        [ask(4)]
    );
    hear(&mut page, vec![history(2..=3, false)]);
    assert_eq!(shown(&page), ["2", "3", "live"]);
    page.cut_off();
    assert_eq!(
        hear(&mut page, vec![welcome(1, 4, Recovery::Resumed)]),
        [ask(5)],
        "what is here, once more"
    );
}

#[test]
fn whoever_reads_back_to_the_beginning_gets_what_came_before_it() {
    let mut page = Transcript::default();
    hear(&mut page, vec![welcome(1, 500, Recovery::Fresh)]);
    hear(&mut page, vec![history(401..=500, true)]);
    let (_, todo) = page.look(AT_TOP);
    assert_eq!(todo.send, [ask(401)]);
    assert_eq!(page.look(AT_TOP).1.send, [], "it is asked once");
    hear(&mut page, vec![history(301..=400, true)]);
    assert_eq!(shown(&page), numbers(301..=500), "what came is drawn above");
    assert_eq!(page.look(AT_TOP).1.send, [ask(301)]);
    hear(&mut page, vec![history(1..=300, false)]);
    assert!(page.look(AT_TOP).0, "too many rows are drawn by now");
    assert_eq!(shown(&page).len(), WINDOW);
    assert_eq!(
        page.look(AT_TOP).1.send,
        [],
        "there is nothing before the first"
    );
}

#[test]
fn a_message_whose_predecessor_was_not_seen_has_a_gap_before_it() {
    let mut page = joined();
    hear(
        &mut page,
        vec![message(1, "a"), message(4, "d"), message(5, "e")],
    );
    assert_eq!(shown(&page), ["a", "<some>", "d", "e"]);
}

#[test]
fn a_gap_says_how_many_are_missing_and_is_told_once() {
    let mut page = joined();
    hear(
        &mut page,
        vec![message(1, "a"), gap(1, 5, Some(3)), message(5, "e")],
    );
    assert_eq!(shown(&page), ["a", "<3>", "e"]);
    page.cut_off();
    hear(
        &mut page,
        vec![welcome(1, 20, Recovery::Lost), gap(5, 18, Some(12))],
    );
    hear(&mut page, vec![message(18, "r")]);
    assert_eq!(shown(&page), ["a", "<3>", "e", "<12>", "r"]);
}

#[test]
fn what_is_missing_is_loaded_where_the_store_has_it() {
    let mut page = joined();
    hear(
        &mut page,
        vec![message(1, "1"), gap(1, 250, Some(248)), message(250, "250")],
    );
    let id = id_of_row(&page, 1);
    assert_eq!(page.load(id).send, [ask(250)]);
    assert_eq!(page.load(id).send, [], "it is asked once");
    assert_eq!(shown(&page)[1], "<248 asked>");
    hear(&mut page, vec![history(200..=249, true)]);
    assert_eq!(shown(&page)[1..3], ["<198>", "200"]);
    assert_eq!(page.load(id).send, [ask(200)]);
    page.cut_off();
    assert_eq!(
        hear(&mut page, vec![welcome(1, 250, Recovery::Resumed)]),
        [ask(200)]
    );
    assert_eq!(
        hear(&mut page, vec![history(100..=199, true)]),
        [ask(251)],
        "what is here, once more"
    );
    assert_eq!(page.load(id).send, [], "one question at a time");
    assert_eq!(hear(&mut page, vec![history(151..=250, true)]), [ask(100)]);
    // The server's page goes back beyond what is missing.
    hear(&mut page, vec![history(1..=99, false)]);
    page.follow();
    assert!(page.search("").is_empty(), "no words find nothing");
    page.find(page.search("1").last().copied());
    assert_eq!(
        shown(&page),
        numbers(1..=WINDOW as u64),
        "nothing is missing any more, and nothing is twice"
    );
}

#[test]
fn what_the_store_no_longer_has_is_said_to_be_gone() {
    let mut page = joined();
    hear(
        &mut page,
        vec![
            message(1, "1"),
            gap(1, 9, Some(7)),
            message(9, "9"),
            message(20, "20"),
        ],
    );
    let all: Vec<u64> = [1, 3].map(|at| id_of_row(&page, at)).into();
    assert_eq!(page.load(all[0]).send, [ask(9)]);
    assert_eq!(page.load(all[1]).send, [], "one question at a time");
    let todo = hear(&mut page, vec![history(6..=8, false)]);
    assert_eq!(todo, [ask(20)]);
    hear(
        &mut page,
        vec![Push::History {
            messages: vec![],
            more: false,
        }],
    );
    assert_eq!(
        shown(&page),
        ["1", "<4 gone>", "6", "7", "8", "9", "<some gone>", "20"]
    );
}

#[test]
fn what_is_deleted_is_shown_as_such_whether_the_page_was_there_or_away() {
    let mut page = joined();
    hear(
        &mut page,
        vec![message(1, "1"), message(2, "2"), message(3, "3")],
    );
    hear(
        &mut page,
        vec![
            Push::Deleted {
                offset: Offset(2),
                at: 9,
            },
            Push::Deleted {
                offset: Offset(9),
                at: 9,
            },
        ],
    );
    assert_eq!(shown(&page), ["1", "deleted", "3"]);
    let gone = Publication {
        body: Body::Deleted(true),
        ..said(3, "ann", "", None)
    };
    let came = Publication {
        body: Body::Deleted(true),
        ..said(4, "ann", "", None)
    };
    hear(
        &mut page,
        vec![
            Push::History {
                messages: vec![gone],
                more: false,
            },
            Push::Message(came),
        ],
    );
    assert_eq!(shown(&page), ["1", "deleted", "deleted", "deleted"]);
}

#[test]
fn what_was_deleted_during_an_absence_is_seen_as_soon_as_it_is_drawn() {
    let mut page = joined();
    hear(
        &mut page,
        (1..=300)
            .map(|offset| message(offset, &offset.to_string()))
            .collect(),
    );
    page.cut_off();
    assert_eq!(
        hear(&mut page, vec![welcome(1, 301, Recovery::Resumed)]),
        [],
        "more is to come first"
    );
    assert_eq!(hear(&mut page, vec![message(301, "301")]), [ask(301)]);
    let deleted = |offset| Publication {
        body: Body::Deleted(true),
        ..said(offset, "ann", "", None)
    };
    let page_of = |offsets: std::ops::RangeInclusive<u64>, more| Push::History {
        messages: offsets
            .map(|offset| {
                if offset % 50 == 0 {
                    deleted(offset)
                } else {
                    said(offset, "ann", "x", None)
                }
            })
            .collect(),
        more,
    };
    assert_eq!(
        hear(&mut page, vec![page_of(201..=300, true)]),
        [],
        "that was all that is drawn"
    );
    assert_eq!(
        shown(&page).iter().filter(|row| *row == "deleted").count(),
        2
    );
    // Far above it has not been read again, and is as soon as it is drawn; of what the room no longer keeps, nothing
    // is told.
    page.find(page.search("101").first().copied());
    let sight = Sight {
        at_end: false,
        above: 1500.0,
        below: 1500.0,
        rows: 4000.0,
    };
    assert_eq!(page.look(sight).1.send, [ask(176)]);
    assert_eq!(page.look(sight).1.send, [], "it is asked once");
    assert_eq!(hear(&mut page, vec![page_of(149..=175, false)]), []);
    assert_eq!(
        shown(&page),
        [
            numbers(26..=149),
            vec!["deleted".to_owned()],
            numbers(151..=175)
        ]
        .concat()
    );
}

#[test]
fn a_question_that_came_too_fast_is_asked_again() {
    let mut page = joined();
    hear(&mut page, vec![message(1, "1"), message(9, "9")]);
    let id = id_of_row(&page, 1);
    assert_eq!(page.load(id).send, [ask(9)]);
    let refused = Push::Error {
        code: ErrorCode::RateLimited,
        message: String::new(),
        retry: true,
        key: None,
    };
    assert!(page.hear(vec![refused]).rest);
    assert_eq!(page.go_on().send, [ask(9)]);
}

#[test]
fn a_log_that_began_anew_comes_after_all_that_was_shown() {
    for epoch in [1, 2] {
        let mut page = joined();
        hear(&mut page, vec![message(1, "a"), message(2, "b")]);
        say(&mut page, "mine", "k");
        page.cut_off();
        // Of another epoch, or of the same one that lost its end.
        let commands = hear(
            &mut page,
            vec![welcome(epoch, 1, Recovery::Lost), gap(0, 1, None)],
        );
        assert_eq!(commands, []);
        let commands = hear(&mut page, vec![message(1, "new")]);
        assert_eq!(sent(&commands), ["k"]);
        assert_eq!(shown(&page), ["a", "b", "<perhaps gone>", "new", "mine>"]);
        hear(&mut page, vec![ack("k", 2, false), own(2, "mine", "k")]);
        assert_eq!(shown(&page), ["a", "b", "<perhaps gone>", "new", "mine"]);
        assert_eq!(page.position(), Some((&Epoch::new(epoch), Offset(2))));
    }
}

#[test]
fn only_the_end_of_a_long_log_is_drawn_and_the_rest_is_space() {
    let mut page = joined();
    hear(
        &mut page,
        (1..=1000)
            .map(|offset| message(offset, &offset.to_string()))
            .collect(),
    );
    assert_eq!(shown(&page), numbers(1001 - FOLLOWED as u64..=1000));
    let (above, below) = page.spaces();
    assert!(above > 10_000 && below == 0);
    page.find(page.search("417").first().copied());
    let drawn = page.shown(|_| 0);
    let found: Vec<&str> = drawn
        .iter()
        .filter(|shown| shown.found)
        .map(|_| "found")
        .collect();
    assert_eq!(found, ["found"]);
    assert!(page.spaces().1 > 10_000 && !page.follows());
}

#[test]
fn what_comes_while_nobody_looks_is_counted_but_not_what_one_says_oneself() {
    let mut page = joined();
    page.attend(false);
    say(&mut page, "mine", "k");
    hear(
        &mut page,
        vec![own(1, "mine", "k"), message(2, "a"), message(3, "b")],
    );
    assert_eq!(page.unread(), 2);
    let unread: Vec<bool> = page.shown(|_| 0).iter().map(|shown| shown.unread).collect();
    assert_eq!(unread, [false, true, false]);
    assert!(page.attend(true));
    assert_eq!(page.unread(), 0);
}

#[test]
fn a_day_begins_with_its_first_message() {
    let mut page = joined();
    hear(
        &mut page,
        vec![
            message(1, "a"),
            message(2, "b"),
            message(5, "gap before"),
            message(6, "c"),
        ],
    );
    let day = |at: u64| (at >= 5).into();
    let begins: Vec<bool> = page.shown(day).iter().map(|shown| shown.new_day).collect();
    assert_eq!(begins, [true, false, false, true, false]);
}
