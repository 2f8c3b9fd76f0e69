//! Tests of the quotas: the connections that share one, and refusals that take no tokens.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::protocol::samples::user as id;
use crate::server::session::ConnectionLimiter;

const NOW: Tick = Tick::after_start(Duration::ZERO);

const fn rate(burst: u32) -> Rate {
    Rate {
        per_second: 1,
        burst,
    }
}

/// Returns quotas of the given numbers of messages at once, and of two rooms at once.
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

/// Returns the limit of a connection that may send four messages at once.
fn connection(quotas: &Arc<Quotas>, sender: RateLimitKey, number: u8) -> ConnectionLimiter {
    ConnectionLimiter::new(rate(4), quotas.clone(), sender, host(number), NOW)
}

/// Returns the limit of an unauthenticated connection of `name`.
fn claimed(quotas: &Arc<Quotas>, name: &str, number: u8) -> ConnectionLimiter {
    let sender = RateLimitKey::claimed(id(name), host(number));
    connection(quotas, sender, number)
}

/// Returns the limit of an authenticated connection of `name`.
fn proven(quotas: &Arc<Quotas>, name: &str, number: u8) -> ConnectionLimiter {
    connection(quotas, RateLimitKey::proven(id(name)), number)
}

/// Returns the number of messages that pass, and the quota that refuses the next one.
fn passes(limit: &mut ConnectionLimiter) -> (usize, Quota) {
    passes_within(limit, MessageLimits::Settings)
}

/// Returns the number of messages with `limits` that pass, and the quota that refuses the next one.
fn passes_within(limit: &mut ConnectionLimiter, limits: MessageLimits) -> (usize, Quota) {
    let mut passed = 0;
    loop {
        match limit.take(limits, NOW) {
            Ok(()) => passed += 1,
            Err(error) => return (passed, error.quota),
        }
    }
}

/// Publishes a number of messages of each name over HTTP from one address.
fn post(quotas: &Quotas, messages: &[(&str, u32)]) -> Result<(), Quota> {
    let senders: Vec<_> = messages
        .iter()
        .map(|(name, messages)| (RateLimitKey::claimed(id(name), host(1)), *messages))
        .collect();
    quotas
        .take_http(host(1), &senders, MessageLimits::Settings, NOW)
        .map_err(|error| error.quota)
}

#[test]
fn an_unauthenticated_id_has_a_quota_at_each_address() {
    let quotas = quotas(3, 100, 100);

    assert_eq!(passes(&mut claimed(&quotas, "ann", 1)), (3, Quota::Id));
    assert_eq!(passes(&mut claimed(&quotas, "ann", 2)), (3, Quota::Id));
}

#[test]
fn an_authenticated_id_has_one_quota_at_all_addresses() {
    let quotas = quotas(3, 100, 100);

    assert_eq!(passes(&mut proven(&quotas, "bob", 1)), (3, Quota::Id));
    assert_eq!(passes(&mut proven(&quotas, "bob", 2)), (0, Quota::Id));
}

#[test]
fn a_request_passes_whole_or_takes_no_tokens() {
    let quotas = quotas(6, 15, 10);

    let over_http_quota = post(&quotas, &[("ann", 4), ("bob", 7)]);
    let over_id_quota = post(&quotas, &[("ann", 2), ("bob", 7)]);
    let all_of_http_quota = post(&quotas, &[("ann", 5), ("bob", 5)]);

    assert_eq!(over_http_quota, Err(Quota::Http));
    assert_eq!(over_id_quota, Err(Quota::Id));
    assert_eq!(all_of_http_quota, Ok(()));
}

#[test]
fn requests_and_connections_share_the_quotas_of_ids_and_addresses() {
    let quotas = quotas(6, 15, 10);
    post(&quotas, &[("ann", 5), ("bob", 5)]).expect("within the quotas");

    assert_eq!(post(&quotas, &[("carol", 1)]), Err(Quota::Http));
    assert_eq!(passes(&mut claimed(&quotas, "ann", 1)), (1, Quota::Id));

    let mut first = claimed(&quotas, "carol", 1);
    assert_eq!(passes(&mut first), (4, Quota::Connection));

    let mut second = claimed(&quotas, "carol", 1);
    assert_eq!(passes(&mut second), (0, Quota::Address));
}

#[test]
fn the_rate_of_a_token_replaces_those_of_the_connection_the_id_and_the_address() {
    let quotas = quotas(3, 3, 3);
    let own = MessageLimits::Token(10);
    let open = || {
        let sender = RateLimitKey::proven(id("ann"));
        connection(&quotas, sender, 1)
    };
    let (mut first, mut second) = (open(), open());
    let sender = [(RateLimitKey::proven(id("ann")), 160)];

    let on_one_connection = passes_within(&mut first, own);
    let over_http = quotas.take_http(host(1), &sender, own, NOW);
    let on_another_connection = passes_within(&mut second, own);

    assert_eq!(on_one_connection, (20, Quota::Token));
    assert_eq!(over_http, Ok(()));
    assert_eq!(on_another_connection, (20, Quota::Token));
    let refused = second.take(own, NOW).expect_err("used up");
    assert_eq!(
        refused.to_string(),
        "too fast; this token allows 10 messages a second, 20 at once (its claim rate; the grant admin on the room \
         lifts it)"
    );
    assert_eq!(passes(&mut proven(&quotas, "bob", 1)), (3, Quota::Address));
}

