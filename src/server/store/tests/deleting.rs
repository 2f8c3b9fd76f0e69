//! Tests of deletion in all stores. A tombstone must keep the offset and the key of the message, but not its payload
//! or its size.

use super::*;
use crate::protocol::Body;

/// Deletes the message at `offset`. Returns true if this call deleted it, false if it was deleted before, and `None`
/// if it is not kept.
fn delete(subject: &Subject, offset: u64) -> Option<bool> {
    let deletion = subject.store.delete(&RoomName::lobby(), Offset(offset), 9);
    match block_on(deletion).expect("deleted") {
        Deleted::Now => Some(true),
        Deleted::Before => Some(false),
        Deleted::NotKept => None,
    }
}

#[test]
fn what_is_deleted_keeps_its_place_and_its_key_and_says_nothing() {
    for mut subject in Subject::each(3) {
        subject.append(Some("a"), "one");
        let fields = MessageFields {
            kind: Kind::parse("secret").ok(),
            reply_to: Some(Offset(1)),
            edits: Some(Offset(1)),
            ..MessageFields::keyed(Key::parse("b").ok())
        };
        let json = Content::Json(Json::from_compact(r#"{"two":2}"#));
        let draft = Draft::new(UserId::guest(1), json, fields);
        let append = subject.store.append(&RoomName::lobby(), vec![draft], 7);
        block_on(append).expect("stored");
        for (key, text) in [("c", "three"), ("d", "four")] {
            subject.append(Some(key), text);
        }

        assert_eq!(
            [1, 2, 2, 5].map(|offset| delete(&subject, offset)),
            [None, Some(true), Some(false), None]
        );

        for _round in 0..2 {
            let read = subject.publications();

            let bodies: Vec<_> = read.iter().map(|read| read.body.clone()).collect();
            let text = |text: &str| Body::Text(text.to_owned());
            assert_eq!(bodies, [Body::Deleted(true), text("three"), text("four")]);
            assert_eq!(
                (read[0].offset, read[0].prev, read[1].prev),
                (Offset(2), Offset(1), Offset(2))
            );
            assert_eq!(read[0].fields, MessageFields::keyed(Key::parse("b").ok()));
            assert_eq!(
                (subject.append(Some("b"), "two"), delete(&subject, 2)),
                ((2, true), Some(false))
            );

            subject.restart();
        }

        // The tombstone is trimmed like any other message.
        let (five, duplicate) = subject.append(None, "five");
        assert!(five > 4 && !duplicate);
        subject.becomes((3, five), Subject::bounds);
        assert_eq!(delete(&subject, 2), None);
        assert_eq!(subject.append(Some("b"), "two"), (2, true));
    }
}

#[test]
fn what_is_deleted_no_longer_counts_where_bytes_are_limited() {
    let retention = Retention {
        bytes: 4000,
        ..Subject::retention(100)
    };

    for subject in [Subject::memory(retention), Subject::sqlite(retention)] {
        subject.append(None, &"x".repeat(1800));
        subject.append(None, "short");

        assert_eq!(delete(&subject, 1), Some(true));
        subject.append(None, &"x".repeat(1800));
        subject.append(None, &"x".repeat(1000));

        assert_eq!(subject.bounds(), (1, 4));
    }
}
