//! A JSON value as compact text.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// The deepest nesting of arrays and objects. serde_json reads 127 levels, and a `history` frame adds three.
pub const MAX_JSON_DEPTH: usize = 120;

/// A JSON value as compact text: without whitespace between its tokens, otherwise as the client wrote it. Numbers of any
/// length and the order of keys stay as they were.
///
/// Deserialization builds the text from the values that the deserializer yields. There, numbers beyond 64 bits become
/// floating-point numbers. [`Json::deserialize_exact`] keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// Parses a JSON value.
    ///
    /// # Errors
    /// Returns an error if `text` is not one JSON value, if it is nested too deeply, or if common parsers refuse it: a
    /// number that is too large for a double, or half of a surrogate pair.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| JsonError::new(&error))?;
        Self::from_raw(raw)
    }

    /// Parses a JSON value whose syntax is valid.
    ///
    /// # Errors
    /// As [`Json::parse`].
    pub fn from_raw(raw: &RawValue) -> Result<Self, JsonError> {
        let json = Self(compact(raw.get())?.into());
        // RawValue checks the syntax only.
        serde_json::from_str::<Self>(&json.0).map_err(|error| JsonError::new(&error))?;

        Ok(json)
    }

    /// Returns true if `text` is the text of a [`Json`].
    pub fn is_compact(text: &str) -> bool {
        Self::parse(text).is_ok_and(|json| json.as_str() == text)
    }

    /// Returns the value whose text is `text`, the text of another [`Json`].
    pub fn from_compact(text: &str) -> Self {
        Self(text.into())
    }

    /// Deserializes a value from JSON text without changing its numbers, for `#[serde(deserialize_with)]`. `null` is a
    /// value too. Not for fields of a flattened struct or of an enum with a tag, which serde does not read from the text.
    ///
    /// # Errors
    /// As [`Json::parse`].
    pub fn deserialize_exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Self::from_raw(raw).map_err(D::Error::custom)
    }

    /// Deserializes the value of an optional field like [`Json::deserialize_exact`].
    ///
    /// # Errors
    /// As [`Json::parse`].
    pub fn deserialize_exact_option<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Self>, D::Error> {
        Self::deserialize_exact(deserializer).map(Some)
    }

    /// Returns true if the value is `null`.
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// Returns the text.
    pub const fn as_str(&self) -> &str {
        &self.0
    }

    /// Converts the value into its text.
    pub fn into_boxed_str(self) -> Box<str> {
        self.0
    }
}

/// Returns `json`, valid JSON, without whitespace outside of strings.
fn compact(json: &str) -> Result<String, JsonError> {
    let mut compact = String::with_capacity(json.len());
    let (mut depth, mut is_in_string, mut is_escaped) = (0, false, false);

    for c in json.chars() {
        if is_in_string {
            is_in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
        } else {
            match c {
                '"' => is_in_string = true,
                ' ' | '\t' | '\n' | '\r' => continue,
                '[' | '{' if depth == MAX_JSON_DEPTH => return Err(JsonError::TooDeep),
                '[' | '{' => depth += 1,
                ']' | '}' => depth -= 1,
                _ => {}
            }
        }
        compact.push(c);
    }
    Ok(compact)
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::new();
        JsonWriter(&mut text).deserialize(deserializer)?;
        Ok(Self(text.into()))
    }
}

/// Appends the value that a deserializer yields to a text, as compact JSON.
struct JsonWriter<'a>(&'a mut String);

impl JsonWriter<'_> {
    fn push<T: Serialize + ?Sized, E: serde::de::Error>(self, value: &T) -> Result<(), E> {
        let text = serde_json::to_string(value).map_err(E::custom)?;
        self.0.push_str(&text);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for JsonWriter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonWriter<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.push(&())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.push(&value)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.push(&number)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.push(&number)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.push(&number)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.push(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push('[');
        let start = self.0.len();
        while list.next_element_seed(JsonWriter(self.0))?.is_some() {
            self.0.push(',');
        }
        self.close(start, ']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        self.0.push('{');
        let start = self.0.len();
        while let Some(name) = object.next_key::<String>()? {
            JsonWriter(self.0).push(&name)?;
            self.0.push(':');
            object.next_value_seed(JsonWriter(self.0))?;
            self.0.push(',');
        }
        self.close(start, '}');
        Ok(())
    }
}

impl JsonWriter<'_> {
    /// Ends the list or object that began at `start`: removes the last comma and appends `bracket`.
    fn close(self, start: usize, bracket: char) {
        if self.0.len() > start {
            self.0.pop();
        }
        self.0.push(bracket);
    }
}

/// The reason why a text is not a [`Json`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The arrays and objects are nested too deeply.
    #[error("json has more than {MAX_JSON_DEPTH} levels of arrays and objects, which is the limit")]
    TooDeep,
    /// The text is not valid JSON, or common parsers refuse it.
    #[error("json is invalid: {problem}")]
    Invalid {
        /// The error of serde_json.
        problem: String,
    },
}

