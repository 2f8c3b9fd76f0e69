//! The members of a room, and the changes that are announced to it.
//!
//! A member is a user id with any number of connections. Joins and leaves are collected between announcements: a
//! member that joins and leaves in between is not announced, and one that reconnects within the grace period is
//! not shown as leaving.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::UserId;
use crate::server::room::Tick;
use crate::server::room::member_map::MemberMap;

/// Time for which a member without a connection stays in the room.
const GRACE: Duration = Duration::from_secs(5);
/// Maximum number of members in a room, and of changes in an announcement, whose ids are sent. Beyond it only the
/// count is sent, as a frame with all ids would exceed the send buffer of a connection.
const MAX_NAMED: usize = 500;

/// The members of one room.
#[derive(Debug, Default)]
pub struct Presence {
    members: MemberMap<MemberState>,
    /// True if there may be a change to announce, now or after the grace period.
    has_pending_change: bool,
    /// True if the next announcement is due even without a change.
    is_announcement_due: bool,
    /// The number of members in the last announcement.
    announced_count: usize,
}

#[derive(Debug)]
struct MemberState {
    connections: u32,
    /// Time of the first connection, in milliseconds since 1970 UTC.
    since: u64,
    /// Time at which the last connection was closed; `None` while there is one.
    absent_since: Option<Tick>,
    is_announced: bool,
    /// True if a client received the id in a member list before it was announced to the room.
    is_listed: bool,
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
}

/// The changes since the last announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceChange {
    /// Current number of members.
    pub count: usize,
    /// Members that joined; empty in a large room.
    pub joined: Vec<UserId>,
    /// Members that left; empty in a large room.
    pub left: Vec<UserId>,
}

impl Presence {
    /// Adds a connection of `id` that was opened at `at`, in milliseconds since 1970 UTC.
    pub fn join(&mut self, id: &UserId, at: u64) {
        let new = MemberState {
            connections: 0,
            since: at,
            absent_since: None,
            is_announced: false,
            is_listed: false,
        };

        let member = self.members.get_or_insert(id, new);
        member.connections += 1;
        member.absent_since = None;
        self.has_pending_change |= !member.is_announced;
    }

