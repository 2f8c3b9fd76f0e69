//! Any bytes, cut anywhere: the frame reader gives the same messages as from the whole, and never panics.
#![no_main]

use std::ops::ControlFlow;

use floors::server::wire::{Decoder, Incoming, Violation};
use libfuzzer_sys::fuzz_target;

fn hear(bytes: &[u8], piece: usize) -> (Vec<String>, Result<(), Violation>) {
    let mut decoder = Decoder::new(4096, bytes.len() % 2 == 1);
    let mut heard = Vec::new();
    for part in bytes.chunks(piece) {
        let mut ended = false;
        let result = decoder.decode(&mut part.to_vec(), |incoming| {
            ended |= matches!(incoming, Incoming::Close(_));
            heard.push(format!("{incoming:?}"));
            ControlFlow::Continue(())
        });
        if ended || result.is_err() {
            return (heard, result.map(|_| ()));
        }
    }
    (heard, Ok(()))
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    assert_eq!(hear(bytes, usize::from(*piece).max(1)), hear(bytes, bytes.len().max(1)));
});
