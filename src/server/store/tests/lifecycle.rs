//! Tests of rooms that are created, closed and deleted, and of appends with conditions.

use super::*;

fn drafts(texts: &[&str]) -> Vec<Draft> {
    let draft = |text: &&str| Draft::text(UserId::guest(1), None, *text);
    texts.iter().map(draft).collect()
}

/// Returns all stores. Those tests are not for NATS in which much time passes: its clock is the real one.
fn all_subjects() -> [Subject; 3] {
    let [memory, sqlite] = Subject::each_local(2);
    [memory, sqlite, Subject::nats(Subject::retention(100))]
}

fn new_room(ttl: Option<u64>) -> NewRoom {
    let settings = RoomSettings {
        content_type: Some("text/plain".to_owned()),
        ttl,
        expires_at: None,
    };
    NewRoom {
        settings,
        drafts: Vec::new(),
        is_closed: false,
    }
}

fn create(subject: &Subject, name: &str, new: NewRoom) -> CreateOutcome {
    subject.open(&room(name));
    let created = subject.store.create_room(&room(name), new, 7);
    subject.run(created).outcome
}

fn append_if(
    subject: &Subject,
    name: &str,
    texts: &[&str],
    conditions: AppendConditions,
) -> AppendOutcome {
    subject.open(&room(name));
    let appended = subject
        .store
        .append_if(&room(name), drafts(texts), conditions, 7);
    subject.run(appended).outcome
}

fn by_producer(seq: u64) -> AppendConditions {
    let id = "p".to_owned();
    AppendConditions {
        producer: Some(ProducerPosition { id, epoch: 0, seq }),
        ..AppendConditions::default()
    }
}

fn closing() -> AppendConditions {
    AppendConditions {
        closes: true,
        ..AppendConditions::default()
    }
}

fn texts(subject: &Subject, name: &str) -> Vec<String> {
    let limit = Limit::page(100);
    let page = subject.page_of(&room(name), Span::After(Offset(0)), limit);
    let payload = |frame: &Arc<Frame>| frame.payload().as_bytes().to_vec();
    let payloads = page.frames.iter().map(payload);
    payloads
        .map(|bytes| String::from_utf8(bytes).expect("text"))
        .collect()
}

fn exists(subject: &Subject, name: &str) -> bool {
    subject.open(&room(name));
    let lifecycle = subject.store.lifecycle(&room(name));
    lifecycle.expect("a lifecycle").is_some()
}

#[test]
fn a_created_room_keeps_all_its_messages() {
    for mut subject in Subject::each_local(2) {
        assert_eq!(
            create(&subject, "s", new_room(None)),
            CreateOutcome::Created
        );

        for text in ["a", "b", "c"] {
            subject.append_to(&room("s"), None, text).expect("stored");
            subject.append_to(&room("o"), None, text).expect("stored");
        }
        subject.pass(100_000);
        subject.restart();
        subject.append_to(&room("o"), None, "d").expect("stored");

        subject.becomes(1, |subject| texts(subject, "o").len());
        assert_eq!(texts(&subject, "s"), ["a", "b", "c"]);
        assert_eq!(create(&subject, "s", new_room(None)), CreateOutcome::Same);
        assert_eq!(
            create(&subject, "s", new_room(Some(9))),
            CreateOutcome::Different
        );
    }
}

#[test]
fn a_closed_room_refuses_messages_for_ever() {
    for mut subject in all_subjects() {
        create(&subject, "s", new_room(None));
        subject.open(&room("o"));
        subject.append_to(&room("o"), None, "x").expect("stored");

        for name in ["s", "o"] {
            let closed = append_if(&subject, name, &["last"], closing());
            assert_eq!(closed, AppendOutcome::Stored);
        }
        subject.restart();

        for name in ["s", "o"] {
            subject.open(&room(name));
            let refused = subject.append_to(&room(name), None, "y");
            assert_eq!(refused, Err(StoreError::RoomClosed));
            let again = append_if(&subject, name, &[], closing());
            assert_eq!(again, AppendOutcome::Duplicate { seq: None });
        }
        assert_eq!(texts(&subject, "s"), ["last"]);
    }
}

