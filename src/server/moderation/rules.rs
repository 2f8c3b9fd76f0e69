//! Bans and closed rooms, and the checks against them. Pure: times are parameters, in milliseconds since 1970 UTC.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::protocol::admin::{Ban, BanList, BanTarget, ClosedRoom};
use crate::protocol::{RoomName, UserId};
use crate::server::session::IpBucket;

/// The maximum number of bans, which keeps look-ups fast and the file within a few MB.
const MAX_BANS: usize = 10_000;

/// A client that wants to join, read or publish in a room.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    id: Option<&'a UserId>,
    address: IpAddr,
    room: Option<&'a RoomName>,
}

impl<'a> AccessRequest<'a> {
    /// Creates a request for `room` of the client at `address`, with its `id` if it has one.
    pub const fn new(id: Option<&'a UserId>, address: IpAddr, room: &'a RoomName) -> Self {
        Self {
            id,
            address,
            room: Some(room),
        }
    }

    /// Creates a request for a connection without a room.
    pub const fn anywhere(id: Option<&'a UserId>, address: IpAddr) -> Self {
        Self {
            id,
            address,
            room: None,
        }
    }
}

/// The reason why access is denied. Its text is sent to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The client is banned.
    Banned {
        /// The end of the ban; `None` if it has none.
        until: Option<u64>,
        /// The reason that the operator gave.
        reason: Option<String>,
    },
    /// The room is closed.
    Closed {
        /// The reason that the operator gave.
        reason: Option<String>,
    },
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::Banned {
                until: Some(until),
                reason,
            } => {
                let until = Timestamp::from_millisecond(i64::try_from(*until).unwrap_or(i64::MAX));
                let until = until.unwrap_or(Timestamp::MAX);
                write!(
                    f,
                    "you are banned until {}",
                    until.strftime("%Y-%m-%d %H:%M UTC")
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

        match reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Denied {}

/// The error for a ban beyond the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {MAX_BANS} bans, the limit; lift some, or close the room")]
pub struct TooManyBans;

/// The bans and closed rooms.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "RulesFile", into = "RulesFile")]
pub struct Rules {
    bans: BTreeMap<(BanKey, Option<RoomName>), Ban>,
    closed: BTreeMap<RoomName, ClosedRoom>,
}

/// The content of the file of the rules.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    bans: Vec<Ban>,
    closed: Vec<ClosedRoom>,
}

/// The key of bans in look-ups. All addresses of a host have the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BanKey {
    Id(UserId),
    Host(IpBucket),
}

impl From<&BanTarget> for BanKey {
    fn from(target: &BanTarget) -> Self {
        match target {
            BanTarget::Id(id) => Self::Id(id.clone()),
            BanTarget::Address(address) => Self::Host(IpBucket::of(*address)),
        }
    }
}

impl Rules {
    /// Adds `ban`, and replaces one of the same target in the same room. Expired bans are removed only if there is no
    /// space left, because a clock that is temporarily ahead must not lift a ban permanently.
    ///
    /// # Errors
    /// If there are too many bans.
    pub fn ban(&mut self, ban: Ban) -> Result<(), TooManyBans> {
        if self.bans.len() >= MAX_BANS {
            self.bans
                .retain(|_, known| known.until.is_none_or(|until| until > ban.since));
        }
        if self.bans.len() >= MAX_BANS {
            return Err(TooManyBans);
        }

        let key = (BanKey::from(&ban.target), ban.room.clone());
        self.bans.insert(key, ban);
        Ok(())
    }

    /// Lifts the ban of `target` in `room`, or the one in all rooms if it is `None`. Returns true if there was one.
    pub fn unban(&mut self, target: &BanTarget, room: Option<&RoomName>) -> bool {
        self.bans.remove(&(target.into(), room.cloned())).is_some()
    }

    /// Closes a room.
    pub fn close(&mut self, closed: ClosedRoom) {
        self.closed.insert(closed.room.clone(), closed);
    }

