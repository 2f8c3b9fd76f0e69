//! The content of streams: the messages in the body of an append, and the body of a response with messages.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::protocol::{Json, Push, without_bom};
use crate::server::http::error::ApiError;
use crate::server::http::streams::StreamError;
use crate::server::room::{Content, Frame, Payload};
use crate::server::store::Lifecycle;

/// The most bytes of an append, unless one message may be larger.
const MAX_APPEND_BYTES: usize = 1024 * 1024;

/// The form of a stream's content, which follows from its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentForm {
    /// JSON values. Each one is a message.
    Json,
    /// Text. It has no boundaries between messages.
    Text,
    /// Bytes. They have no boundaries between messages.
    Bytes,
    /// The messages of a room that was not created as a stream, as `message` frames in JSON.
    Messages,
}

impl ContentForm {
    /// Returns the form of content of the type `content_type`.
    pub(super) fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            essence if essence.starts_with("text/") => Self::Text,
            _ => Self::Bytes,
        }
    }

    /// Returns the form of the content of a room with this `lifecycle`.
    pub(super) fn of_room(lifecycle: &Lifecycle) -> Self {
        match lifecycle.settings {
            Some(_) => Self::of(lifecycle.content_type()),
            None => Self::Messages,
        }
    }

    /// Returns true if the data of server-sent events is base64.
    pub(super) const fn is_binary(self) -> bool {
        matches!(self, Self::Bytes)
    }

    /// Returns the most bytes of a body whose messages have at most `max_message` bytes each.
    pub(super) fn max_bytes(max_message: usize) -> usize {
        max_message.max(MAX_APPEND_BYTES)
    }

    /// Parses the messages in `body`. The elements of a JSON array are messages. Text and bytes that are longer than
    /// `max_message` become several messages.
    ///
    /// # Errors
    /// If the body is not of this form, or a JSON value is too long.
    pub(super) fn parse(self, body: &[u8], max_message: usize) -> Result<Vec<Content>, ApiError> {
        match self {
            _ if body.is_empty() => Ok(Vec::new()),
            Self::Json | Self::Messages => parse_json(without_bom(body), max_message),
            Self::Text => {
                let text = std::str::from_utf8(body).map_err(|_| {
                    let reason =
                        "the text is not UTF-8; send other bytes as application/octet-stream";
                    StreamError::Content(reason.to_owned())
                })?;
                let parts = split_text(text, max_message);
                Ok(parts.map(|part| Content::Text(part.to_owned())).collect())
            }
            Self::Bytes => {
                let parts = body.chunks(max_message.max(1));
                Ok(parts.map(|part| Content::Binary(part.to_vec())).collect())
            }
        }
    }

    /// Returns the body of a response with `frames`. Deleted messages have no content.
    pub(super) fn body(self, frames: &[Arc<Frame>]) -> Vec<u8> {
        let values: Vec<String> = match self {
            Self::Text | Self::Bytes => {
                let payloads = frames.iter().map(|frame| frame.payload().as_bytes());
                return payloads.collect::<Vec<_>>().concat();
            }
            Self::Json => {
                let kept = frames.iter().filter(|frame| !frame.is_deleted());
                kept.map(|frame| json_value(frame)).collect()
            }
            Self::Messages => {
                let message = |frame: &Arc<Frame>| Push::Message(frame.publication()).encode();
                frames.iter().map(message).collect()
            }
        };
        format!("[{}]", values.join(",")).into_bytes()
    }

    /// Returns a server-sent event with the content of `frames`; an empty text if they have none.
    pub(super) fn event(self, frames: &[Arc<Frame>]) -> String {
        let body = self.body(frames);
        let is_array = matches!(self, Self::Json | Self::Messages);
        if body.is_empty() || (is_array && body == b"[]") {
            return String::new();
        }
        if self.is_binary() {
            return format!("event: data\ndata:{}\n\n", STANDARD.encode(body));
        }

        let mut event = "event: data\n".to_owned();
        for line in lines(&String::from_utf8_lossy(&body)) {
            // Readers remove one space after the colon.
            let space = if line.starts_with(' ') { " " } else { "" };
            event.extend(["data:", space, line, "\n"]);
        }
        event.push('\n');
        event
    }
}

