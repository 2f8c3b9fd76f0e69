//! Texts as they were given, where each came from, and what is said about those that are wrong.

use std::collections::BTreeMap;
use std::fmt;

use crate::server::config::setting::SETTINGS;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In the file of `--config`.
    File,
    /// Nowhere.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// A value as it was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// The text.
    pub text: String,
    /// Where.
    pub source: Source,
}

/// Values as they were given, by the names of their settings.
#[derive(Clone, Debug, Default)]
pub struct Raw(BTreeMap<&'static str, Vec<Given>>);

/// A value that cannot be, and what could.
#[derive(Clone, Debug)]
pub struct Mistake(String);

impl Mistake {
    /// A mistake in one sentence.
    pub const fn new(sentence: String) -> Self {
        Self(sentence)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Raw {
    /// Adds a value for the setting `name`.
    pub fn give(&mut self, name: &'static str, given: Given) {
        self.0.entry(name).or_default().push(given);
    }

    /// Whether the setting `name` has a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The values of the setting `name`: those given, else its default.
    pub fn get(&self, name: &str) -> Vec<Given> {
        self.0.get(name).cloned().unwrap_or_else(|| {
            let default =
                SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default);
            let given = Given { text: default.to_owned(), source: Source::Default };
            if default.is_empty() { Vec::new() } else { vec![given] }
        })
    }

    /// That the value of `name` is not `allowed`.
    pub(super) fn mistake(&self, name: &str, allowed: &str) -> Mistake {
        match self.get(name).last() {
            Some(given) => mistake(name, given, allowed),
            None => Mistake(format!("--{name} is missing; allowed is {allowed}")),
        }
    }

    /// The value of `name`, read by `parse`, whose error is what would have been allowed.
    pub(super) fn read<T>(
        &self,
        name: &str,
        mistakes: &mut Vec<Mistake>,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let given = self.get(name);
        let text = given.last().map_or("", |given| &given.text);
        parse(text).map_err(|allowed| mistakes.push(self.mistake(name, allowed))).ok()
    }

    /// All values of `name`.
    pub(super) fn read_all<T>(
        &self,
        name: &str,
        mistakes: &mut Vec<Mistake>,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for given in self.get(name) {
            match parse(&given.text) {
                Ok(value) => values.push(value),
                Err(allowed) => mistakes.push(mistake(name, &given, allowed)),
            }
        }
        values
    }
}

fn mistake(name: &str, given: &Given, allowed: &str) -> Mistake {
    Mistake(format!("--{name} is {:?} ({}); allowed is {allowed}", given.text, given.source))
}
