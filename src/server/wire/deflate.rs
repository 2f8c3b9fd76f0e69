//! Messages compressed on their own: permessage-deflate without context takeover (RFC 7692).
//!
//! # Invariants
//!
//! - A message is compressed with nothing but itself, so one compression serves every client that agreed.
//! - Inflating stops at the bound that is given, whatever a peer sends.
//! - The bytes that are read are at most [`MOST_EXPANSION`] times as many as those that come of them: blocks of no
//!   bytes cost as much time as others, and their sender next to nothing.
//! - What would not become smaller is sent as it is.
//!
//! Deliberately absent: context takeover, which would keep some 300 KiB for each client and compress each message
//! for each of them, and windows other than the full one.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::server::wire::Violation;

/// What a client offers by, in `Sec-WebSocket-Extensions`.
const NAME: &str = "permessage-deflate";
/// What is agreed upon (section 7.1.1): each message stands alone, in both directions.
pub const AGREEMENT: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// How each compressed message ends, which is not sent (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// Compressed bytes for each byte of a message, at most. The least that a compressor needs is one, but one that is
/// flushed after each character needs eight.
const MOST_EXPANSION: usize = 8;
/// Compressed bytes of which nothing need come.
const FREE_BYTES: usize = 4 * 1024;
/// Final blocks in one message, at most. One ends a message (section 7.2.3.4), or each fragment of it.
const MAX_FINAL_BLOCKS: usize = 256;

/// Shorter messages are not worth the time: what is around a frame weighs as much.
const SHORTEST: usize = 64;

thread_local! {
    static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), false));
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Whether one of a client's `offers`, the values of its `Sec-WebSocket-Extensions`, can be met by [`AGREEMENT`].
pub fn is_offered<'a>(offers: impl Iterator<Item = &'a str>) -> bool {
    offers.flat_map(|value| value.split(',')).any(is_acceptable)
}

fn is_acceptable(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some(NAME) {
        return false;
    }
    let mut seen = Vec::new();
    parts.all(|parameter| {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start().trim_matches('"'))),
            None => (parameter, None),
        };
        let is_new = !seen.contains(&name);
        seen.push(name);
        is_new
            && match name {
                "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                // A smaller window than we compress with would need a compression of its own.
                "server_max_window_bits" => value == Some("15"),
                // Whatever it is, the full window reads it.
                "client_max_window_bits" => value.is_none_or(|bits| {
                    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
                }),
                _ => false,
            }
    })
}

/// `payload` compressed, if that makes it smaller.
pub(super) fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < SHORTEST {
        return None;
    }
    DEFLATER.with_borrow_mut(|deflater| {
        deflater.reset();
        let mut out = Vec::with_capacity(payload.len());
        deflater
            .compress_vec(payload, &mut out, FlushCompress::Sync)
            .ok()?;
        // A full buffer may mean that there is more.
        if out.len() >= payload.len() || !out.ends_with(&TAIL) {
            return None;
        }
        out.truncate(out.len() - TAIL.len());
        out.shrink_to_fit();
        Some(out)
    })
}

