//! JSON encoding and decoding of [`Command`] and [`Push`].

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::{
    Body, Command, Epoch, ErrorCode, Json, Key, Kind, MAX_HISTORY, MessageFields, Offset, Push,
    RoomName, RoomSelector, Token,
};

/// The error for a text that is not a valid [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// The kind of error.
    pub code: ErrorCode,
    /// A sentence that names the mistake.
    pub message: String,
    /// The room or pattern of the rejected frame, if it named a valid one.
    pub room: Option<RoomSelector>,
    /// The key of the rejected publish, if it had a valid one.
    pub key: Option<Key>,
}

/// The message of the error for a frame whose type is not a command.
const UNKNOWN_TYPE: &str = "type must be one of \"subscribe\", \"unsubscribe\", \"publish\", \"delete\", \"signal\", \"state\", \"history\", \"token\", \"ping\"";

impl Command {
    /// Decodes a frame from a client in one pass. Unknown fields are skipped without being built.
    ///
    /// # Errors
    /// Returns an error if the text is not a JSON object, its type is unknown, or a field is invalid. The connection
    /// stays open.
    pub fn decode(text: &str) -> Result<Self, CommandError> {
        if !text.trim_ascii_start().starts_with('{') {
            return Err(not_an_object(text));
        }

        let fields: Fields = serde_json::from_str(text).map_err(|error| bad_object(&error))?;
        fields.into_command()
    }

    /// Encodes the frame as JSON.
    pub fn encode(&self) -> String {
        // serde_json fails only for maps whose keys are not strings, and there are none.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Push {
    /// Decodes a frame from the server.
    ///
    /// # Errors
    /// Returns the error of serde_json.
    pub fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Encodes the frame as JSON.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The fields of all commands, before they are checked.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "type")]
    frame_type: Option<Field>,
    room: Option<Field>,
    after: Option<Field>,
    epoch: Option<Field>,
    text: Option<Field>,
    #[serde(borrow, default, deserialize_with = "json_text")]
    json: Option<&'a RawValue>,
    data: Option<Field>,
    kind: Option<Field>,
    reply_to: Option<Field>,
    edits: Option<Field>,
    key: Option<Field>,
    token: Option<Field>,
    before: Option<Field>,
    limit: Option<Field>,
    offset: Option<Field>,
}

impl Fields<'_> {
    fn into_command(mut self) -> Result<Command, CommandError> {
        let selector = self.room.take().map(Field::into_selector).transpose();
        let key = self.key.take().map(Field::into_key).transpose();
        let known_room = selector.as_ref().ok().cloned().flatten();
        let known_key = key.as_ref().ok().cloned().flatten();
        let frame_type = self.frame_type.take();
        let frame_type = frame_type.and_then(|frame_type| frame_type.into_string("type").ok());

        let command = match frame_type.as_deref() {
            Some("subscribe") => required_selector(selector).and_then(|room| {
                let after = self.after.map(|after| after.into_offset("after"));
                let epoch = self.epoch.map(|epoch| epoch.into_string("epoch"));
                Ok(Command::Subscribe {
                    room,
                    after: after.transpose()?,
                    epoch: epoch.transpose()?.map(Epoch::from),
                })
            }),
            Some("unsubscribe") => {
                required_selector(selector).map(|room| Command::Unsubscribe { room })
            }
            Some("publish") => one_room(selector).and_then(|room| self.into_publish(room, key)),
            Some("delete") => required("offset", self.offset).and_then(|offset| {
                Ok(Command::Delete {
                    room: one_room(selector)?,
                    offset: offset.into_offset("offset")?,
                })
            }),
            Some("signal") => one_room(selector).and_then(|room| self.into_signal(room)),
            Some("state") => one_room(selector).and_then(|room| {
                Ok(Command::State {
                    room,
                    json: required_json(self.json)?,
                })
            }),
            Some("history") => {
                one_room(selector).and_then(|room| history(room, self.before, self.limit))
            }
            Some("token") => required("token", self.token).and_then(|token| {
                Ok(Command::Token {
                    token: Token::new(token.into_string("token")?),
                })
            }),
            Some("ping") => Ok(Command::Ping),
            _ => {
                return Err(CommandError {
                    code: ErrorCode::UnknownType,
                    message: UNKNOWN_TYPE.to_owned(),
                    room: known_room,
                    key: known_key,
                });
            }
        };

        command.map_err(|message| CommandError {
            code: ErrorCode::BadField,
            message,
            room: known_room,
            key: known_key,
        })
    }

    fn into_publish(
        self,
        room: Option<RoomName>,
        key: Result<Option<Key>, String>,
    ) -> Result<Command, String> {
        let text = self.text.map(|text| text.into_string("text"));
        let json = self.json.map(Json::from_raw).transpose();
        let data = self.data.map(|data| data.into_string("data"));
        let kind = self.kind.map(Field::into_kind);
        let reply_to = self.reply_to.map(|offset| offset.into_offset("reply_to"));
        let edits = self.edits.map(|offset| offset.into_offset("edits"));

        let json = json.map_err(|error| error.to_string())?;
        let body = Body::from_fields(text.transpose()?, json, data.transpose()?);
        Ok(Command::Publish {
            room,
            body: body.map_err(|error| error.to_string())?,
            fields: MessageFields {
                kind: kind.transpose()?,
                key: key?,
                reply_to: reply_to.transpose()?,
                edits: edits.transpose()?,
            },
        })
    }

    fn into_signal(self, room: Option<RoomName>) -> Result<Command, String> {
        Ok(Command::Signal {
            room,
            kind: required("kind", self.kind)?.into_kind()?,
            json: required_json(self.json)?,
        })
    }
}

