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
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::room::Tick;
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

#[derive(Debug)]
struct MemberEntry {
    connections: u32,
    /// Time of the first connection, in milliseconds since 1970 UTC.
    since: u64,
    /// Time at which the member leaves, after its last connection was closed; of no meaning while there is one.
    leaves_at: Tick,
    is_announced: bool,
    /// True if a client received the id in a member list before it was announced to the room.
    is_listed: bool,
    /// The state, if one was ever set.
    state: Option<Box<MemberState>>,
    /// True if the state has changed since it was last announced.
    is_state_changed: bool,
}

/// The state that a member has set.
#[derive(Debug)]
struct MemberState {
    /// `None` if it was removed.
    json: Option<Json>,
    /// Time at which it was set, in milliseconds since 1970 UTC.
    set_at: u64,
    _reservation: MemoryReservation,
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
        let new = MemberEntry {
            connections: 0,
            since: at,
            leaves_at: Tick::default(),
            is_announced: false,
            is_listed: false,
            state: None,
            is_state_changed: false,
        };

        let member = self.members.get_or_insert(id, new);
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

impl MemberEntry {
    /// Returns the member as clients see it.
    fn shown_as(&self, id: &UserId) -> Member {
        Member {
            id: id.clone(),
            state: self.state_json().cloned(),
        }
    }

    fn state_json(&self) -> Option<&Json> {
        self.state.as_ref()?.json.as_ref()
    }

    fn state_set_at(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.set_at)
    }

    fn state_bytes(&self) -> usize {
        self.state_json().map_or(0, |json| json.as_str().len())
    }

