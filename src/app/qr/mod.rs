//! The QR code (ISO/IEC 18004) of a room's URL: byte mode, error correction level M, versions 1 to 10, at most 213
//! bytes. Pure: the result is a matrix of modules or an SVG path.
//!
//! Other modes and levels are not supported. Of the standard's four rules for choosing a mask, only the one on blocks
//! of one colour is implemented, because a code is readable with every mask.

mod matrix;
mod reed_solomon;

use std::fmt::Write;

use matrix::Matrix;

/// The parameters of one version at level M.
struct Version {
    number: usize,
    /// The bytes of error correction in each block.
    correction: usize,
    blocks: usize,
    /// The bytes in all blocks.
    total: usize,
    /// The positions of alignment patterns, on both axes.
    marks: &'static [usize],
}

impl Version {
    const fn new(
        number: usize,
        correction: usize,
        blocks: usize,
        total: usize,
        marks: &'static [usize],
    ) -> Self {
        Self {
            number,
            correction,
            blocks,
            total,
            marks,
        }
    }

    /// Returns the number of bytes that are not error correction.
    const fn data(&self) -> usize {
        self.total - self.correction * self.blocks
    }

    /// Returns the size of the length field in bits.
    const fn length_bits(&self) -> usize {
        if self.number < 10 { 8 } else { 16 }
    }
}

/// The versions, from tables 9 and E.1 of the standard.
const VERSIONS: [Version; 10] = [
    Version::new(1, 10, 1, 26, &[]),
    Version::new(2, 16, 1, 44, &[6, 18]),
    Version::new(3, 26, 1, 70, &[6, 22]),
    Version::new(4, 18, 2, 100, &[6, 26]),
    Version::new(5, 24, 2, 134, &[6, 30]),
    Version::new(6, 16, 4, 172, &[6, 34]),
    Version::new(7, 18, 4, 196, &[6, 22, 38]),
    Version::new(8, 22, 4, 242, &[6, 24, 42]),
    Version::new(9, 22, 5, 292, &[6, 26, 46]),
    Version::new(10, 26, 5, 346, &[6, 28, 50]),
];

/// The modules of a code, without the quiet zone of four modules around it.
#[derive(Clone, Debug)]
pub struct Code(Matrix);

/// Returns the code of `bytes`; `None` if they are too long.
pub fn encode(bytes: &[u8]) -> Option<Code> {
    let needed = |version: &Version| (4 + version.length_bits()).div_ceil(8) + bytes.len();
    let version = VERSIONS
        .iter()
        .find(|version| needed(version) <= version.data())?;
    let data = packed(bytes, version);
    Some(Code(Matrix::new(version, &interleaved(&data, version))))
}

impl Code {
    /// Returns the width and height in modules.
    pub const fn size(&self) -> usize {
        self.0.size()
    }

    /// Returns the dark modules as an SVG path, one unit for each module.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for y in 0..self.size() {
            for x in (0..self.size()).filter(|&x| self.0.is_dark(x, y)) {
                // Writing to a string cannot fail.
                let _ = write!(path, "M{x} {y}h1v1h-1z");
            }
        }
        path
    }
}

/// Returns `bytes` after their header, padded to the capacity of the version.
fn packed(bytes: &[u8], version: &Version) -> Vec<u8> {
    const BYTE_MODE: usize = 0b0100;
    let mut bits: Vec<bool> = Vec::new();
    let mut push =
        |value: usize, width: usize| bits.extend((0..width).rev().map(|at| value >> at & 1 == 1));

    push(BYTE_MODE, 4);
    push(bytes.len(), version.length_bits());
    for &byte in bytes {
        push(byte.into(), 8);
    }
    // The terminator. The rest of its byte is zero too.

    push(0, 4);
    bits.resize(
        bits.len().min(version.data() * 8).next_multiple_of(8),
        false,
    );

    let whole = bits
        .chunks(8)
        .map(|byte| byte.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit)));
    whole
        .chain([0xEC, 0x11].into_iter().cycle())
        .take(version.data())
        .collect()
}

/// Returns the data in blocks with their error correction, interleaved byte by byte.
fn interleaved(data: &[u8], version: &Version) -> Vec<u8> {
    let short = data.len() / version.blocks;
    let long_ones = data.len() % version.blocks;
    let (head, tail) = data.split_at(short * (version.blocks - long_ones));
    let blocks = || head.chunks(short).chain(tail.chunks(short + 1));

    let corrections: Vec<Vec<u8>> = blocks()
        .map(|block| reed_solomon::remainder(block, version.correction))
        .collect();

    let mut bytes = Vec::with_capacity(version.total);
    for at in 0..=short {
        bytes.extend(blocks().filter_map(|block| block.get(at)));
    }
    for at in 0..version.correction {
        bytes.extend(corrections.iter().filter_map(|block| block.get(at)));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_any_length_up_to_the_limit_has_a_code() {
        for (bytes, size) in [(0, 21), (14, 21), (15, 25), (62, 33), (180, 53), (213, 57)] {
            assert_eq!(
                encode(&vec![b'x'; bytes]).map(|code| code.size()),
                Some(size),
                "{bytes}"
            );
        }
        assert!(encode(&[b'x'; 214]).is_none());
    }

    #[test]
    fn data_is_headed_ended_and_filled_up() {
        assert_eq!(
            packed(b"hi", &VERSIONS[0])[..7],
            [0x40, 0x26, 0x86, 0x90, 0xEC, 0x11, 0xEC]
        );
        assert_eq!(packed(b"hi", &VERSIONS[0]).len(), 16);
    }

    #[test]
    fn blocks_of_two_lengths_take_turns() {
        let version = &VERSIONS[7];
        let data: Vec<u8> = (0..version.data() as u8).collect();
        let bytes = interleaved(&data, version);

        assert_eq!(bytes.len(), version.total);
        assert_eq!(
            bytes[..4],
            [0, 38, 76, 115],
            "two blocks of 38 and two of 39"
        );
        assert_eq!(bytes[38 * 4..38 * 4 + 2], [114, 153]);
    }

    #[test]
    fn the_path_has_one_square_for_each_dark_one() {
        let code = encode(b"http://127.0.0.1:12345/r/lobby").expect("it fits");
        assert!(code.path().starts_with("M0 0h1v1h-1zM1 0h1v1h-1z"));

        let dark = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
        assert_eq!(
            code.path().matches('M').count(),
            dark.filter(|&(x, y)| code.0.is_dark(x, y)).count()
        );
    }
}
