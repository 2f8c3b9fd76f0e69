//! What an operator decides, as it is told to every node.

use serde::{Deserialize, Serialize};

use crate::protocol::RoomName;
use crate::server::moderation::Eviction;
use crate::server::moderation::rules::{Ban, Closure, Rules, Subject, TooManyBans, Whom};

/// A change of the rules: from now on it is so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decree {
    /// Somebody is kept out.
    Ban(Ban),
    /// Somebody no longer is.
    Lift {
        /// Who.
        whom: Whom,
        /// Of which room; of all without it.
        room: Option<RoomName>,
    },
    /// A room is closed.
    Close(Closure),
    /// A room is open.
    Open {
        /// Which.
        room: RoomName,
    },
}

impl Decree {
    /// What it is about, as a text: of several about the same the last one holds.
    pub fn name(&self) -> String {
        let of = |whom: &Whom, room: Option<&RoomName>| {
            let whom = match Subject::from(whom) {
                Subject::Id(id) => format!("id {id}"),
                Subject::Host(host) => format!("host {host}"),
            };
            // No room's name has a blank, so none can be taken for all.
            room.map_or_else(
                || format!("all rooms {whom}"),
                |room| format!("room {room} {whom}"),
            )
        };
        match self {
            Self::Ban(ban) => of(&ban.whom, ban.room.as_ref()),
            Self::Lift { whom, room } => of(whom, room.as_ref()),
            Self::Close(Closure { room, .. }) | Self::Open { room } => format!("door {room}"),
        }
    }

    /// Changes `rules` so. Whether anything was there to be changed: a ban or a closed room.
    ///
    /// # Errors
    /// If there are too many bans.
    pub fn change(&self, rules: &mut Rules) -> Result<bool, TooManyBans> {
        Ok(match self {
            Self::Ban(ban) => {
                rules.ban(ban.clone())?;
                true
            }
            Self::Lift { whom, room } => rules.lift(whom, room.as_ref()),
            Self::Close(closure) => {
                rules.close(closure.clone());
                true
            }
            Self::Open { room } => rules.open(room),
        })
    }
}

/// What is told to every node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// From now on it is so.
    Decree(Decree),
    /// These are to go.
    Evict(Eviction),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decree(json: &str) -> Decree {
        serde_json::from_str(json).expect("a decree")
    }

    #[test]
    fn of_several_about_the_same_the_last_one_holds() {
        let ban = |fields: &str| decree(&format!(r#"{{"ban":{{{fields},"by":"ops","since":1}}}}"#));
        let lift = |whom: &str| decree(&format!(r#"{{"lift":{{"whom":{whom},"room":null}}}}"#));
        assert_eq!(ban(r#""id":"eve""#).name(), lift(r#"{"id":"eve"}"#).name());
        let network = ban(r#""address":"2001:db8::1""#).name();
        assert_eq!(network, lift(r#"{"address":"2001:db8::2"}"#).name());
        let others = [
            ban(r#""id":"eve","room":"class""#),
            ban(r#""id":"class id eve""#),
            ban(r#""id":"all rooms id eve","room":"class""#),
            decree(r#"{"open":{"room":"class"}}"#),
        ];
        let mut names: Vec<String> = others.iter().map(Decree::name).collect();
        names.extend([ban(r#""id":"eve""#).name(), network]);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
        assert_eq!(
            decree(r#"{"close":{"room":"class","by":"ops","since":1}}"#).name(),
            others[3].name()
        );
    }

    #[test]
    fn a_decree_says_whether_there_was_anything_to_change() {
        let mut rules = Rules::default();
        let changes = [
            (r#"{"lift":{"whom":{"id":"eve"},"room":null}}"#, false),
            (r#"{"ban":{"id":"eve","by":"ops","since":1}}"#, true),
            (r#"{"lift":{"whom":{"id":"eve"},"room":null}}"#, true),
            (r#"{"open":{"room":"class"}}"#, false),
            (r#"{"close":{"room":"class","by":"ops","since":1}}"#, true),
            (r#"{"open":{"room":"class"}}"#, true),
        ];
        for (json, was) in changes {
            assert_eq!(decree(json).change(&mut rules), Ok(was), "{json}");
        }
    }
}
