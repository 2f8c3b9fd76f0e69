//! Compression of single messages: permessage-deflate without context takeover (RFC 7692).
//!
//! # Invariants
//!
//! - Each message is compressed independently, so that all clients with compression share the result.
//! - Inflating stops at the given limit.
//! - The input is at most [`MAX_EXPANSION`] times as long as the inflated message. Without this limit, a client could
//!   send many empty blocks, which cost time and almost no bandwidth.
//! - A message that compression does not make smaller is sent uncompressed.
//!
//! Context takeover is not supported, as it would take about 300 KiB per client and compress each message once per
//! client. Smaller windows than the full one are not supported either.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::server::wire::Violation;

/// Name of the extension in `Sec-WebSocket-Extensions`.
const NAME: &str = "permessage-deflate";
/// Response to an acceptable offer (section 7.1.1): no context takeover in either direction.
pub const AGREEMENT: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// The end of each compressed message, which is not sent (section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// Maximum number of compressed bytes per byte of the message. Compressors need at most one; a compressor that flushes
/// after each character needs eight.
const MAX_EXPANSION: usize = 8;
/// Number of compressed bytes that are exempt from [`MAX_EXPANSION`].
const FREE_BYTES: usize = 4 * 1024;
/// Maximum number of final blocks in one message. A client may send one at its end (section 7.2.3.4), or at the end of
/// each fragment.
const MAX_FINAL_BLOCKS: usize = 256;

/// Minimum length of a message that is compressed. Shorter ones hardly become smaller.
const MIN_MESSAGE: usize = 64;

thread_local! {
    static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), false));
    static INFLATER: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Returns true if [`AGREEMENT`] is a valid response to one of a client's `offers`, the values of its
/// `Sec-WebSocket-Extensions` headers.
pub fn is_offered<'a>(offers: impl Iterator<Item = &'a str>) -> bool {
    offers.flat_map(|value| value.split(',')).any(is_acceptable)
}

/// Returns true if [`AGREEMENT`] is a valid response to `offer`.
fn is_acceptable(offer: &str) -> bool {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some(NAME) {
        return false;
    }

    let mut names = Vec::new();
    parts.all(|parameter| {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start().trim_matches('"'))),
            None => (parameter, None),
        };

        let is_new = !names.contains(&name);
        names.push(name);
        is_new
            && match name {
                "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                // A smaller window would require a separate compression of each message.
                "server_max_window_bits" => value == Some("15"),
                // The full window can read messages of any smaller one.
                "client_max_window_bits" => value.is_none_or(|bits| {
                    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
                }),
                _ => false,
            }
    })
}

/// Compresses `payload`. `None` if that does not make it smaller.
pub(super) fn deflate(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < MIN_MESSAGE {
        return None;
    }

    DEFLATER.with_borrow_mut(|deflater| {
        deflater.reset();
        let mut out = Vec::with_capacity(payload.len());
        deflater
            .compress_vec(payload, &mut out, FlushCompress::Sync)
            .ok()?;

        // The buffer is full if the tail is missing: the result is not smaller than the payload.
        if out.len() >= payload.len() || !out.ends_with(&TAIL) {
            return None;
        }

        out.truncate(out.len() - TAIL.len());
        out.shrink_to_fit();
        Some(out)
    })
}

