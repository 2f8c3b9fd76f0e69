//! The rules for rooms: the tables `[[rooms]]` of the settings file.

use std::collections::HashSet;
use std::fmt::Display;

use crate::protocol::{RoomName, RoomSelector};
use crate::server::config::raw::{ConfigError, RawConfig, RawRoomRule, SettingSource};
use crate::server::config::reader::ConfigReader;
use crate::server::config::value;
use crate::server::room_rules::{PresenceRule, RoomRule, RoomRuleTable, RoomRules};

/// The key with the name or the pattern of a rule.
const MATCH: &str = "match";
/// The keys that a rule sets.
const KEYS: [&str; 8] = [
    "history-age",
    "history-messages",
    "history-bytes",
    "max-message",
    "message-rate",
    "anonymous",
    "expires",
    "presence",
];
/// A setting of one room.
#[derive(Clone, Debug)]
pub struct RoomSetting {
    /// The key of a rule.
    pub key: &'static str,
    /// The text of the value.
    pub value: String,
    /// The rule or the setting that it comes from.
    pub source: String,
}

/// Reads the rules. Rooms that no rule matches have the settings `default`.
pub(super) fn read(reader: &mut ConfigReader<'_>, default: RoomRules) -> RoomRuleTable {
    let mut rules = Vec::new();
    let mut known = HashSet::new();
    for (index, raw) in reader.room_rules().iter().enumerate() {
        let title = title(raw, index);
        let mut reject = |problem: String| {
            reader.error(ConfigError::new(format!("{title}: {problem}")));
        };
        let Some(rooms) = selector(raw, &mut reject) else {
            continue;
        };

        if !known.insert(rooms.clone()) {
            reject("another rule has the same match; join the two".to_owned());
        }
        if raw.values.iter().all(|(key, _)| key == MATCH) {
            reject(format!("the rule sets nothing; add {}", KEYS.join(", ")));
        }
        rules.push(rule(raw, rooms, &mut reject));
    }
    RoomRuleTable::new(default, &rules)
}

/// Returns a sentence for each rule with a key that has no effect because clients need no token.
pub(super) fn warnings(raw: &RawConfig) -> Vec<String> {
    let rules = raw.room_rules().iter().enumerate();
    let public = rules.filter(|(_, rule)| rule.get("anonymous").is_some());
    public
        .map(|(index, rule)| {
            format!(
                "{}: anonymous has no effect without --auth-key-file, --jwks or --auth-header, because no client \
                 needs a token",
                title(rule, index)
            )
        })
        .collect()
}

/// Returns the settings of `room`, in the order of the documentation. `raw` must be valid.
pub fn describe(raw: &RawConfig, room: &RoomName) -> Vec<RoomSetting> {
    let mut matching: Vec<&RawRoomRule> = raw
        .room_rules()
        .iter()
        .filter(|rule| {
            let rooms = RoomSelector::parse(rule.get(MATCH).unwrap_or_default());
            rooms.is_ok_and(|rooms| rooms.matches(room))
        })
        .collect();
    // A name is shorter than a pattern of the same letters.
    matching.sort_by_key(|rule| {
        let rooms = rule.get(MATCH).unwrap_or_default();
        std::cmp::Reverse((!rooms.ends_with('*'), rooms.len()))
    });

    KEYS.map(|key| setting(raw, &matching, key)).into()
}

/// Returns the setting `key` of the room that the rules `matching` match, the longest first.
fn setting(raw: &RawConfig, matching: &[&RawRoomRule], key: &'static str) -> RoomSetting {
    let ruled = matching.iter().find_map(|rule| {
        let rooms = rule.get(MATCH)?;
        Some((rule.get(key)?.to_owned(), format!("rooms {rooms:?}")))
    });

    let (value, source) = ruled.unwrap_or_else(|| {
        let is_history = key.starts_with("history-");
        let note = if is_history {
            "; not for streams that were created with PUT"
        } else {
            ""
        };
        match (raw.get(key).pop(), key) {
            (Some(value), _) => (value.redacted(), format!("{}{note}", value.source)),
            (None, "presence") => ("true".to_owned(), SettingSource::Default.to_string()),
            (None, _) => ("never".to_owned(), SettingSource::Default.to_string()),
        }
    });
    RoomSetting { key, value, source }
}

/// Returns the name of the rule with the number `index` in messages.
fn title(raw: &RawRoomRule, index: usize) -> String {
    match raw.get(MATCH) {
        Some(rooms) => format!("rooms {rooms:?} (file)"),
        None => format!("rule {} of rooms (file)", index + 1),
    }
}

fn selector(raw: &RawRoomRule, reject: &mut impl FnMut(String)) -> Option<RoomSelector> {
    const ALLOWED: &str = "the name of a room, or a prefix with *, like ci-* or *";
    let Some(text) = raw.get(MATCH) else {
        reject(format!("match is missing; allowed is {ALLOWED}"));
        return None;
    };

    let rooms = RoomSelector::parse(text);
    if rooms.is_err() {
        reject(format!("match is {text:?}; allowed is {ALLOWED}"));
    }
    rooms.ok()
}

/// Reads the rule for `rooms`.
fn rule(raw: &RawRoomRule, rooms: RoomSelector, reject: &mut impl FnMut(String)) -> RoomRule {
    let mut rule = RoomRule::new(rooms);

    for (key, text) in &raw.values {
        let value = &mut RuleValue { key, text, reject };
        match key.as_str() {
            MATCH => {}
            "history-age" => rule.history.age = value.parse(value::duration),
            "history-messages" => rule.history.messages = value.parse(value::count),
            "history-bytes" => rule.history.bytes = value.parse(value::size),
            "max-message" => rule.max_message = value.parse(value::size),
            "message-rate" => rule.message_rate = value.parse(value::rate),
            "anonymous" => rule.is_public = value.parse(value::anonymous),
            "expires" => rule.expires = value.parse(value::duration),
            "presence" => rule.presence = value.parse(presence),
            _ => (value.reject)(format!(
                "there is no key {key:?}; allowed are {MATCH}, {}",
                KEYS.join(", ")
            )),
        }
    }

    rule
}

/// Parses the value of `presence`.
fn presence(text: &str) -> Result<PresenceRule, &'static str> {
    match text {
        "true" => Ok(PresenceRule::Shown),
        "false" => Ok(PresenceRule::Hidden),
        "log" => Ok(PresenceRule::Logged),
        _ => Err("true, false or \"log\""),
    }
}

/// A value of a rule.
struct RuleValue<'a, R> {
    key: &'a str,
    text: &'a str,
    reject: &'a mut R,
}

impl<R: FnMut(String)> RuleValue<'_, R> {
    /// Returns the parsed value. If it is not valid, that is reported.
    fn parse<T, E: Display>(&mut self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let Self { key, text, .. } = *self;
        parse(text)
            .map_err(|allowed| (self.reject)(format!("{key} is {text:?}; allowed is {allowed}")))
            .ok()
    }
}
