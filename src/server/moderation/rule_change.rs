//! Changes of the rules, as operators make them and nodes exchange them.

use serde::{Deserialize, Serialize};

use crate::protocol::RoomName;
use crate::protocol::admin::{Ban, BanTarget, ClosedRoom};
use crate::server::moderation::Kick;
use crate::server::moderation::rules::{BanKey, Rules, TooManyBans};

/// A change of the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleChange {
    /// Adds a ban.
    Ban(Ban),
    /// Lifts a ban.
    #[serde(rename = "lift")]
    Unban {
        /// The client of the ban.
        #[serde(rename = "whom")]
        target: BanTarget,
        /// The room of the ban; `None` for a ban in all rooms.
        room: Option<RoomName>,
    },
    /// Closes a room.
    Close(ClosedRoom),
    /// Opens a room.
    Open {
        /// The room.
        room: RoomName,
    },
}

impl RuleChange {
    /// Returns the key of the rule that the change is about. The last change with a key is in force.
    pub fn key(&self) -> String {
        let key_of_ban = |target: &BanTarget, room: Option<&RoomName>| {
            let target = match BanKey::from(target) {
                BanKey::Id(id) => format!("id {id}"),
                BanKey::Host(host) => format!("host {host}"),
            };
            // A room's name has no space, so no room is mistaken for all rooms.
            match room {
                Some(room) => format!("room {room} {target}"),
                None => format!("all rooms {target}"),
            }
        };

        match self {
            Self::Ban(ban) => key_of_ban(&ban.target, ban.room.as_ref()),
            Self::Unban { target, room } => key_of_ban(target, room.as_ref()),
            Self::Close(ClosedRoom { room, .. }) | Self::Open { room } => format!("door {room}"),
        }
    }

    /// Applies the change to `rules`. Returns true if anything changed: unbanning or opening a room may have no
    /// effect.
    ///
    /// # Errors
    /// If there are too many bans.
    pub fn apply(&self, rules: &mut Rules) -> Result<bool, TooManyBans> {
        Ok(match self {
            Self::Ban(ban) => {
                rules.ban(ban.clone())?;
                true
            }
            Self::Unban { target, room } => rules.unban(target, room.as_ref()),
            Self::Close(closed) => {
                rules.close(closed.clone());
                true
            }
            Self::Open { room } => rules.open(room),
        })
    }
}

/// A command that one node sends to all nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ClusterCommand {
    /// Applies a change of the rules.
    #[serde(rename = "decree")]
    Change(RuleChange),
    /// Ends connections.
    #[serde(rename = "evict")]
    Kick(Kick),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(json: &str) -> RuleChange {
        serde_json::from_str(json).expect("a change")
    }

    fn ban(fields: &str) -> RuleChange {
        change(&format!(r#"{{"ban":{{{fields},"by":"ops","since":1}}}}"#))
    }

    #[test]
    fn changes_of_the_same_rule_have_the_same_key() {
        let unban =
            |target: &str| change(&format!(r#"{{"lift":{{"whom":{target},"room":null}}}}"#));

        assert_eq!(ban(r#""id":"eve""#).key(), unban(r#"{"id":"eve"}"#).key());
        assert_eq!(
            ban(r#""address":"2001:db8::1""#).key(),
            unban(r#"{"address":"2001:db8::2"}"#).key()
        );
        assert_eq!(
            change(r#"{"close":{"room":"class","by":"ops","since":1}}"#).key(),
            change(r#"{"open":{"room":"class"}}"#).key()
        );
    }

    #[test]
    fn changes_of_different_rules_have_different_keys() {
        let changes = [
            ban(r#""id":"eve""#),
            ban(r#""id":"eve","room":"class""#),
            ban(r#""id":"class id eve""#),
            ban(r#""id":"all rooms id eve","room":"class""#),
            ban(r#""address":"2001:db8::1""#),
            change(r#"{"open":{"room":"class"}}"#),
        ];

        let mut keys: Vec<String> = changes.iter().map(RuleChange::key).collect();
        keys.sort_unstable();
        keys.dedup();

        assert_eq!(keys.len(), changes.len(), "{keys:?}");
    }

    #[test]
    fn a_change_returns_whether_it_changed_anything() {
        let mut rules = Rules::default();

        for (json, has_changed) in [
            (r#"{"lift":{"whom":{"id":"eve"},"room":null}}"#, false),
            (r#"{"ban":{"id":"eve","by":"ops","since":1}}"#, true),
            (r#"{"lift":{"whom":{"id":"eve"},"room":null}}"#, true),
            (r#"{"open":{"room":"class"}}"#, false),
            (r#"{"close":{"room":"class","by":"ops","since":1}}"#, true),
            (r#"{"open":{"room":"class"}}"#, true),
        ] {
            assert_eq!(change(json).apply(&mut rules), Ok(has_changed), "{json}");
        }
    }
}
