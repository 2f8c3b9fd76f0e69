//! The body of a publish: one message as text, bytes or JSON, or a batch with a JSON object on each line.

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::protocol::{Body, Json, Key, Kind, MessageFields, Offset, UserId, without_bom};
use crate::server::auth::{AuthError, Principal};
use crate::server::http::error::ApiError;
use crate::server::room::{Content, Draft};
use crate::server::session::max_publish_bytes;

/// The most messages in a batch.
pub(super) const MAX_BATCH_MESSAGES: usize = 1000;
/// The most bytes of a batch, unless one message may be larger.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// The longest error of the JSON parser, in characters.
const MAX_ERROR_CHARS: usize = 200;

/// A message as JSON, with one of `text`, `json` and `data`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMessage)]
pub(super) struct NewMessage {
    /// The text, at most `--max-message` bytes.
    text: Option<String>,
    /// Any JSON value, at most `--max-message` bytes without whitespace and 120 levels deep. Numbers and the order of keys
    /// are kept as they are written.
    #[serde(default, deserialize_with = "Json::deserialize_exact_option")]
    #[schema(value_type = Option<serde_json::Value>)]
    json: Option<Json>,
    /// Bytes in base64, at most `--max-message` bytes when decoded.
    data: Option<String>,
    /// The sender: 1 to 64 characters, no control characters. Defaults to the `sub` of the token, which it must match, or
    /// to `anonymous`.
    #[schema(value_type = Option<String>, max_length = 64)]
    from: Option<UserId>,
    /// The deduplication key: messages with the same `from` and key are stored once within 10 minutes or 10,000 messages
    /// of the room. 1 to 64 characters.
    #[schema(value_type = Option<String>, max_length = 64)]
    key: Option<Key>,
    /// The application's own type of the message: 1 to 64 characters of `A-Z a-z 0-9 . _ : -`. Kinds that begin with
    /// `fanfare.` are reserved for the server.
    #[schema(value_type = Option<String>, max_length = 64, pattern = "^[A-Za-z0-9._:-]+$")]
    kind: Option<Kind>,
    /// The offset of the message that this one answers.
    #[schema(value_type = Option<u64>)]
    reply_to: Option<Offset>,
    /// The offset of an earlier message of the same sender that this one replaces. The `sub` of the token must be the
    /// sender.
    #[schema(value_type = Option<u64>)]
    edits: Option<Offset>,
}

/// A valid message.
#[derive(Debug)]
pub(super) struct ParsedMessage {
    content: Content,
    from: Option<UserId>,
    /// The optional fields.
    pub(super) fields: MessageFields,
}

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFormat {
    /// One message, whose text is the body.
    Text,
    /// One message, whose bytes are the body.
    Binary,
    /// One message as JSON.
    Json,
    /// A batch, with a message as JSON on each line.
    Lines,
}

impl BodyFormat {
    /// Returns the format that `Content-Type` names. Without one it is text, and also for curl's default, the type of forms.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .map_or(Ok("text/plain"), |value| value.to_str())
            .map_err(|_| ApiError::MediaType)?;
        let media_type = content_type.split(';').next().unwrap_or_default();

        match media_type.trim().to_ascii_lowercase().as_str() {
            "text/plain" | "application/x-www-form-urlencoded" => Ok(Self::Text),
            "application/octet-stream" => Ok(Self::Binary),
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" => Ok(Self::Lines),
            _ => Err(ApiError::MediaType),
        }
    }

    /// Returns the most bytes of a body whose messages have at most `max_message` bytes each.
    pub(super) fn max_bytes(self, max_message: usize) -> usize {
        match self {
            Self::Text | Self::Binary => max_message,
            Self::Json => max_publish_bytes(max_message),
            Self::Lines => max_publish_bytes(max_message).max(MAX_BATCH_BYTES),
        }
    }

    /// Parses the messages in `body`, at least one. One invalid message makes the whole body invalid.
    pub(super) fn parse(
        self,
        body: &[u8],
        max_message: usize,
    ) -> Result<Vec<ParsedMessage>, ApiError> {
        match self {
            Self::Text => {
                let text = std::str::from_utf8(body)
                    .map_err(|_| ApiError::Body("the text is not UTF-8".to_owned()))?;
                let content = Content::Text(text.to_owned());
                Ok(vec![ParsedMessage::new(content, max_message)?])
            }
            Self::Binary => {
                let content = Content::Binary(body.to_vec());
                Ok(vec![ParsedMessage::new(content, max_message)?])
            }
            // JSON parsers may ignore a byte order mark (RFC 8259 section 8.1).
            Self::Json => Ok(vec![ParsedMessage::parse(without_bom(body), max_message)?]),
            Self::Lines => parse_batch(without_bom(body), max_message),
        }
    }
}

impl ParsedMessage {
    /// Returns the message with `content` and no other fields.
    fn new(content: Content, max_message: usize) -> Result<Self, ApiError> {
        if content.size() > max_message {
            return Err(ApiError::TooBig {
                what: "message",
                limit: max_message,
            });
        }

        Ok(Self {
            content,
            from: None,
            fields: MessageFields::default(),
        })
    }