    /// Opens `room`. Returns true if it was closed.
    pub fn open(&mut self, room: &RoomName) -> bool {
        self.closed.remove(room).is_some()
    }

    pub(super) fn admit(&self, request: &AccessRequest<'_>, now: u64) -> Result<(), Denied> {
        self.admit_reader(request, now)?;

        match request.room.and_then(|room| self.closed.get(room)) {
            Some(closed) => Err(Denied::Closed {
                reason: closed.reason.clone(),
            }),
            None => Ok(()),
        }
    }

    pub(super) fn admit_reader(&self, request: &AccessRequest<'_>, now: u64) -> Result<(), Denied> {
        self.check_bans(request.id, request.address, request.room, now)
    }

    /// Checks the bans in all rooms, and those in `room`.
    pub(super) fn check_bans(
        &self,
        id: Option<&UserId>,
        address: IpAddr,
        room: Option<&RoomName>,
        now: u64,
    ) -> Result<(), Denied> {
        if self.bans.is_empty() {
            return Ok(());
        }

        let host = BanKey::Host(IpBucket::of(address));
        let targets = id.cloned().map(BanKey::Id).into_iter().chain([host]);
        let rooms = std::iter::once(None).chain(room.cloned().map(Some));
        let keys = targets.flat_map(|key| rooms.clone().map(move |room| (key.clone(), room)));
        let bans = keys.filter_map(|key| self.bans.get(&key));

        // If several bans apply, the one that lasts longest is reported.
        let longest = bans
            .filter(|ban| is_in_force(ban, now))
            .max_by_key(|ban| ban.until.unwrap_or(u64::MAX));

        match longest {
            Some(ban) => Err(Denied::Banned {
                until: ban.until,
                reason: ban.reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Returns the rooms from which a client is banned by name.
    pub(super) fn banned_rooms(
        &self,
        id: Option<&UserId>,
        address: IpAddr,
        now: u64,
    ) -> Vec<RoomName> {
        let id = id.map(|id| BanKey::Id(id.clone()));
        let host = BanKey::Host(IpBucket::of(address));

        let bans = id.into_iter().chain([host]).flat_map(|key| {
            let bans = self.bans.range((key.clone(), None)..);
            bans.take_while(move |((target, _), _)| *target == key)
        });
        let bans = bans.filter(|(_, ban)| is_in_force(ban, now));
        bans.filter_map(|((_, room), _)| room.clone()).collect()
    }

    /// Returns the rules in force at `now`, the oldest ban first.
    pub(super) fn list(&self, now: u64) -> BanList {
        let in_force = self.bans.values().filter(|ban| is_in_force(ban, now));
        let mut bans: Vec<Ban> = in_force.cloned().collect();
        bans.sort_unstable_by(|one, other| {
            (one.since, &one.target, &one.room).cmp(&(other.since, &other.target, &other.room))
        });

        BanList {
            bans,
            closed: self.closed.values().cloned().collect(),
        }
    }

    pub(super) fn closed_rooms(&self) -> HashSet<RoomName> {
        self.closed.keys().cloned().collect()
    }
}

fn is_in_force(ban: &Ban, now: u64) -> bool {
    ban.until.is_none_or(|until| until > now)
}

impl From<Rules> for RulesFile {
    fn from(rules: Rules) -> Self {
        let BanList { bans, closed } = rules.list(0);
        Self { bans, closed }
    }
}

impl TryFrom<RulesFile> for Rules {
    type Error = TooManyBans;

    fn try_from(RulesFile { bans, closed }: RulesFile) -> Result<Self, TooManyBans> {
        let mut rules = Self::default();
        bans.into_iter().try_for_each(|ban| rules.ban(ban))?;
        closed.into_iter().for_each(|room| rules.close(room));
        Ok(rules)
    }
}

#[cfg(test)]
mod tests;