#[test]
fn an_admin_of_the_room_and_a_token_without_a_limit_take_no_tokens() {
    let quotas = quotas(1, 1, 1);
    let sender = [(RateLimitKey::proven(id("ann")), 1000)];

    for limits in [MessageLimits::Lifted, MessageLimits::Token(0)] {
        let mut limit = proven(&quotas, "ann", 1);
        assert!((0..1000).all(|_| limit.take(limits, NOW).is_ok()));
        assert_eq!(quotas.take_http(host(1), &sender, limits, NOW), Ok(()));
        assert_eq!(quotas.check_http(host(1), limits, NOW), Ok(()));
    }

    assert_eq!(passes(&mut proven(&quotas, "ann", 1)), (1, Quota::Address));
}

#[test]
fn refusals_are_counted_by_quota() {
    let quotas = quotas(3, 100, 1);

    passes(&mut claimed(&quotas, "ann", 1));
    passes(&mut claimed(&quotas, "bob", 1));
    post(&quotas, &[("carol", 2)]).expect_err("too many messages");

    let expected = [
        ("connection", 0),
        ("id", 2),
        ("address", 0),
        ("http", 1),
        ("token", 0),
        ("rooms", 0),
        ("rule", 0),
    ];
    assert_eq!(quotas.refusals(), expected);
}

#[test]
fn the_largest_request_has_as_many_messages_as_the_smallest_burst() {
    let limited = quotas(6, 15, 10);
    let unlimited = Quotas::new(QuotaRates::UNLIMITED);

    for (quotas, limits, expected) in [
        (&*limited, MessageLimits::Settings, Some(6)),
        (&limited, MessageLimits::Token(30), Some(600)),
        (&limited, MessageLimits::Token(0), None),
        (&limited, MessageLimits::Lifted, None),
        (&unlimited, MessageLimits::Settings, None),
        (&unlimited, MessageLimits::Token(30), Some(600)),
    ] {
        assert_eq!(quotas.max_batch(limits), expected, "{limits:?}");
    }
}

#[test]
fn a_refusal_names_the_allowed_rate_and_its_setting() {
    let quotas = quotas(100, 100, 100);
    let mut ann = claimed(&quotas, "ann", 1);
    passes(&mut ann);

    let error = ann.take(MessageLimits::Settings, NOW).expect_err("used up");

    assert_eq!(
        error.to_string(),
        "too fast; one connection may send 1 messages a second, 4 at once (--message-rate; the claim rate of a token \
         replaces it, and the grant admin on the room lifts it)"
    );
    assert_eq!(error.wait, Duration::from_secs(1));
}

#[test]
fn an_address_that_has_created_its_rooms_waits_for_the_next_day() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let quotas = quotas(1, 1, 1);
    let create = |number, time| quotas.create_room(host(number), Tick::after_start(time));

    let first = create(1, Duration::ZERO);
    let second = create(1, Duration::ZERO);
    let third = create(1, DAY / 2).expect_err("two at once, and one a day");
    let other_address = create(2, DAY / 2);
    let next_day = create(1, DAY);

    assert_eq!(first, Ok(()));
    assert_eq!(second, Ok(()));
    assert_eq!(
        third.to_string(),
        "too fast; one address may create 1 rooms a day, 2 at once (--room-rate; the grant admin on the room \
         lifts it)"
    );
    assert_eq!(third.wait, DAY / 2);
    assert_eq!(other_address, Ok(()));
    assert_eq!(next_day, Ok(()));
}

#[test]
fn small_frames_pass_when_another_client_at_the_address_has_used_up_the_overhead() {
    let quotas = quotas(1, 1, 1);
    let mut ann = claimed(&quotas, "ann", 1);
    let mut bob = claimed(&quotas, "bob", 1);
    let mut eve = claimed(&quotas, "eve", 2);

    let bytes: usize = (0..1000)
        .map(|_| 300_000)
        .take_while(|bytes| ann.allows_overhead(*bytes, NOW))
        .sum();

    assert!((16_000_000..17_000_000).contains(&bytes), "{bytes}");
    assert!(!bob.allows_overhead(300_000, NOW), "same address");
    assert!((0..10_000).all(|_| bob.allows_overhead(1024, NOW)));
    assert!(eve.allows_overhead(usize::MAX, NOW), "another address");
}
