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

impl CommandError {
    /// Creates the error of a frame with no valid room and no valid key.
    const fn new(code: ErrorCode, message: String) -> Self {
        Self {
            code,
            message,
            room: None,
            key: None,
        }
    }
}

impl From<CommandError> for Push {
    fn from(error: CommandError) -> Self {
        let CommandError {
            code,
            message,
            room,
            key,
        } = error;
        Self::Error {
            code,
            message,
            retry: code.is_retryable(),
            room,
            key,
        }
    }
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

        let fields: CommandFields =
            serde_json::from_str(text).map_err(|error| bad_object(&error))?;
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
struct CommandFields<'a> {
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

impl CommandFields<'_> {
    fn into_command(mut self) -> Result<Command, CommandError> {
        let frame_type = self.frame_type.take();
        let frame_type = frame_type.and_then(|field| field.into_string("type").ok());
        let room = self.room.take();
        let room = room.map(|field| field.parse("room", RoomSelector::parse));
        let room = room.transpose();
        let key = self.key.take().map(|field| field.parse("key", Key::parse));
        let key = key.transpose();

        let mut error = CommandError::new(ErrorCode::BadField, String::new());
        error.room = room.clone().ok().flatten();
        error.key = key.clone().ok().flatten();

        let command = match frame_type.as_deref() {
            Some("subscribe") => self.into_subscribe(room),
            Some("unsubscribe") => {
                required_selector(room).map(|room| Command::Unsubscribe { room })
            }
            Some("publish") => self.into_publish(room, key),
            Some("delete") => self.into_delete(room),
            Some("signal") => self.into_signal(room),
            Some("state") => self.into_state(room),
            Some("history") => self.into_history(room),
            Some("token") => self.into_token(),
            Some("ping") => Ok(Command::Ping),
            _ => {
                error.code = ErrorCode::UnknownType;
                Err(UNKNOWN_TYPE.to_owned())
            }
        };
        command.map_err(|message| CommandError { message, ..error })
    }

    fn into_subscribe(self, room: SelectorField) -> Result<Command, String> {
        let room = required_selector(room)?;
        let after = self.after.map(|field| field.into_offset("after"));
        let epoch = self.epoch.map(|field| field.into_string("epoch"));

        Ok(Command::Subscribe {
            room,
            after: after.transpose()?,
            epoch: epoch.transpose()?.map(Epoch::from),
        })
    }

    fn into_publish(
        self,
        room: SelectorField,
        key: Result<Option<Key>, String>,
    ) -> Result<Command, String> {
        let room = one_room(room)?;
        let text = self.text.map(|field| field.into_string("text"));
        let json = self.json.map(Json::from_raw).transpose();
        let data = self.data.map(|field| field.into_string("data"));
        let kind = self
            .kind
            .map(|field| field.parse("kind", Kind::parse_unreserved));
        let reply_to = self.reply_to.map(|field| field.into_offset("reply_to"));
        let edits = self.edits.map(|field| field.into_offset("edits"));

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

    fn into_delete(self, room: SelectorField) -> Result<Command, String> {
        let offset = required("offset", self.offset)?;
        Ok(Command::Delete {
            room: one_room(room)?,
            offset: offset.into_offset("offset")?,
        })
    }

    fn into_signal(self, room: SelectorField) -> Result<Command, String> {
        Ok(Command::Signal {
            room: one_room(room)?,
            kind: required("kind", self.kind)?.parse("kind", Kind::parse_unreserved)?,
            json: required_json(self.json)?,
        })
    }

    fn into_state(self, room: SelectorField) -> Result<Command, String> {
        Ok(Command::State {
            room: one_room(room)?,
            json: required_json(self.json)?,
        })
    }

    fn into_history(self, room: SelectorField) -> Result<Command, String> {
        let room = one_room(room)?;
        let before = self.before.map(|field| field.into_offset("before"));
        let limit = self
            .limit
            .map(|field| field.into_number("limit", MAX_HISTORY.into()));

        Ok(Command::History {
            room,
            before: before.transpose()?,
            // Fits: it is at most `MAX_HISTORY`.
            limit: limit.transpose()?.map(|limit| limit as u16),
        })
    }

    fn into_token(self) -> Result<Command, String> {
        let token = required("token", self.token)?.into_string("token")?;
        Ok(Command::Token {
            token: Token::new(token),
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

    fn parse<T, E: fmt::Display>(
        self,
        name: &str,
        parse: fn(&str) -> Result<T, E>,
    ) -> Result<T, String> {
        parse(&self.into_string(name)?).map_err(|error| error.to_string())
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
    CommandError::new(ErrorCode::BadJson, message)
}

/// Returns the error for a text that begins with `{` and cannot be parsed.
fn bad_object(error: &serde_json::Error) -> CommandError {
    match error.classify() {
        // The only other error is a field that occurs twice.
        Category::Data => CommandError::new(ErrorCode::BadField, error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => {
            CommandError::new(ErrorCode::BadJson, format!("not JSON: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::protocol::{Body, Member, MessageFields, Publication, UserId, samples};

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
}
