//! The settings from flags, environment and file as a [`RawConfig`], all from the same table.

use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::cli::args::not_empty;
use crate::cli::{Failure, environment};
use crate::protocol::without_bom;
use crate::server::config::{
    Config, ConfigError, RawConfig, RawRoomRule, RawValue, SETTINGS, Setting, SettingSource,
};
use crate::server::small_file;
use crate::server::store::{SqliteSettings, StoreSettings};

/// The flag that names the settings file.
const FILE_FLAG: &str = "config";
/// The key of the rules for rooms in that file.
const ROOMS_KEY: &str = "rooms";
/// The key of the hooks in that file.
const HOOKS: &str = "hook";
/// The key of the grants of groups in that file.
const GRANTS: &str = "grant";

/// Adds a flag for each setting to `command`.
pub(super) fn add_to(command: Command) -> Command {
    add(command, |_| true)
}

/// Adds flags for the settings `names` to `command`.
pub(super) fn add_some(command: Command, names: &[&str]) -> Command {
    add(command, |setting| names.contains(&setting.name()))
}

fn add(command: Command, is_wanted: impl Fn(&Setting) -> bool) -> Command {
    let file = Arg::new(FILE_FLAG)
        .long(FILE_FLAG)
        .env("FANFARE_CONFIG")
        .hide_env_values(true)
        .value_name("FILE")
        .value_parser(not_empty())
        .help("TOML file with any of these settings; the keys are the names of the flags");
    let settings = SETTINGS.iter().filter(|setting| is_wanted(setting));
    command
        .arg(file)
        .args(settings.map(|setting| setting.flag.clone()))
}

/// Collects the given settings. A flag or a variable overrides the file. Unknown names become errors in the result.
pub(super) fn collect(matches: &ArgMatches) -> RawConfig {
    let mut raw = RawConfig::default();
    for unknown in environment::unknown() {
        if unknown.is_misspelt {
            raw.reject(ConfigError::new(unknown.to_string()));
        }
    }

    for setting in SETTINGS.iter() {
        let name = setting.name();
        // A subcommand has only some of the settings.
        let Ok(Some(texts)) = matches.try_get_many::<String>(name) else {
            continue;
        };
        let source = match matches.value_source(name) {
            Some(ValueSource::EnvVariable) => SettingSource::Environment,
            _ => SettingSource::Flag,
        };
        for text in texts.cloned() {
            let source = source.clone();
            raw.add(name, RawValue { text, source });
        }
    }

    if let Some(file) = matches.get_one::<String>(FILE_FLAG) {
        add_file(file, &mut raw);
    }
    raw
}

/// Returns the settings of the database.
///
/// # Errors
/// The invalid settings, or `problem` if the store is not a file.
pub(super) fn database(matches: &ArgMatches, problem: &str) -> Result<SqliteSettings, Failure> {
    match Config::check(&collect(matches))?.store {
        StoreSettings::Sqlite(settings) => Ok(settings),
        _ => Err(Failure::argument("--store", problem)),
    }
}

fn add_file(file: &str, raw: &mut RawConfig) {
    let wrong = |problem: String| ConfigError::new(format!("--{FILE_FLAG} {file:?}: {problem}"));
    let table = match read_table(Path::new(file)) {
        Ok(table) => table,
        Err(problem) => return raw.reject(wrong(problem)),
    };

    for (key, value) in table {
        if key == ROOMS_KEY {
            if let Err(problem) = add_room_rules(value, raw) {
                raw.reject(wrong(problem));
            }
            continue;
        }
        if key == HOOKS {
            match tables(value) {
                Some(hooks) => hooks.into_iter().for_each(|hook| raw.add_hook(hook)),
                None => raw.reject(wrong(format!("{key} must be written as [[{key}]]"))),
            }
            continue;
        }
        if key == GRANTS {
            match tables(value) {
                Some(grants) => grants.into_iter().for_each(|grant| raw.add_grant(grant)),
                None => raw.reject(wrong(format!("{key} must be written as [[{key}]]"))),
            }
            continue;
        }

        let Some(setting) = SETTINGS.iter().find(|setting| setting.name() == key) else {
            let names: Vec<_> = SETTINGS.iter().map(Setting::name).collect();
            raw.reject(wrong(format!(
                "there is no setting {key:?}; allowed are {}, [[{ROOMS_KEY}]], [[{HOOKS}]], [[{GRANTS}]]",
                names.join(", ")
            )));
            continue;
        };

        let (name, repeats) = (setting.name(), setting.repeats());
        match texts(value) {
            // A flag or a variable overrides the file.
            Some(_) if raw.contains(name) => {}
            Some(texts) if texts.len() == 1 || repeats => {
                for text in texts {
                    let source = SettingSource::File;
                    raw.add(name, RawValue { text, source });
                }
            }
            _ => raw.reject(wrong(format!(
                "{key} must be a text or a number{}",
                if repeats { ", or a list of them" } else { "" }
            ))),
        }
    }
}

/// Adds the rules for rooms in `value`, the tables `[[rooms]]` of the file.
///
/// # Errors
/// Returns a sentence that describes the problem.
fn add_room_rules(value: toml::Value, raw: &mut RawConfig) -> Result<(), String> {
    let not_tables = || format!("{ROOMS_KEY} must be tables: [[{ROOMS_KEY}]]");
    let toml::Value::Array(rules) = value else {
        return Err(not_tables());
    };

    for rule in rules {
        let toml::Value::Table(table) = rule else {
            return Err(not_tables());
        };
        let mut rule = RawRoomRule::default();
        for (key, value) in table {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(value) => value.to_string(),
                _ => {
                    let problem =
                        format!("{key} of {ROOMS_KEY} must be a text, a number, true or false");
                    return Err(problem);
                }
            };
            rule.values.push((key, text));
        }
        raw.add_room_rule(rule);
    }
    Ok(())
}

/// Reads the file at `path` as TOML.
///
/// # Errors
/// Returns a sentence that describes the problem.
fn read_table(path: &Path) -> Result<toml::Table, String> {
    let bytes = small_file::read(path, small_file::MAX_BYTES).map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(without_bom(&bytes))
        .map_err(|_| "the file is not UTF-8; save it as UTF-8".to_owned())?;
    text.parse()
        .map_err(|error: toml::de::Error| error.to_string())
}

/// Returns the tables of `value`; `None` if it is no list of tables.
fn tables(value: toml::Value) -> Option<Vec<toml::Table>> {
    let toml::Value::Array(values) = value else {
        return None;
    };
    let tables = values.into_iter().map(|value| match value {
        toml::Value::Table(table) => Some(table),
        _ => None,
    });
    tables.collect()
}

/// Returns the values of `value` as texts, at least one: an empty list is an empty setting.
fn texts(value: toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::Array(values) if values.is_empty() => Some(vec![String::new()]),
        toml::Value::String(text) => Some(vec![text]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Array(values) => values
            .into_iter()
            .map(|value| texts(value).filter(|texts| texts.len() == 1))
            .try_fold(Vec::new(), |mut all, texts| {
                all.extend(texts?);
                Some(all)
            }),
        _ => None,
    }
}
