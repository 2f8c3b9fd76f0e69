//! What the decoder promises: the same messages however the bytes are cut, and each violation by its name.

use proptest::prelude::*;

use super::*;
use crate::server::wire::deflate::deflate;
use crate::server::wire::encode;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const FIN: u8 = 0x80;

/// An owned copy of [`Incoming`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decoded {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

fn hear(incoming: Incoming<'_>) -> Decoded {
    match incoming {
        Incoming::Text(text) => Decoded::Text(text.to_owned()),
        Incoming::Binary(bytes) => Decoded::Binary(bytes.to_vec()),
        Incoming::Ping(bytes) => Decoded::Ping(bytes.to_vec()),
        Incoming::Pong => Decoded::Pong,
        Incoming::Close(code) => Decoded::Close(code),
    }
}

/// A client's frame, with first byte `first` as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let unmasked = encode(Opcode::Text, payload);
    let mut bytes = unmasked[..unmasked.len() - payload.len()].to_vec();
    bytes[0] = first;
    bytes[1] |= 0x80;
    bytes.extend_from_slice(&MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.into_iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

/// Feeds `bytes` in pieces of the given sizes (the last one repeated).
fn feed(
    max_message: usize,
    bytes: &[u8],
    pieces: &[usize],
) -> (Vec<Decoded>, Result<(), Violation>) {
    feed_to(Decoder::new(max_message, false), bytes, pieces)
}

fn feed_to(
    mut decoder: Decoder,
    bytes: &[u8],
    pieces: &[usize],
) -> (Vec<Decoded>, Result<(), Violation>) {
    let mut heard = Vec::new();
    let mut rest = bytes.to_vec();
    let mut pieces = pieces
        .iter()
        .copied()
        .chain(std::iter::repeat(*pieces.last().unwrap_or(&1)));
    while !rest.is_empty() {
        let size = pieces.next().unwrap_or(1).clamp(1, rest.len());
        let mut piece: Vec<u8> = rest.drain(..size).collect();
        let result = decoder.decode(&mut piece, |incoming| {
            heard.push(hear(incoming));
            ControlFlow::Continue(())
        });
        if let Err(violation) = result {
            return (heard, Err(violation));
        }
        if matches!(heard.last(), Some(Decoded::Close(_))) {
            break;
        }
    }
    assert!(
        decoder
            .unfinished
            .as_ref()
            .is_none_or(|unfinished| !unfinished.is_idle()),
        "an idle decoder keeps nothing"
    );
    (heard, Ok(()))
}

#[test]
fn decoding_goes_on_where_it_was_broken_off() {
    let ping = frame(0x89, b"mid");
    let mut bytes = [frame(0x01, b"Hel"), ping.clone(), ping, frame(0x80, b"lo")].concat();
    let mut decoder = Decoder::new(1000, false);
    let (mut heard, mut at) = (Vec::new(), 0);

    while at < bytes.len() {
        let decoded = decoder.decode(&mut bytes[at..], |incoming| {
            heard.push(hear(incoming));
            ControlFlow::Break(())
        });
        at += decoded.expect("no violation");
    }

    let ping = Decoded::Ping(b"mid".to_vec());
    assert_eq!(heard, [ping.clone(), ping, Decoded::Text("Hello".into())]);
    assert!(!decoder.is_unfinished());
}

fn violation(bytes: &[u8]) -> Option<Violation> {
    let whole = feed(1000, bytes, &[bytes.len()]).1.err();
    assert_eq!(
        feed(1000, bytes, &[1]).1.err(),
        whole,
        "cutting the bytes must not change the verdict"
    );
    whole
}

#[test]
fn the_examples_of_rfc_6455_section_5_7_decode() {
    let hello = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(
        feed(1000, &hello, &[64]),
        (vec![Decoded::Text("Hello".into())], Ok(()))
    );
    let pieces = [frame(0x01, b"Hel"), frame(0x89, b"mid"), frame(0x80, b"lo")].concat();
    let expected = vec![
        Decoded::Ping(b"mid".to_vec()),
        Decoded::Text("Hello".into()),
    ];
    assert_eq!(feed(1000, &pieces, &[64]), (expected, Ok(())));
}

#[test]
fn each_violation_is_named_wherever_the_bytes_are_cut() {
    let cases: &[(&str, Vec<u8>, Violation)] = &[
        ("rsv1", frame(0xC1, b"x"), Violation::ReservedBits),
        ("opcode 3", frame(0x83, b"x"), Violation::ReservedOpcode),
        ("opcode 11", frame(0x8B, b"x"), Violation::ReservedOpcode),
        (
            "no mask",
            encode(Opcode::Text, b"x").to_vec(),
            Violation::Unmasked,
        ),
        (
            "ping in pieces",
            frame(0x09, b"x"),
            Violation::FragmentedControl,
        ),
        ("long ping", frame(0x89, &[0; 126]), Violation::LongControl),
        (
            "5 bytes as u16",
            vec![0x82, 0xFE, 0, 5],
            Violation::WrongLength,
        ),
        (
            "5 bytes as u64",
            vec![0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 5],
            Violation::WrongLength,
        ),
        (
            "2^63 bytes",
            vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0],
            Violation::WrongLength,
        ),
        (
            "continuation of nothing",
            frame(0x80, b"x"),
            Violation::StrayContinuation,
        ),
        (
            "text in text",
            [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
            Violation::InterleavedMessage,
        ),
        ("close of one byte", frame(0x88, &[3]), Violation::BadClose),
        (
            "close 1005",
            frame(0x88, &1005u16.to_be_bytes()),
            Violation::BadClose,
        ),
        (
            "close 2999",
            frame(0x88, &2999u16.to_be_bytes()),
            Violation::BadClose,
        ),
        (
            "close reason",
            frame(0x88, &[3, 232, 0xFF]),
            Violation::NotUtf8,
        ),
        ("text", frame(0x81, &[0xC0, 0x80]), Violation::NotUtf8),
        (
            "text cut short",
            frame(0x81, "é".as_bytes().split_at(1).0),
            Violation::NotUtf8,
        ),
        (
            "text in pieces",
            [frame(0x01, b"ok"), frame(0x00, &[0xED, 0xA0, 0x80])].concat(),
            Violation::NotUtf8,
        ),
        ("too big", frame(0x82, &[0; 1001]), Violation::TooBig),
        (
            "2^62 bytes",
            vec![0x82, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            Violation::TooBig,
        ),
        (
            "too big in sum",
            [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat(),
            Violation::TooBig,
        ),
        (
            "empty pieces",
            [frame(0x01, b""), frame(0x00, b"").repeat(257)].concat(),
            Violation::EmptyFragments,
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(violation(bytes), Some(*expected), "{name}");
    }
}

#[test]
fn bad_text_is_refused_before_its_message_ends() {
    let bytes = [frame(0x01, b"fine"), frame(0x00, &[b'a', 0xFF])].concat();
    assert_eq!(violation(&bytes), Some(Violation::NotUtf8));
}

#[test]
fn what_follows_a_close_is_not_heard() {
    let bytes = [frame(0x88, &1000u16.to_be_bytes()), frame(0x81, b"late")].concat();
    assert_eq!(
        feed(1000, &bytes, &[bytes.len()]),
        (vec![Decoded::Close(Some(1000))], Ok(()))
    );
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    assert_eq!(
        feed(1000, &frame(0x82, &[7; 1000]), &[300]),
        (vec![Decoded::Binary(vec![7; 1000])], Ok(()))
    );
}

#[test]
fn a_compressed_message_is_heard_as_it_was_whole_or_in_pieces() {
    let text = "the same words, ".repeat(60);
    let payload = deflate(text.as_bytes()).expect("smaller");
    let (one, rest) = payload.split_at(7);
    let (two, three) = rest.split_at(9);
    let pieces = [
        frame(0x41, one),
        frame(0x89, b"mid"),
        frame(0x00, two),
        frame(0x80, three),
    ]
    .concat();
    let whole = frame(0xC1, &payload);
    let plain = frame(0x81, b"as it is");
    for cut in [1, 3, 1000] {
        let heard = feed_to(
            Decoder::new(1000, true),
            &[&pieces[..], &whole, &plain].concat(),
            &[cut],
        );
        let expected = ["mid", &text, &text, "as it is"].map(str::to_owned);
        let expected: Vec<Decoded> = expected
            .into_iter()
            .enumerate()
            .map(|(at, text)| {
                if at == 0 {
                    Decoded::Ping(text.into())
                } else {
                    Decoded::Text(text)
                }
            })
            .collect();
        assert_eq!(heard, (expected, Ok(())), "in pieces of {cut}");
    }
}

#[test]
fn compressed_messages_are_held_to_the_same_rules() {
    let compressed = |payload: &[u8]| frame(0xC1, &deflate(payload).expect("smaller"));
    for (name, bytes, expected) in [
        ("too big", compressed(&[b'a'; 1001]), Violation::TooBig),
        ("not UTF-8", compressed(&[0xFF; 1000]), Violation::NotUtf8),
        (
            "not deflate",
            frame(0xC1, &[0xFF; 20]),
            Violation::BadDeflate,
        ),
        ("a ping", frame(0xC9, b"x"), Violation::ReservedBits),
        (
            "a later piece",
            [frame(0x41, b""), frame(0xC0, b"x")].concat(),
            Violation::ReservedBits,
        ),
        ("rsv2", frame(0xA1, b"x"), Violation::ReservedBits),
    ] {
        assert_eq!(
            feed_to(Decoder::new(1000, true), &bytes, &[1]).1,
            Err(expected),
            "{name}"
        );
    }
}

/// Messages, each in any number of fragments, with control frames anywhere between them.
fn conversation() -> impl Strategy<Value = (Vec<u8>, Vec<Decoded>)> {
    let control = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..125)
            .prop_map(|p| (frame(0x89, &p), Decoded::Ping(p.clone()))),
        prop::collection::vec(any::<u8>(), 0..125).prop_map(|p| (frame(0x8A, &p), Decoded::Pong)),
    ];
    let data = prop_oneof![
        any::<String>().prop_map(|text| (0x01, text.clone().into_bytes(), Decoded::Text(text))),
        prop::collection::vec(any::<u8>(), 0..70_000).prop_map(|b| (
            0x02,
            b.clone(),
            Decoded::Binary(b)
        )),
    ];
    let message = (
        data,
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        prop::option::of(control),
    )
        .prop_map(|((opcode, payload, heard), cuts, control)| {
            let mut cuts: Vec<usize> = cuts
                .iter()
                .map(|cut| cut.index(payload.len() + 1))
                .collect();
            cuts.extend([0, payload.len()]);
            cuts.sort_unstable();
            let last = cuts.len() - 2;
            let mut bytes = Vec::new();
            let mut all = Vec::new();
            for (at, pair) in cuts.windows(2).enumerate() {
                let first = if at == 0 { opcode } else { 0 } | if at == last { FIN } else { 0 };
                if at == last
                    && let Some((control, heard)) = &control
                {
                    bytes.extend_from_slice(control);
                    all.push(heard.clone());
                }
                bytes.extend(frame(first, &payload[pair[0]..pair[1]]));
            }
            all.push(heard);
            (bytes, all)
        });
    prop::collection::vec(message, 0..5).prop_map(|messages| {
        let (bytes, heard): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        (bytes.concat(), heard.concat())
    })
}

/// Returns the value of [`Decoder::has_completed`] after each of `reads`.
fn completed(reads: &[&[u8]]) -> Vec<bool> {
    let mut decoder = Decoder::new(1000, false);
    let mut completed = Vec::new();
    for read in reads {
        let result = decoder.decode(&mut read.to_vec(), |_| ControlFlow::Continue(()));
        assert_eq!(result, Ok(read.len()));
        completed.push(decoder.has_completed());
    }
    completed
}

#[test]
fn what_a_read_completed_is_known_wherever_it_ends() {
    let (message, ping) = (frame(FIN | 1, b"hello"), frame(FIN | 9, b"ping"));
    let (first, last) = (frame(1, b"hel"), frame(FIN, b"lo"));

    for whole in [&message, &ping] {
        let (start, end) = whole.split_at(3);
        let over_the_end = [end, start].concat();
        let reads = [start, over_the_end.as_slice(), &over_the_end, end];
        assert_eq!(completed(&reads), [false, true, true, true]);
    }
    // A client that pings all the time has not sent its message.
    let reads = [first.as_slice(), &ping, &ping, &last];
    assert_eq!(completed(&reads), [false, false, false, true]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_same_messages_come_out_however_the_bytes_are_cut(
        (bytes, expected) in conversation(),
        pieces in prop::collection::vec(1usize..5000, 1..8),
    ) {
        prop_assert_eq!(feed(1 << 20, &bytes, &pieces), (expected, Ok(())));
    }

    #[test]
    fn any_bytes_at_all_are_decoded_or_refused_and_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        pieces in prop::collection::vec(1usize..40, 1..4),
    ) {
        let _ = feed(1000, &bytes, &pieces);
    }
}
