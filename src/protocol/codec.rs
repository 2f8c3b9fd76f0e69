//! JSON text to [`Command`] and [`Push`] and back; the only file that names serde_json for the wire.

use serde::Deserialize;
use serde_json::Value;

use super::{Command, ErrorCode, Key, Push};

/// Why a text is no [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// What kind of error.
    pub code: ErrorCode,
    /// What was wrong, in a sentence.
    pub message: String,
    /// The key of the `say` that it was meant to be, if it had a good one.
    pub key: Option<Key>,
}

impl Command {
    /// Reads a client's frame.
    ///
    /// # Errors
    /// What is wrong with it; the connection goes on.
    pub fn decode(text: &str) -> Result<Self, CommandError> {
        serde_json::from_str(text).map_err(|error| explain(text, &error))
    }

    /// The frame as JSON.
    pub fn encode(&self) -> String {
        // Fails only for maps with keys that are no text, and there are none.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Push {
    /// Reads a server's frame.
    ///
    /// # Errors
    /// What serde_json says of it.
    pub fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The frame as JSON.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Looks again, more slowly, at what could not be read.
fn explain(text: &str, error: &serde_json::Error) -> CommandError {
    #[derive(Deserialize)]
    struct Tagged {
        #[serde(rename = "type")]
        kind: Option<Value>,
        key: Option<Value>,
    }
    let no_object = |message| CommandError {
        code: ErrorCode::BadJson,
        message,
        key: None,
    };
    let tagged = match serde_json::from_str::<Value>(text) {
        Err(error) => return no_object(format!("not JSON: {error}")),
        Ok(value @ Value::Object(_)) => serde_json::from_value::<Tagged>(value),
        Ok(_) => {
            return no_object(
                "a frame is one JSON object like {\"type\":\"say\",\"text\":\"...\"}".to_owned(),
            );
        }
    };
    let Ok(Tagged { kind, key }) = tagged else {
        return no_object(error.to_string());
    };
    let key = key
        .as_ref()
        .and_then(Value::as_str)
        .and_then(|key| Key::parse(key).ok());
    match kind.as_ref().and_then(Value::as_str) {
        Some("say" | "ping" | "history" | "token") => CommandError {
            code: ErrorCode::BadField,
            message: error.to_string(),
            key,
        },
        _ => CommandError {
            code: ErrorCode::UnknownType,
            message: "type must be one of \"say\", \"ping\", \"history\", \"token\"".to_owned(),
            key,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        Body, Epoch, GapReason, Offset, Publication, Recovery, RoomName, UserId, Welcome,
    };

    #[test]
    fn commands_are_read_as_the_contract_writes_them() {
        let key = Key::parse("k1").ok();
        for (text, command) in [
            (
                r#"{"type":"say","text":"hi"}"#,
                Command::Say {
                    text: "hi".into(),
                    key: None,
                },
            ),
            (
                r#"{"key":"k1","text":"hi","type":"say"}"#,
                Command::Say {
                    text: "hi".into(),
                    key,
                },
            ),
            (r#"{"type":"ping"}"#, Command::Ping),
            (
                r#"{"type":"history","before":9,"limit":2}"#,
                Command::History {
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
    fn what_is_wrong_with_a_frame_is_said() {
        let long = format!(r#"{{"type":"say","text":"x","key":"{}"}}"#, "k".repeat(65));
        for (text, code, said) in [
            ("hello", ErrorCode::BadJson, "not JSON"),
            ("[1]", ErrorCode::BadJson, "one JSON object"),
            (r#"{"type":"shout"}"#, ErrorCode::UnknownType, "say"),
            (r#"{"text":"x"}"#, ErrorCode::UnknownType, "say"),
            (r#"{"type":"say"}"#, ErrorCode::BadField, "text"),
            (r#"{"type":"say","text":7}"#, ErrorCode::BadField, "string"),
            (long.as_str(), ErrorCode::BadField, "1 to 64"),
            (
                r#"{"type":"history","limit":-1}"#,
                ErrorCode::BadField,
                "u16",
            ),
        ] {
            let error = Command::decode(text).expect_err(text);
            assert!(
                error.code == code && error.message.contains(said),
                "{text}: {error:?}"
            );
        }
        let error = Command::decode(r#"{"type":"say","key":"mine"}"#).expect_err("no text");
        assert_eq!(
            error.key,
            Key::parse("mine").ok(),
            "the client learns which of its messages it was"
        );
    }

    #[test]
    fn a_message_is_written_as_the_contract_writes_it() {
        let publication = Publication {
            offset: Offset(8),
            prev: Offset(7),
            at: 1000,
            from: UserId::parse("ann").expect("a name"),
            body: Body::Text("<b>\"hi\"</b>".into()),
            key: Key::parse("k").ok(),
        };
        let push = Push::Message(publication);
        let text = r#"{"type":"message","offset":8,"prev":7,"at":1000,"from":"ann","text":"<b>\"hi\"</b>","key":"k"}"#;
        assert_eq!(push.encode(), text);
        assert_eq!(Push::decode(text).expect("a push"), push);
    }

    #[test]
    fn a_deleted_message_keeps_its_place_and_says_nothing() {
        let text =
            r#"{"type":"message","offset":8,"prev":7,"at":1000,"from":"ann","deleted":true}"#;
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
        let welcome = Welcome {
            room: RoomName::lobby(),
            id: UserId::anonymous(),
            connection: 1,
            epoch: Epoch::new(1),
            head: offset,
            first: offset,
            recovery: Recovery::Fresh,
            heartbeat_ms: 1,
            expire_ms: 2,
            max_message: 3,
            message_rate: None,
            message_burst: None,
            count: 1,
            members: None,
        };
        let publication = Publication {
            offset,
            prev: Offset(0),
            at: 1,
            from: UserId::anonymous(),
            body: Body::Text(String::new()),
            key: None,
        };
        for push in [
            Push::Welcome(welcome),
            Push::Message(publication),
            Push::Ack {
                key,
                offset,
                duplicate: false,
            },
            Push::History {
                messages: Vec::new(),
                more: false,
            },
            Push::Gap {
                after: offset,
                before: offset,
                count: None,
                reason: GapReason::Expired,
            },
            Push::Presence {
                count: 0,
                joined: Vec::new(),
                left: Vec::new(),
            },
            Push::Error {
                code: ErrorCode::BadJson,
                message: String::new(),
                retry: false,
                key: None,
            },
            Push::Token {
                expires_at: Some(1),
            },
            Push::Deleted { offset, at: 1 },
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