#[test]
fn a_deleted_room_is_gone_and_its_name_gets_larger_offsets() {
    for mut subject in all_subjects() {
        let mut new = new_room(None);
        new.drafts = drafts(&["a", "b"]);
        create(&subject, "s", new);
        append_if(&subject, "s", &["c"], by_producer(0));
        append_if(&subject, "s", &[], closing());

        let last = subject.store.bounds(&room("s")).expect("bounds").head;
        assert!(subject.run(subject.store.delete_room(&room("s"))));
        assert!(!exists(&subject, "s"));
        assert!(!subject.run(subject.store.delete_room(&room("s"))));
        let refused = append_if(&subject, "s", &["x"], closing());
        assert_eq!(refused, AppendOutcome::Refused(AppendRefusal::NoRoom));

        subject.restart();
        assert_eq!(
            create(&subject, "s", new_room(None)),
            CreateOutcome::Created
        );
        let stored = append_if(&subject, "s", &["d"], by_producer(0));
        assert_eq!(stored, AppendOutcome::Stored);
        assert_eq!(texts(&subject, "s"), ["d"]);
        let bounds = subject.store.bounds(&room("s")).expect("bounds");
        assert!(bounds.gone >= last, "{bounds:?} after {last}");
        assert!(bounds.head > bounds.gone, "{bounds:?}");
    }
}

#[test]
fn the_messages_of_a_deleted_room_leave_the_file_and_no_room_gets_its_id_before() {
    let subject = Subject::sqlite(Subject::retention(2));
    let mut new = new_room(None);
    new.drafts = vec![Draft::text(UserId::guest(1), None, "x"); 5000];
    create(&subject, "s", new);
    create(&subject, "other", new_room(None));
    subject
        .append_to(&room("other"), None, "kept")
        .expect("stored");

    let deleted = subject.store.delete_room(&room("s"));
    let created = subject.store.create_room(&room("s"), new_room(None), 7);
    let appended = subject.store.append(&room("s"), drafts(&["y"]), 7);

    assert!(subject.run(deleted));
    assert_eq!(subject.run(created).outcome, CreateOutcome::Created);
    assert_eq!(subject.run(appended).len(), 1);
    assert_eq!(texts(&subject, "s"), ["y"]);
    subject.becomes((2, 0), |subject| {
        (subject.rows("messages"), subject.rows("deleted_rooms"))
    });
    assert_eq!(texts(&subject, "other"), ["kept"]);
}

#[test]
fn each_append_of_a_producer_is_stored_once() {
    for mut subject in all_subjects() {
        create(&subject, "s", new_room(None));

        append_if(&subject, "s", &["a", "b"], by_producer(0));
        subject.restart();
        let again = append_if(&subject, "s", &["a", "b"], by_producer(0));
        let next = append_if(&subject, "s", &["c"], by_producer(1));

        assert_eq!(again, AppendOutcome::Duplicate { seq: Some(0) });
        assert_eq!(next, AppendOutcome::Stored);
        assert_eq!(texts(&subject, "s"), ["a", "b", "c"]);
    }
}

#[test]
fn an_append_that_two_nodes_get_at_the_same_time_is_stored_once() {
    let subject = Subject::nats(Subject::retention(1000));
    let other = subject.another_node();
    create(&subject, "s", new_room(None));
    subject.run(other.open(&room("s")));

    for seq in 0..50 {
        let text = seq.to_string();
        let append = |store: &dyn Store| {
            let drafts = drafts(&[&text, "and more"]);
            store.append_if(&room("s"), drafts, by_producer(seq), 7)
        };
        let both = futures::future::try_join(append(&*subject.store), append(&other));
        let (one, two) = subject.run(both.boxed());

        let stored = [one.outcome, two.outcome];
        let duplicate = AppendOutcome::Duplicate { seq: Some(seq) };
        assert!(stored.contains(&AppendOutcome::Stored), "{stored:?}");
        assert!(stored.contains(&duplicate), "{stored:?}");
    }

    subject.open(&room("s"));
    let expected = (0..50).flat_map(|seq: u64| [seq.to_string(), "and more".to_owned()]);
    assert_eq!(texts(&subject, "s"), expected.collect::<Vec<_>>());
}

