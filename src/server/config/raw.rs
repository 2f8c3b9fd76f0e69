//! Raw setting values with their sources, and the errors of invalid values.

use std::collections::BTreeMap;
use std::fmt;

use crate::server::config::setting::SETTINGS;

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingSource {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The file of `--config`.
    File,
    /// A service manager that has opened the socket. It takes precedence over all other sources.
    Supervisor,
    /// The default of the setting.
    Default,
}

impl fmt::Display for SettingSource {
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

/// An unparsed value of a setting.
#[derive(Clone, Debug)]
pub struct RawValue {
    /// Text of the value.
    pub text: String,
    /// Source of the value.
    pub source: SettingSource,
}

impl RawValue {
    /// Returns the text without user names, passwords and tokens in URLs.
    pub fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.text.split_once("://") else {
            return self.text.clone();
        };

        let redact = |part: &str| match part.rsplit_once('@') {
            Some((_, host)) => format!("…@{host}"),
            None => part.to_owned(),
        };
        let parts: Vec<String> = rest.split(',').map(redact).collect();
        format!("{scheme}://{}", parts.join(","))
    }

    /// Returns the error for an empty value of the setting `name`.
    pub(super) fn empty(&self, name: &str) -> ConfigError {
        ConfigError(format!(
            "--{name} ({}): the setting is empty; give it a value, or leave it out",
            self.source
        ))
    }

    /// Returns the error for this value of the setting `name`. `allowed` describes a valid one.
    pub(super) fn invalid(&self, name: &str, allowed: &str) -> ConfigError {
        ConfigError(format!(
            "--{name} is {:?} ({}); allowed is {allowed}",
            self.redacted(),
            self.source
        ))
    }
}

/// An unparsed rule for rooms, a table `[[rooms]]` of the file.
#[derive(Clone, Debug, Default)]
pub struct RawRoomRule {
    /// The keys with the texts of their values, in the order of the file.
    pub values: Vec<(String, String)>,
}

impl RawRoomRule {
    /// Returns the text of the value of `key`, if the rule has it.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.values.iter();
        let found = values.find(|(found, _)| found == key);
        found.map(|(_, text)| text.as_str())
    }
}

/// Unparsed values by the names of their settings, and the errors that were found while they were collected.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    values: BTreeMap<&'static str, Vec<RawValue>>,
    room_rules: Vec<RawRoomRule>,
    /// The tables `[[hook]]` of the file.
    hooks: Vec<toml::Table>,
    /// The tables `[[grant]]` of the file.
    grants: Vec<toml::Table>,
    errors: Vec<ConfigError>,
}

/// The error of a value that is not allowed, with the allowed values.
#[derive(Clone, Debug)]
pub struct ConfigError(String);

impl ConfigError {
    /// Creates an error with the text `message`.
    pub const fn new(message: String) -> Self {
        Self(message)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RawConfig {
    /// Adds a value of the setting `name`.
    pub fn add(&mut self, name: &'static str, value: RawValue) {
        self.values.entry(name).or_default().push(value);
    }

    /// Adds a rule for rooms.
    pub fn add_room_rule(&mut self, rule: RawRoomRule) {
        self.room_rules.push(rule);
    }

    /// Returns the rules for rooms, in the order of the file.
    pub fn room_rules(&self) -> &[RawRoomRule] {
        &self.room_rules
    }

    /// Adds a table `[[hook]]` of the file.
    pub fn add_hook(&mut self, table: toml::Table) {
        self.hooks.push(table);
    }

    /// Returns the tables `[[hook]]` of the file.
    pub(super) fn hooks(&self) -> &[toml::Table] {
        &self.hooks
    }

    /// Adds a table `[[grant]]` of the file.
    pub fn add_grant(&mut self, table: toml::Table) {
        self.grants.push(table);
    }

    /// Returns the tables `[[grant]]` of the file.
    pub fn grants(&self) -> &[toml::Table] {
        &self.grants
    }

    /// Adds an error that belongs to no single value, such as an unknown name.
    pub fn reject(&mut self, error: ConfigError) {
        self.errors.push(error);
    }

    /// Returns the errors that were added.
    pub(super) fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// Returns the error for a missing or invalid value of the setting `name`. `allowed` describes a valid one.
    pub(super) fn invalid(&self, name: &str, allowed: &str) -> ConfigError {
        match self.get(name).last() {
            Some(value) => value.invalid(name, allowed),
            None => ConfigError::new(format!("--{name} is missing; allowed is {allowed}")),
        }
    }

    /// Replaces all values of the setting `name` by `value`.
    pub fn replace(&mut self, name: &'static str, value: RawValue) {
        self.values.insert(name, vec![value]);
    }

    /// Returns true if the setting `name` has a value besides its default.
    pub fn contains(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns the values of the setting `name`, or else its default, if it has one.
    pub fn get(&self, name: &str) -> Vec<RawValue> {
        if let Some(values) = self.values.get(name) {
            return values.clone();
        }

        SETTINGS
            .iter()
            .filter(|setting| setting.name() == name)
            .filter_map(|setting| setting.default.clone())
            .map(|text| RawValue {
                text,
                source: SettingSource::Default,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_url_contains_no_password() {
        for (text, expected) in [
            (
                "nats://ann:p@ss@one:4222,t0k3n@two",
                "nats://…@one:4222,…@two",
            ),
            ("nats://one:4222", "nats://one:4222"),
            ("sqlite:a@b.db", "sqlite:a@b.db"),
        ] {
            let value = RawValue {
                text: text.to_owned(),
                source: SettingSource::Flag,
            };

            assert_eq!(value.redacted(), expected);
        }
    }
}
