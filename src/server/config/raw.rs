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
    /// By a service manager, whose word is final: it has opened the socket.
    Supervisor,
    /// Nowhere.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Supervisor => "the service manager's socket",
            Self::Default => "default",
        })
    }
}

/// A value as it was given.
#[derive(Clone, Debug)]
pub struct RawValue {
    /// The text.
    pub text: String,
    /// Where.
    pub source: Source,
}

impl RawValue {
    /// The text as it may be shown: an address in it loses its user, password or token.
    pub fn shown(&self) -> String {
        let Some((scheme, rest)) = self.text.split_once("://") else {
            return self.text.clone();
        };
        let hide = |part: &str| match part.rsplit_once('@') {
            Some((_, host)) => format!("…@{host}"),
            None => part.to_owned(),
        };
        let parts: Vec<String> = rest.split(',').map(hide).collect();
        format!("{scheme}://{}", parts.join(","))
    }

    /// Returns the mistake that the setting `name` is empty.
    pub(super) fn empty(&self, name: &str) -> ConfigError {
        ConfigError(format!(
            "--{name} ({}): the setting is empty; give it a value, or leave it out",
            self.source
        ))
    }

    /// Returns the mistake that the setting `name` cannot be this, and what it can be.
    pub(super) fn mistake(&self, name: &str, allowed: &str) -> ConfigError {
        ConfigError(format!(
            "--{name} is {:?} ({}); allowed is {allowed}",
            self.shown(),
            self.source
        ))
    }
}

/// Values as they were given, by the names of their settings, and what is wrong already.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    given: BTreeMap<&'static str, Vec<RawValue>>,
    mistakes: Vec<ConfigError>,
}

/// A value that cannot be, and what could.
#[derive(Clone, Debug)]
pub struct ConfigError(String);

impl ConfigError {
    /// A mistake in one sentence.
    pub const fn new(sentence: String) -> Self {
        Self(sentence)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RawConfig {
    /// Adds a value for the setting `name`.
    pub fn add(&mut self, name: &'static str, given: RawValue) {
        self.given.entry(name).or_default().push(given);
    }

    /// Adds a mistake that is none of a single value, like an unknown name.
    pub fn reject(&mut self, mistake: ConfigError) {
        self.mistakes.push(mistake);
    }

    /// Returns the mistake that the setting `name` has a wrong value or none; `allowed` is what would be right.
    pub(super) fn mistake(&self, name: &str, allowed: &str) -> ConfigError {
        match self.get(name).last() {
            Some(given) => given.mistake(name, allowed),
            None => ConfigError::new(format!("--{name} is missing; allowed is {allowed}")),
        }
    }

    /// Returns the mistakes that were added.
    pub(super) fn mistakes(&self) -> &[ConfigError] {
        &self.mistakes
    }

    /// Makes `given` the one value of the setting `name`.
    pub fn replace(&mut self, name: &'static str, given: RawValue) {
        self.given.insert(name, vec![given]);
    }

    /// Whether the setting `name` has a value.
    pub fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The values of the setting `name`: those given, else its default.
    pub fn get(&self, name: &str) -> Vec<RawValue> {
        self.given.get(name).cloned().unwrap_or_else(|| {
            let default = SETTINGS
                .iter()
                .find(|setting| setting.name == name)
                .map_or("", |setting| setting.default);
            let given = RawValue {
                text: default.to_owned(),
                source: Source::Default,
            };
            if default.is_empty() {
                Vec::new()
            } else {
                vec![given]
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_password() {
        for (text, shown) in [
            (
                "nats://ann:p@ss@one:4222,t0k3n@two",
                "nats://…@one:4222,…@two",
            ),
            ("nats://one:4222", "nats://one:4222"),
            ("sqlite:a@b.db", "sqlite:a@b.db"),
        ] {
            assert_eq!(
                RawValue {
                    text: text.to_owned(),
                    source: Source::Flag
                }
                .shown(),
                shown
            );
        }
    }
}
