//! JSON encoding and decoding of [`Command`] and [`Push`].

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::json_field::{JsonField, required};
use super::{
    Body, Command, Epoch, ErrorCode, Json, Key, Kind, MAX_HISTORY, MessageFields, Push, RoomName,
    RoomSelector, Token,
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
    frame_type: Option<JsonField>,
    room: Option<JsonField>,
    after: Option<JsonField>,
    epoch: Option<JsonField>,
    text: Option<JsonField>,
    #[serde(borrow, default, deserialize_with = "json_text")]
    json: Option<&'a RawValue>,
    data: Option<JsonField>,
    kind: Option<JsonField>,
    reply_to: Option<JsonField>,
    edits: Option<JsonField>,
    key: Option<JsonField>,
    token: Option<JsonField>,
    before: Option<JsonField>,
    limit: Option<JsonField>,
    offset: Option<JsonField>,
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

/// Returns the field `json`, or the error that it is missing or invalid.
fn required_json(json: Option<&RawValue>) -> Result<Json, String> {
    let json = json.ok_or_else(|| "json is missing".to_owned())?;
    Json::from_raw(json).map_err(|error| error.to_string())
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
mod tests;
