//! Tests of the members: their announcements, grace periods and states.

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
