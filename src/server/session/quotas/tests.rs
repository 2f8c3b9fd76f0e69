//! Who shares which quota, and that a refusal costs nothing.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

const NOW: Tick = Tick::after_start(Duration::ZERO);

const fn rate(burst: u32) -> Rate {
    Rate {
        per_second: 1,
        burst,
    }
}

fn quotas(id: u32, address: u32, http: u32) -> Arc<Quotas> {
    Arc::new(Quotas::new(QuotaRates {
        id: rate(id),
        address: rate(address),
        http: rate(http),
        rooms: rate(2),
    }))
}

fn host(number: u8) -> IpBucket {
    IpBucket::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)))
}

fn id(name: &str) -> UserId {
    UserId::parse(name).expect("an id")
}

/// A connection of `name` from an address, that may say four things by itself.
fn pace(quotas: &Arc<Quotas>, name: &str, number: u8) -> RateLimit {
    RateLimit::new(
        rate(4),
        quotas.clone(),
        RateLimitKey::claimed(id(name), host(number)),
        host(number),
        NOW,
    )
}

/// How many messages pass before one does not, and what refused that.
fn passes(pace: &mut RateLimit) -> (usize, Quota) {
    let mut passed = 0;
    loop {
        match pace.take(NOW) {
            Ok(()) => passed += 1,
            Err(too_fast) => return (passed, too_fast.quota),
        }
    }
}

#[test]
fn connections_of_one_id_share_what_it_may_say_and_those_of_one_address_what_that_may() {
    let quotas = quotas(6, 9, 100);
    let [mut ann, mut again] = [pace(&quotas, "ann", 1), pace(&quotas, "ann", 1)];
    assert_eq!(
        (passes(&mut ann), passes(&mut again)),
        ((4, Quota::Connection), (2, Quota::Id))
    );
    assert_eq!(passes(&mut pace(&quotas, "bob", 1)), (3, Quota::Address));
}

#[test]
fn nobody_uses_up_the_name_of_another_at_another_address() {
    let quotas = quotas(3, 100, 100);
    assert_eq!(passes(&mut pace(&quotas, "ann", 1)), (3, Quota::Id));
    assert_eq!(passes(&mut pace(&quotas, "ann", 2)), (3, Quota::Id));
    let proven = |number| {
        RateLimit::new(
            rate(4),
            quotas.clone(),
            RateLimitKey::proven(id("bob")),
            host(number),
            NOW,
        )
    };
    assert_eq!(
        (passes(&mut proven(1)), passes(&mut proven(2))),
        ((3, Quota::Id), (0, Quota::Id))
    );
}

#[test]
fn a_batch_passes_whole_or_costs_nothing() {
    let quotas = quotas(6, 15, 10);
    let post = |names: &[(&str, u32)]| {
        let of =
            |(name, messages): &(&str, u32)| (RateLimitKey::claimed(id(name), host(1)), *messages);
        let speakers: Vec<_> = names.iter().map(of).collect();
        quotas
            .post(host(1), &speakers, NOW)
            .map_err(|too_fast| too_fast.quota)
    };
    assert_eq!(post(&[("ann", 4), ("bob", 7)]), Err(Quota::Http));
    assert_eq!(post(&[("ann", 2), ("bob", 7)]), Err(Quota::Id));
    assert_eq!(
        post(&[("ann", 5), ("bob", 5)]),
        Ok(()),
        "the refusals cost nothing"
    );
    assert_eq!(post(&[("carol", 1)]), Err(Quota::Http));
    assert_eq!(passes(&mut pace(&quotas, "ann", 1)), (1, Quota::Id));
    assert_eq!(
        passes(&mut pace(&quotas, "carol", 1)),
        (4, Quota::Connection)
    );
    assert_eq!(passes(&mut pace(&quotas, "carol", 1)), (0, Quota::Address));
    assert_eq!(quotas.most_at_once(), Some(6));
    assert_eq!(
        quotas.refusals(),
        [
            ("connection", 1),
            ("id", 2),
            ("address", 1),
            ("http", 2),
            ("rooms", 0)
        ]
    );
}

#[test]
fn a_refusal_says_what_is_allowed_and_which_setting_says_so() {
    let quotas = quotas(100, 100, 100);
    let mut ann = pace(&quotas, "ann", 1);
    assert_eq!(passes(&mut ann).0, 4);
    let refusal = ann.take(NOW).expect_err("used up");
    assert_eq!(
        refusal.to_string(),
        "too fast; one connection may send 1 messages a second, 4 at once (--message-rate)"
    );
    assert_eq!(refusal.wait, Duration::from_secs(1));
}

#[test]
fn an_address_that_has_created_its_rooms_of_a_day_waits_for_the_next_one_and_others_do_not() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let quotas = quotas(1, 1, 1);
    let create = |number, time| quotas.create_room(host(number), Tick::after_start(time));
    assert_eq!(create(1, Duration::ZERO), Ok(()));
    assert_eq!(create(1, Duration::ZERO), Ok(()));

    let refusal = create(1, DAY / 2).expect_err("two at once, and one a day");

    assert_eq!(
        refusal.to_string(),
        "too fast; one address may create 1 rooms a day, 2 at once (--room-rate; an admin token has no limit)"
    );
    assert_eq!(refusal.wait, DAY / 2);
    assert_eq!(create(2, DAY / 2), Ok(()), "another address");
    assert_eq!(create(1, DAY), Ok(()), "the next day");
}

#[test]
fn the_small_frames_of_others_at_an_address_pass_when_one_has_sent_all_that_it_may() {
    let quotas = quotas(1, 1, 1);
    let [mut one, mut other] = [pace(&quotas, "ann", 1), pace(&quotas, "bob", 1)];

    let bytes: usize = (0..1000)
        .map(|_| 300_000)
        .take_while(|bytes| one.allows_overhead(*bytes, NOW))
        .sum();

    assert!((16_000_000..17_000_000).contains(&bytes), "{bytes}");
    assert!(
        !other.allows_overhead(300_000, NOW),
        "they share the address"
    );
    assert!((0..10_000).all(|_| other.allows_overhead(1024, NOW)));
    assert!(pace(&quotas, "eve", 2).allows_overhead(usize::MAX, NOW));
}
