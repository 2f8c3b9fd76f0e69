//! Tests of the decoder: the same messages for reads of any size, and an error for each violation.

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

fn owned(incoming: Incoming<'_>) -> Decoded {
    match incoming {
        Incoming::Text(text) => Decoded::Text(text.to_owned()),
        Incoming::Binary(bytes) => Decoded::Binary(bytes.to_vec()),
        Incoming::Ping(bytes) => Decoded::Ping(bytes.to_vec()),
        Incoming::Pong => Decoded::Pong,
        Incoming::Close(code) => Decoded::Close(code),
    }
}

/// Returns a client's frame with the given first byte.
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

/// Decodes `bytes` in reads of the given sizes, of which the last one is repeated.
fn decode(
    max_message: usize,
    bytes: &[u8],
    reads: &[usize],
) -> (Vec<Decoded>, Result<(), Violation>) {
    decode_with(Decoder::new(max_message, false), bytes, reads)
}

fn decode_with(
    mut decoder: Decoder,
    bytes: &[u8],
    reads: &[usize],
) -> (Vec<Decoded>, Result<(), Violation>) {
    let mut decoded = Vec::new();
    let mut rest = bytes.to_vec();
    let mut sizes = reads
        .iter()
        .copied()
        .chain(std::iter::repeat(*reads.last().unwrap_or(&1)));

    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
        let mut read: Vec<u8> = rest.drain(..size).collect();
        let result = decoder.decode(&mut read, |incoming| {
            decoded.push(owned(incoming));
            ControlFlow::Continue(())
        });
        if let Err(violation) = result {
            return (decoded, Err(violation));
        }
        if matches!(decoded.last(), Some(Decoded::Close(_))) {
            break;
        }
    }

    let is_released = decoder.partial.is_none_or(|partial| !partial.is_empty());
    assert!(is_released, "the decoder keeps an empty buffer");
    (decoded, Ok(()))
}

/// Returns the violation in `bytes`, after checking that it does not depend on the sizes of reads.
fn violation(bytes: &[u8]) -> Option<Violation> {
    let (_, at_once) = decode(1000, bytes, &[bytes.len()]);
    let (_, by_byte) = decode(1000, bytes, &[1]);

    assert_eq!(at_once, by_byte);
    at_once.err()
}

#[test]
fn decoding_continues_after_the_handler_breaks() {
    let ping = frame(0x89, b"mid");
    let mut bytes = [frame(0x01, b"Hel"), ping.clone(), ping, frame(0x80, b"lo")].concat();
    let mut decoder = Decoder::new(1000, false);
    let mut decoded = Vec::new();
    let mut position = 0;

    while position < bytes.len() {
        let result = decoder.decode(&mut bytes[position..], |incoming| {
            decoded.push(owned(incoming));
            ControlFlow::Break(())
        });
        position += result.expect("no violation");
    }

    let ping = Decoded::Ping(b"mid".to_vec());
    assert_eq!(decoded, [ping.clone(), ping, Decoded::Text("Hello".into())]);
    assert!(!decoder.is_partial());
}

#[test]
fn the_text_of_rfc_6455_section_5_7_is_decoded() {
    let hello = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];

    let result = decode(1000, &hello, &[64]);

    assert_eq!(result, (vec![Decoded::Text("Hello".into())], Ok(())));
}

#[test]
fn each_violation_has_its_error_for_reads_of_any_size() {
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
            "fragmented ping",
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
            "stray continuation",
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
            "text cut in a character",
            frame(0x81, "é".as_bytes().split_at(1).0),
            Violation::NotUtf8,
        ),
        (
            "fragmented text",
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
            "too big in total",
            [frame(0x02, &[0; 600]), frame(0x80, &[0; 401])].concat(),
            Violation::TooBig,
        ),
        (
            "empty fragments",
            [frame(0x01, b""), frame(0x00, b"").repeat(257)].concat(),
            Violation::EmptyFragments,
        ),
    ];

    for (name, bytes, expected) in cases {
        assert_eq!(violation(bytes), Some(*expected), "{name}");
    }
}

