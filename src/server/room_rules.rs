//! Rules for rooms: settings that differ for the rooms whose names match. Pure.
//!
//! A rule names one room, or all rooms with a prefix. Each setting of a room comes from the longest matching rule that has
//! it: the rule of its name, then that of its longest prefix, and so on. All rules that match a room are prefixes of one
//! another, so the settings are combined once, when the table is created, and a room only finds its longest match.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::protocol::{RoomName, RoomPattern, RoomSelector};

/// A rule as it is configured. Settings that are absent come from a shorter rule, or are those of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRule {
    /// The rooms.
    pub rooms: RoomSelector,
    /// The limits of stored messages.
    pub history: HistoryRule,
    /// The largest message, in bytes.
    pub max_message: Option<usize>,
    /// Messages per second from one connection; 0 is unlimited.
    pub message_rate: Option<u32>,
    /// True if clients without a token may read.
    pub is_public: Option<bool>,
    /// The time without reads and writes after which a room is deleted.
    pub expires: Option<Duration>,
    /// The use of the room's members.
    pub presence: Option<PresenceRule>,
}

/// The limits of stored messages that a rule sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryRule {
    /// Messages.
    pub messages: Option<usize>,
    /// Bytes of all messages together.
    pub bytes: Option<usize>,
    /// The age of a message.
    pub age: Option<Duration>,
}

/// The settings that hold for one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRules {
    /// The limits of stored messages that a rule sets. They apply to rooms that were created as streams too.
    pub history: HistoryRule,
    /// The largest message, in bytes.
    pub max_message: usize,
    /// The message rate that a rule sets.
    pub message_rate: Option<RuleRate>,
    /// True if clients without a token may read.
    pub is_public: bool,
    /// The time without reads and writes after which the room is deleted, unless it was created with an expiry of its own.
    pub expires: Option<Duration>,
    /// The use of the room's members.
    pub presence: PresenceRule,
}

/// The use of a room's members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PresenceRule {
    /// Members are neither shown nor counted.
    Hidden,
    /// Members are shown.
    #[default]
    Shown,
    /// Members are shown, and their joins and leaves are messages.
    Logged,
}

/// A message rate that a rule sets. The rooms of the rule share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleRate {
    /// The number of the rule.
    pub rule: usize,
    /// Messages per second; 0 is unlimited.
    pub per_second: u32,
}

/// The rules of a server. See the [module docs](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomRuleTable {
    /// The settings of rooms that no rule matches.
    default: Arc<RoomRules>,
    names: HashMap<RoomName, Arc<RoomRules>>,
    /// The longest prefix first.
    patterns: Vec<(RoomPattern, Arc<RoomRules>)>,
}

impl RoomRule {
    /// Creates a rule for `rooms` that sets nothing.
    pub const fn new(rooms: RoomSelector) -> Self {
        Self {
            rooms,
            history: HistoryRule {
                messages: None,
                bytes: None,
                age: None,
            },
            max_message: None,
            message_rate: None,
            is_public: None,
            expires: None,
            presence: None,
        }
    }

    /// Returns the settings of the rooms for which `number` is the longest rule. `shorter` are those of the next shorter
    /// rule.
    fn combine(&self, number: usize, shorter: &RoomRules) -> RoomRules {
        let history = HistoryRule {
            messages: self.history.messages.or(shorter.history.messages),
            bytes: self.history.bytes.or(shorter.history.bytes),
            age: self.history.age.or(shorter.history.age),
        };
        let rate = self.message_rate.map(|per_second| RuleRate {
            rule: number,
            per_second,
        });

        RoomRules {
            history,
            max_message: self.max_message.unwrap_or(shorter.max_message),
            message_rate: rate.or(shorter.message_rate),
            is_public: self.is_public.unwrap_or(shorter.is_public),
            expires: self.expires.or(shorter.expires),
            presence: self.presence.unwrap_or(shorter.presence),
        }
    }
}

impl Default for RoomRules {
    fn default() -> Self {
        Self {
            history: HistoryRule::default(),
            max_message: 64 * 1024,
            message_rate: None,
            is_public: false,
            expires: None,
            presence: PresenceRule::Shown,
        }
    }
}

