//! Whom the rules bar, from what, and for how long.

use proptest::prelude::*;

use super::*;

fn room(name: &str) -> RoomName {
    RoomName::parse(name).expect("a name")
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn ban(whom: Whom, in_room: Option<&str>, until: Option<u64>) -> Ban {
    Ban {
        whom,
        room: in_room.map(room),
        until,
        reason: None,
        by: "ops".to_owned(),
        since: 10,
    }
}

fn is_barred(rules: &Rules, id: Option<&str>, from: &str, at: &str, now: u64) -> bool {
    let (id, at) = (id.map(user), room(at));
    rules
        .admit(&Guest::new(id.as_ref(), address(from), &at), now)
        .is_err()
}

#[test]
fn a_ban_is_for_an_id_or_an_address_in_one_room_or_all_until_it_ends() {
    let mut rules = Rules::default();
    rules
        .ban(ban(Whom::Id(user("eve")), None, Some(100)))
        .expect("room for it");
    rules
        .ban(ban(Whom::Id(user("mallory")), Some("class"), None))
        .expect("room for it");
    rules
        .ban(ban(Whom::Address(address("192.0.2.1")), None, None))
        .expect("room for it");
    rules
        .ban(ban(Whom::Address(address("2001:db8::7")), None, None))
        .expect("room for it");
    for (id, from, at, now, expected) in [
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
            is_barred(&rules, id, from, at, now),
            expected,
            "{id:?} from {from} at {at}, {now}"
        );
    }
    assert!(
        !rules.lift(&Whom::Id(user("mallory")), None),
        "in another room it is another ban"
    );
    assert!(
        rules.lift(&Whom::Address(address("2001:db8::9")), None),
        "all of a host's addresses are one"
    );
    assert_eq!(rules.list(100).0.len(), 2);
}

#[test]
fn a_closed_room_lets_nobody_in_and_may_still_be_read() {
    let mut rules = Rules::default();
    rules.close(Closure {
        room: room("class"),
        reason: Some("over".to_owned()),
        by: "ops".to_owned(),
        since: 1,
    });
    let class = room("class");
    let guest = Guest::new(None, address("10.0.0.1"), &class);
    let barred = rules.admit(&guest, 5).expect_err("closed");
    assert_eq!(
        barred.to_string(),
        "the room is closed until an operator opens it: over"
    );
    assert_eq!(
        (
            rules.admit_reader(&guest, 5),
            is_barred(&rules, None, "10.0.0.1", "other", 5)
        ),
        (Ok(()), false)
    );
    assert_eq!(
        (
            rules.open(&class),
            rules.open(&class),
            rules.admit(&guest, 5)
        ),
        (true, false, Ok(()))
    );
}

#[test]
fn the_longest_of_several_bans_is_told() {
    let mut rules = Rules::default();
    rules
        .ban(ban(Whom::Id(user("eve")), None, Some(100)))
        .expect("room for it");
    rules
        .ban(ban(Whom::Address(address("10.0.0.1")), None, Some(200)))
        .expect("room for it");
    let (eve, lobby) = (user("eve"), room("lobby"));
    let barred = rules.admit(&Guest::new(Some(&eve), address("10.0.0.1"), &lobby), 50);
    assert_eq!(
        barred,
        Err(Barred::Banned {
            until: Some(200),
            reason: None
        })
    );
}

#[test]
fn a_ban_that_is_made_while_the_date_is_ahead_lifts_no_other() {
    let mut rules = Rules::default();
    let of = |id: &str, until| ban(Whom::Id(user(id)), None, until);
    rules.ban(of("eve", Some(100))).expect("room for it");

    let ahead = Ban {
        since: 1000,
        ..of("mallory", None)
    };
    rules.ban(ahead).expect("room for it");

    assert_eq!(rules.list(50).0.len(), 2);
}

#[test]
fn there_are_never_too_many_bans_and_those_that_ended_make_room() {
    let mut rules = Rules::default();
    let number = |number: usize, until| ban(Whom::Id(user(&number.to_string())), None, until);
    for each in 0..MAX_BANS {
        rules.ban(number(each, Some(15))).expect("room for it");
    }
    assert_eq!(rules.ban(number(MAX_BANS, None)), Err(TooManyBans));
    assert_eq!(
        rules.ban(Ban {
            since: 20,
            ..number(MAX_BANS, None)
        }),
        Ok(())
    );
    assert_eq!(rules.list(0).0.len(), 1);
}

proptest! {
    #[test]
    fn rules_are_read_as_they_were_written(
        bans in prop::collection::vec((any::<bool>(), 0u8..5, prop::option::of("[a-c]"), prop::option::of(11u64..99)), 0..20),
        closed in prop::collection::vec("[a-c]{1,2}", 0..5),
    ) {
        let mut rules = Rules::default();
        for (is_id, which, at, until) in bans {
            let whom = if is_id { Whom::Id(user(&which.to_string())) } else { Whom::Address(IpAddr::from([10, 0, 0, which])) };
            rules.ban(ban(whom, at.as_deref(), until)).expect("room for it");
        }
        for name in closed {
            rules.close(Closure { room: room(&name), reason: None, by: name, since: 3 });
        }
        let json = serde_json::to_string(&rules).expect("JSON");
        let read: Rules = serde_json::from_str(&json).expect("rules");
        prop_assert_eq!(read.list(0), rules.list(0));
    }
}