    /// Replaces the state. Returns true if the new one is different.
    fn replace_state(&mut self, json: Option<Json>, set_at: u64) -> bool {
        let has_changed = self.state_json() != json.as_ref();
        let bytes = size_of::<MemberState>() + json.as_ref().map_or(0, |json| json.as_str().len());

        self.state = Some(Box::new(MemberState {
            json,
            set_at,
            _reservation: Memory::of_process().reserve(bytes),
        }));
        self.is_state_changed |= has_changed;
        has_changed
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
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::protocol::samples::numbered_user as user;

    fn at(millis: u64) -> Tick {
        Tick::after_start(Duration::from_millis(millis))
    }

    /// Returns a room with `members` members, all announced.
    fn room_of(members: usize) -> Presence {
        let mut presence = Presence::default();
        (0..members).for_each(|number| presence.join(&user(number), 0));
        presence.announce(at(0));
        presence
    }

    /// Returns a room with 100 members, none announced, each with a state of 1002 bytes.
    fn room_with_large_states() -> Presence {
        let mut presence = Presence::default();
        let large = format!("\"{}\"", "x".repeat(1000));
        for number in 0..100 {
            presence.join(&user(number), 0);
            presence.set_state(&user(number), json(&large), 10);
        }
        presence
    }

    const fn only_the_count(count: usize) -> PresenceChange {
        PresenceChange {
            count,
            joined: vec![],
            left: vec![],
            changed: vec![],
        }
    }

    fn json(text: &str) -> Option<Json> {
        Some(Json::from_compact(text))
    }

    /// Returns the member `number` as clients see it.
    fn member(number: usize, state: Option<Json>) -> Member {
        Member {
            id: user(number),
            state,
        }
    }

    #[test]
    fn a_new_member_is_announced_once() {
        let mut presence = Presence::default();

        presence.join(&user(1), 0);

        let change = presence.announce(at(0)).expect("a change");
        assert_eq!(change.joined, [member(1, None)]);
        assert_eq!(presence.announce(at(0)), None);
    }

    #[test]
    fn a_member_that_reconnects_within_the_grace_period_is_not_announced() {
        let mut presence = room_of(1);

        presence.disconnect(&user(0), at(1000));
        let during_grace = presence.announce(at(5999));
        presence.join(&user(0), 0);
        let after_grace = presence.announce(at(20_000));

        assert_eq!(during_grace, None);
        assert_eq!(after_grace, None);
    }

    #[test]
    fn a_member_that_leaves_for_good_has_no_grace_period() {
        let mut presence = room_of(1);

        presence.leave(&user(0), at(1000));
        let change = presence.announce(at(1000)).expect("a change");

        assert_eq!((change.count, change.left), (0, vec![user(0)]));
    }

    #[test]
    fn a_member_leaves_at_the_end_of_the_grace_period() {
        let mut presence = room_of(1);

        presence.disconnect(&user(0), at(30_000));
        let was_pending = presence.has_pending_change();
        let change = presence.announce(at(35_000));

        let expected = PresenceChange {
            count: 0,
            joined: vec![],
            left: vec![user(0)],
            changed: vec![],
        };
        assert!(was_pending);
        assert_eq!(change, Some(expected));
        assert!(!presence.has_pending_change());
    }

    #[test]
    fn a_member_is_present_since_its_first_connection() {
        let present = |id: usize, connections, since| PresentMember {
            id: user(id),
            connections,
            since,
            state: None,
            state_set_at: 0,
        };
        let mut presence = Presence::default();

        presence.join(&user(1), 1000);
        presence.join(&user(0), 2000);
        presence.join(&user(1), 3000);
        let before = presence.sorted_members();
        presence.announce(at(0));
        (0..2).for_each(|_| presence.disconnect(&user(1), at(0)));
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
        assert_eq!(presence.list(), None);
    }

    #[test]
    fn in_a_large_room_a_changed_count_is_announced() {
        let mut presence = room_of(501);

        presence.disconnect(&user(1), at(0));
        presence.join(&user(501), 0);
        let during_grace = presence.announce(at(4000));
        let after_grace = presence.announce(at(5000));

        assert_eq!(during_grace, Some(only_the_count(502)));
        assert_eq!(after_grace, Some(only_the_count(501)));
    }

    #[test]
    fn in_a_large_room_as_many_joins_as_leaves_are_not_announced() {
        let mut presence = room_of(501);

        presence.disconnect(&user(2), at(0));
        presence.announce(at(0));
        presence.join(&user(501), 0);

        assert_eq!(presence.announce(at(5000)), None);
    }

    #[test]
    fn the_count_is_announced_when_most_members_of_a_large_room_leave_at_once() {
        let mut presence = room_of(5000);

        (100..5000).for_each(|number| presence.disconnect(&user(number), at(0)));

        assert_eq!(presence.announce(at(5000)), Some(only_the_count(100)));
    }

    #[test]
    fn short_connections_that_were_never_announced_leave_no_members() {
        let mut presence = Presence::default();

        for number in 0..10_000 {
            presence.join(&user(number), 0);
            presence.disconnect(&user(number), at(0));
        }

        assert_eq!(presence.count(), 0);
        assert_eq!(presence.announce(at(0)), None);
    }

    #[test]
    fn a_state_is_announced_once_and_listed_until_it_is_removed() {
        let mut presence = room_of(2);

        let is_new = presence.set_state(&user(0), json("1"), 10);
        let is_same = presence.set_state(&user(0), json("1"), 11);
        let change = presence.announce(at(0)).expect("a change");
        let listed = presence.list().expect("a small room");
        presence.set_state(&user(0), None, 12);
        let removed = presence.announce(at(0)).expect("a change");

        assert_eq!((is_new, is_same), (true, false));
        assert_eq!(change.changed, [member(0, json("1"))]);
        assert_eq!(listed, [member(0, json("1")), member(1, None)]);
        assert_eq!(removed.changed, [member(0, None)]);
        assert_eq!(presence.announce(at(0)), None);
    }

    #[test]
    fn a_member_that_joins_is_announced_with_its_state() {
        let mut presence = room_of(1);

        presence.join(&user(1), 0);
        presence.set_state(&user(1), json("{}"), 10);
        let change = presence.announce(at(0)).expect("a change");

        assert_eq!(change.joined, [member(1, json("{}"))]);
        assert_eq!(change.changed, []);
    }

    #[test]
    fn a_state_lasts_over_a_reconnect_and_ends_with_the_member() {
        let mut presence = room_of(1);
        presence.set_state(&user(0), json("1"), 10);
        presence.announce(at(0));

        presence.disconnect(&user(0), at(1000));
        presence.join(&user(0), 0);
        let reconnected = presence.list();
        presence.disconnect(&user(0), at(2000));
        presence.announce(at(7000));
        presence.join(&user(0), 0);
        let rejoined = presence.list();

        assert_eq!(reconnected, Some(vec![member(0, json("1"))]));
        assert_eq!(rejoined, Some(vec![member(0, None)]));
    }

    #[test]
    fn users_that_are_not_members_have_no_state() {
        let mut presence = room_of(1);

        let has_changed = presence.set_state(&user(1), json("1"), 10);

        assert!(!has_changed);
        assert_eq!(presence.announce(at(0)), None);
    }

    #[test]
    fn the_newest_state_of_all_nodes_applies() {
        let mut presence = room_of(1);
        presence.merge_state(&user(0), json("1"), 1000);

        presence.merge_state(&user(0), json("2"), 999);
        let after_older = presence.list();
        presence.set_state(&user(0), json("3"), 500);
        presence.merge_state(&user(0), json("1"), 1000);
        let after_own = presence.list();

        assert_eq!(after_older, Some(vec![member(0, json("1"))]));
        assert_eq!(after_own, Some(vec![member(0, json("3"))]));
    }

    #[test]
    fn a_list_has_all_members_and_states_up_to_the_limit() {
        let mut presence = room_with_large_states();

        let listed = presence.list().expect("a small room");

        let states = listed.iter().filter_map(|member| member.state.as_ref());
        let bytes: usize = states.map(|state| state.as_str().len()).sum();
        assert_eq!(listed.len(), 100);
        assert!(bytes <= MAX_LISTED_STATE_BYTES, "{bytes}");
        assert!(bytes > MAX_LISTED_STATE_BYTES - 1100, "{bytes}");
    }

    #[test]
    fn many_large_states_are_announced_in_several_frames() {
        let mut presence = room_with_large_states();

        let first = presence.announce(at(0)).expect("a change");
        let mut later = Vec::new();
        while presence.has_pending_change() {
            later.push(presence.announce(at(0)).expect("a change"));
        }

        assert_eq!(first.joined.len(), 100);
        let with_state = |members: &[Member]| {
            let states = members.iter().filter(|member| member.state.is_some());
            states.count()
        };
        assert_eq!(with_state(&first.joined), 32);
        let later: Vec<usize> = later
            .iter()
            .map(|change| with_state(&change.changed))
            .collect();
        assert_eq!(later, [32, 32, 4]);
    }

    #[test]
    fn in_a_large_room_states_are_not_announced() {
        let mut presence = room_of(501);

        presence.set_state(&user(0), json("1"), 10);

        assert_eq!(presence.announce(at(0)), None);
        assert!(!presence.has_pending_change());
    }

    proptest! {
        /// A client may receive the member list at any time. If it applies every later announcement, its list
        /// after the grace period has exactly the members with a connection, and their states.
        #[test]
        fn a_client_that_applies_every_change_has_the_current_members(
            steps in prop::collection::vec((0usize..6, 0u8..6, 0u64..4000), 0..100),
        ) {
            let mut presence = Presence::default();
            let mut connections = [0usize; 6];
            let mut clients = vec![BTreeMap::new()];
            let mut now = 0;
            let pairs = |members: Vec<Member>| members.into_iter().map(|one| (one.id, one.state));
            let apply = |clients: &mut Vec<BTreeMap<UserId, Option<Json>>>, change: Option<PresenceChange>| {
                let Some(change) = change else { return };
                for members in clients {
                    members.retain(|id, _| !change.left.contains(id));
                    members.extend(pairs(change.joined.clone()));
                    members.extend(pairs(change.changed.clone()));
                }
            };

            for (number, operation, pause) in steps {
                match operation {
                    0 | 1 => {
                        connections[number] += 1;
                        presence.join(&user(number), 0);
                    }
                    2 => {
                        let members = presence.list().expect("a small room");
                        clients.push(pairs(members).collect());
                    }
                    3 if connections[number] > 0 => {
                        let state = (pause % 4 > 0).then(|| Json::from_compact(&pause.to_string()));
                        presence.set_state(&user(number), state, now);
                    }
                    _ if connections[number] > 0 => {
                        connections[number] -= 1;
                        presence.disconnect(&user(number), at(now));
                    }
                    _ => {}
                }

                now += pause;
                if pause % 3 > 0 {
                    apply(&mut clients, presence.announce(at(now)));
                }
            }
            apply(&mut clients, presence.announce(at(now + 5000)));

            let listed = presence.list().expect("a small room");
            let expected: BTreeMap<_, _> = pairs(listed).collect();
            let ids: Vec<UserId> =
                (0..6).filter(|number| connections[*number] > 0).map(user).collect();
            prop_assert_eq!(expected.keys().cloned().collect::<Vec<_>>(), ids);
            for members in &clients {
                prop_assert_eq!(members, &expected);
            }
            prop_assert!(!presence.has_pending_change());
        }
    }
}