impl JsonError {
    fn new(error: &serde_json::Error) -> Self {
        Self::Invalid {
            problem: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn a_value_is_kept_as_it_was_written_without_whitespace() {
        for (text, kept) in [
            (
                " { \"b\" : 1,\r\n\t\"a\" : [ 2 , {} ] } ",
                r#"{"b":1,"a":[2,{}]}"#,
            ),
            (
                "[12345678901234567890123, 0.10, 1E2]",
                "[12345678901234567890123,0.10,1E2]",
            ),
            (r#""a \" b\\" "#, r#""a \" b\\""#),
            (r#"{"\u0061": "\/ é"}"#, r#"{"\u0061":"\/ é"}"#),
            ("null", "null"),
        ] {
            let json = Json::parse(text).expect(text);

            assert_eq!(json.as_str(), kept);
            assert_eq!(serde_json::to_string(&json).expect("JSON"), kept);
        }
    }

    #[test]
    fn a_text_that_a_client_could_not_read_is_refused() {
        for text in [
            "", "{", "[1] [2]", "1 2", "tr ue", "{'a':1}", "1e999", "NaN", "01",
        ] {
            let error = Json::parse(text).expect_err(text);
            assert!(matches!(error, JsonError::Invalid { .. }), "{text}");
        }

        let half_a_pair = r#"["\ud800"]"#;
        assert!(Json::parse(half_a_pair).is_err());
    }

    #[test]
    fn the_limit_of_nesting_is_exact_and_a_history_frame_fits_in_that_of_serde_json() {
        let deepest = Json::parse(&nested(MAX_JSON_DEPTH)).expect("at the limit");
        let too_deep = Json::parse(&nested(MAX_JSON_DEPTH + 1));

        assert_eq!(too_deep, Err(JsonError::TooDeep));
        assert_eq!(
            Json::parse(&nested(100_000)),
            Err(JsonError::TooDeep),
            "without recursion"
        );

        let frame = serde_json::json!({ "messages": [{ "json": deepest }] }).to_string();
        assert!(serde_json::from_str::<Value>(&frame).is_ok());
    }

    #[test]
    fn a_deserialized_value_keeps_the_order_of_keys_and_64_bits_of_a_number() {
        let text = r#"{"b":18446744073709551615,"a":[-1,0.5,true,null,"x\n"],"c":{},"d":[]}"#;

        let json: Json = serde_json::from_str(text).expect("JSON");

        assert_eq!(json.as_str(), text);
    }

    #[test]
    fn an_exact_field_keeps_any_number_and_null() {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default, deserialize_with = "Json::deserialize_exact_option")]
            json: Option<Json>,
        }
        let json = |text: &str| {
            let fields: Fields = serde_json::from_str(text).expect(text);
            fields.json.map(|json| json.as_str().to_owned())
        };

        assert_eq!(
            json(r#"{"json": 12345678901234567890123}"#).as_deref(),
            Some("12345678901234567890123")
        );
        assert_eq!(json(r#"{"json": null}"#).as_deref(), Some("null"));
        assert_eq!(json("{}"), None);
    }

    proptest! {
        #[test]
        fn whitespace_does_not_change_the_value(names in prop::collection::vec(".{0,8}", 0..5), number: i64) {
            let value = serde_json::json!({ "names": names, "number": number, "nested": [[], {}, [number]] });
            let pretty = serde_json::to_string_pretty(&value).expect("JSON");

            let json = Json::parse(&pretty).expect("JSON");

            prop_assert_eq!(json.as_str(), value.to_string());
        }

        #[test]
        fn any_text_is_kept_or_refused(text: String) {
            if let Ok(json) = Json::parse(&text) {
                prop_assert!(Json::is_compact(json.as_str()));
            }
        }
    }
}
