//! The members of a room, and the changes that are announced to it.
//!
//! A member is a user id with any number of connections. Joins and leaves are collected between announcements: a
//! member that joins and leaves in between is not announced. One whose connections are lost is not shown as leaving if it
//! reconnects within the grace period. One that leaves for good has none.
//!
//! A member may have a state, a JSON value that its clients set. The newest one applies, over all nodes. It is removed
//! with the member, at the end of the grace period.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::{Json, Member, UserId};
use crate::server::room::Tick;
use crate::server::room::member_entry::MemberEntry;
use crate::server::room::member_map::MemberMap;

/// Time for which a member without a connection stays in the room.
const GRACE: Duration = Duration::from_secs(5);
/// Maximum number of members in a room, and of changes in an announcement, whose ids are sent. Beyond it only the
/// count is sent, as a frame with all ids would exceed the send buffer of a connection.
const MAX_NAMED: usize = 500;
/// Maximum size of the states in one announcement, in bytes of JSON. Further states follow in the next announcement.
const MAX_ANNOUNCED_STATE_BYTES: usize = 32 * 1024;
/// Maximum size of the states in a member list, in bytes of JSON. Further members are listed without their states.
const MAX_LISTED_STATE_BYTES: usize = 64 * 1024;

/// The members of one room.
#[derive(Debug, Default)]
pub struct Presence {
    members: MemberMap<MemberEntry>,
    /// True if there may be a change to announce, now or after the grace period.
    has_pending_change: bool,
    /// True if the next announcement is due even without a change.
    is_announcement_due: bool,
    /// The number of members in the last announcement.
    announced_count: usize,
}

/// One member as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentMember {
    /// User id.
    pub id: UserId,
    /// Number of open connections; 0 during the grace period.
    pub connections: u32,
    /// Time of the first connection, in milliseconds since 1970 UTC.
    pub since: u64,
    /// The state.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Json::deserialize_exact_option"
    )]
    pub state: Option<Json>,
    /// Time at which the state was set or removed, in milliseconds since 1970 UTC; 0 if it was never set.
    #[serde(default)]
    pub state_set_at: u64,
}

/// The changes since the last announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// Current number of members.
    pub count: usize,
    /// Members that joined; empty in a large room.
    pub joined: Vec<Member>,
    /// Members that left; empty in a large room.
    pub left: Vec<UserId>,
    /// Members whose state changed; empty in a large room.
    pub changed: Vec<Member>,
}

impl Presence {
    /// Adds a connection of `id` that was opened at `at`, in milliseconds since 1970 UTC.
    pub fn join(&mut self, id: &UserId, at: u64) {
        let member = self.members.get_or_insert(id, MemberEntry::new(at));
        member.connections += 1;
        self.has_pending_change |= !member.is_announced;
    }

    /// Removes a connection of `id`, which may reconnect.
    pub fn disconnect(&mut self, id: &UserId, now: Tick) {
        self.remove_connection(id, now.after(GRACE));
    }

    /// Removes a connection of `id` that has left the room for good, without a grace period.
    pub fn leave(&mut self, id: &UserId, now: Tick) {
        self.remove_connection(id, now);
    }

