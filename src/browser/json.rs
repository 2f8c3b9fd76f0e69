//! JSON by the browser's own parser: a decoder of our own would be a sixth of what the page downloads.
//!
//! A number here is what it is to JavaScript. An offset past 2^53 would lose digits; a room that is told a
//! million messages a second gets there after 285 years.

use js_sys::{Array, JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

/// An object whose fields are asked for by name and kind.
#[derive(Clone, Debug)]
pub struct Fields(JsValue);

impl Fields {
    /// Reads `json`; nothing if it is no object.
    pub fn parse(json: &str) -> Option<Self> {
        Self::of(JSON::parse(json).ok()?)
    }

    fn of(value: JsValue) -> Option<Self> {
        value.is_object().then_some(Self(value))
    }

    /// The text called `name`.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_string()
    }

    /// The whole number from 0 called `name`.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_f64().map(|number| number as u64)
    }

    /// Whether the field called `name` is true.
    pub fn is(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.is_truthy())
    }

    /// The object called `name`.
    pub fn object(&self, name: &str) -> Option<Self> {
        Self::of(self.get(name)?)
    }

    /// The objects of the list called `name`.
    pub fn objects(&self, name: &str) -> Option<Vec<Self>> {
        Some(self.list(name)?.iter().filter_map(Self::of).collect())
    }

    /// The texts of the list called `name`.
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
        // Fails only for what is no object.
        Reflect::get(&self.0, &name.into()).ok()
    }
}

/// An object that is being written.
#[derive(Clone, Debug, Default)]
pub struct Draft(Object);

impl Draft {
    /// With the field `name` as well.
    pub fn with(self, name: &str, value: impl Into<JsValue>) -> Self {
        // Fails only for an object that is frozen.
        let _ = Reflect::set(&self.0, &name.into(), &value.into());
        self
    }

    /// The object as JSON.
    pub fn encode(&self) -> String {
        // Fails only for an object that holds itself.
        JSON::stringify(&self.0)
            .map(String::from)
            .unwrap_or_default()
    }
}
