//! Tests of the rules: targets, rooms and ends of bans, and closed rooms.

use proptest::prelude::*;

use super::*;
use crate::protocol::samples::{room, user};

fn id(id: &str) -> BanTarget {
    BanTarget::Id(user(id))
}

fn address(text: &str) -> BanTarget {
    BanTarget::Address(text.parse().expect("an address"))
}

fn ban(target: BanTarget, in_room: Option<&str>, until: Option<u64>) -> Ban {
    Ban {
        target,
        room: in_room.map(room),
        until,
        reason: None,
        by: "ops".to_owned(),
        since: 10,
    }
}

fn rules(bans: impl IntoIterator<Item = Ban>) -> Rules {
    let mut rules = Rules::default();
    for ban in bans {
        rules.ban(ban).expect("below the limit");
    }
    rules
}

fn admit(rules: &Rules, id: Option<&str>, from: &str, at: &str, now: u64) -> Result<(), Denied> {
    let id = id.map(|id| UserId::parse(id).expect("a name"));
    let from = from.parse().expect("an address");
    rules.admit(&AccessRequest::new(id.as_ref(), from, &room(at)), now)
}

#[test]
fn a_ban_is_for_an_id_or_an_address_in_one_room_or_all_until_it_ends() {
    let rules = rules([
        ban(id("eve"), None, Some(100)),
        ban(id("mallory"), Some("class"), None),
        ban(address("192.0.2.1"), None, None),
        ban(address("2001:db8::7"), None, None),
    ]);

    for (id, from, at, now, is_denied) in [
        (Some("eve"), "10.0.0.1", "lobby", 99, true),
        (Some("eve"), "10.0.0.1", "lobby", 100, false),
        (Some("Eve"), "10.0.0.1", "lobby", 99, false),
        (Some("mallory"), "10.0.0.1", "class", 9999, true),
        (Some("mallory"), "10.0.0.1", "lobby", 9999, false),
        (None, "192.0.2.1", "lobby", 9999, true),
        (Some("ann"), "::ffff:192.0.2.1", "lobby", 9999, true),
        (Some("ann"), "192.0.2.2", "lobby", 9999, false),
        (Some("ann"), "2001:db8::1:2", "lobby", 9999, true),
        (Some("ann"), "2001:db8:0:1::7", "lobby", 9999, false),
    ] {
        assert_eq!(
            admit(&rules, id, from, at, now).is_err(),
            is_denied,
            "{id:?} from {from} at {at}, {now}"
        );
    }
}

#[test]
fn a_ban_is_lifted_with_its_room_and_with_any_address_of_its_host() {
    let mut rules = rules([
        ban(id("mallory"), Some("class"), None),
        ban(address("2001:db8::7"), None, None),
    ]);

    assert!(!rules.unban(&id("mallory"), None), "another ban");
    assert!(rules.unban(&address("2001:db8::9"), None));

    assert_eq!(rules.list(100).bans.len(), 1);
}

#[test]
fn of_several_bans_the_longest_is_reported() {
    let rules = rules([
        ban(id("eve"), None, Some(100)),
        ban(address("10.0.0.1"), None, Some(200)),
    ]);

    let denied = admit(&rules, Some("eve"), "10.0.0.1", "lobby", 50);

    let longest = Denied::Banned {
        until: Some(200),
        reason: None,
    };
    assert_eq!(denied, Err(longest));
}

#[test]
fn a_ban_that_is_made_while_the_clock_is_ahead_lifts_no_other() {
    let mut rules = rules([ban(id("eve"), None, Some(100))]);

    let ahead = Ban {
        since: 1000,
        ..ban(id("mallory"), None, None)
    };
    rules.ban(ahead).expect("below the limit");

    assert_eq!(rules.list(50).bans.len(), 2);
}

#[test]
fn at_the_limit_expired_bans_make_room_for_new_ones() {
    let of = |number: usize, until| ban(id(&number.to_string()), None, until);
    let mut rules = rules((0..MAX_BANS).map(|number| of(number, Some(15))));

    let too_early = rules.ban(of(MAX_BANS, None));
    let in_time = rules.ban(Ban {
        since: 20,
        ..of(MAX_BANS, None)
    });

    assert_eq!(too_early, Err(TooManyBans));
    assert_eq!(in_time, Ok(()));
    assert_eq!(rules.list(0).bans.len(), 1);
}

proptest! {
    #[test]
    fn rules_are_read_as_they_were_written(
        bans in prop::collection::vec((any::<bool>(), 0u8..5, prop::option::of("[a-c]"), prop::option::of(11u64..99)), 0..20),
        closed in prop::collection::vec("[a-c]{1,2}", 0..5),
    ) {
        let mut written = rules(bans.into_iter().map(|(is_id, number, at, until)| {
            let target = if is_id { id(&number.to_string()) } else { BanTarget::Address([10, 0, 0, number].into()) };
            ban(target, at.as_deref(), until)
        }));
        for name in closed {
            written.close(ClosedRoom { room: room(&name), reason: None, by: name, since: 3 });
        }

        let json = serde_json::to_string(&written).expect("JSON");
        let read: Rules = serde_json::from_str(&json).expect("rules");

        prop_assert_eq!(read.list(0).bans, written.list(0).bans);
        prop_assert_eq!(read.list(0).closed, written.list(0).closed);
    }
}
