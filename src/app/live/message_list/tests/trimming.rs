//! Tests of the number of messages that the page keeps.

use super::super::super::rows::MAX_FOLLOWED;
use super::*;

/// More messages than a log that is followed keeps.
const MANY: u64 = 3 * MAX_FOLLOWED as u64;

/// The oldest message that is kept of them.
const OLDEST: u64 = MANY - MAX_FOLLOWED as u64 + 1;

#[test]
fn a_log_that_is_followed_keeps_its_newest_messages_and_reads_older_ones_again() {
    let mut page = joined();
    receive(&mut page, messages(1..=MANY));
    assert_eq!(page.rows.len(), MAX_FOLLOWED);
    assert_eq!(shown(&page).last(), Some(&MANY.to_string()));

    page.show_start();
    assert_eq!(scroll(&mut page, AT_TOP), [request(OLDEST)]);
    receive(&mut page, vec![history(OLDEST - 100..=OLDEST - 1, true)]);
    assert_eq!(page.rows.len(), MAX_FOLLOWED + 100);

    let _ = page.follow(NOW);
    receive(&mut page, messages(MANY + 1..=MANY + 1));
    assert_eq!(page.rows.len(), MAX_FOLLOWED);
}

#[test]
fn a_page_of_old_messages_is_kept_although_the_log_was_followed() {
    let mut page = joined();
    receive(&mut page, messages(1..=MANY));

    let around = (51..=150).map(|offset| publication(offset, "ann", &offset.to_string(), None));
    let _ = page.insert_page(around.collect(), Offset(100));

    assert!(shown(&page).contains(&"100".to_owned()));
    receive(&mut page, messages(MANY + 1..=MANY + 100));
    assert!(shown(&page).contains(&"100".to_owned()));
}

#[test]
fn unread_messages_that_are_no_longer_kept_are_counted_as_more() {
    let mut page = joined();
    page.set_attended(false);

    receive(&mut page, messages(1..=MANY));
    assert_eq!(page.unread().to_string(), format!("{MAX_FOLLOWED}+"));
    page.show_unread();
    assert_eq!(shown(&page)[0], OLDEST.to_string());

    scroll(&mut page, AT_TOP);
    receive(&mut page, vec![history(1..=OLDEST - 1, false)]);
    assert_eq!(page.unread().to_string(), MANY.to_string());
}

#[test]
fn an_edit_that_is_no_longer_kept_is_applied_when_it_is_read_again() {
    let edit = Publication {
        fields: MessageFields {
            edits: Some(Offset(1)),
            ..MessageFields::default()
        },
        ..publication(2, "ann", "edited", None)
    };
    let mut page = joined();
    receive(
        &mut page,
        vec![message(1, "as it was"), Push::Message(edit.clone())],
    );
    receive(&mut page, messages(3..=MANY));
    assert_eq!(page.edits.before(Offset(MANY)), None);

    page.show_start();
    scroll(&mut page, AT_TOP);
    let older = vec![publication(1, "ann", "as it was", None), edit];
    let history = Push::History {
        room: RoomName::lobby(),
        messages: older,
        more: false,
    };
    receive(&mut page, vec![history]);

    page.show_start();
    assert_eq!(shown(&page)[0], "edited");
}
