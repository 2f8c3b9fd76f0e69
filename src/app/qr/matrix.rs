//! The modules of a QR code: the function patterns, then the data bits in a zigzag, then the mask.

use super::Version;

/// The format value of error correction level M.
const LEVEL_M: usize = 0b00;

/// A square of modules.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    size: usize,
    dark: Vec<bool>,
    /// The modules of function patterns, which contain no data bits.
    fixed: Vec<bool>,
}

impl Matrix {
    /// Creates the code of `version` that contains `bytes`, with the mask that leaves the fewest blocks of one
    /// colour.
    pub(super) fn new(version: &Version, bytes: &[u8]) -> Self {
        let size = 17 + 4 * version.number;
        let mut matrix = Self {
            size,
            dark: vec![false; size * size],
            fixed: vec![false; size * size],
        };

        matrix.mark(version);
        matrix.fill(bytes);

        let masked = (0..8).map(|mask| matrix.masked(mask));
        masked.min_by_key(Self::patches).unwrap_or(matrix)
    }

    pub(super) const fn size(&self) -> usize {
        self.size
    }

    pub(super) fn is_dark(&self, x: usize, y: usize) -> bool {
        self.dark[y * self.size + x]
    }

    fn fix(&mut self, x: usize, y: usize, dark: bool) {
        self.dark[y * self.size + x] = dark;
        self.fixed[y * self.size + x] = true;
    }

    fn mark(&mut self, version: &Version) {
        let size = self.size;
        for at in 0..size {
            self.fix(6, at, at % 2 == 0);
            self.fix(at, 6, at % 2 == 0);
        }

        // The finder patterns in three corners, each with its light separator.
        for (left, top) in [(3, 3), (size - 4, 3), (3, size - 4)] {
            for (x, y) in (0..size).flat_map(|y| (0..size).map(move |x| (x, y))) {
                let distance = x.abs_diff(left).max(y.abs_diff(top));
                if distance <= 4 {
                    self.fix(x, y, distance != 2 && distance != 4);
                }
            }
        }

        let last = version.marks.last().copied().unwrap_or_default();
        for (&x, &y) in version
            .marks
            .iter()
            .flat_map(|x| version.marks.iter().map(move |y| (x, y)))
        {
            // These corners have finder patterns.
            if (x, y) == (6, 6) || (x, y) == (6, last) || (x, y) == (last, 6) {
                continue;
            }
            for (dx, dy) in (0..5).flat_map(|dy| (0..5).map(move |dx| (dx, dy))) {
                let (x, y): (usize, usize) = (x + dx - 2, y + dy - 2);
                self.fix(x, y, dx.abs_diff(2).max(dy.abs_diff(2)) != 1);
            }
        }

        if version.number >= 7 {
            let bits = with_check(version.number, 12, 0x1F25);
            for at in 0..18 {
                let (a, b) = (size - 11 + at % 3, at / 3);
                self.fix(a, b, bits >> at & 1 == 1);
                self.fix(b, a, bits >> at & 1 == 1);
            }
        }

        // Reserves the modules of the format field.
        self.format(0);
    }

    /// Writes both copies of the format field: level and mask.
    fn format(&mut self, mask: usize) {
        let size = self.size;
        let bits = with_check(LEVEL_M << 3 | mask, 10, 0x537) ^ 0x5412;

        for at in 0..15 {
            let dark = bits >> at & 1 == 1;
            let (x, y) = match at {
                0..=5 => (8, at),
                6 | 7 => (8, at + 1),
                8 => (7, 8),
                _ => (14 - at, 8),
            };
            self.fix(x, y, dark);
            let (x, y) = if at < 8 {
                (size - 1 - at, 8)
            } else {
                (8, size - 15 + at)
            };
            self.fix(x, y, dark);
        }

        self.fix(8, size - 8, true);
    }

    /// Writes the bits of `bytes` in columns of two modules, from right to left, alternately upwards and downwards.
    fn fill(&mut self, bytes: &[u8]) {
        let size = self.size;
        let mut bits = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1 == 1));

        // The column of the vertical timing pattern belongs to no pair.
        let pairs = (1..size)
            .rev()
            .step_by(2)
            .map(|right| if right <= 6 { right - 1 } else { right });

        for (number, right) in pairs.enumerate() {
            for step in 0..size {
                let y = if number % 2 == 0 {
                    size - 1 - step
                } else {
                    step
                };
                for x in [right, right - 1] {
                    if !self.fixed[y * size + x] {
                        self.dark[y * size + x] = bits.next().unwrap_or(false);
                    }
                }
            }
        }
    }

    fn masked(&self, mask: usize) -> Self {
        let mut masked = self.clone();

        for (x, y) in (0..self.size).flat_map(|y| (0..self.size).map(move |x| (x, y))) {
            let flips = match mask {
                0 => (x + y) % 2 == 0,
                1 => y % 2 == 0,
                2 => x % 3 == 0,
                3 => (x + y) % 3 == 0,
                4 => (x / 3 + y / 2) % 2 == 0,
                5 => x * y % 2 + x * y % 3 == 0,
                6 => (x * y % 2 + x * y % 3) % 2 == 0,
                _ => ((x + y) % 2 + x * y % 3) % 2 == 0,
            };
            masked.dark[y * self.size + x] ^= flips && !self.fixed[y * self.size + x];
        }

        masked.format(mask);
        masked
    }

    /// Returns the number of blocks of 2 x 2 modules of one colour.
    fn patches(&self) -> usize {
        let inner = self.size - 1;
        let squares = (0..inner).flat_map(|y| (0..inner).map(move |x| (x, y)));
        let is_patch = |&(x, y): &(usize, usize)| {
            let dark = self.is_dark(x, y);
            dark == self.is_dark(x + 1, y)
                && dark == self.is_dark(x, y + 1)
                && dark == self.is_dark(x + 1, y + 1)
        };
        squares.filter(is_patch).count()
    }
}

/// Returns `value` followed by `width` check bits: the remainder of its division by `generator`.
fn with_check(value: usize, width: usize, generator: usize) -> usize {
    let mut rest = value;
    for _ in 0..width {
        rest = (rest << 1) ^ ((rest >> (width - 1)) * generator);
    }
    value << width | rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_and_version_fields_have_the_checks_of_the_standard() {
        assert_eq!(
            with_check(LEVEL_M << 3, 10, 0x537) ^ 0x5412,
            0b101_0100_0001_0010
        );
        assert_eq!(
            with_check(0b00_101, 10, 0x537) ^ 0x5412,
            0b100_0000_1100_1110
        );
        assert_eq!(with_check(7, 12, 0x1F25), 0b00_0111_1100_1001_0100);
    }

    #[test]
    fn the_corners_are_where_a_reader_looks_for_them() {
        let matrix = Matrix::new(&super::super::VERSIONS[0], &[0; 26]);
        for (left, top) in [(0_usize, 0), (14, 0), (0, 14)] {
            let row = |y: usize| {
                (0..7)
                    .map(|x| matrix.is_dark(left + x, top + y))
                    .collect::<Vec<_>>()
            };
            assert_eq!(row(0), [true; 7]);
            assert_eq!(row(3), [true, false, true, true, true, false, true]);
        }
    }
}
