//! What a body asks to be published: one message as text or JSON, or many as a JSON object a line.

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::protocol::Key;
use crate::protocol::{UserId, without_bom};
use crate::server::auth::{AuthError, Principal};
use crate::server::http::error::ApiError;
use crate::server::room::Draft;
use crate::server::session::max_publish_bytes;

/// Most messages in one batch.
pub(super) const MAX_BATCH_MESSAGES: usize = 1000;
/// Bytes of a batch, unless one message alone may be larger.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// Longest explanation of what is wrong with a body, in characters.
const MAX_ERROR_CHARS: usize = 200;

/// A message as JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMessage)]
pub(super) struct NewMessage {
    /// What is said, at most `--max-message` bytes.
    text: String,
    /// Who says so: 1 to 64 characters, no control characters. Without it the `sub` of the token, which it must
    /// not contradict, or `anonymous`.
    #[schema(value_type = Option<String>, max_length = 64)]
    from: Option<UserId>,
    /// Makes it repeatable: the same `from` and key is stored once within 10 minutes or 10,000 messages of the
    /// room. 1 to 64 characters.
    #[schema(value_type = Option<String>, max_length = 64)]
    pub(super) key: Option<Key>,
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFormat {
    /// One message, the body its text.
    Text,
    /// One message, as JSON.
    Json,
    /// A batch: a message as JSON on each line.
    Lines,
}

impl BodyFormat {
    /// What `Content-Type` says; text without one, and for the type that curl sends unasked.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .map_or(Ok("text/plain"), |kind| kind.to_str());
        let kind = kind.map_err(|_| ApiError::MediaType)?;
        match kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "text/plain" | "application/x-www-form-urlencoded" => Ok(Self::Text),
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" => Ok(Self::Lines),
            _ => Err(ApiError::MediaType),
        }
    }

    /// How long a body may be whose messages have at most `max_message` bytes each.
    pub(super) fn max_bytes(self, max_message: usize) -> usize {
        match self {
            Self::Text => max_message,
            Self::Json => max_publish_bytes(max_message),
            Self::Lines => max_publish_bytes(max_message).max(MAX_BATCH_BYTES),
        }
    }

    /// The messages in `body`, at least one. All of them are good, or none is given.
    pub(super) fn read(self, body: &[u8], max_message: usize) -> Result<Vec<NewMessage>, ApiError> {
        match self {
            Self::Text => {
                let text = std::str::from_utf8(body)
                    .map_err(|_| ApiError::Body("the text is not UTF-8".to_owned()))?;
                let message = NewMessage {
                    text: text.to_owned(),
                    from: None,
                    key: None,
                };
                Ok(vec![message.within(max_message)?])
            }
            // RFC 8259 section 8.1: a reader may ignore the mark.
            Self::Json => Ok(vec![NewMessage::parse(without_bom(body), max_message)?]),
            Self::Lines => batch(without_bom(body), max_message),
        }
    }
}

impl NewMessage {
    fn parse(json: &[u8], max_message: usize) -> Result<Self, ApiError> {
        let message: Self = serde_json::from_slice(json).map_err(|error| {
            ApiError::Body(format!("the JSON is not a message: {}", explain(&error)))
        })?;
        message.within(max_message)
    }

    fn within(self, max_message: usize) -> Result<Self, ApiError> {
        if self.text.len() <= max_message {
            Ok(self)
        } else {
            Err(ApiError::TooBig {
                what: "message",
                limit: max_message,
            })
        }
    }

    /// The message as a room takes it from `principal`.
    pub(super) fn into_draft(self, principal: &Principal) -> Result<Draft, AuthError> {
        let Self { text, from, key } = self;
        let from = principal.user_id(from)?.unwrap_or_else(UserId::anonymous);
        Ok(Draft::text(from, key, &text))
    }
}

/// Returns what is wrong with a JSON text, shortened: it may repeat a value, which is as long as a body may be.
fn explain(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_ERROR_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// The messages of `body`, one a line. Empty lines are none.
fn batch(body: &[u8], max_message: usize) -> Result<Vec<NewMessage>, ApiError> {
    let lines = body
        .split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty());
    let mut messages = Vec::new();
    for (number, line) in lines {
        if messages.len() == MAX_BATCH_MESSAGES {
            return Err(ApiError::TooMany {
                limit: MAX_BATCH_MESSAGES,
            });
        }
        let message = NewMessage::parse(line, max_message).map_err(|error| ApiError::Line {
            number,
            error: Box::new(error),
        })?;
        messages.push(message);
    }
    if messages.is_empty() {
        return Err(ApiError::Body(
            "the batch has no line; each is a message like {\"text\":\"...\"}".to_owned(),
        ));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(body: &str) -> Result<Vec<String>, String> {
        let messages = BodyFormat::Lines
            .read(body.as_bytes(), 10)
            .map_err(|error| error.to_string())?;
        Ok(messages.into_iter().map(|message| message.text).collect())
    }

    #[test]
    fn a_batch_is_a_message_a_line_and_empty_lines_are_none() {
        let body = "{\"text\":\"one\"}\r\n\n  {\"text\":\"two\",\"from\":\"ann\",\"key\":\"k\"}";
        assert_eq!(texts(body), Ok(vec!["one".to_owned(), "two".to_owned()]));
    }

    #[test]
    fn a_byte_order_mark_before_json_is_skipped_and_belongs_to_a_text() {
        let marked = |kind: BodyFormat, body: &str| {
            let body = format!("\u{feff}{body}");
            let messages = kind.read(body.as_bytes(), 100).expect("messages");
            messages[0].text.clone()
        };

        assert_eq!(marked(BodyFormat::Lines, "{\"text\":\"one\"}\n"), "one");
        assert_eq!(marked(BodyFormat::Json, "{\"text\":\"one\"}"), "one");
        assert_eq!(marked(BodyFormat::Text, "one"), "\u{feff}one");
    }

    #[test]
    fn the_first_bad_line_of_a_batch_is_named() {
        for (body, said) in [
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
            ("\n\n", "the batch has no line"),
            (
                &"{\"text\":\"x\"}\n".repeat(1001),
                "more than the 1000 messages",
            ),
        ] {
            let error = texts(body).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_a_whole_body() {
        let long = "x".repeat(10_000);

        for body in [
            format!(r#"{{"text":"x","{long}":1}}"#),
            format!(r#"{{"text":"x","from":"{long}"}}"#),
            format!(r#""{long}""#),
        ] {
            let error = BodyFormat::Json
                .read(body.as_bytes(), 10)
                .expect_err("it is no message");
            assert!(error.to_string().len() < 300, "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_a_batch_says_is_read_back_whole(lines in prop::collection::vec(".{0,3}", 1..20)) {
            let body: String =
                lines.iter().map(|text| serde_json::json!({ "text": text }).to_string() + "\n").collect();
            let read = BodyFormat::Lines.read(body.as_bytes(), 100).expect("good lines");
            prop_assert_eq!(read.into_iter().map(|message| message.text).collect::<Vec<_>>(), lines);
        }

        #[test]
        fn no_body_upsets_the_reader(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for kind in [BodyFormat::Text, BodyFormat::Json, BodyFormat::Lines] {
                let _read = kind.read(&body, 10);
            }
        }
    }
}