fn parse_json(body: &[u8], max_message: usize) -> Result<Vec<Content>, ApiError> {
    let invalid = |error: &dyn std::fmt::Display| {
        StreamError::Content(format!("the body is not JSON: {error}"))
    };
    let body = body.trim_ascii();
    let values: Vec<&RawValue> = if body.starts_with(b"[") {
        serde_json::from_slice(body).map_err(|error| invalid(&error))?
    } else {
        vec![serde_json::from_slice(body).map_err(|error| invalid(&error))?]
    };

    let content = |value: &RawValue| {
        let json = Json::from_raw(value).map_err(|error| invalid(&error))?;
        let content = Content::Json(json);
        if content.size() > max_message {
            return Err(ApiError::TooBig {
                what: "message",
                limit: max_message,
            });
        }
        Ok(content)
    };
    values.into_iter().map(content).collect()
}

/// Returns the JSON value of `frame` in a JSON stream: a text or bytes in base64 as a string.
fn json_value(frame: &Frame) -> String {
    let string = |text: &str| serde_json::Value::from(text).to_string();
    match frame.payload() {
        Payload::Json(json) => json.to_owned(),
        Payload::Text(text) => string(text),
        Payload::Binary(bytes) => string(&STANDARD.encode(bytes)),
    }
}

/// Splits `text` into parts of at most `max` bytes, between characters.
fn split_text(text: &str, max: usize) -> impl Iterator<Item = &str> {
    // No character is longer than 4 bytes.
    let max = max.max(4);
    let mut rest = text;
    std::iter::from_fn(move || {
        let (part, after) = rest.split_at(rest.floor_char_boundary(max));
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

/// Splits `text` at the line breaks of server-sent events: CR LF, LF or CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            return rest.take();
        };
        let after = &text[end..];
        rest = Some(after.strip_prefix("\r\n").unwrap_or(&after[1..]));
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{MessageFields, RoomName, UserId};
    use crate::server::room::Draft;

    fn frame(content: Content) -> Arc<Frame> {
        let draft = Draft::new(UserId::guest(0), content, MessageFields::default());
        Arc::new(Frame::of_test(&RoomName::lobby(), draft, 1))
    }

    fn frames(form: ContentForm, body: &str, max: usize) -> Vec<Arc<Frame>> {
        let contents = form.parse(body.as_bytes(), max).expect("valid content");
        contents.into_iter().map(frame).collect()
    }

    #[test]
    fn the_elements_of_a_json_array_are_messages() {
        let form = ContentForm::of("Application/JSON; charset=utf-8");

        let array = frames(form, r#" [{"a": 1}, [2]] "#, 100);
        let value = frames(form, r#"{"a": 1}"#, 100);

        assert_eq!((array.len(), value.len()), (2, 1));
        assert_eq!(form.body(&array), br#"[{"a":1},[2]]"#);
        assert_eq!(form.body(&[]), b"[]");
        assert!(form.parse(b"{ invalid", 100).is_err());
        assert!(form.parse(br#"["too long"]"#, 9).is_err());
    }

    #[test]
    fn long_text_and_bytes_become_several_messages_with_the_same_content() {
        let text = frames(ContentForm::Text, "aé日本語b", 4);
        let bytes = frames(ContentForm::Bytes, "0123456789", 4);

        assert_eq!((text.len(), bytes.len()), (4, 3));
        assert_eq!(ContentForm::Text.body(&text), "aé日本語b".as_bytes());
        assert_eq!(ContentForm::Bytes.body(&bytes), b"0123456789");
    }

    #[test]
    fn a_message_of_another_way_has_a_form_in_each_stream() {
        let text = frame(Content::Text("\"hi\"".to_owned()));
        let bytes = frame(Content::Binary(vec![1, 2]));
        let json = frame(Content::Json(Json::parse("[1]").expect("JSON")));
        let all = [text, bytes, json];

        assert_eq!(ContentForm::Json.body(&all), br#"["\"hi\"","AQI=",[1]]"#);
        assert_eq!(ContentForm::Bytes.body(&all), b"\"hi\"\x01\x02[1]");
    }

    #[test]
    fn an_event_has_a_line_for_each_line_of_text() {
        let text = [frame(Content::Text("a\r\n\n b\rc".to_owned()))];
        let bytes = [frame(Content::Binary(b"Hello".to_vec()))];

        let event = ContentForm::Text.event(&text);

        assert_eq!(event, "event: data\ndata:a\ndata:\ndata:  b\ndata:c\n\n");
        assert_eq!(
            ContentForm::Bytes.event(&bytes),
            "event: data\ndata:SGVsbG8=\n\n"
        );
        assert_eq!(ContentForm::Json.event(&[]), "");
    }
}