    fn remove_connection(&mut self, id: &UserId, leaves_at: Tick) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };

        member.connections = member.connections.saturating_sub(1);
        if member.connections > 0 {
            return;
        }

        if member.is_announced || member.is_listed {
            member.leaves_at = leaves_at;
            self.has_pending_change = true;
        } else {
            // No client has seen it, so many short connections leave nothing behind.
            self.members.remove(id);
        }
    }

    /// Sets the state of the member `id` at `at`, in milliseconds since 1970 UTC; `None` removes it. Returns true if it has
    /// changed.
    pub fn set_state(&mut self, id: &UserId, state: Option<Json>, at: u64) -> bool {
        let Some(member) = self.members.get_mut(id) else {
            return false;
        };

        // The clocks of other nodes may be ahead, and this state is newer than those that arrived from there.
        let at = at.max(member.state_set_at() + 1);
        let has_changed = member.replace_state(state, at);
        self.has_pending_change |= has_changed;
        has_changed
    }

    /// Sets the state of the member `id` like [`Presence::set_state`], unless the present one is newer.
    pub fn merge_state(&mut self, id: &UserId, state: Option<Json>, at: u64) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };

        // The content decides between states of the same time, so that all nodes agree.
        let text = state.as_ref().map(Json::as_str);
        let current = member.state_json().map(Json::as_str);
        if (at, text) > (member.state_set_at(), current) {
            self.has_pending_change |= member.replace_state(state, at);
        }
    }

    /// Returns the number of members.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Returns all members for a client, sorted by id; `None` in a large room. The states that exceed the limit are left
    /// out.
    pub fn list(&mut self) -> Option<Vec<Member>> {
        if self.members.len() > MAX_NAMED {
            return None;
        }

        let mut state_bytes = MAX_LISTED_STATE_BYTES;
        let members = self.members.iter_mut().map(|(id, member)| {
            member.is_listed = true;
            match state_bytes.checked_sub(member.state_bytes()) {
                Some(left) => {
                    state_bytes = left;
                    member.shown_as(id)
                }
                None => without_state(id),
            }
        });
        Some(sorted(members.collect()))
    }

    /// Returns all members in arbitrary order, also those of a large room.
    pub fn members(&self) -> impl Iterator<Item = PresentMember> {
        self.members.iter().map(|(id, member)| PresentMember {
            id: id.clone(),
            connections: member.connections,
            since: member.since,
            state: member.state_json().cloned(),
            state_set_at: member.state_set_at(),
        })
    }

    /// Returns all members sorted by id; `None` in a large room.
    pub fn sorted_members(&self) -> Option<Vec<PresentMember>> {
        if self.members.len() > MAX_NAMED {
            return None;
        }

        let mut members: Vec<PresentMember> = self.members().collect();
        members.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Some(members)
    }

    /// Returns true if `id` is a member, also during its grace period.
    pub fn contains(&self, id: &UserId) -> bool {
        self.members.get(id).is_some()
    }

    /// Returns true if [`Presence::announce`] may return a change, now or after the grace period.
    pub const fn has_pending_change(&self) -> bool {
        self.has_pending_change
    }

    /// Makes the next announcement due even if no member joins or leaves.
    pub const fn announce_again(&mut self) {
        self.is_announcement_due = true;
    }

    /// Returns the changes until `now` that were not yet announced, and marks them as announced. In a large room
    /// there is no change while the count stays the same.
    pub fn announce(&mut self, now: Tick) -> Option<PresenceChange> {
        let is_large = self.members.len() > MAX_NAMED;
        let mut state_bytes = if is_large {
            usize::MAX
        } else {
            MAX_ANNOUNCED_STATE_BYTES
        };
        let mut joined = Vec::new();
        let mut left = Vec::new();
        let mut changed = Vec::new();

        self.has_pending_change = false;
        self.members.retain(|id, member| {
            if member.connections == 0 {
                let has_left = now >= member.leaves_at;
                if has_left {
                    left.push(id.clone());
                }
                self.has_pending_change |= !has_left;
                return !has_left;
            }

            let is_new = !std::mem::replace(&mut member.is_announced, true);
            let announces_state = member.is_state_changed && member.state_bytes() <= state_bytes;
            if announces_state {
                state_bytes -= member.state_bytes();
                member.is_state_changed = false;
            }
            self.has_pending_change |= member.is_state_changed;

            match (is_new, announces_state) {
                (true, true) => joined.push(member.shown_as(id)),
                (true, false) => joined.push(without_state(id)),
                (false, true) => changed.push(member.shown_as(id)),
                (false, false) => {}
            }
            true
        });

        let is_due = std::mem::take(&mut self.is_announcement_due);
        let count = self.members.len();
        let joins_and_leaves = joined.len() + left.len();
        let has_changed = if count > MAX_NAMED {
            count != self.announced_count
        } else {
            joins_and_leaves + changed.len() > 0
        };
        if !has_changed && !is_due {
            return None;
        }

        // A frame with more names would exceed the send buffer.
        if count > MAX_NAMED || joins_and_leaves > MAX_NAMED {
            joined = Vec::new();
            left = Vec::new();
            changed = Vec::new();
        }
        left.sort_unstable();
        self.announced_count = count;

        Some(PresenceChange {
            count,
            joined: sorted(joined),
            left,
            changed: sorted(changed),
        })
    }
}

fn without_state(id: &UserId) -> Member {
    Member {
        id: id.clone(),
        state: None,
    }
}

fn sorted(mut members: Vec<Member>) -> Vec<Member> {
    members.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    members
}

#[cfg(test)]
mod tests;
