//! The content of a message in JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Json;

/// The content of a message: `text`, `json`, or `data` in base64, or `deleted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Text.
    Text(String),
    /// A JSON value.
    Json(Json),
    /// Bytes, as base64 (RFC 4648 section 4).
    Data(String),
    /// The message was deleted; always `true`.
    Deleted(bool),
}

impl Body {
    /// Returns the content of a message to publish that has these fields.
    ///
    /// # Errors
    /// Returns an error unless exactly one field is given.
    pub fn from_fields(
        text: Option<String>,
        json: Option<Json>,
        data: Option<String>,
    ) -> Result<Self, BodyError> {
        match (text, json, data) {
            (Some(text), None, None) => Ok(Self::Text(text)),
            (None, Some(json), None) => Ok(Self::Json(json)),
            (None, None, Some(data)) => Ok(Self::Data(data)),
            (None, None, None) => Err(BodyError::Missing),
            (text, json, data) => Err(BodyError::Several {
                has_text: text.is_some(),
                has_json: json.is_some(),
                has_data: data.is_some(),
            }),
        }
    }

    /// Returns the size of the text, JSON text or base64 in bytes; 0 for a deleted message.
    pub const fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Data(text) => text.len(),
            Self::Json(json) => json.as_str().len(),
            Self::Deleted(_) => 0,
        }
    }
}

/// The reason why fields are not a [`Body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// There is no content.
    Missing,
    /// There are several contents.
    Several {
        /// True if there is a `text`.
        has_text: bool,
        /// True if there is a `json`.
        has_json: bool,
        /// True if there is a `data`.
        has_data: bool,
    },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the message needs one of text, json and data"),
            Self::Several {
                has_text,
                has_json,
                has_data,
            } => {
                let given = [(has_text, "text"), (has_json, "json"), (has_data, "data")]
                    .iter()
                    .filter(|(is_given, _)| **is_given)
                    .map(|(_, name)| *name)
                    .collect::<Vec<_>>()
                    .join(" and ");

                write!(
                    f,
                    "the message has {given}; allowed is only one of text, json and data"
                )
            }
        }
    }
}

impl std::error::Error for BodyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_to_publish_has_exactly_one_content() {
        let text = || Some("hi".to_owned());
        let json = || Json::parse("[1]").ok();

        let only = Body::from_fields(None, json(), None);
        let none = Body::from_fields(None, None, None).map_err(|error| error.to_string());
        let two = Body::from_fields(text(), json(), None).map_err(|error| error.to_string());

        assert_eq!(only, Ok(Body::Json(Json::from_compact("[1]"))));
        assert_eq!(
            none,
            Err("the message needs one of text, json and data".to_owned())
        );
        assert_eq!(
            two,
            Err(
                "the message has text and json; allowed is only one of text, json and data"
                    .to_owned()
            )
        );
    }
}
