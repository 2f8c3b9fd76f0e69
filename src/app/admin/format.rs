//! Numbers, rates and sizes as text. Pure.

/// The smallest rate that is shown without a fraction.
const WHOLE_FROM: f64 = 99.95;

/// Returns a count with separators: `1,234`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);

    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }

    grouped
}

/// Returns a rate, with one digit of its fraction if it is small: `0`, `2.5`, `1,234`.
pub(super) fn rate(number: f64) -> String {
    if number < WHOLE_FROM && number.fract() >= 0.05 && number.fract() < 0.95 {
        format!("{number:.1}")
    } else {
        count(number.round() as u64)
    }
}

/// Returns a size in the largest unit that fits: `512 B`, `1.5 KiB`.
pub(super) fn bytes(number: f64) -> String {
    let mut left = number;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if left < 1024.0 {
            return format!("{} {unit}", rate(left));
        }
        left /= 1024.0;
    }
    format!("{} TiB", rate(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn rates_have_a_fraction_while_they_are_small() {
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(0.04), "0");
        assert_eq!(rate(2.5), "2.5");
        assert_eq!(rate(2.96), "3");
        assert_eq!(rate(99.7), "99.7");
        assert_eq!(rate(1234.5), "1,235");
    }

    #[test]
    fn sizes_have_the_largest_unit_that_fits() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(1023.0), "1,023 B");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(bytes(1_048_576.0), "1 MiB");
        assert_eq!(bytes(5e13), "45.5 TiB");
    }
}