    /// Removes a connection of `id`.
    pub fn leave(&mut self, id: &UserId, now: Tick) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };

        member.connections = member.connections.saturating_sub(1);
        if member.connections > 0 {
            return;
        }

        if member.is_announced || member.is_listed {
            member.absent_since = Some(now);
            self.has_pending_change = true;
        } else {
            // No client has seen it, so many short connections leave nothing behind.
            self.members.remove(id);
        }
    }

    /// Returns the number of members.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Returns the sorted ids of all members for a client; `None` in a large room.
    pub fn member_ids(&mut self) -> Option<Vec<UserId>> {
        if self.members.len() > MAX_NAMED {
            return None;
        }

        let ids = self.members.iter_mut().map(|(id, member)| {
            member.is_listed = true;
            id.clone()
        });
        Some(sorted(ids.collect()))
    }

    /// Returns all members in arbitrary order, also those of a large room.
    pub fn members(&self) -> impl Iterator<Item = PresentMember> {
        self.members.iter().map(|(id, member)| PresentMember {
            id: id.clone(),
            connections: member.connections,
            since: member.since,
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
        let mut joined = Vec::new();
        let mut left = Vec::new();

        self.has_pending_change = false;
        self.members.retain(|id, member| match member.absent_since {
            Some(since) if now.since(since) >= GRACE => {
                left.push(id.clone());
                false
            }
            Some(_) => {
                self.has_pending_change = true;
                true
            }
            None => {
                if !member.is_announced {
                    member.is_announced = true;
                    joined.push(id.clone());
                }
                true
            }
        });

        let is_due = std::mem::take(&mut self.is_announcement_due);
        let count = self.members.len();
        let changes = joined.len() + left.len();
        let has_changed = if count > MAX_NAMED {
            count != self.announced_count
        } else {
            changes > 0
        };
        if !has_changed && !is_due {
            return None;
        }

        if count > MAX_NAMED || changes > MAX_NAMED {
            joined = Vec::new();
            left = Vec::new();
        }
        self.announced_count = count;

        Some(PresenceChange {
            count,
            joined: sorted(joined),
            left: sorted(left),
        })
    }
}

fn sorted(mut ids: Vec<UserId>) -> Vec<UserId> {
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::after_start(Duration::from_millis(millis))
    }

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user-{number}")).expect("a name")
    }

    /// Returns a room with `members` members, all announced.
    fn room_of(members: usize) -> Presence {
        let mut presence = Presence::default();
        (0..members).for_each(|number| presence.join(&user(number), 0));
        presence.announce(at(0));
        presence
    }

    const fn only_the_count(count: usize) -> PresenceChange {
        PresenceChange {
            count,
            joined: vec![],
            left: vec![],
        }
    }

    #[test]
    fn a_new_member_is_announced_once() {
        let mut presence = Presence::default();

        presence.join(&user(1), 0);

        let change = presence.announce(at(0)).expect("a change");
        assert_eq!(change.joined, [user(1)]);
        assert_eq!(presence.announce(at(0)), None);
    }

    #[test]
    fn a_member_that_reconnects_within_the_grace_period_is_not_announced() {
        let mut presence = room_of(1);

        presence.leave(&user(0), at(1000));
        let during_grace = presence.announce(at(5999));
        presence.join(&user(0), 0);
        let after_grace = presence.announce(at(20_000));

        assert_eq!(during_grace, None);
        assert_eq!(after_grace, None);
    }

    #[test]
    fn a_member_leaves_at_the_end_of_the_grace_period() {
        let mut presence = room_of(1);

        presence.leave(&user(0), at(30_000));
        let was_pending = presence.has_pending_change();
        let change = presence.announce(at(35_000));

        let expected = PresenceChange {
            count: 0,
            joined: vec![],
            left: vec![user(0)],
        };
        assert!(was_pending);
        assert_eq!(change, Some(expected));
        assert!(!presence.has_pending_change());
    }

    #[test]
    fn a_member_with_two_connections_leaves_with_the_second() {
        let mut presence = room_of(1);
        presence.join(&user(0), 0);

        presence.leave(&user(0), at(0));

        assert_eq!(presence.announce(at(60_000)), None);
        assert_eq!(presence.count(), 1);
    }

    #[test]
    fn a_member_is_present_since_its_first_connection() {
        let present = |id: usize, connections, since| PresentMember {
            id: user(id),
            connections,
            since,
        };
        let mut presence = Presence::default();

        presence.join(&user(1), 1000);
        presence.join(&user(0), 2000);
        presence.join(&user(1), 3000);
        let before = presence.sorted_members();
        presence.announce(at(0));
        (0..2).for_each(|_| presence.leave(&user(1), at(0)));
        presence.join(&user(1), 9000);
        let after = presence.sorted_members();

        let expected_before = vec![present(0, 1, 2000), present(1, 2, 1000)];
        let expected_after = vec![present(0, 1, 2000), present(1, 1, 1000)];
        assert_eq!(before, Some(expected_before));
        assert_eq!(after, Some(expected_after));
    }

    #[test]
    fn in_a_large_room_only_the_count_is_announced() {
        let mut presence = Presence::default();

        (0..501).for_each(|number| presence.join(&user(number), 0));

        assert_eq!(presence.announce(at(0)), Some(only_the_count(501)));
        assert_eq!(presence.member_ids(), None);
    }

    #[test]
    fn in_a_large_room_a_changed_count_is_announced() {
        let mut presence = room_of(501);

        presence.leave(&user(1), at(0));
        presence.join(&user(501), 0);
        let during_grace = presence.announce(at(4000));
        let after_grace = presence.announce(at(5000));

        assert_eq!(during_grace, Some(only_the_count(502)));
        assert_eq!(after_grace, Some(only_the_count(501)));
    }

    #[test]
    fn in_a_large_room_as_many_joins_as_leaves_are_not_announced() {
        let mut presence = room_of(501);

        presence.leave(&user(2), at(0));
        presence.announce(at(0));
        presence.join(&user(501), 0);

        assert_eq!(presence.announce(at(5000)), None);
    }

    #[test]
    fn the_count_is_announced_when_most_members_of_a_large_room_leave_at_once() {
        let mut presence = room_of(5000);

        (100..5000).for_each(|number| presence.leave(&user(number), at(0)));

        assert_eq!(presence.announce(at(5000)), Some(only_the_count(100)));
    }

    #[test]
    fn short_connections_that_were_never_announced_leave_no_members() {
        let mut presence = Presence::default();

        for number in 0..10_000 {
            presence.join(&user(number), 0);
            presence.leave(&user(number), at(0));
        }

        assert_eq!(presence.count(), 0);
        assert_eq!(presence.announce(at(0)), None);
    }

    proptest! {
        /// A client may receive the member list at any time. If it applies every later announcement, its list
        /// after the grace period has exactly the members with a connection.
        #[test]
        fn a_client_that_applies_every_change_has_the_current_members(
            steps in prop::collection::vec((0usize..6, 0u8..5, 0u64..4000), 0..100),
        ) {
            let mut presence = Presence::default();
            let mut connections = [0usize; 6];
            let mut clients = vec![BTreeSet::new()];
            let mut now = 0;
            let apply = |clients: &mut Vec<BTreeSet<UserId>>, change: Option<PresenceChange>| {
                let Some(change) = change else { return };
                for members in clients {
                    members.retain(|id| !change.left.contains(id));
                    members.extend(change.joined.iter().cloned());
                }
            };

            for (number, operation, pause) in steps {
                match operation {
                    0 | 1 => {
                        connections[number] += 1;
                        presence.join(&user(number), 0);
                    }
                    2 => {
                        let ids = presence.member_ids().expect("a small room");
                        clients.push(ids.into_iter().collect());
                    }
                    _ if connections[number] > 0 => {
                        connections[number] -= 1;
                        presence.leave(&user(number), at(now));
                    }
                    _ => {}
                }

                now += pause;
                if pause % 3 > 0 {
                    apply(&mut clients, presence.announce(at(now)));
                }
            }
            apply(&mut clients, presence.announce(at(now + 5000)));

            let expected: BTreeSet<UserId> =
                (0..6).filter(|number| connections[*number] > 0).map(user).collect();
            for members in &clients {
                prop_assert_eq!(members, &expected);
            }
            prop_assert!(!presence.has_pending_change());
        }
    }
}
