//! Reed-Solomon error correction: the remainder of the data's polynomial over GF(256), divided by a generator
//! polynomial.

/// The polynomial of the field, x^8 + x^4 + x^3 + x^2 + 1.
const FIELD: u16 = 0x11D;

/// Returns `degree` bytes of error correction for `data`.
pub(super) fn remainder(data: &[u8], degree: usize) -> Vec<u8> {
    let generator = generator(degree);
    let mut rest = vec![0; degree];

    for &byte in data {
        let factor = byte ^ rest[0];
        rest.rotate_left(1);
        rest[degree - 1] = 0;
        for (rest, &coefficient) in rest.iter_mut().zip(&generator) {
            *rest ^= product(coefficient, factor);
        }
    }
    rest
}

/// Returns the coefficients of (x - 1)(x - 2)(x - 4)... without the first, which is 1.
fn generator(degree: usize) -> Vec<u8> {
    let mut coefficients = vec![0; degree];
    coefficients[degree - 1] = 1;

    let mut root = 1;
    for _ in 0..degree {
        for at in 0..degree {
            let next = coefficients.get(at + 1).copied().unwrap_or(0);
            coefficients[at] = product(coefficients[at], root) ^ next;
        }
        root = product(root, 2);
    }
    coefficients
}

fn product(a: u8, b: u8) -> u8 {
    let mut product = 0_u16;
    for at in (0..8).rev() {
        product = (product << 1) ^ ((product >> 7) * FIELD);
        product ^= u16::from(b >> at & 1) * u16::from(a);
    }
    product as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textbook_example_comes_out_as_in_the_textbook() {
        // The text HELLO WORLD in version 1, level M.
        let data = [
            32, 91, 11, 120, 209, 114, 220, 77, 67, 64, 236, 17, 236, 17, 236, 17,
        ];
        assert_eq!(
            remainder(&data, 10),
            [196, 35, 39, 119, 235, 215, 231, 226, 93, 23]
        );
    }
}
