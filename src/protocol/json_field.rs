//! A field of a command, and the errors for fields that have the wrong type or are missing.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Offset;

/// The value of a field. Arrays and objects are skipped, so a frame costs no more memory than its strings.
pub(super) enum JsonField {
    Text(String),
    Number(u64),
    /// A value that no command accepts, as a description.
    Other(&'static str),
}

impl JsonField {
    pub(super) fn into_string(self, name: &str) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("{name} must be a string, not {other}")),
        }
    }

    pub(super) fn into_number(self, name: &str, most: u64) -> Result<u64, String> {
        match self {
            Self::Number(number) if number <= most => Ok(number),
            other => Err(format!(
                "{name} must be a whole number up to {most}, not {other}"
            )),
        }
    }

    pub(super) fn into_offset(self, name: &str) -> Result<Offset, String> {
        self.into_number(name, u64::MAX).map(Offset)
    }

    pub(super) fn parse<T, E: fmt::Display>(
        self,
        name: &str,
        parse: fn(&str) -> Result<T, E>,
    ) -> Result<T, String> {
        parse(&self.into_string(name)?).map_err(|error| error.to_string())
    }
}

impl fmt::Display for JsonField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Not the string itself, which may be as long as a frame.
            Self::Text(_) => f.write_str("a string"),
            Self::Number(number) => number.fmt(f),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl<'de> Deserialize<'de> for JsonField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonFieldVisitor)
    }
}

struct JsonFieldVisitor;

impl<'de> Visitor<'de> for JsonFieldVisitor {
    type Value = JsonField;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<JsonField, E> {
        Ok(JsonField::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<JsonField, E> {
        Ok(JsonField::Text(text))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<JsonField, E> {
        Ok(JsonField::Number(number))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<JsonField, E> {
        Ok(JsonField::Other("a negative number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<JsonField, E> {
        Ok(JsonField::Other("a fraction or a number that is too large"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<JsonField, E> {
        Ok(JsonField::Other("a boolean"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonField, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(JsonField::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<JsonField, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(JsonField::Other("an object"))
    }
}

/// Returns the field `name`, or the error that it is missing.
pub(super) fn required(name: &str, field: Option<JsonField>) -> Result<JsonField, String> {
    field.ok_or_else(|| format!("{name} is missing"))
}