#[test]
fn a_key_of_a_deleted_room_is_free_again() {
    for subject in all_subjects() {
        create(&subject, "s", new_room(None));
        subject
            .append_to(&room("s"), Some("k"), "old")
            .expect("stored");

        subject.run(subject.store.delete_room(&room("s")));
        create(&subject, "s", new_room(None));
        let (_, is_duplicate) = subject
            .append_to(&room("s"), Some("k"), "new")
            .expect("stored");

        assert!(!is_duplicate);
        assert_eq!(texts(&subject, "s"), ["new"]);
    }
}

#[test]
fn a_deleted_message_of_a_producer_is_not_stored_again() {
    for mut subject in all_subjects() {
        create(&subject, "s", new_room(None));
        append_if(&subject, "s", &["a"], by_producer(0));
        let last = subject.store.bounds(&room("s")).expect("bounds").head;

        let deleted = subject.run(subject.store.delete(&room("s"), last, 8));
        subject.restart();
        let again = append_if(&subject, "s", &["a"], by_producer(0));

        assert_eq!(deleted, Deleted::Now);
        assert_eq!(again, AppendOutcome::Duplicate { seq: Some(0) });
    }
}

#[test]
fn a_writer_sequence_is_remembered() {
    for mut subject in all_subjects() {
        create(&subject, "s", new_room(None));
        let with_seq = |seq: &str| AppendConditions {
            writer_seq: Some(seq.to_owned()),
            ..AppendConditions::default()
        };

        append_if(&subject, "s", &["a"], with_seq("2"));
        subject.restart();
        let refused = append_if(&subject, "s", &["b"], with_seq("10"));

        let last = "2".to_owned();
        assert_eq!(
            refused,
            AppendOutcome::Refused(AppendRefusal::WriterSeq { last })
        );
    }
}

#[test]
fn a_room_that_is_not_used_expires() {
    for subject in Subject::each_local(2) {
        create(&subject, "read", new_room(Some(60)));
        create(&subject, "written", new_room(Some(60)));
        create(&subject, "unused", new_room(Some(60)));

        subject.pass(50);
        subject.store.touch(&room("read"));
        subject
            .append_to(&room("written"), None, "x")
            .expect("stored");
        subject.pass(50);

        let existing = ["read", "written", "unused"].map(|name| exists(&subject, name));
        assert_eq!(existing, [true, true, false]);

        // The room that comes after it has other settings.
        let created = create(&subject, "unused", new_room(None));
        assert_eq!(created, CreateOutcome::Created);
        subject
            .append_to(&room("unused"), None, "new")
            .expect("stored");
        assert_eq!(texts(&subject, "unused"), ["new"]);
    }
}

#[test]
fn an_expired_room_is_removed_though_nobody_asks_for_it() {
    for subject in Subject::each_local(2) {
        create(&subject, "s", new_room(Some(60)));
        let mut changes = subject.store.changes();

        subject.pass(61);
        subject.store.expire_rooms();

        let change = block_on(changes.recv());
        let is_deletion = |change: &LogChange| matches!(change, LogChange::RoomDeleted(name, _) if *name == room("s"));
        assert!(change.expect("changes").iter().any(is_deletion));
    }
}

#[test]
fn a_restart_delays_an_expiry_by_a_tenth_at_most() {
    let mut subject = Subject::sqlite(Subject::retention(2));
    create(&subject, "s", new_room(Some(1000)));

    subject.pass(900);
    subject.store.touch(&room("s"));
    subject.becomes(true, |subject| {
        subject.rows("lifecycles WHERE used >= 900000") == 1
    });
    subject.restart();
    subject.pass(900);
    assert!(exists(&subject, "s"));

    subject.pass(201);
    assert!(!exists(&subject, "s"));
}
