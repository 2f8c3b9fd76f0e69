//! A reader of raw values, which collects their errors.

use crate::server::config::raw::{ConfigError, RawConfig, RawValue};

/// A reader of the raw values of all settings.
#[derive(Debug)]
pub(super) struct ConfigReader<'a> {
    raw: &'a RawConfig,
    errors: Vec<ConfigError>,
}

impl<'a> ConfigReader<'a> {
    /// Creates a reader of `raw`, with the errors that it has already.
    pub(super) fn new(raw: &'a RawConfig) -> Self {
        Self {
            raw,
            errors: raw.errors().to_vec(),
        }
    }

    /// Parses the value of `name`, a setting with a default. `None` if it is not valid, which is recorded as an error.
    ///
    /// The error of `parse` describes the allowed values.
    pub(super) fn value<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let value = self.optional(name, parse)?;

        if value.is_none() {
            self.reject(name, "a value");
        }

        value
    }

    /// Parses the value of `name`, a setting without a default. The outer `None` means that it is not valid.
    #[expect(
        clippy::option_option,
        reason = "a missing value and an invalid one are different results"
    )]
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        match self.raw.get(name).last() {
            Some(value) => self.parse(name, value, parse).map(Some),
            None => Some(None),
        }
    }

    /// Parses all values of `name`, and returns those that are valid.
    pub(super) fn values<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
        self.raw
            .get(name)
            .iter()
            .filter_map(|value| self.parse(name, value, &parse))
            .collect()
    }

    /// Parses one value. An empty value is an error for every setting: a script with an empty variable must not disable
    /// a protection.
    fn parse<T>(
        &mut self,
        name: &str,
        value: &RawValue,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        if value.text.trim().is_empty() {
            self.errors.push(value.empty(name));
            return None;
        }

        parse(&value.text)
            .map_err(|allowed| self.errors.push(value.invalid(name, allowed)))
            .ok()
    }

    /// Records that the value of `name` is not valid together with other settings. `allowed` describes a valid one.
    pub(super) fn reject(&mut self, name: &str, allowed: &str) {
        self.errors.push(self.raw.invalid(name, allowed));
    }

    /// Returns `config`, unless an error was recorded.
    ///
    /// # Errors
    /// All recorded errors.
    pub(super) fn finish<T>(self, config: Option<T>) -> Result<T, Vec<ConfigError>> {
        match config {
            Some(config) if self.errors.is_empty() => Ok(config),
            _ => Err(self.errors),
        }
    }
}
