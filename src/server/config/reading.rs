//! Reads the raw values one by one and gathers what is wrong with them, so that all of it is told at once.

use crate::server::config::raw::{ConfigError, RawConfig, RawValue};

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct ConfigReader<'a> {
    raw: &'a RawConfig,
    mistakes: Vec<ConfigError>,
}

impl<'a> ConfigReader<'a> {
    /// Creates a reading of `raw`, with the mistakes that it has already.
    pub(super) fn new(raw: &'a RawConfig) -> Self {
        Self {
            raw,
            mistakes: raw.mistakes().to_vec(),
        }
    }

    /// Returns the value of `name`, which has a default, read by `parse`. `None` is a mistake.
    ///
    /// The error of `parse` is what would have been allowed.
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

    /// Returns the value of `name`, which has no default, read by `parse`. The outer `None` is a mistake.
    #[expect(
        clippy::option_option,
        reason = "a value that is absent and a wrong one are two things"
    )]
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<Option<T>> {
        match self.raw.get(name).last() {
            Some(given) => self.parsed(name, given, parse).map(Some),
            None => Some(None),
        }
    }

    /// Returns all values of `name` that can be read; each of the others is a mistake.
    pub(super) fn values<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
        let given = self.raw.get(name);
        given
            .iter()
            .filter_map(|given| self.parsed(name, given, &parse))
            .collect()
    }

    /// Reads one value. An empty one is a mistake for every setting: a variable that a script left empty must not
    /// turn a protection off.
    fn parsed<T>(
        &mut self,
        name: &str,
        given: &RawValue,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        if given.text.trim().is_empty() {
            self.mistakes.push(given.empty(name));
            return None;
        }

        parse(&given.text)
            .map_err(|allowed| self.mistakes.push(given.mistake(name, allowed)))
            .ok()
    }

    /// Adds the mistake that the value of `name` is wrong beside the others; `allowed` is what would be right.
    pub(super) fn reject(&mut self, name: &str, allowed: &str) {
        self.mistakes.push(self.raw.mistake(name, allowed));
    }

    /// Returns what was made of the values, unless something is wrong with them.
    ///
    /// # Errors
    /// All mistakes.
    pub(super) fn end<T>(self, made: Option<T>) -> Result<T, Vec<ConfigError>> {
        match made {
            Some(made) if self.mistakes.is_empty() => Ok(made),
            _ => Err(self.mistakes),
        }
    }
}
