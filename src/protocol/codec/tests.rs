//! Tests of the JSON of the contract: each frame, and the error of each mistake.

use serde_json::Value;

use super::*;
use crate::protocol::{Body, Member, MessageFields, Offset, Publication, UserId, samples};

#[test]
fn commands_are_decoded_from_the_json_of_the_contract() {
    let key = Key::parse("k1").ok();

    for (text, command) in [
        (
            r#"{"type":"publish","text":"hi"}"#,
            Command::Publish {
                room: None,
                body: Body::Text("hi".into()),
                fields: MessageFields::default(),
            },
        ),
        (
            r#"{"key":"k1","text":"hi","type":"publish"}"#,
            Command::Publish {
                room: None,
                body: Body::Text("hi".into()),
                fields: MessageFields::keyed(key),
            },
        ),
        (
            r#"{"type":"publish","json":[1,null],"kind":"order","reply_to":7,"edits":8}"#,
            Command::Publish {
                room: None,
                body: Body::Json(Json::from_compact("[1,null]")),
                fields: MessageFields {
                    kind: Kind::parse("order").ok(),
                    key: None,
                    reply_to: Some(Offset(7)),
                    edits: Some(Offset(8)),
                },
            },
        ),
        (
            r#"{"type":"publish","data":"AQL/"}"#,
            Command::Publish {
                room: None,
                body: Body::Data("AQL/".into()),
                fields: MessageFields::default(),
            },
        ),
        (r#"{"type":"ping"}"#, Command::Ping),
        (
            r#"{"type":"signal","kind":"typing","json":{ "seconds": 3 }}"#,
            Command::Signal {
                room: None,
                kind: Kind::parse("typing").expect("a kind"),
                json: Json::from_compact(r#"{"seconds":3}"#),
            },
        ),
        (
            r#"{"type":"state","room":"lobby","json":null}"#,
            Command::State {
                room: Some(RoomName::lobby()),
                json: Json::from_compact("null"),
            },
        ),
        (
            r#"{"type":"subscribe","room":"class-*","after":9,"epoch":"5f3e9a01"}"#,
            Command::Subscribe {
                room: RoomSelector::parse("class-*").expect("a pattern"),
                after: Some(Offset(9)),
                epoch: Some(Epoch::from("5f3e9a01".to_owned())),
            },
        ),
        (
            r#"{"type":"unsubscribe","room":"lobby"}"#,
            Command::Unsubscribe {
                room: RoomName::lobby().into(),
            },
        ),
        (
            r#"{"type":"delete","offset":9}"#,
            Command::Delete {
                room: None,
                offset: Offset(9),
            },
        ),
        (
            r#"{"type":"history","room":"a/b","before":9,"limit":2}"#,
            Command::History {
                room: RoomName::parse("a/b").ok(),
                before: Some(Offset(9)),
                limit: Some(2),
            },
        ),
    ] {
        assert_eq!(Command::decode(text), Ok(command.clone()));
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn an_error_names_the_mistake_and_the_allowed_values() {
    let long = format!(
        r#"{{"type":"publish","text":"x","key":"{}"}}"#,
        "k".repeat(65)
    );
    let deep = format!(
        r#"{{"type":"publish","json":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );

    for (text, code, part) in [
        ("hello", ErrorCode::BadJson, "not JSON"),
        ("[1]", ErrorCode::BadJson, "one JSON object"),
        (r#"{"type":"shout"}"#, ErrorCode::UnknownType, "publish"),
        (r#"{"text":"x"}"#, ErrorCode::UnknownType, "publish"),
        (r#"{"type":"publish"}"#, ErrorCode::BadField, "text"),
        (r#"{"type":"delete"}"#, ErrorCode::BadField, "offset"),
        (r#"{"type":"subscribe"}"#, ErrorCode::BadField, "room"),
        (
            r#"{"type":"publish","room":"a-*","text":"x"}"#,
            ErrorCode::BadField,
            "not the pattern a-*",
        ),
        (
            r#"{"type":"publish","text":7}"#,
            ErrorCode::BadField,
            "string",
        ),
        (long.as_str(), ErrorCode::BadField, "1 to 64"),
        (deep.as_str(), ErrorCode::BadField, "120 levels"),
        (
            r#"{"type":"publish","text":"x","json":null}"#,
            ErrorCode::BadField,
            "text and json",
        ),
        (
            r#"{"type":"publish","json":1,"json":2}"#,
            ErrorCode::BadField,
            "duplicate field `json`",
        ),
        (
            r#"{"type":"publish","json":1e999}"#,
            ErrorCode::BadField,
            "json is invalid: number out of range",
        ),
        (
            r#"{"type":"publish","json":[1,]}"#,
            ErrorCode::BadJson,
            "not JSON",
        ),
        (
            r#"{"type":"publish","text":"x","kind":"a b"}"#,
            ErrorCode::BadField,
            "kind has the character ' '",
        ),
        (
            r#"{"type":"publish","text":"x","edits":-1}"#,
            ErrorCode::BadField,
            "edits must be a whole number",
        ),
        (
            r#"{"type":"history","limit":-1}"#,
            ErrorCode::BadField,
            "limit must be a whole number up to 1000",
        ),
        (
            r#"{"type":"history","limit":1001}"#,
            ErrorCode::BadField,
            "not 1001",
        ),
        (
            r#"{"type":"publish","text":["x"]}"#,
            ErrorCode::BadField,
            "text must be a string, not an array",
        ),
        (
            r#"{"type":"publish","text":"x","text":"y"}"#,
            ErrorCode::BadField,
            "duplicate field `text`",
        ),
        (
            r#"{"type":"signal","json":1}"#,
            ErrorCode::BadField,
            "kind is missing",
        ),
        (
            r#"{"type":"signal","kind":"typing"}"#,
            ErrorCode::BadField,
            "json is missing",
        ),
        (
            r#"{"type":"state","room":"class-*","json":1}"#,
            ErrorCode::BadField,
            "not the pattern class-*",
        ),
        (r#"{"type":"publish""#, ErrorCode::BadJson, "not JSON"),
        ("[1", ErrorCode::BadJson, "not JSON"),
        (r#"["publish","x"]"#, ErrorCode::BadJson, "one JSON object"),
    ] {
        let error = Command::decode(text).expect_err(text);
        assert_eq!(error.code, code, "{text}: {error:?}");
        assert!(error.message.contains(part), "{text}: {error:?}");
    }
}

#[test]
fn an_error_has_the_key_of_the_message_that_it_rejects() {
    let error = Command::decode(r#"{"type":"publish","key":"mine"}"#).expect_err("no text");

    assert_eq!(error.key, Key::parse("mine").ok());
}

#[test]
fn fields_that_a_command_does_not_have_are_ignored_whatever_they_hold() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));

    for value in [
        deep.as_str(),
        r#"{"a":[1,{"b":null}]}"#,
        "0.5",
        "-1",
        "true",
    ] {
        for name in ["other", "limit", "before", "token", "key", "json"] {
            let text = format!(r#"{{"{name}":{value},"type":"ping"}}"#);
            assert_eq!(Command::decode(&text), Ok(Command::Ping), "{name}");
        }
    }
}

#[test]
fn an_error_does_not_repeat_what_the_client_sent() {
    let long = "x".repeat(10_000);

    for text in [
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":"history","limit":"{long}"}}"#),
        format!(r#"{{"type":"publish","text":"x","key":"{long}"}}"#),
        format!(r#"{{"{long}":1}}"#),
        long.clone(),
    ] {
        let error = Command::decode(&text).expect_err("none of them is a command");
        assert!(error.message.len() < 200, "{}", error.message);
    }
}

#[test]
fn a_message_is_encoded_as_the_json_of_the_contract() {
    let publication = Publication {
        room: RoomName::lobby(),
        offset: Offset(8),
        prev: Offset(7),
        at: 1000,
        from: UserId::parse("ann").expect("a name"),
        body: Body::Text("<b>\"hi\"</b>".into()),
        fields: MessageFields::keyed(Key::parse("k").ok()),
    };
    let push = Push::Message(publication);
    let text = r#"{"type":"message","room":"lobby","offset":8,"prev":7,"at":1000,"from":"ann","text":"<b>\"hi\"</b>","key":"k"}"#;

    assert_eq!(push.encode(), text);
    assert_eq!(Push::decode(text).expect("a push"), push);
}

#[test]
fn a_member_is_encoded_with_its_state_if_it_has_one() {
    let member = |id, state: Option<&str>| Member {
        id: UserId::parse(id).expect("a name"),
        state: state.map(Json::from_compact),
    };
    let push = Push::Presence {
        room: RoomName::lobby(),
        count: 2,
        joined: vec![member("ann", Some(r#"{"mood":"good"}"#))],
        left: Vec::new(),
        changed: vec![member("bob", None)],
    };
    let text = r#"{"type":"presence","room":"lobby","count":2,"joined":[{"id":"ann","state":{"mood":"good"}}],"changed":[{"id":"bob"}]}"#;

    assert_eq!(push.encode(), text);
    assert_eq!(Push::decode(text).expect("a push"), push);
}

#[test]
fn a_deleted_message_keeps_its_offset_and_has_no_content() {
    let text = r#"{"type":"message","room":"lobby","offset":8,"prev":7,"at":1000,"from":"ann","deleted":true}"#;

    let push = Push::decode(text).expect("a push");

    assert!(
        matches!(
            &push,
            Push::Message(Publication {
                body: Body::Deleted(true),
                ..
            })
        ),
        "{push:?}"
    );
    assert_eq!(push.encode(), text);
}

#[test]
fn the_kind_of_a_push_is_the_type_of_its_json() {
    let message =
        r#"{"type":"message","room":"a","offset":2,"prev":1,"at":0,"from":"ann","text":"hi"}"#;
    let signal = r#"{"type":"signal","room":"a","from":"ann","kind":"typing","json":null}"#;

    for push in [
        Push::Welcome(samples::welcome()),
        Push::Subscribed(samples::subscribed()),
        Push::error(ErrorCode::BadJson, String::new()),
    ]
    .into_iter()
    .chain(
        [
            message,
            signal,
            r#"{"type":"unsubscribed","room":"a-*","code":"kicked","message":""}"#,
            r#"{"type":"ack","room":"a","key":"k","offset":1,"duplicate":false}"#,
            r#"{"type":"history","room":"a","messages":[],"more":false}"#,
            r#"{"type":"gap","room":"a","after":1,"before":3,"count":null,"reason":"expired"}"#,
            r#"{"type":"presence","room":"a","count":0}"#,
            r#"{"type":"token"}"#,
            r#"{"type":"deleted","room":"a","offset":1,"at":1}"#,
            r#"{"type":"closed","room":"a","offset":1}"#,
            r#"{"type":"drain","reconnect_after_ms":1}"#,
            r#"{"type":"pong"}"#,
        ]
        .map(|text| Push::decode(text).expect(text)),
    ) {
        let json: Value = serde_json::from_str(&push.encode()).expect("JSON");
        assert_eq!(json["type"], push.kind());
    }
}
