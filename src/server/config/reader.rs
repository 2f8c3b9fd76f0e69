//! A reader of raw values, which collects their errors.

use std::fmt::Display;

use crate::server::config::raw::{ConfigError, RawConfig, RawRoomRule, RawValue};

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

    /// Parses the value of `name`, a setting with a default. Returns the default if it is not valid.
    ///
    /// The error of `parse` describes the allowed values.
    pub(super) fn value<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        self.optional(name, &parse).unwrap_or_else(|| {
            let default = RawConfig::default().get(name).pop();
            let default = default.and_then(|default| parse(&default.text).ok());
            default.expect("a setting that is always read has a valid default")
        })
    }

    /// Parses the value of `name`, a setting without a default. `None` if there is none, or it is not valid.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.raw.get(name).pop()?;
        self.parse(name, &value, parse)
    }

    /// Returns true if the setting `name` has a value, which may not be valid.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.raw.contains(name)
    }

    /// Returns the raw values.
    pub(super) const fn raw(&self) -> &'a RawConfig {
        self.raw
    }

    /// Returns the rules for rooms.
    pub(super) fn room_rules(&self) -> &'a [RawRoomRule] {
        self.raw.room_rules()
    }

    /// Parses all values of `name`, and returns those that are valid.
    pub(super) fn values<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        self.raw
            .get(name)
            .iter()
            .filter_map(|value| self.parse(name, value, &parse))
            .collect()
    }

    /// Parses one value. An empty value is an error for every setting: a script with an empty variable must not disable
    /// a protection.
    fn parse<T, E: Display>(
        &mut self,
        name: &str,
        value: &RawValue,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if value.text.trim().is_empty() {
            self.errors.push(value.empty(name));
            return None;
        }

        parse(&value.text)
            .map_err(|allowed| self.errors.push(value.invalid(name, &allowed.to_string())))
            .ok()
    }

    /// Records that the value of `name` is not valid together with other settings. `allowed` describes a valid one.
    pub(super) fn reject(&mut self, name: &str, allowed: &str) {
        self.errors.push(self.raw.invalid(name, allowed));
    }

    /// Returns the tables `[[hook]]` of the file.
    pub(super) fn hooks(&self) -> &'a [toml::Table] {
        self.raw.hooks()
    }

    /// Returns the tables `[[grant]]` of the file.
    pub(super) fn grants(&self) -> &'a [toml::Table] {
        self.raw.grants()
    }

    /// Records an error.
    pub(super) fn error(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    /// Returns `config`, unless an error was recorded.
    ///
    /// # Errors
    /// All recorded errors.
    pub(super) fn finish<T>(self, config: T) -> Result<T, Vec<ConfigError>> {
        if self.errors.is_empty() {
            Ok(config)
        } else {
            Err(self.errors)
        }
    }
}
