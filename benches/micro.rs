//! Benchmarks of the single steps of a message: `cargo bench --features ssr`.

use std::sync::Arc;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use fanfare::protocol::{Epoch, Offset, RoomName, UserId};
use fanfare::server::room::{Dialect, Draft, FanoutBatch, Format, Frame, Log, LogLimits};
use fanfare::server::wire::{self, Decoder, Opcode};
use parking_lot::Mutex;

/// A text of 64 bytes, as `fanfare bench` sends by default.
const TEXT: &str = "sixty-four bytes of text, as the standard loads of the bench say";
const LIMITS: LogLimits = LogLimits {
    messages: 4096,
    bytes: usize::MAX,
};

fn main() {
    divan::main();
}

fn frame(offset: u64) -> Arc<Frame> {
    let draft = Draft::text(UserId::guest(0), None, TEXT);
    Arc::new(Frame::new(
        RoomName::lobby(),
        draft,
        Epoch::new(0),
        Offset(offset),
        Offset(offset - 1),
        0,
    ))
}

fn log_of(frames: u64) -> Mutex<Log> {
    let mut log = Log::new(LIMITS, Offset(0));
    (1..=frames).for_each(|offset| log.append(frame(offset)));
    Mutex::new(log)
}

/// Encodes one message for the first reader of a dialect.
#[divan::bench(args = [Dialect::Plain, Dialect::Typed])]
fn encode(bencher: Bencher, dialect: Dialect) {
    bencher.bench(|| Format::new(dialect).encode(&frame(black_box(1))));
}

/// Appends one message to a full ring.
#[divan::bench]
fn append(bencher: Bencher) {
    let mut log = log_of(4096).into_inner();
    let mut offset = 4096;

    bencher.bench_local(|| {
        offset += 1;
        log.append(frame(offset));
    });
}

/// Reads `behind` frames for the first reader of a pass, which encodes the chunk.
#[divan::bench(args = [1, 40, 400])]
fn read_first(bencher: Bencher, behind: u64) {
    let log = log_of(4096);

    bencher.bench(|| {
        FanoutBatch::new(&log)
            .next(Offset(4096 - behind), Format::new(Dialect::Plain))
            .expect("kept")
            .cloned()
    });
}

/// Reads the same frames for every other reader of the pass at the same offset.
#[divan::bench(args = [1, 40, 400])]
fn read_next(bencher: Bencher, behind: u64) {
    let log = log_of(4096);
    let mut batch = FanoutBatch::new(&log);

    bencher.bench_local(|| {
        black_box(
            batch
                .next(Offset(4096 - behind), Format::new(Dialect::Plain))
                .expect("kept"),
        )
        .is_some()
    });
}

/// Decodes a client's frame of `size` bytes.
#[divan::bench(args = [64, 4096, 65536])]
fn decode(bencher: Bencher, size: usize) {
    let mut masked = wire::encode(Opcode::Text, &vec![b'x'; size]).to_vec();
    let header = masked.len() - size;
    masked[1] |= 0x80;
    masked.splice(header..header, [0; 4]);

    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| masked.clone())
        .bench_refs(|bytes| {
            let mut decoder = Decoder::new(1 << 20, false);
            decoder.decode(bytes, |incoming| {
                black_box(incoming);
                std::ops::ControlFlow::Continue(())
            })
        });
}
