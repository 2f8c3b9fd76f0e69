//! Any bytes in reads of any size: the decoder returns the same messages as from one read, and never panics.
#![no_main]

use std::ops::ControlFlow;

use floors::server::wire::{Decoder, Incoming, Violation};
use libfuzzer_sys::fuzz_target;

/// Returns the messages in `bytes`, and the violation that ends them, in reads of `size` bytes.
fn decode(bytes: &[u8], size: usize) -> (Vec<String>, Result<(), Violation>) {
    let mut decoder = Decoder::new(4096, bytes.len() % 2 == 1);
    let mut decoded = Vec::new();

    for read in bytes.chunks(size) {
        let mut is_closed = false;
        let result = decoder.decode(&mut read.to_vec(), |incoming| {
            is_closed |= matches!(incoming, Incoming::Close(_));
            decoded.push(format!("{incoming:?}"));
            ControlFlow::Continue(())
        });
        if is_closed || result.is_err() {
            return (decoded, result.map(|_| ()));
        }
    }
    (decoded, Ok(()))
}

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else { return };

    let in_reads = decode(bytes, usize::from(*size).max(1));
    let at_once = decode(bytes, bytes.len().max(1));

    assert_eq!(in_reads, at_once);
});