    fn parse(json: &[u8], max_message: usize) -> Result<Self, ApiError> {
        let message: NewMessage = serde_json::from_slice(json).map_err(|error| {
            ApiError::Body(format!("the JSON is not a message: {}", shorten(&error)))
        })?;
        let body = Body::from_fields(message.text, message.json, message.data)
            .map_err(|error| ApiError::Body(error.to_string()))?;
        let content = Content::try_from(body).map_err(|error| ApiError::Body(error.to_string()))?;
        let kind = message.kind.map(Kind::unreserved).transpose();

        Ok(Self {
            from: message.from,
            fields: MessageFields {
                kind: kind.map_err(|error| ApiError::Body(error.to_string()))?,
                key: message.key,
                reply_to: message.reply_to,
                edits: message.edits,
            },
            ..Self::new(content, max_message)?
        })
    }

    /// Returns the message as a draft of `principal`.
    ///
    /// # Errors
    /// Returns an error if `principal` may not publish as the sender.
    pub(super) fn into_draft(self, principal: &Principal) -> Result<Draft, AuthError> {
        let from = principal.user_id(self.from)?;
        let from = from.unwrap_or_else(UserId::anonymous);

        Ok(Draft::new(from, self.content, self.fields))
    }
}

/// Returns the text of `error`, shortened because it may repeat a value as long as the body.
pub(super) fn shorten(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_ERROR_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }

    text
}

/// Parses the messages in `body`, one on each line. Empty lines are ignored.
fn parse_batch(body: &[u8], max_message: usize) -> Result<Vec<ParsedMessage>, ApiError> {
    let lines = body
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty());

    let mut messages = Vec::new();
    for (number, line) in lines {
        if messages.len() == MAX_BATCH_MESSAGES {
            return Err(ApiError::TooMany {
                limit: MAX_BATCH_MESSAGES,
            });
        }
        let message = ParsedMessage::parse(line, max_message).map_err(|error| ApiError::Line {
            number,
            error: Box::new(error),
        })?;
        messages.push(message);
    }

    if messages.is_empty() {
        return Err(ApiError::Body(
            "the batch has no line; each line is a message like {\"text\":\"...\"}".to_owned(),
        ));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(message: ParsedMessage) -> String {
        match message.content {
            Content::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    /// Returns the texts of a batch whose messages have at most 10 bytes.
    fn texts(body: &str) -> Result<Vec<String>, String> {
        let messages = BodyFormat::Lines
            .parse(body.as_bytes(), 10)
            .map_err(|error| error.to_string())?;
        Ok(messages.into_iter().map(text).collect())
    }

    #[test]
    fn a_byte_order_mark_is_ignored_before_json_and_kept_in_a_text() {
        let marked = |format: BodyFormat, body: &str| {
            let body = format!("\u{feff}{body}");
            let mut messages = format.parse(body.as_bytes(), 100).expect("messages");
            text(messages.remove(0))
        };

        assert_eq!(marked(BodyFormat::Lines, "{\"text\":\"one\"}\n"), "one");
        assert_eq!(marked(BodyFormat::Json, "{\"text\":\"one\"}"), "one");
        assert_eq!(marked(BodyFormat::Text, "one"), "\u{feff}one");
    }

    #[test]
    fn the_error_of_a_batch_names_the_first_invalid_line() {
        for (body, expected) in [
            (
                "{\"text\":\"one\"}\n\n{\"text\":7}",
                "line 3: the JSON is not a message",
            ),
            (
                "{\"text\":\"01234567890\"}",
                "line 1: the message is larger than the 10 bytes allowed",
            ),
            (
                "{\"text\":\"one\"}\n{\"text\":\"two\",\"key\":\"\"}",
                "line 2: the JSON is not a message: key has 0",
            ),
            (
                "{\"from\":\"ann\"}",
                "line 1: the message needs one of text, json and data",
            ),
            (
                "{\"text\":\"one\",\"json\":null}",
                "line 1: the message has text and json",
            ),
            (
                "{\"text\":\"one\",\"text\":\"two\"}",
                "line 1: the JSON is not a message: duplicate field `text`",
            ),
            ("{\"data\":\"?\"}", "line 1: data is not base64"),
            (
                "{\"json\":[1,2,3,4,5,6]}",
                "line 1: the message is larger than the 10 bytes allowed",
            ),
            ("\n\n", "the batch has no line"),
            (
                &"{\"text\":\"x\"}\n".repeat(1001),
                "more than the 1000 messages",
            ),
        ] {
            let error = texts(body).expect_err(expected);

            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_the_whole_body() {
        let long = "x".repeat(10_000);

        for body in [
            format!(r#"{{"text":"x","{long}":1}}"#),
            format!(r#"{{"text":"x","from":"{long}"}}"#),
            format!(r#""{long}""#),
        ] {
            let error = BodyFormat::Json
                .parse(body.as_bytes(), 10)
                .expect_err("no message");

            assert!(error.to_string().len() < 300, "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_serialized_batch_is_parsed_to_the_same_texts(texts in prop::collection::vec(".{0,3}", 1..20)) {
            let body: String =
                texts.iter().map(|text| serde_json::json!({ "text": text }).to_string() + "\n").collect();

            let messages = BodyFormat::Lines.parse(body.as_bytes(), 100).expect("valid lines");

            let parsed: Vec<_> = messages.into_iter().map(text).collect();
            prop_assert_eq!(parsed, texts);
        }

        #[test]
        fn arbitrary_bodies_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for format in [BodyFormat::Text, BodyFormat::Binary, BodyFormat::Json, BodyFormat::Lines] {
                // Errors are allowed.
                let _ = format.parse(&body, 10);
            }
        }
    }
}
