//! JSON, parsed and written by the browser: a Rust decoder would be a sixth of the page's download.
//!
//! Numbers are those of JavaScript, so offsets above 2^53 lose digits. A room with a million messages a second
//! reaches that offset after 285 years.

use js_sys::{Array, JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// A JSON object whose fields are read by name and type.
#[derive(Clone, Debug)]
pub struct Fields(JsValue);

impl Fields {
    /// Parses `json`; `None` if it is not an object.
    pub fn parse(json: &str) -> Option<Self> {
        Self::of(JSON::parse(json).ok()?)
    }

    fn of(value: JsValue) -> Option<Self> {
        value.is_object().then_some(Self(value))
    }

    /// Returns the string field `name`.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_string()
    }

    /// Returns the number field `name`, which is an integer from 0.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_f64().map(|number| number as u64)
    }

    /// Reports whether the field `name` is true.
    pub fn is(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.is_truthy())
    }

    /// Returns the object field `name`.
    pub fn object(&self, name: &str) -> Option<Self> {
        Self::of(self.get(name)?)
    }

    /// Returns the objects in the array field `name`.
    pub fn objects(&self, name: &str) -> Option<Vec<Self>> {
        Some(self.list(name)?.iter().filter_map(Self::of).collect())
    }

    /// Returns the strings in the array field `name`.
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        Some(
            self.list(name)?
                .iter()
                .filter_map(|value| value.as_string())
                .collect(),
        )
    }

    fn list(&self, name: &str) -> Option<Array> {
        self.get(name)?.dyn_into().ok()
    }

    fn get(&self, name: &str) -> Option<JsValue> {
        // Fails only for a value that is not an object.
        Reflect::get(&self.0, &name.into()).ok()
    }
}

/// A JSON object under construction.
#[derive(Clone, Debug, Default)]
pub struct Draft(Object);

impl Draft {
    /// Adds the field `name`.
    pub fn with(self, name: &str, value: impl Into<JsValue>) -> Self {
        // Fails only for a frozen object.
        let _ = Reflect::set(&self.0, &name.into(), &value.into());
        self
    }

    /// Returns the object as JSON.
    pub fn encode(&self) -> String {
        // Fails only for a cyclic object.
        JSON::stringify(&self.0)
            .map(String::from)
            .unwrap_or_default()
    }
}
