//! Tests that the work caused by client input grows no faster than the input.
//!
//! Each case is run for inputs of one size and of sixteen times that size, with the same number of bytes in all. Where
//! the work is linear, both cost the same; where it is quadratic, the larger inputs cost sixteen times as much.
//! Compared is the processor time of the thread, so that other work on the machine does not count.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::app::InitialHistory;
use crate::app::Locale;
use crate::app::link::pieces;
use crate::app::live::MessageList;
use crate::app::markup::Element;
use crate::protocol::{Body, Command, Epoch, Key, Offset, Publication, RoomName, UserId};
use crate::server::auth::{Grants, Proxies, ProxyHeader, Right};
use crate::server::room::{
    DedupEntry, DedupLimits, DedupWindow, Presence, PresenceUpdate, PresenceUpdateKind,
    PresentMember, RemotePresence, Tick,
};
use crate::server::wire::{self, Decoder, Opcode};

/// Factor between the sizes of the small and the large inputs: four doublings.
const TIMES: usize = 16;
/// Size of the small inputs, in repetitions of what an input is made of.
const SIZE: usize = 500;
/// Processor time that the small inputs take together, so that the kernel's clock is fine enough.
const LONG_ENOUGH: Duration = Duration::from_millis(40);
/// Most time that the large inputs may take for each unit that the small ones take.
const MOST_GROWTH: f64 = 4.0;

/// A case: its name, and the work for an input of a given size.
type Case = (&'static str, fn(usize) -> Box<dyn Fn()>);

/// Returns the processor time that this thread has used.
fn processor_time() -> Duration {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let nanoseconds = schedule
        .split(' ')
        .next()
        .expect("the first of three numbers");
    Duration::from_nanos(nanoseconds.parse().expect("a number"))
}

fn time_of(work: &dyn Fn(), times: usize) -> Duration {
    let before = processor_time();
    (0..times).for_each(|_| work());
    processor_time() - before
}

/// Returns how many times longer large inputs take than small ones of as many bytes together.
fn growth(case: fn(usize) -> Box<dyn Fn()>) -> f64 {
    let (small, large) = (case(SIZE), case(SIZE * TIMES));

    let mut rounds = 1;
    let mut small_time = time_of(&small, rounds * TIMES);
    while small_time < LONG_ENOUGH {
        rounds *= 2;
        small_time = time_of(&small, rounds * TIMES);
    }

    time_of(&large, rounds).as_secs_f64() / small_time.as_secs_f64()
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
    let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let proxies = Proxies {
        trusted: vec!["127.0.0.0/8".parse().expect("a network")],
        header,
    };
    Box::new(move || {
        proxies.client(home, &[&lines], &[&lines]);
    })
}

fn frames(bytes: Vec<u8>, piece: usize) -> Box<dyn Fn()> {
    Box::new(move || {
        let mut decoder = Decoder::new(1 << 24, true);
        for piece in bytes.chunks(piece) {
            let decoded = decoder.decode(&mut piece.to_vec(), |_| ControlFlow::Continue(()));
            if decoded.is_err() {
                return;
            }
        }
    })
}

/// Returns a frame of a client, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let frame = wire::encode(Opcode::Text, payload);
    let header = frame.len() - payload.len();

    let mut masked = frame.to_vec();
    masked[0] = first;
    masked[1] |= 0x80;
    masked.splice(header..header, [0; 4]);
    masked
}

fn search(text: String, words: String) -> Box<dyn Fn()> {
    let publication = Publication {
        offset: Offset(1),
        prev: Offset(0),
        at: 0,
        from: UserId::anonymous(),
        body: Body::Text(text),
        key: None,
    };
    let list = MessageList::new(Some(InitialHistory {
        epoch: Epoch::new(1),
        head: Offset(1),
        messages: vec![publication],
        more: false,
    }));
    Box::new(move || drop(list.search(&words)))
}

fn user(number: usize) -> UserId {
    UserId::parse(&format!("user-{number}")).expect("a name")
}