/// The message that was compressed to `payload`, of at most `max` bytes.
///
/// # Errors
/// [`Violation::TooBig`] as soon as it is longer, [`Violation::BadDeflate`] if it is none, or made to cost time.
pub(super) fn inflate(payload: &[u8], max: usize) -> Result<Vec<u8>, Violation> {
    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        let mut out = Vec::new();
        let mut consumed = 0;
        let mut final_blocks = 0;

        for mut part in payload.chunks(FREE_BYTES).chain([&TAIL[..]]) {
            consumed += part.len();
            loop {
                if out.len() > max {
                    return Err(Violation::TooBig);
                }
                if out.len() == out.capacity() {
                    // Not what the peer promises: what it has sent, and then as much again each time.
                    out.reserve(
                        part.len()
                            .max(out.len())
                            .max(SHORTEST)
                            .min(max + 1 - out.len()),
                    );
                }
                let (read, written) = (inflater.total_in(), out.len());
                let status = inflater
                    .decompress_vec(part, &mut out, FlushDecompress::Sync)
                    .map_err(|_| Violation::BadDeflate)?;
                let read = (inflater.total_in() - read) as usize;
                part = &part[read..];
                if status == Status::StreamEnd {
                    // A final block ends no message (section 7.2.3.4).
                    inflater.reset(false);
                    final_blocks += 1;
                    if final_blocks > MAX_FINAL_BLOCKS {
                        return Err(Violation::BadDeflate);
                    }
                }
                let is_full = out.len() == out.capacity();
                if part.is_empty() && !is_full {
                    break;
                }
                if read == 0 && out.len() == written && !is_full {
                    return Err(Violation::BadDeflate);
                }
            }
            if consumed > FREE_BYTES + TAIL.len() + MOST_EXPANSION * out.len() {
                return Err(Violation::BadDeflate);
            }
        }

        if out.len() > max {
            Err(Violation::TooBig)
        } else {
            Ok(out)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_offer_is_met_if_the_full_window_without_takeover_satisfies_it() {
        for (offers, is_met) in [
            (&["permessage-deflate; client_max_window_bits"][..], true),
            (&["permessage-deflate"], true),
            (
                &["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
                true,
            ),
            (
                &["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
                true,
            ),
            (
                &[
                    "x-webkit-deflate-frame",
                    "permessage-deflate; client_max_window_bits=\"9\"",
                ],
                true,
            ),
            (&["permessage-deflate; server_max_window_bits=10"], false),
            (&["permessage-deflate; client_max_window_bits=16"], false),
            (&["permessage-deflate; server_no_context_takeover=1"], false),
            (
                &["permessage-deflate; client_max_window_bits; client_max_window_bits"],
                false,
            ),
            (&["permessage-deflate; of_tomorrow"], false),
            (&["permessage-bzip2"], false),
            (&[], false),
        ] {
            assert_eq!(is_offered(offers.iter().copied()), is_met, "{offers:?}");
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for example in [
            // Section 7.2.3.1, one block; 7.2.3.3, no compression; 7.2.3.4, a final block; 7.2.3.5, two blocks.
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ] {
            assert_eq!(
                inflate(example, 5).as_deref(),
                Ok(&b"Hello"[..]),
                "{example:02x?}"
            );
            assert_eq!(inflate(example, 4), Err(Violation::TooBig));
        }
    }

    #[test]
    fn a_message_that_would_become_a_thousand_times_larger_is_refused_at_the_bound() {
        let bomb = deflate(&vec![0; 10_000_000]).expect("smaller");
        assert!(bomb.len() < 20_000);
        assert_eq!(inflate(&bomb, 65_536), Err(Violation::TooBig));
        assert_eq!(
            inflate(&bomb, 10_000_000).map(|whole| whole.len()),
            Ok(10_000_000)
        );
    }

    #[test]
    fn blocks_of_which_nothing_comes_are_refused_after_a_few_kilobytes() {
        // Final blocks, blocks of fixed codes (with the bits that fill the last byte), and stored blocks.
        for block in [
            &[0x03, 0x00][..],
            &[0x02, 0x08, 0x20, 0x80, 0x00],
            &[0, 0, 0, 0xFF, 0xFF],
        ] {
            let some = block.repeat(50);
            let many = block.repeat(60_000);

            assert_eq!(inflate(&some, 100).as_deref(), Ok(&[][..]), "{block:02x?}");
            assert_eq!(inflate(&many, 400_000), Err(Violation::BadDeflate));
        }
    }

    #[test]
    fn a_message_that_was_flushed_after_each_character_is_read() {
        let text = "a message, of some length. ".repeat(1000);
        let mut deflater = Compress::new(Compression::fast(), false);
        let mut compressed = Vec::with_capacity(20 * text.len());
        for byte in text.as_bytes() {
            deflater
                .compress_vec(&[*byte], &mut compressed, FlushCompress::Sync)
                .expect("compressed");
        }
        compressed.truncate(compressed.len() - TAIL.len());

        assert!(compressed.len() > 5 * text.len());
        assert_eq!(inflate(&compressed, text.len()), Ok(text.into_bytes()));
    }

    #[test]
    fn what_would_not_become_smaller_is_left_as_it_is() {
        assert_eq!(deflate(&[b'a'; SHORTEST - 1]), None);
        let mut state = 1_u64;
        let mut random = || {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()
        };
        let noise: Vec<u8> = (0..1000).flat_map(|_| random()).collect();
        assert!(deflate(&noise).is_none());
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(words in prop::collection::vec("[a-z]{1,8}", 20..400)) {
            let text = words.join(" ");
            let compressed = deflate(text.as_bytes());
            if let Some(compressed) = compressed {
                prop_assert!(compressed.len() < text.len());
                prop_assert_eq!(inflate(&compressed, text.len()), Ok(text.into_bytes()));
            }
        }

        #[test]
        fn no_bytes_upset_it(bytes: Vec<u8>, max in 0usize..1000) {
            if let Ok(message) = inflate(&bytes, max) {
                prop_assert!(message.len() <= max);
            }
        }
    }
}
