//! Who is to go at once, and may come back.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::auth::{Grants, Right};
use crate::server::session::IpBucket;

/// How far the clocks of two nodes may be apart, in milliseconds.
const CLOCKS_APART: u64 = 2000;

/// Whoever fits all that is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eviction {
    /// In this room.
    pub room: Option<RoomName>,
    /// Of this id: the one proven by a token, else the one claimed.
    pub id: Option<UserId>,
    /// From this address; from the same /64 where it is IPv6.
    pub address: Option<IpAddr>,
    /// Only in the rooms that these let administer; in all without them.
    pub within: Option<Grants>,
    /// When it was decided, in milliseconds since 1970 UTC: a node that hears of it late lets those stay who came
    /// later.
    pub at: u64,
}

impl Eviction {
    /// Returns whether it applies to a client that joined `room` at `since` (milliseconds since 1970 UTC) as `id`.
    pub fn means(&self, room: &RoomName, id: Option<&UserId>, address: IpAddr, since: u64) -> bool {
        self.room.as_ref().is_none_or(|named| named == room)
            && self.id.as_ref().is_none_or(|named| Some(named) == id)
            && self
                .address
                .is_none_or(|named| IpBucket::of(named) == IpBucket::of(address))
            && self
                .within
                .as_ref()
                .is_none_or(|grants| grants.allow(Right::Admin, room))
            && since <= self.at.saturating_add(CLOCKS_APART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_means_whoever_fits_all_that_is_given_and_was_there() {
        let json = r#"{"room":null,"id":"eve","address":null,"within":{"class-*":"admin","lobby":"rw"},"at":9000}"#;
        let eviction: Eviction = serde_json::from_str(json).expect("an eviction");
        let means = |room: &str, id: &str, since| {
            let (room, id) = (
                RoomName::parse(room).expect("a name"),
                UserId::parse(id).expect("an id"),
            );
            eviction.means(&room, Some(&id), IpAddr::from([192, 0, 2, 1]), since)
        };
        assert!(means("class-1", "eve", 9000));
        assert!(!means("class-1", "ann", 9000), "another");
        assert!(
            !means("lobby", "eve", 9000),
            "not whose operator's room that is"
        );
        assert!(!means("class-1", "eve", 12_000), "came back");
    }
}
