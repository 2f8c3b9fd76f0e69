//! Tests that the work for the input of a client grows linearly with its length.
//!
//! Each case runs with inputs of one length and of sixteen times that length, with the same total number of bytes.
//! Linear work takes the same time for both; quadratic work takes sixteen times longer for the longer inputs. The
//! tests compare the processor time of the thread, which does not include other work on the machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::app::link::pieces;
use crate::app::live::MessageList;
use crate::app::{HistoryPage, Locale};
use crate::protocol::samples::{self, numbered_user as user};
use crate::protocol::{Command, Epoch, Key, Offset, RoomName, UserId};
use crate::server::auth::{Grants, Proxies, ProxyHeader, Right};
use crate::server::room::{
    DedupEntry, DedupLimits, DedupWindow, Presence, PresenceUpdate, PresenceUpdateKind,
    PresentMember, RemotePresence, Tick,
};
use crate::server::wire::{self, Decoder, Opcode};

/// Factor between the lengths of short and long inputs.
const FACTOR: usize = 16;
/// Length of the short inputs, in repetitions of a pattern.
const LENGTH: usize = 500;
/// Minimum processor time of the short inputs together, for the resolution of the kernel's clock.
const MIN_TIME: Duration = Duration::from_millis(40);
/// Maximum time of the long inputs, relative to the short ones.
const MAX_GROWTH: f64 = 4.0;

/// A case: its name, and a function that returns the work for an input of a given length.
type Case = (&'static str, fn(usize) -> Box<dyn Fn()>);

/// Returns the processor time that this thread has used.
fn processor_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = statistics.split(' ').next().expect("three numbers");

    Duration::from_nanos(nanoseconds.parse().expect("a number"))
}

/// Returns the processor time of `times` repetitions of `work`.
fn time_of(work: &dyn Fn(), times: usize) -> Duration {
    let before = processor_time();
    (0..times).for_each(|_| work());
    processor_time() - before
}

/// Returns the time of long inputs relative to short ones with the same total length.
fn growth(case: fn(usize) -> Box<dyn Fn()>) -> f64 {
    let short = case(LENGTH);
    let long = case(LENGTH * FACTOR);

    let mut rounds = 1;
    let mut short_time = time_of(&short, rounds * FACTOR);
    while short_time < MIN_TIME {
        rounds *= 2;
        short_time = time_of(&short, rounds * FACTOR);
    }

    time_of(&long, rounds).as_secs_f64() / short_time.as_secs_f64()
}

fn links(text: String) -> Box<dyn Fn()> {
    Box::new(move || drop(pieces(&text)))
}

fn languages(header: String) -> Box<dyn Fn()> {
    Box::new(move || {
        Locale::negotiate(Some(&header));
    })
}

fn command(text: String) -> Box<dyn Fn()> {
    Box::new(move || drop(Command::decode(&text)))
}

fn proxies(header: ProxyHeader, lines: String) -> Box<dyn Fn()> {
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let proxies = Proxies {
        trusted: vec!["127.0.0.0/8".parse().expect("a network")],
        header,
        user_headers: None,
    };

    Box::new(move || {
        proxies.client(peer, &[&lines], &[&lines]);
    })
}

/// Decodes `bytes` in reads of `read_length` bytes.
fn frames(bytes: Vec<u8>, read_length: usize) -> Box<dyn Fn()> {
    Box::new(move || {
        let mut decoder = Decoder::new(1 << 24, true);
        for read in bytes.chunks(read_length) {
            let result = decoder.decode(&mut read.to_vec(), |_| ControlFlow::Continue(()));
            if result.is_err() {
                return;
            }
        }
    })
}

/// Returns a client's frame with the given first byte, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let frame = wire::encode(Opcode::Text, payload);
    let header = frame.len() - payload.len();

    let mut masked = frame.to_vec();
    masked[0] = first;
    masked[1] |= 0x80;
    masked.splice(header..header, [0; 4]);
    masked
}

fn search(text: String, query: String) -> Box<dyn Fn()> {
    let publication = samples::publication(1, &text);
    let list = MessageList::new(
        Some(HistoryPage {
            epoch: Epoch::new(1),
            head: Offset(1),
            messages: vec![publication],
            more: false,
        }),
        None,
    );

    Box::new(move || drop(list.search(&query)))
}

fn presence_update(
    version: u64,
    kind: PresenceUpdateKind,
    members: std::ops::Range<usize>,
) -> PresenceUpdate {
    let present = |number| PresentMember {
        id: user(number),
        connections: 1,
        since: 0,
        state: None,
        state_set_at: 0,
    };

    PresenceUpdate {
        version,
        kind,
        members: members.map(present).collect(),
    }
}

const NOW: Tick = Tick::after_start(Duration::ZERO);

/// Replaces all members of another node.
fn members_of_a_remote_node(members: usize) -> Box<dyn Fn()> {
    Box::new(move || {
        let mut presence = Presence::default();
        let mut remote = RemotePresence::default();
        let before = presence_update(1, PresenceUpdateKind::Snapshot, 0..members);
        let after = presence_update(2, PresenceUpdateKind::Snapshot, members..2 * members);

        remote.apply(1, before, &mut presence, NOW);
        remote.apply(1, after, &mut presence, NOW);
    })
}

/// Replaces all members of a room, and creates the updates for other nodes.
fn members_of_a_room(members: usize) -> Box<dyn Fn()> {
    Box::new(move || {
        let mut presence = Presence::default();
        let mut remote = RemotePresence::default();

        (0..members).for_each(|number| presence.join(&user(number), 0));
        remote.delta(&presence);

        (0..members).for_each(|number| presence.leave(&user(number), NOW));
        (members..2 * members).for_each(|number| presence.join(&user(number), 0));
        presence.announce(Tick::after_start(Duration::from_secs(60)));
        remote.delta(&presence);
    })
}

