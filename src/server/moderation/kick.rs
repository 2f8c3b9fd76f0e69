//! The kick: a command that ends connections without banning their clients.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::protocol::{RoomName, RoomPattern, RoomSelector, UserId};
use crate::server::auth::{Grants, Right};
use crate::server::session::IpBucket;

/// The maximum difference between the clocks of two nodes, in milliseconds.
const MAX_CLOCK_SKEW: u64 = 2000;

/// A command to end the connections that match all fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kick {
    /// The room; `None` for all rooms.
    pub room: Option<RoomName>,
    /// The user id: the one in the token, or else the requested one. `None` for all users.
    pub id: Option<UserId>,
    /// The IP address, which stands for its /64 if it is IPv6. `None` for all addresses.
    pub address: Option<IpAddr>,
    /// The rooms that the operator administers; `None` for all rooms.
    pub within: Option<Grants>,
    /// The time of the command, in milliseconds since 1970 UTC. A node that receives the command late keeps
    /// connections that were opened later.
    pub at: u64,
}

impl Kick {
    /// Returns true if the command ends subscriptions to some rooms, and not whole connections.
    pub fn is_limited_to_rooms(&self) -> bool {
        let covers_all = |grants: &Grants| grants.covers(Right::Admin, &RoomPattern::every_room());
        self.room.is_some() || !self.within.as_ref().is_none_or(covers_all)
    }

    /// Returns true if the command, which is not limited to rooms, applies to a connection that was opened at `since`
    /// (milliseconds since 1970 UTC) as `id`.
    pub fn applies_to_client(&self, id: Option<&UserId>, address: IpAddr, since: u64) -> bool {
        self.id.as_ref().is_none_or(|named| Some(named) == id)
            && self
                .address
                .is_none_or(|named| IpBucket::of(named) == IpBucket::of(address))
            && since <= self.at.saturating_add(MAX_CLOCK_SKEW)
    }

    /// Returns true if the command applies to the subscription to `rooms` of a client that connected at `since`
    /// (milliseconds since 1970 UTC) as `id`. A room that the command names is the room, or one that the pattern matches: then
    /// the operator must administer all rooms of the pattern, because the whole subscription ends.
    pub fn applies_to(
        &self,
        rooms: &RoomSelector,
        id: Option<&UserId>,
        address: IpAddr,
        since: u64,
    ) -> bool {
        let is_within = |grants: &Grants| match rooms {
            RoomSelector::Room(room) => grants.allow(Right::Admin, room),
            RoomSelector::Pattern(pattern) => grants.covers(Right::Admin, pattern),
        };

        self.room.as_ref().is_none_or(|room| rooms.matches(room))
            && self.within.as_ref().is_none_or(is_within)
            && self.applies_to_client(id, address, since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kick_applies_to_earlier_connections_that_match_all_its_fields() {
        let json = r#"{"room":null,"id":"eve","address":null,"within":{"class-*":"admin","lobby":"rw"},"at":9000}"#;
        let kick: Kick = serde_json::from_str(json).expect("a kick");
        let applies_to = |room: &str, id: &str, since| {
            let rooms = RoomSelector::parse(room).expect("a room or pattern");
            let id = UserId::parse(id).expect("an id");
            kick.applies_to(&rooms, Some(&id), IpAddr::from([192, 0, 2, 1]), since)
        };

        assert!(applies_to("class-1", "eve", 9000));
        assert!(applies_to("class-1*", "eve", 9000));
        assert!(!applies_to("*", "eve", 9000), "other rooms too");
        assert!(!applies_to("class-1", "ann", 9000), "another id");
        assert!(
            !applies_to("lobby", "eve", 9000),
            "the operator does not administer this room"
        );
        assert!(!applies_to("class-1", "eve", 12_000), "a later connection");
    }

    #[test]
    fn a_kick_from_a_room_applies_to_the_patterns_that_match_it_and_that_the_operator_administers()
    {
        let kick = |within: &str| -> Kick {
            let json = format!(
                r#"{{"room":"class-1","id":null,"address":null,"within":{within},"at":9000}}"#
            );
            serde_json::from_str(&json).expect("a kick")
        };

        for (rooms, by_class_admin, by_admin) in [
            ("class-1", true, true),
            ("class-*", true, true),
            ("*", false, true),
            ("class-2", false, false),
            ("class-2*", false, false),
        ] {
            let selector = RoomSelector::parse(rooms).expect("a room or pattern");
            let address = IpAddr::from([192, 0, 2, 1]);
            let limited = kick(r#"{"class-*":"admin"}"#);
            let whole = kick("null");
            assert_eq!(
                limited.applies_to(&selector, None, address, 1),
                by_class_admin,
                "{rooms}"
            );
            assert_eq!(
                whole.applies_to(&selector, None, address, 1),
                by_admin,
                "{rooms}"
            );
        }
    }
}