/// Inflates `payload` to a message of at most `max` bytes.
///
/// # Errors
/// [`Violation::TooBig`] as soon as the message is longer, and [`Violation::BadDeflate`] if `payload` is not valid or
/// takes too much time for its message.
pub(super) fn inflate(payload: &[u8], max: usize) -> Result<Vec<u8>, Violation> {
    INFLATER.with_borrow_mut(|inflater| {
        inflater.reset(false);
        let mut out = Vec::new();
        let mut final_blocks = 0;

        let mut consumed = 0;
        for part in payload.chunks(FREE_BYTES).chain([&TAIL[..]]) {
            inflate_part(inflater, part, &mut out, &mut final_blocks, max)?;
            consumed += part.len();
            if consumed > FREE_BYTES + TAIL.len() + MAX_EXPANSION * out.len() {
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

/// Inflates `part`, the next bytes of a payload, to the end of `out`.
fn inflate_part(
    inflater: &mut Decompress,
    mut part: &[u8],
    out: &mut Vec<u8>,
    final_blocks: &mut usize,
    max: usize,
) -> Result<(), Violation> {
    loop {
        if out.len() > max {
            return Err(Violation::TooBig);
        }
        if out.len() == out.capacity() {
            // Grow with the bytes that have arrived, not with a length that the peer declares.
            let wanted = part.len().max(out.len()).max(MIN_MESSAGE);
            out.reserve(wanted.min(max + 1 - out.len()));
        }

        let read_before = inflater.total_in();
        let written_before = out.len();
        let status = inflater
            .decompress_vec(part, out, FlushDecompress::Sync)
            .map_err(|_| Violation::BadDeflate)?;
        let read = (inflater.total_in() - read_before) as usize;
        part = &part[read..];

        if status == Status::StreamEnd {
            // A message may continue after a final block (section 7.2.3.4).
            inflater.reset(false);
            *final_blocks += 1;
            if *final_blocks > MAX_FINAL_BLOCKS {
                return Err(Violation::BadDeflate);
            }
        }

        let is_full = out.len() == out.capacity();
        if part.is_empty() && !is_full {
            return Ok(());
        }
        let has_progressed = read > 0 || out.len() > written_before;
        if !has_progressed && !is_full {
            return Err(Violation::BadDeflate);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_offer_is_accepted_if_the_full_window_without_takeover_satisfies_it() {
        for (offers, is_accepted) in [
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
            (&["permessage-deflate; unknown_parameter"], false),
            (&["permessage-bzip2"], false),
            (&[], false),
        ] {
            assert_eq!(
                is_offered(offers.iter().copied()),
                is_accepted,
                "{offers:?}"
            );
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_inflated() {
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
    fn a_message_that_inflates_to_a_thousand_times_its_length_is_refused_at_the_limit() {
        let bomb = deflate(&vec![0; 10_000_000]).expect("smaller");

        let refused = inflate(&bomb, 65_536);
        let whole = inflate(&bomb, 10_000_000).map(|message| message.len());

        assert!(bomb.len() < 20_000, "{} bytes", bomb.len());
        assert_eq!(refused, Err(Violation::TooBig));
        assert_eq!(whole, Ok(10_000_000));
    }

    #[test]
    fn empty_blocks_are_refused_after_a_few_kilobytes() {
        // Final blocks, blocks with fixed codes (padded to whole bytes), and stored blocks.
        for block in [
            &[0x03, 0x00][..],
            &[0x02, 0x08, 0x20, 0x80, 0x00],
            &[0, 0, 0, 0xFF, 0xFF],
        ] {
            let few = block.repeat(50);
            let many = block.repeat(60_000);

            assert_eq!(inflate(&few, 100).as_deref(), Ok(&[][..]), "{block:02x?}");
            assert_eq!(inflate(&many, 400_000), Err(Violation::BadDeflate));
        }
    }

    #[test]
    fn a_message_that_was_flushed_after_each_character_is_inflated() {
        let text = "a message, of some length. ".repeat(1000);
        let mut deflater = Compress::new(Compression::fast(), false);
        let mut compressed = Vec::with_capacity(20 * text.len());

        for byte in text.as_bytes() {
            deflater
                .compress_vec(&[*byte], &mut compressed, FlushCompress::Sync)
                .expect("compressed");
        }
        compressed.truncate(compressed.len() - TAIL.len());
        let length = compressed.len();

        let message = inflate(&compressed, text.len());

        assert!(length > 5 * text.len(), "{length} bytes");
        assert_eq!(message, Ok(text.into_bytes()));
    }

    #[test]
    fn a_short_message_is_not_compressed() {
        assert_eq!(deflate(&[b'a'; MIN_MESSAGE - 1]), None);
    }

    #[test]
    fn a_message_that_does_not_become_smaller_is_not_compressed() {
        let mut state = 1_u64;
        let mut random = || {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()
        };
        let noise: Vec<u8> = (0..1000).flat_map(|_| random()).collect();

        assert_eq!(deflate(&noise), None);
    }

    proptest! {
        #[test]
        fn a_compressed_message_inflates_to_itself(
            words in prop::collection::vec("[a-z]{1,8}", 20..400),
        ) {
            let text = words.join(" ");

            let compressed = deflate(text.as_bytes());

            if let Some(compressed) = compressed {
                prop_assert!(compressed.len() < text.len());
                prop_assert_eq!(inflate(&compressed, text.len()), Ok(text.into_bytes()));
            }
        }

        #[test]
        fn any_bytes_inflate_to_at_most_the_limit(bytes: Vec<u8>, max in 0usize..1000) {
            if let Ok(message) = inflate(&bytes, max) {
                prop_assert!(message.len() <= max);
            }
        }
    }
}