impl RoomRules {
    /// Returns true if members are shown.
    pub fn has_presence(&self) -> bool {
        self.presence != PresenceRule::Hidden
    }

    /// Returns true if joins and leaves are messages.
    pub fn is_presence_logged(&self) -> bool {
        self.presence == PresenceRule::Logged
    }
}

impl RoomRuleTable {
    /// Creates a table of `rules`, whose rooms all differ. Other rooms have the settings `default`.
    pub fn new(default: RoomRules, rules: &[RoomRule]) -> Self {
        let mut sorted: Vec<(usize, &RoomRule)> = rules.iter().enumerate().collect();
        sorted.sort_by_key(|(_, rule)| rule.rooms.as_str().len());
        let mut table = Self {
            default: Arc::new(default),
            ..Self::default()
        };

        for (number, rule) in &sorted {
            if let RoomSelector::Pattern(pattern) = &rule.rooms {
                let combined = rule.combine(*number, table.covering(pattern));
                let entry = (pattern.clone(), Arc::new(combined));
                table.patterns.insert(0, entry);
            }
        }
        for (number, rule) in &sorted {
            if let RoomSelector::Room(room) = &rule.rooms {
                let combined = rule.combine(*number, table.of(room));
                table.names.insert(room.clone(), Arc::new(combined));
            }
        }
        table
    }

    /// Returns the settings of `room`.
    pub fn of(&self, room: &RoomName) -> &Arc<RoomRules> {
        if let Some(rules) = self.names.get(room) {
            return rules;
        }

        let longest = self.patterns.iter().find(|(rooms, _)| rooms.matches(room));
        longest.map_or(&self.default, |(_, rules)| rules)
    }

    /// Returns the settings of rooms that no rule matches.
    pub fn default_rules(&self) -> &RoomRules {
        &self.default
    }

    /// Returns the largest message of any room, in bytes.
    pub fn max_message(&self) -> usize {
        let largest = self.all().map(|rules| rules.max_message).max();
        largest.unwrap_or(self.default.max_message)
    }

    /// Returns the numbers of messages that rooms keep, as far as rules set them.
    pub fn history_messages(&self) -> impl Iterator<Item = usize> {
        self.all().filter_map(|rules| rules.history.messages)
    }

    /// Returns the ages up to which rooms keep their messages, as far as rules set them.
    pub fn history_ages(&self) -> impl Iterator<Item = Duration> {
        self.all().filter_map(|rules| rules.history.age)
    }

    /// Returns the times without use after which rooms are deleted.
    pub fn expiries(&self) -> impl Iterator<Item = Duration> {
        self.all().filter_map(|rules| rules.expires)
    }

    /// Returns the rooms and patterns whose joins and leaves are messages, none of which includes another. A longer rule may
    /// exclude some of their rooms.
    pub fn presence_logs(&self) -> Vec<RoomSelector> {
        let patterns = self.patterns.iter();
        let patterns = patterns.map(|(rooms, rules)| (rooms.clone().into(), rules));
        let names = self.names.iter();
        let names = names.map(|(room, rules)| (room.clone().into(), rules));

        let logged = patterns
            .chain(names)
            .filter(|(_, rules)| rules.is_presence_logged());
        RoomSelector::without_included(logged.map(|(rooms, _)| rooms).collect())
    }

    /// Returns true if clients without a token may read every room that `pattern` matches, including future ones.
    pub fn is_all_public(&self, pattern: &RoomPattern) -> bool {
        let mut names = self.names.iter().filter(|(room, _)| pattern.matches(room));
        let mut narrower = self
            .patterns
            .iter()
            .filter(|(rooms, _)| pattern.covers(rooms));

        self.covering(pattern).is_public
            && names.all(|(_, rules)| rules.is_public)
            && narrower.all(|(_, rules)| rules.is_public)
    }

    /// Returns true if clients without a token may read at least one room.
    pub fn is_any_public(&self) -> bool {
        let every_room = RoomPattern::every_room();
        let rules = self.names.values();
        let mut rules = rules.chain(self.patterns.iter().map(|(_, rules)| rules));
        self.covering(&every_room).is_public || rules.any(|rules| rules.is_public)
    }