/// Deserializes a field as the text of its JSON value. `null` is a value too.
fn json_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The field `room`, if the frame has one.
type SelectorField = Result<Option<RoomSelector>, String>;

/// Returns the room or pattern, or the error that there is none.
fn required_selector(selector: SelectorField) -> Result<RoomSelector, String> {
    selector?.ok_or_else(|| "room is missing".to_owned())
}

/// Returns the room, if there is one. A pattern is an error.
fn one_room(selector: SelectorField) -> Result<Option<RoomName>, String> {
    match selector? {
        None => Ok(None),
        Some(RoomSelector::Room(room)) => Ok(Some(room)),
        Some(RoomSelector::Pattern(pattern)) => Err(format!(
            "room must be the name of one room, not the pattern {pattern}"
        )),
    }
}

/// Returns the field `name`, or the error that it is missing.
fn required(name: &str, field: Option<Field>) -> Result<Field, String> {
    field.ok_or_else(|| format!("{name} is missing"))
}

/// Returns the field `json`, or the error that it is missing or invalid.
fn required_json(json: Option<&RawValue>) -> Result<Json, String> {
    let json = json.ok_or_else(|| "json is missing".to_owned())?;
    Json::from_raw(json).map_err(|error| error.to_string())
}

fn history(
    room: Option<RoomName>,
    before: Option<Field>,
    limit: Option<Field>,
) -> Result<Command, String> {
    let before = before.map(|field| field.into_offset("before"));
    let limit = limit.map(|field| field.into_number("limit", MAX_HISTORY.into()));

    Ok(Command::History {
        room,
        before: before.transpose()?,
        // Fits: it is at most `MAX_HISTORY`.
        limit: limit.transpose()?.map(|limit| limit as u16),
    })
}

