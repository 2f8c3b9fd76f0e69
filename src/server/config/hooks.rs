//! The hooks: the tables `[[hook]]` of the settings file.

use std::path::Path;

use crate::protocol::{RoomSelector, without_bom};
use crate::server::config::raw::ConfigError;
use crate::server::config::reader::ConfigReader;
use crate::server::hooks::{HookEvent, HookSettings, MAX_HOOK_NAME, SigningSecret};
use crate::server::http_client::HttpUrl;
use crate::server::small_file;

/// The keys of a hook.
const KEYS: [&str; 6] = ["name", "url", "rooms", "events", "secret", "secret-file"];
/// The description of the values of `rooms`.
const ROOMS: &str = "a list of names of rooms and patterns, like [\"orders-*\", \"lobby\"]";

/// Reads all hooks. Those that are not valid are recorded as errors.
pub(super) fn read(reader: &mut ConfigReader<'_>) -> Vec<HookSettings> {
    let mut hooks: Vec<HookSettings> = Vec::new();
    for (index, table) in reader.hooks().iter().enumerate() {
        let mut table = HookTable::new(index, table);
        let hook = table.read();

        if let Some(hook) = &hook
            && hooks.iter().any(|other| other.name == hook.name)
        {
            table.reject("name", "a name that no other hook has");
        }
        hooks.extend(hook);
        table
            .errors
            .into_iter()
            .for_each(|error| reader.error(error));
    }
    hooks
}

/// Returns a sentence for each of `hooks` whose secret all users of the machine can read.
pub(super) fn warnings(hooks: &[toml::Table]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, table) in hooks.iter().enumerate() {
        let file = table.get("secret-file").and_then(toml::Value::as_str);
        if let Some(file) = file
            && small_file::is_world_readable(Path::new(file))
        {
            let title = HookTable::new(index, table).title;
            warnings.push(format!(
                "{title} (file): all users of this machine can read the secret in {file:?}; run: chmod 600 {file:?}"
            ));
        }
    }
    warnings
}

/// One table `[[hook]]`, and its errors.
struct HookTable<'a> {
    /// The name of the hook in errors: its position if it has no name.
    title: String,
    table: &'a toml::Table,
    errors: Vec<ConfigError>,
}

impl<'a> HookTable<'a> {
    fn new(index: usize, table: &'a toml::Table) -> Self {
        let title = match table.get("name").and_then(toml::Value::as_str) {
            Some(name) => format!("[[hook]] {name:?}"),
            None => format!("[[hook]] number {}", index + 1),
        };
        Self {
            title,
            table,
            errors: Vec::new(),
        }
    }

    /// Returns the hook; `None` if a required value is missing or not valid.
    fn read(&mut self) -> Option<HookSettings> {
        for key in self.table.keys() {
            if !KEYS.contains(&key.as_str()) {
                let error = format!("there is no key {key:?}; allowed are {}", KEYS.join(", "));
                self.error(&error);
            }
        }

        let name = self.text("name", name);
        let url = self.text("url", |text| {
            HttpUrl::parse(text).map_err(|error| error.to_string())
        });
        let rooms = self.rooms();
        let events = self.events();
        let secret = self.secret();
        Some(HookSettings {
            name: name?,
            url: url?,
            rooms: rooms?,
            events: events?,
            secret: secret?,
        })
    }

    /// Parses the text `key`, which is required. The error of `parse` describes the allowed values.
    fn text<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let parsed = match self.table.get(key) {
            Some(toml::Value::String(text)) => parse(text),
            Some(_) => Err("a text in quotation marks".to_owned()),
            None => {
                self.error(&format!("{key} is missing"));
                return None;
            }
        };
        parsed.map_err(|allowed| self.reject(key, &allowed)).ok()
    }

    /// Reads the rooms. Names and patterns that another pattern includes are left out.
    fn rooms(&mut self) -> Option<Vec<RoomSelector>> {
        let texts = match self.table.get("rooms") {
            Some(toml::Value::Array(texts)) if !texts.is_empty() => texts,
            Some(_) => {
                self.reject("rooms", ROOMS);
                return None;
            }
            None => {
                self.error("rooms is missing");
                return None;
            }
        };

        let mut rooms = Vec::new();
        for text in texts {
            let parsed = text.as_str().map(RoomSelector::parse);
            match parsed {
                Some(Ok(room)) => rooms.push(room),
                Some(Err(error)) => self.error(&format!("rooms has {text}: {error}")),
                None => self.reject("rooms", ROOMS),
            }
        }

        Some(RoomSelector::without_included(rooms))
    }

    /// Reads the events; messages only by default.
    fn events(&mut self) -> Option<Vec<HookEvent>> {
        let names = match self.table.get("events") {
            None => return Some(vec![HookEvent::Message]),
            Some(toml::Value::Array(names)) if !names.is_empty() => names,
            Some(_) => {
                self.reject("events", &events_description());
                return None;
            }
        };

        let parse = |name: &toml::Value| HookEvent::parse(name.as_str()?);
        let events: Option<Vec<_>> = names.iter().map(parse).collect();
        if events.is_none() {
            self.reject("events", &events_description());
        }
        events
    }

    /// Reads the secret, from the table or from a file.
    fn secret(&mut self) -> Option<SigningSecret> {
        let parse = |text: &str| SigningSecret::parse(text).map_err(|error| error.to_string());
        match (
            self.table.contains_key("secret"),
            self.table.contains_key("secret-file"),
        ) {
            (true, false) => self.text("secret", parse),
            (false, true) => self.text("secret-file", |path| {
                let text = read_secret(Path::new(path))?;
                parse(text.trim()).map_err(|allowed| format!("a file with {allowed}"))
            }),
            _ => {
                self.error("it needs either secret or secret-file");
                None
            }
        }
    }

    fn error(&mut self, problem: &str) {
        let error = ConfigError::new(format!("{} (file): {problem}", self.title));
        self.errors.push(error);
    }

    /// Records that the value of `key` is not valid. The value of a secret is not repeated.
    fn reject(&mut self, key: &str, allowed: &str) {
        let value = match self.table.get(key) {
            Some(value) if key != "secret" => format!("is {value}"),
            _ => "is not valid".to_owned(),
        };
        self.error(&format!("{key} {value}; allowed is {allowed}"));
    }
}