    /// Returns the settings of the longest rule that matches all rooms of `pattern`.
    fn covering(&self, pattern: &RoomPattern) -> &Arc<RoomRules> {
        let covering = self
            .patterns
            .iter()
            .find(|(rooms, _)| rooms.covers(pattern));
        covering.map_or(&self.default, |(_, rules)| rules)
    }

    /// Returns the settings of the rooms of each rule, and those of other rooms.
    fn all(&self) -> impl Iterator<Item = &Arc<RoomRules>> {
        let rules = self.patterns.iter().map(|(_, rules)| rules);
        rules.chain(self.names.values()).chain([&self.default])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(rooms: &str) -> RoomRule {
        RoomRule::new(RoomSelector::parse(rooms).expect("a name or a pattern"))
    }

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).expect("a name")
    }

    #[test]
    fn each_setting_comes_from_the_longest_matching_rule_that_has_it() {
        let sized = |rooms, bytes| RoomRule {
            max_message: Some(bytes),
            ..rule(rooms)
        };
        let unlisted = RoomRule {
            presence: Some(PresenceRule::Hidden),
            ..rule("ci-*")
        };
        let rules = [
            sized("ci-nightly-*", 3),
            sized("*", 1),
            unlisted,
            sized("ci-7", 4),
        ];
        let table = RoomRuleTable::new(RoomRules::default(), &rules);

        for (name, max_message, has_presence) in [
            ("lobby", 1, true),
            ("ci-8", 1, false),
            ("ci-nightly-1", 3, false),
            ("ci-7", 4, false),
            ("ci-77", 1, false),
        ] {
            let rules = table.of(&room(name));
            assert_eq!(rules.max_message, max_message, "{name}");
            assert_eq!(rules.has_presence(), has_presence, "{name}");
        }
        assert_eq!(table.max_message(), 65_536);
    }

    #[test]
    fn the_rooms_with_a_log_of_presence_are_those_of_the_widest_rules() {
        let presence = |rooms, presence| RoomRule {
            presence: Some(presence),
            ..rule(rooms)
        };
        let rules = [
            presence("ci-*", PresenceRule::Logged),
            presence("ci-nightly-*", PresenceRule::Logged),
            presence("ci-7", PresenceRule::Hidden),
            presence("lobby", PresenceRule::Logged),
            rule("lobby-*"),
        ];
        let table = RoomRuleTable::new(RoomRules::default(), &rules);

        let logs = table.presence_logs();

        let logs: Vec<&str> = logs.iter().map(RoomSelector::as_str).collect();
        assert_eq!(logs, ["lobby", "ci-*"]);
        assert!(table.of(&room("ci-8")).is_presence_logged());
        assert!(!table.of(&room("ci-7")).is_presence_logged());
    }

    #[test]
    fn the_rooms_of_the_rule_that_sets_a_rate_share_it() {
        let limited = RoomRule {
            message_rate: Some(5),
            ..rule("ci-*")
        };
        let rules = [rule("ci-nightly-*"), limited];

        let table = RoomRuleTable::new(RoomRules::default(), &rules);

        let rate = RuleRate {
            rule: 1,
            per_second: 5,
        };
        assert_eq!(table.of(&room("ci-7")).message_rate, Some(rate));
        assert_eq!(table.of(&room("ci-nightly-7")).message_rate, Some(rate));
        assert_eq!(table.of(&room("lobby")).message_rate, None);
    }

    #[test]
    fn all_rooms_of_a_pattern_are_public_only_if_no_rule_excludes_one() {
        let public = |rooms, is_public| RoomRule {
            is_public: Some(is_public),
            ..rule(rooms)
        };
        let rules = [
            public("news-*", true),
            public("news-staff-*", false),
            public("news-eu-draft", false),
            public("open", true),
        ];
        let table = RoomRuleTable::new(RoomRules::default(), &rules);

        for (pattern, expected) in [
            ("news-us*", true),
            ("news-*", false),
            ("news-eu*", false),
            ("news-staff-1*", false),
            ("open*", false),
            ("*", false),
        ] {
            let pattern = RoomPattern::parse(pattern).expect("a pattern");
            assert_eq!(table.is_all_public(&pattern), expected, "{pattern}");
        }
        assert!(table.is_any_public());
        assert!(!RoomRuleTable::default().is_any_public());
    }
}