fn grants(rooms: usize) -> Box<dyn Fn()> {
    let claim: BTreeMap<String, String> = (0..rooms)
        .map(|number| (format!("room-{number}*"), "r".to_owned()))
        .collect();

    Box::new(move || {
        let grants = Grants::try_from(claim.clone()).expect("grants");
        grants.allow(Right::Write, &RoomName::lobby());
    })
}

fn deduplication(keys: usize) -> Box<dyn Fn()> {
    let limits = DedupLimits {
        messages: 100,
        age: Duration::from_secs(600),
    };

    Box::new(move || {
        let mut window = DedupWindow::new(limits);
        for number in 0..keys as u64 {
            window.insert(DedupEntry {
                from: UserId::anonymous(),
                key: Key::parse(&number.to_string()).expect("a key"),
                number,
                offset: Offset(number),
                at: 0,
                clock: 0,
            });
            window.expire(number, 0);
        }
    })
}

const CASES: &[Case] = &[
    ("a link with closing brackets", |n| {
        links(format!("https://x{}", ")".repeat(n)))
    }),
    ("a link with closing punctuation of all kinds", |n| {
        links(format!("http://(x{}", ".)".repeat(n)))
    }),
    ("links of one scheme", |n| links("http://a.b ".repeat(n))),
    ("schemes without a link", |n| links("https://) ".repeat(n))),
    ("incomplete schemes", |n| links("http".repeat(n))),
    ("a search for a text that almost occurs", |n| {
        search("a".repeat(2 * n), format!("{}b", "a".repeat(n)))
    }),
    ("Accept-Language with a quality of 0", |n| {
        languages(format!("zh;q=0{}", ",en".repeat(n)))
    }),
    ("Accept-Language with wildcards", |n| {
        languages("*;q=0.1,zh-tw,".repeat(n))
    }),
    ("Accept-Language with subtags", |n| {
        languages(format!("zh{}", "-x".repeat(n)))
    }),
    ("a command with an unknown list", |n| {
        command(format!(r#"{{"x":[{}1],"type":"ping"}}"#, "[],".repeat(n)))
    }),
    ("a command with unknown fields", |n| {
        command(format!(r#"{{{}"type":"ping"}}"#, r#""x":1,"#.repeat(n)))
    }),
    ("a command with a deep list", |n| {
        command(format!(r#"{{"x":{}{}}}"#, "[".repeat(n), "]".repeat(n)))
    }),
    ("a command with escapes", |n| {
        command(format!(
            r#"{{"type":"publish","text":"{}"}}"#,
            r"\u0001\n".repeat(n)
        ))
    }),
    ("a command with a long type", |n| {
        command(format!(r#"{{"type":"{}"}}"#, "x".repeat(n)))
    }),
    ("an incomplete command", |n| {
        command(format!(r#"{{"x":[{}"#, "1,".repeat(n)))
    }),
    ("a number with many digits", |n| {
        command(format!(
            r#"{{"type":"history","before":{}}}"#,
            "9".repeat(n)
        ))
    }),
    ("X-Forwarded-For", |n| {
        proxies(ProxyHeader::XForwardedFor, "127.0.0.1,".repeat(n))
    }),
    ("Forwarded", |n| {
        proxies(ProxyHeader::Forwarded, "for=127.0.0.1;by=x,".repeat(n))
    }),
    ("Forwarded with quotes and backslashes", |n| {
        proxies(
            ProxyHeader::Forwarded,
            format!("for=127.0.0.1{}", ";x=\"\\\\\\\"\"".repeat(n)),
        )
    }),
    ("Sec-WebSocket-Extensions", |n| {
        let offers = "permessage-deflate; server_max_window_bits=9, ".repeat(n);
        Box::new(move || {
            wire::is_deflate_offered(std::iter::once(offers.as_str()));
        })
    }),
    ("Sec-WebSocket-Extensions with parameters", |n| {
        let offer = format!("permessage-deflate{}", "; client_max_window_bits".repeat(n));
        Box::new(move || {
            wire::is_deflate_offered(std::iter::once(offer.as_str()));
        })
    }),
    ("fragments of one byte", |n| {
        let rest = masked(0x00, b"x").repeat(n);
        frames([masked(0x01, b"x"), rest].concat(), 4096)
    }),
    ("a message in reads of one byte", |n| {
        frames(masked(0x81, &vec![b'x'; n]), 1)
    }),
    ("small frames", |n| {
        frames(masked(0x81, b"x").repeat(n), 64 * 1024)
    }),
    ("empty compressed blocks", |n| {
        frames(masked(0xC1, &[0, 0, 0, 0xFF, 0xFF].repeat(n)), 64 * 1024)
    }),
    ("a name", |n| {
        let name = "x".repeat(n);
        Box::new(move || {
            drop((
                RoomName::parse(&name),
                UserId::parse(&name),
                Key::parse(&name),
            ))
        })
    }),
    ("members of another node", members_of_a_remote_node),
    ("members of a room", members_of_a_room),
    ("deduplication keys", deduplication),
    ("grants of a token", grants),
];

#[test]
fn the_work_for_an_input_grows_linearly_with_its_length() {
    let too_large: Vec<_> = CASES
        .iter()
        .map(|(name, case)| (name, growth(*case)))
        .filter(|(_, growth)| *growth > MAX_GROWTH)
        .collect();

    assert!(
        too_large.is_empty(),
        "inputs that are {FACTOR} times as long take more than {FACTOR} times as long, by these factors: {too_large:?}"
    );
}
