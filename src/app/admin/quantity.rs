//! Numbers as people read them at a glance. Pure.

/// Of a number of three figures and more no part is worth reading.
const WHOLE_FROM: f64 = 99.95;

/// How many: `1,234`.
pub fn count(number: u64) -> String {
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

/// How many in a second, on average: `0`, `2.5`, `1,234`.
pub fn rate(number: f64) -> String {
    if number < WHOLE_FROM && number.fract() >= 0.05 && number.fract() < 0.95 {
        format!("{number:.1}")
    } else {
        count(number.round() as u64)
    }
}

/// How many bytes, in the largest unit of 1024 that leaves at least one: `512 B`, `1.5 KiB`.
pub fn bytes(number: f64) -> String {
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
    fn numbers_are_short_and_exact_enough() {
        for (number, words) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), words);
        }
        for (number, words) in [
            (0.0, "0"),
            (0.04, "0"),
            (2.5, "2.5"),
            (2.96, "3"),
            (99.7, "99.7"),
            (1234.5, "1,235"),
        ] {
            assert_eq!(rate(number), words);
        }
        for (number, words) in [
            (0.0, "0 B"),
            (1023.0, "1,023 B"),
            (1536.0, "1.5 KiB"),
            (1_048_576.0, "1 MiB"),
            (5e13, "45.5 TiB"),
        ] {
            assert_eq!(bytes(number), words);
        }
    }
}