/// Returns the description of the values of `events`.
fn events_description() -> String {
    let names = HookEvent::ALL.map(|event| format!("{:?}", event.as_str()));
    format!("a list of any of {}", names.join(", "))
}

/// Parses the name of a hook.
fn name(text: &str) -> Result<String, String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=MAX_HOOK_NAME).contains(&text.len()) && text.chars().all(is_allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!("1 to {MAX_HOOK_NAME} of a-z A-Z 0-9 - _"))
    }
}

fn read_secret(path: &Path) -> Result<String, String> {
    let bytes = small_file::read(path, small_file::MAX_BYTES);
    let bytes = bytes.map_err(|error| format!("a file that can be read ({error})"))?;
    String::from_utf8(without_bom(&bytes).to_vec()).map_err(|_| "a file in UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::{Config, RawConfig};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn check(hooks: &str) -> Result<Vec<HookSettings>, Vec<String>> {
        let mut raw = RawConfig::default();
        let table: toml::Table = hooks.parse().expect("TOML");
        for hook in table["hook"].as_array().expect("a list") {
            raw.add_hook(hook.as_table().expect("a table").clone());
        }

        let config = Config::check(&raw);
        config
            .map(|config| config.hooks)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rooms_that_a_pattern_includes_are_left_out() {
        let hooks = check(&format!(
            "[[hook]]\nname = \"a\"\nurl = \"http://a\"\nsecret = {SECRET:?}\n\
             rooms = [\"b-1\", \"b-*\", \"lobby\", \"b-2*\", \"lobby\"]"
        ));

        let rooms = hooks.expect("valid").remove(0).rooms;
        let rooms: Vec<&str> = rooms.iter().map(RoomSelector::as_str).collect();
        assert_eq!(rooms, ["lobby", "b-*"]);
    }

    #[test]
    fn every_error_names_its_hook_and_no_error_has_the_secret() {
        let errors = check(
            "
            [[hook]]
            name = \"a b\"
            url = \"ftp://a\"
            rooms = []
            secret = \"hunter2\"
            [[hook]]
            url = 3
            room = \"lobby\"
            rooms = [\"a*b\", 7]
            secret = \"whsec_\"
            secret-file = \"/nowhere\"
            [[hook]]
            name = \"c\"
            url = \"http://c\"
            rooms = [\"lobby\"]
            secret-file = \"/nowhere\"
            ",
        );

        let errors = errors.expect_err("not valid");
        assert_eq!(errors.len(), 11, "{errors:#?}");
        let of = |title: &str| errors.iter().filter(|error| error.contains(title)).count();
        assert_eq!(of("[[hook]] \"a b\""), 4, "{errors:#?}");
        assert_eq!(of("[[hook]] number 2"), 6, "{errors:#?}");
        assert_eq!(of("[[hook]] \"c\""), 1, "{errors:#?}");
        assert!(!errors.concat().contains("hunter2"), "{errors:#?}");
    }

    #[test]
    fn a_name_belongs_to_one_hook() {
        let hook = format!(
            "[[hook]]\nname = \"a\"\nurl = \"http://a\"\nrooms = [\"lobby\"]\nsecret = {SECRET:?}\n"
        );

        let errors = check(&format!("{hook}{hook}")).expect_err("not valid");

        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0].contains("no other hook"), "{errors:#?}");
    }
}
