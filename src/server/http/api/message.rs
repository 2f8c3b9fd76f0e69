//! The body of a publish: one message as text or JSON, or a batch with a JSON object on each line.

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::protocol::{Key, UserId, without_bom};
use crate::server::auth::{AuthError, Principal};
use crate::server::http::error::ApiError;
use crate::server::room::Draft;
use crate::server::session::max_publish_bytes;

/// The most messages in a batch.
pub(super) const MAX_BATCH_MESSAGES: usize = 1000;
/// The most bytes of a batch, unless one message may be larger.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// The longest error of the JSON parser, in characters.
const MAX_ERROR_CHARS: usize = 200;

/// A message as JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMessage)]
pub(super) struct NewMessage {
    /// The text, at most `--max-message` bytes.
    text: String,
    /// The sender: 1 to 64 characters, no control characters. Defaults to the `sub` of the token, which it must match, or
    /// to `anonymous`.
    #[schema(value_type = Option<String>, max_length = 64)]
    from: Option<UserId>,
    /// The deduplication key: messages with the same `from` and key are stored once within 10 minutes or 10,000 messages
    /// of the room. 1 to 64 characters.
    #[schema(value_type = Option<String>, max_length = 64)]
    pub(super) key: Option<Key>,
}

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFormat {
    /// One message, whose text is the body.
    Text,
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
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" => Ok(Self::Lines),
            _ => Err(ApiError::MediaType),
        }
    }

    /// Returns the most bytes of a body whose messages have at most `max_message` bytes each.
    pub(super) fn max_bytes(self, max_message: usize) -> usize {
        match self {
            Self::Text => max_message,
            Self::Json => max_publish_bytes(max_message),
            Self::Lines => max_publish_bytes(max_message).max(MAX_BATCH_BYTES),
        }
    }

    /// Parses the messages in `body`, at least one. One invalid message makes the whole body invalid.
    pub(super) fn parse(
        self,
        body: &[u8],
        max_message: usize,
    ) -> Result<Vec<NewMessage>, ApiError> {
        match self {
            Self::Text => {
                let text = std::str::from_utf8(body)
                    .map_err(|_| ApiError::Body("the text is not UTF-8".to_owned()))?;
                let message = NewMessage {
                    text: text.to_owned(),
                    from: None,
                    key: None,
                };
                Ok(vec![message.check_length(max_message)?])
            }
            // JSON parsers may ignore a byte order mark (RFC 8259 section 8.1).
            Self::Json => Ok(vec![NewMessage::parse(without_bom(body), max_message)?]),
            Self::Lines => parse_batch(without_bom(body), max_message),
        }
    }
}

impl NewMessage {
    fn parse(json: &[u8], max_message: usize) -> Result<Self, ApiError> {
        let message: Self = serde_json::from_slice(json).map_err(|error| {
            ApiError::Body(format!("the JSON is not a message: {}", shorten(&error)))
        })?;
        message.check_length(max_message)
    }

    fn check_length(self, max_message: usize) -> Result<Self, ApiError> {
        if self.text.len() <= max_message {
            Ok(self)
        } else {
            Err(ApiError::TooBig {
                what: "message",
                limit: max_message,
            })
        }
    }

    /// Returns the message as a draft of `principal`.
    ///
    /// # Errors
    /// Returns an error if `principal` may not publish as the sender.
    pub(super) fn into_draft(self, principal: &Principal) -> Result<Draft, AuthError> {
        let Self { text, from, key } = self;
        let from = principal.user_id(from)?.unwrap_or_else(UserId::anonymous);

        Ok(Draft::text(from, key, text))
    }
}

/// Returns the text of `error`, shortened because it may repeat a value as long as the body.
fn shorten(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some((end, _)) = text.char_indices().nth(MAX_ERROR_CHARS) {
        text.truncate(end);
        text.push_str("...");
    }

    text
}

/// Parses the messages in `body`, one on each line. Empty lines are ignored.
fn parse_batch(body: &[u8], max_message: usize) -> Result<Vec<NewMessage>, ApiError> {
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
        let message = NewMessage::parse(line, max_message).map_err(|error| ApiError::Line {
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

    /// Returns the texts of a batch whose messages have at most 10 bytes.
    fn texts(body: &str) -> Result<Vec<String>, String> {
        let messages = BodyFormat::Lines
            .parse(body.as_bytes(), 10)
            .map_err(|error| error.to_string())?;
        Ok(messages.into_iter().map(|message| message.text).collect())
    }

    #[test]
    fn a_byte_order_mark_is_ignored_before_json_and_kept_in_a_text() {
        let marked = |format: BodyFormat, body: &str| {
            let body = format!("\u{feff}{body}");
            let messages = format.parse(body.as_bytes(), 100).expect("messages");
            messages[0].text.clone()
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

            let parsed: Vec<_> = messages.into_iter().map(|message| message.text).collect();
            prop_assert_eq!(parsed, texts);
        }

        #[test]
        fn arbitrary_bodies_do_not_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            for format in [BodyFormat::Text, BodyFormat::Json, BodyFormat::Lines] {
                // Errors are allowed.
                let _ = format.parse(&body, 10);
            }
        }
    }
}