fn attendance(
    version: u64,
    kind: PresenceUpdateKind,
    members: std::ops::Range<usize>,
) -> PresenceUpdate {
    let present = |number| PresentMember {
        id: user(number),
        connections: 1,
        since: 0,
    };
    PresenceUpdate {
        version,
        kind,
        members: members.map(present).collect(),
    }
}

const NOW: Tick = Tick::after_start(Duration::ZERO);

/// Lets all members of another node leave but those that came meanwhile.
fn another_node_is_replaced(members: usize) -> Box<dyn Fn()> {
    Box::new(move || {
        let (mut presence, mut neighbours) = (Presence::default(), RemotePresence::default());
        let before = attendance(1, PresenceUpdateKind::Snapshot, 0..members);
        let after = attendance(2, PresenceUpdateKind::Snapshot, members..2 * members);
        neighbours.apply(1, before, &mut presence, NOW);
        neighbours.apply(1, after, &mut presence, NOW);
    })
}

/// Lets all members leave while others come, and notifies the other nodes.
fn a_room_is_replaced(members: usize) -> Box<dyn Fn()> {
    Box::new(move || {
        let (mut presence, mut neighbours) = (Presence::default(), RemotePresence::default());
        (0..members).for_each(|number| presence.join(&user(number), 0));
        neighbours.delta(&presence);
        (0..members).for_each(|number| presence.leave(&user(number), NOW));
        (members..2 * members).for_each(|number| presence.join(&user(number), 0));
        presence.announce(Tick::after_start(Duration::from_secs(60)));
        neighbours.delta(&presence);
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

fn keys_are_remembered_and_forgotten(keys: usize) -> Box<dyn Fn()> {
    let limits = DedupLimits {
        messages: 100,
        age: Duration::from_secs(600),
    };
    Box::new(move || {
        let mut window = DedupWindow::new(limits);
        for number in 0..keys as u64 {
            window.remember(DedupEntry {
                from: UserId::anonymous(),
                key: Key::parse(&number.to_string()).expect("a key"),
                offset: Offset(number),
                at: 0,
                clock: 0,
            });
            window.forget(Offset(number), 0);
        }
    })
}

const CASES: &[Case] = &[
    ("a link with closing brackets", |n| {
        links(format!("https://x{}", ")".repeat(n)))
    }),
    ("a link with closing signs of all kinds", |n| {
        links(format!("http://(x{}", ".)".repeat(n)))
    }),
    ("links of one scheme", |n| links("http://a.b ".repeat(n))),
    ("schemes without a link", |n| links("https://) ".repeat(n))),
    ("beginnings of schemes", |n| links("http".repeat(n))),
    ("a text to escape", |n| {
        let text = "<&\"".repeat(n);
        Box::new(move || drop(Element::new("p").text(text.clone()).to_html()))
    }),
    ("a search for words that nearly occur", |n| {
        search("a".repeat(2 * n), format!("{}b", "a".repeat(n)))
    }),
    ("Accept-Language with a refusal", |n| {
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
            r#"{{"type":"say","text":"{}"}}"#,
            r"\u0001\n".repeat(n)
        ))
    }),
    ("a command of a long type", |n| {
        command(format!(r#"{{"type":"{}"}}"#, "x".repeat(n)))
    }),
    ("a command that breaks off", |n| {
        command(format!(r#"{{"x":[{}"#, "1,".repeat(n)))
    }),
    ("a number of many digits", |n| {
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
    ("compressed blocks of nothing", |n| {
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
    ("members of another node", another_node_is_replaced),
    ("members of a room", a_room_is_replaced),
    ("keys", keys_are_remembered_and_forgotten),
    ("grants of a token", grants),
];

#[test]
fn no_work_grows_faster_than_what_a_client_sends() {
    let too_fast: Vec<_> = CASES
        .iter()
        .map(|(name, case)| (name, growth(*case)))
        .filter(|(_, growth)| *growth > MOST_GROWTH)
        .collect();

    assert!(
        too_fast.is_empty(),
        "sixteen times the input takes more than sixteen times as long, by these factors: {too_fast:?}"
    );
}
