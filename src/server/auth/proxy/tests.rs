//! Tests of the client address: every form of the headers, and forged entries.

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Returns the settings with two trusted networks.
fn proxies(header: ProxyHeader) -> Proxies {
    let trusted =
        ["10.0.0.0/8", "2001:db8:aaaa::/48"].map(|network| network.parse().expect("a network"));
    Proxies {
        trusted: trusted.into(),
        header,
        user_headers: None,
    }
}

fn by_x_forwarded_for(peer: &str, lines: &[&str]) -> IpAddr {
    proxies(ProxyHeader::XForwardedFor).client(ip(peer), lines, &["for=6.6.6.6"])
}

fn by_forwarded(peer: &str, lines: &[&str]) -> IpAddr {
    proxies(ProxyHeader::Forwarded).client(ip(peer), &["6.6.6.6"], lines)
}

#[test]
fn the_client_is_the_first_address_from_the_right_that_is_not_a_trusted_proxy() {
    for (peer, lines, client) in [
        ("10.0.0.1", &["192.0.2.1"][..], "192.0.2.1"),
        ("::ffff:10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["6.6.6.6,192.0.2.1,10.0.0.2"], "192.0.2.1"),
        (
            "10.0.0.1",
            &["6.6.6.6", "192.0.2.1", "10.0.0.2, 10.0.0.3"],
            "192.0.2.1",
        ),
        (
            "2001:db8:aaaa::1",
            &["2001:db8::7, 10.0.0.2"],
            "2001:db8::7",
        ),
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
        ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", &["192.0.2.1, , "], "192.0.2.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("192.0.2.9", &["192.0.2.1"], "192.0.2.9"),
    ] {
        assert_eq!(
            by_x_forwarded_for(peer, lines),
            ip(client),
            "{peer} {lines:?}"
        );
    }
}

#[test]
fn an_entry_that_is_not_an_address_counts_as_the_proxy_that_appended_it() {
    for (lines, client) in [
        ("unknown", "10.0.0.1"),
        ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.1, 10.0.0.2:", "10.0.0.1"),
        ("192.0.2.1.example", "10.0.0.1"),
        ("192.0.2.1 10.0.0.2", "10.0.0.1"),
        ("[192.0.2.1]", "10.0.0.1"),
        ("[2001:db8::7", "10.0.0.1"),
        ("[2001:db8::7]4711", "10.0.0.1"),
        ("010.0.0.2", "10.0.0.1"),
        ("\"192.0.2.1\"", "10.0.0.1"),
    ] {
        assert_eq!(
            by_x_forwarded_for("10.0.0.1", &[lines]),
            ip(client),
            "{lines}"
        );
    }
}

#[test]
fn a_forwarded_header_is_parsed_with_quotes_ports_and_brackets() {
    for (lines, client) in [
        (&["for=192.0.2.1"][..], "192.0.2.1"),
        (&["For=192.0.2.1;proto=https;by=203.0.113.43"], "192.0.2.1"),
        (&["proto=https; FOR = \"192.0.2.1:4711\" "], "192.0.2.1"),
        (&["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
        (&["for=192.0.2.1:_port"], "192.0.2.1"),
        (&["for=6.6.6.6, for=192.0.2.1, for=10.0.0.2"], "192.0.2.1"),
        (
            &["for=192.0.2.1", "for=10.0.0.2;host=\"a,b;for=6.6.6.6\""],
            "192.0.2.1",
        ),
        (
            &["for=192.0.2.1, for=10.0.0.2;host=\"a\\\",for=6.6.6.6\""],
            "192.0.2.1",
        ),
        // An unclosed quote of a client has no effect on later elements.
        (&["for=\"6.6.6.6, for=192.0.2.1"], "192.0.2.1"),
        (&["for=unknown"], "10.0.0.1"),
        (&["for=192.0.2.1, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (&["proto=https"], "10.0.0.1"),
        (&["192.0.2.1"], "10.0.0.1"),
        (&[""], "10.0.0.1"),
    ] {
        assert_eq!(by_forwarded("10.0.0.1", lines), ip(client), "{lines:?}");
    }
}

#[test]
fn by_default_x_forwarded_for_is_preferred_to_forwarded() {
    let proxies = proxies(ProxyHeader::Either);

    let both = proxies.client(ip("10.0.0.1"), &["192.0.2.1"], &["for=6.6.6.6"]);
    let only_forwarded = proxies.client(ip("10.0.0.1"), &[], &["for=192.0.2.1"]);

    assert_eq!(both, ip("192.0.2.1"));
    assert_eq!(only_forwarded, ip("192.0.2.1"));
}

proptest! {
    #[test]
    fn without_trusted_proxies_the_peer_is_the_client(
        peer: IpAddr,
        x_forwarded_for in prop::collection::vec(".{0,60}", 0..3),
        forwarded in prop::collection::vec("(for=)?.{0,60}", 0..3),
    ) {
        let x_forwarded_for: Vec<&str> = x_forwarded_for.iter().map(String::as_str).collect();
        let forwarded: Vec<&str> = forwarded.iter().map(String::as_str).collect();

        let client = Proxies::default().client(peer, &x_forwarded_for, &forwarded);

        prop_assert_eq!(client, peer.to_canonical());
    }

    #[test]
    fn the_client_cannot_hide_the_address_that_the_proxy_appends(forged in ".{0,80}") {
        let line = format!("{forged},192.0.2.1");
        prop_assert_eq!(by_x_forwarded_for("10.0.0.1", &[&line]), ip("192.0.2.1"));

        let line = format!("{forged},for=192.0.2.1;host=\"a;b\"");
        prop_assert_eq!(by_forwarded("10.0.0.1", &[&line]), ip("192.0.2.1"));
        prop_assert_eq!(by_forwarded("10.0.0.1", &[&forged, "for=192.0.2.1"]), ip("192.0.2.1"));
    }

    #[test]
    fn every_address_is_parsed_with_and_without_a_port(address: IpAddr, port: u16) {
        let node = match address {
            IpAddr::V4(address) => format!("{address}:{port}"),
            IpAddr::V6(address) => format!("[{address}]:{port}"),
        };

        prop_assert_eq!(parse_address(&node), Some(address.to_canonical()));
        prop_assert_eq!(parse_address(&address.to_string()), Some(address.to_canonical()));
    }
}