#[test]
fn a_frame_after_a_close_is_not_decoded() {
    let bytes = [frame(0x88, &1000u16.to_be_bytes()), frame(0x81, b"late")].concat();

    let result = decode(1000, &bytes, &[bytes.len()]);

    assert_eq!(result, (vec![Decoded::Close(Some(1000))], Ok(())));
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    let bytes = frame(0x82, &[7; 1000]);

    let result = decode(1000, &bytes, &[300]);

    assert_eq!(result, (vec![Decoded::Binary(vec![7; 1000])], Ok(())));
}

#[test]
fn compressed_messages_are_decoded_whole_or_in_fragments() {
    let text = "the same words, ".repeat(60);
    let payload = deflate(text.as_bytes()).expect("smaller");
    let (first, rest) = payload.split_at(7);
    let (second, third) = rest.split_at(9);
    let bytes = [
        frame(0x41, first),
        frame(0x89, b"mid"),
        frame(0x00, second),
        frame(0x80, third),
        frame(0xC1, &payload),
        frame(0x81, b"uncompressed"),
    ]
    .concat();

    for size in [1, 3, 1000] {
        let result = decode_with(Decoder::new(1000, true), &bytes, &[size]);

        let expected = vec![
            Decoded::Ping(b"mid".to_vec()),
            Decoded::Text(text.clone()),
            Decoded::Text(text.clone()),
            Decoded::Text("uncompressed".into()),
        ];
        assert_eq!(result, (expected, Ok(())), "in reads of {size} bytes");
    }
}

#[test]
fn compressed_messages_have_the_same_limits() {
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
            "a later fragment",
            [frame(0x41, b""), frame(0xC0, b"x")].concat(),
            Violation::ReservedBits,
        ),
        ("rsv2", frame(0xA1, b"x"), Violation::ReservedBits),
    ] {
        let (_, result) = decode_with(Decoder::new(1000, true), &bytes, &[1]);

        assert_eq!(result, Err(expected), "{name}");
    }
}

/// Returns the bytes and the contents of messages, each in any number of fragments, with control frames between them.
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
        .prop_map(|((opcode, payload, decoded), cuts, control)| {
            let mut cuts: Vec<usize> = cuts
                .iter()
                .map(|cut| cut.index(payload.len() + 1))
                .collect();
            cuts.extend([0, payload.len()]);
            cuts.sort_unstable();
            let last = cuts.len() - 2;

            let mut bytes = Vec::new();
            let mut contents = Vec::new();
            for (index, pair) in cuts.windows(2).enumerate() {
                let opcode = if index == 0 { opcode } else { 0 };
                let fin = if index == last { FIN } else { 0 };
                if index == last
                    && let Some((control, decoded)) = &control
                {
                    bytes.extend_from_slice(control);
                    contents.push(decoded.clone());
                }
                bytes.extend(frame(opcode | fin, &payload[pair[0]..pair[1]]));
            }

            contents.push(decoded);
            (bytes, contents)
        });

    prop::collection::vec(message, 0..5).prop_map(|messages| {
        let (bytes, contents): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        (bytes.concat(), contents.concat())
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
fn a_read_completes_a_message_wherever_the_read_ends() {
    for whole in [frame(FIN | 1, b"hello"), frame(FIN | 9, b"ping")] {
        let (start, end) = whole.split_at(3);
        let end_and_start = [end, start].concat();

        let completed = completed(&[start, &end_and_start, &end_and_start, end]);

        assert_eq!(completed, [false, true, true, true]);
    }
}

#[test]
fn pings_between_fragments_complete_no_message() {
    let ping = frame(FIN | 9, b"ping");
    let first = frame(1, b"hel");
    let last = frame(FIN, b"lo");

    let completed = completed(&[&first, &ping, &ping, &last]);

    assert_eq!(completed, [false, false, false, true]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_same_messages_are_decoded_from_reads_of_any_size(
        (bytes, expected) in conversation(),
        reads in prop::collection::vec(1usize..5000, 1..8),
    ) {
        prop_assert_eq!(decode(1 << 20, &bytes, &reads), (expected, Ok(())));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        reads in prop::collection::vec(1usize..40, 1..4),
    ) {
        // Only a panic would be a failure.
        let _ = decode(1000, &bytes, &reads);
    }
}