/// The value of a field. Arrays and objects are skipped, so a frame costs no more memory than its strings.
enum Field {
    Text(String),
    Number(u64),
    /// A value that no command accepts, as a description.
    Other(&'static str),
}

impl Field {
    fn into_string(self, name: &str) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("{name} must be a string, not {other}")),
        }
    }

    fn into_number(self, name: &str, most: u64) -> Result<u64, String> {
        match self {
            Self::Number(number) if number <= most => Ok(number),
            other => Err(format!(
                "{name} must be a whole number up to {most}, not {other}"
            )),
        }
    }

    fn into_offset(self, name: &str) -> Result<Offset, String> {
        self.into_number(name, u64::MAX).map(Offset)
    }

    fn into_selector(self) -> Result<RoomSelector, String> {
        let text = self.into_string("room")?;
        RoomSelector::parse(&text).map_err(|error| error.to_string())
    }

    fn into_kind(self) -> Result<Kind, String> {
        let text = self.into_string("kind")?;
        Kind::parse(&text).map_err(|error| error.to_string())
    }

    fn into_key(self) -> Result<Key, String> {
        let text = self.into_string("key")?;
        Key::parse(&text).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Not the string itself, which may be as long as a frame.
            Self::Text(_) => f.write_str("a string"),
            Self::Number(number) => number.fmt(f),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Field, E> {
        Ok(Field::Text(text))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Field, E> {
        Ok(Field::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field, E> {
        Ok(Field::Other("a negative number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field, E> {
        Ok(Field::Other("a fraction or a number that is too large"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field, E> {
        Ok(Field::Other("a boolean"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Field, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an object"))
    }
}

/// Returns the error for a text that does not begin with `{`.
fn not_an_object(text: &str) -> CommandError {
    let message = match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => {
            "a frame is one JSON object like {\"type\":\"publish\",\"text\":\"...\"}".to_owned()
        }
        Err(error) => format!("not JSON: {error}"),
    };
    CommandError {
        code: ErrorCode::BadJson,
        message,
        room: None,
        key: None,
    }
}

/// Returns the error for a text that begins with `{` and cannot be parsed.
fn bad_object(error: &serde_json::Error) -> CommandError {
    let (code, message) = match error.classify() {
        // The only other error is a field that occurs twice.
        Category::Data => (ErrorCode::BadField, error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => {
            (ErrorCode::BadJson, format!("not JSON: {error}"))
        }
    };
    CommandError {
        code,
        message,
        room: None,
        key: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::protocol::{
        Body, GapReason, Member, MessageFields, Publication, Signal, UnsubscribeCode, UserId,
        samples,
    };

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
    fn a_published_json_value_is_kept_without_whitespace_as_it_was_written() {
        let text =
            r#"{"type": "publish", "json": { "b": 12345678901234567890123, "a": "1\u0031" }}"#;

        let Ok(Command::Publish { body, .. }) = Command::decode(text) else {
            panic!("a publish");
        };

        let kept = r#"{"b":12345678901234567890123,"a":"1\u0031"}"#;
        assert_eq!(body, Body::Json(Json::from_compact(kept)));
    }

    #[test]
    fn a_json_value_that_is_nested_too_deeply_is_refused_with_the_limit() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));

        let error = Command::decode(&format!(r#"{{"type":"publish","json":{deep}}}"#));

        let error = error.expect_err("it is too deep");
        assert_eq!(error.code, ErrorCode::BadField);
        assert!(error.message.contains("120 levels"), "{}", error.message);
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
        let (key, offset) = (Key::parse("k").expect("a key"), Offset(1));
        let room = RoomName::lobby();

        for push in [
            Push::Welcome(samples::welcome()),
            Push::Subscribed(samples::subscribed()),
            Push::Unsubscribed {
                room: room.clone().into(),
                code: UnsubscribeCode::Kicked,
                message: String::new(),
            },
            Push::Message(samples::publication(1, "")),
            Push::Ack {
                room: room.clone(),
                key,
                offset,
                duplicate: false,
            },
            Push::History {
                room: room.clone(),
                messages: Vec::new(),
                more: false,
            },
            Push::Gap {
                room: room.clone().into(),
                after: offset,
                before: offset,
                count: None,
                reason: GapReason::Expired,
            },
            Push::Presence {
                room: room.clone(),
                count: 0,
                joined: Vec::new(),
                left: Vec::new(),
                changed: Vec::new(),
            },
            Push::Signal(Signal {
                room: room.clone(),
                from: UserId::anonymous(),
                kind: Kind::parse("typing").expect("a kind"),
                json: Json::from_compact("null"),
            }),
            Push::Error {
                code: ErrorCode::BadJson,
                message: String::new(),
                retry: false,
                room: None,
                key: None,
            },
            Push::Token {
                expires_at: Some(1),
            },
            Push::Deleted {
                room: room.clone(),
                offset,
                at: 1,
            },
            Push::Drain {
                reconnect_after_ms: 1,
            },
            Push::Pong,
        ] {
            let json: Value = serde_json::from_str(&push.encode()).expect("JSON");
            assert_eq!(json["type"], push.kind());
        }
    }
}
