//! The rules themselves, and whom they bar. Pure: the time comes in, in milliseconds since 1970 UTC.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::session::IpBucket;

/// Bans at once: what is looked up stays small, and the file a few MB.
const MAX_BANS: usize = 10_000;

/// Whom a ban is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// Whoever has this id.
    Id(UserId),
    /// Whoever comes from this address; from the same /64 where it is IPv6.
    Address(IpAddr),
}

/// Someone is kept out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Who.
    #[serde(flatten)]
    pub whom: Whom,
    /// Of which room; of all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// Until when; without it, until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Why, for whoever is kept out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which operator said so.
    pub by: String,
    /// When.
    pub since: u64,
}

/// A room is closed: nobody comes in and nothing is said there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closure {
    /// Which.
    pub room: RoomName,
    /// Why, for whoever wants to come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which operator said so.
    pub by: String,
    /// When.
    pub since: u64,
}

/// Someone at the door of a room.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    pub(super) id: Option<&'a UserId>,
    pub(super) address: IpAddr,
    pub(super) room: &'a RoomName,
}

/// Why someone may not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barred {
    /// It is banned.
    Banned {
        /// Until when; without it, until the ban is lifted.
        until: Option<u64>,
        /// Why.
        reason: Option<String>,
    },
    /// The room is closed.
    Closed {
        /// Why.
        reason: Option<String>,
    },
}

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::Banned {
                until: Some(until),
                reason,
            } => {
                write!(
                    f,
                    "you are banned until {until} (milliseconds since 1970 UTC)"
                )?;
                reason
            }
            Self::Banned {
                until: None,
                reason,
            } => {
                f.write_str("you are banned until an operator lifts it")?;
                reason
            }
            Self::Closed { reason } => {
                f.write_str("the room is closed until an operator opens it")?;
                reason
            }
        };
        reason
            .as_ref()
            .map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl std::error::Error for Barred {}

/// There are as many bans as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {MAX_BANS} bans, and no more may be; lift some, or close the room")]
pub struct TooManyBans;

/// See the [module docs](self).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Rules {
    bans: HashMap<(Subject, Option<RoomName>), Ban>,
    closed: BTreeMap<RoomName, Closure>,
}

/// The rules as they stand in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    bans: Vec<Ban>,
    closed: Vec<Closure>,
}

/// Whom a ban is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Id(UserId),
    Host(IpBucket),
}

impl From<&Whom> for Subject {
    fn from(whom: &Whom) -> Self {
        match whom {
            Whom::Id(id) => Self::Id(id.clone()),
            Whom::Address(address) => Self::Host(IpBucket::of(*address)),
        }
    }
}

impl Rules {
    /// Adds `ban`, and replaces one of the same target in the same room. Expired bans are dropped only when there is no
    /// space left: a clock that is temporarily ahead must not lift a ban permanently.
    ///
    /// # Errors
    /// If there are too many.
    pub fn ban(&mut self, ban: Ban) -> Result<(), TooManyBans> {
        if self.bans.len() >= MAX_BANS {
            self.bans
                .retain(|_, known| known.until.is_none_or(|until| until > ban.since));
        }
        if self.bans.len() >= MAX_BANS {
            return Err(TooManyBans);
        }
        self.bans
            .insert((Subject::from(&ban.whom), ban.room.clone()), ban);
        Ok(())
    }

    /// The ban of `whom` in `room` (in all of them, without one) holds no longer; whether there was one.
    pub fn lift(&mut self, whom: &Whom, room: Option<&RoomName>) -> bool {
        self.bans.remove(&(whom.into(), room.cloned())).is_some()
    }

    /// `closure` holds from now on.
    pub fn close(&mut self, closure: Closure) {
        self.closed.insert(closure.room.clone(), closure);
    }

    /// `room` is closed no longer; whether it was.
    pub fn open(&mut self, room: &RoomName) -> bool {
        self.closed.remove(room).is_some()
    }

    pub(super) fn admit(&self, guest: &Guest<'_>, now: u64) -> Result<(), Barred> {
        self.admit_reader(guest, now)?;
        match self.closed.get(guest.room) {
            Some(closure) => Err(Barred::Closed {
                reason: closure.reason.clone(),
            }),
            None => Ok(()),
        }
    }

    pub(super) fn admit_reader(&self, guest: &Guest<'_>, now: u64) -> Result<(), Barred> {
        self.check_bans(guest.id, guest.address, Some(guest.room), now)
    }

    /// Checks the bans that apply in all rooms, and those that apply in `room`.
    pub(super) fn check_bans(
        &self,
        id: Option<&UserId>,
        address: IpAddr,
        room: Option<&RoomName>,
        now: u64,
    ) -> Result<(), Barred> {
        if self.bans.is_empty() {
            return Ok(());
        }

        let host = Subject::Host(IpBucket::of(address));
        let subjects = id.cloned().map(Subject::Id).into_iter().chain([host]);
        let rooms = std::iter::once(None).chain(room.cloned().map(Some));
        let keys = subjects.flat_map(|of| rooms.clone().map(move |room| (of.clone(), room)));
        let is_on = |ban: &&Ban| ban.until.is_none_or(|until| until > now);

        // Of several, the one that lasts longest.
        let bans = keys.filter_map(|key| self.bans.get(&key)).filter(is_on);
        match bans.max_by_key(|ban| ban.until.unwrap_or(u64::MAX)) {
            Some(ban) => Err(Barred::Banned {
                until: ban.until,
                reason: ban.reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// What holds at `now`, the bans in the order in which they were made.
    pub(super) fn list(&self, now: u64) -> (Vec<Ban>, Vec<Closure>) {
        let is_on = |ban: &&Ban| ban.until.is_none_or(|until| until > now);
        let mut bans: Vec<Ban> = self.bans.values().filter(is_on).cloned().collect();
        bans.sort_unstable_by(|one, other| {
            (one.since, &one.whom, &one.room).cmp(&(other.since, &other.whom, &other.room))
        });
        (bans, self.closed.values().cloned().collect())
    }

    pub(super) fn closed_rooms(&self) -> HashSet<RoomName> {
        self.closed.keys().cloned().collect()
    }
}

impl From<Rules> for Written {
    fn from(rules: Rules) -> Self {
        let (bans, closed) = rules.list(0);
        Self { bans, closed }
    }
}

impl TryFrom<Written> for Rules {
    type Error = TooManyBans;

    fn try_from(Written { bans, closed }: Written) -> Result<Self, TooManyBans> {
        let mut rules = Self::default();
        bans.into_iter().try_for_each(|ban| rules.ban(ban))?;
        closed.into_iter().for_each(|closure| rules.close(closure));
        Ok(rules)
    }
}

#[cfg(test)]
mod tests;
