//! The weights (q-values) by which a client ranks media types, codings and languages (RFC 9110 section 12.4.2).

/// The weight of an element that has none, in thousandths.
pub const FULL_WEIGHT: u16 = 1000;

/// Reads a weight, like `0.8`, in thousandths. `None` if it breaks the grammar: more than three digits after the
/// point, or a value above 1.
///
/// ```
/// use fanfare::protocol::parse_weight;
///
/// assert_eq!(parse_weight("0.8"), Some(800));
/// assert_eq!(parse_weight("1.5"), None);
/// ```
pub fn parse_weight(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }

    let thousandths = format!("{fraction:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(FULL_WEIGHT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_number_from_0_to_1_with_at_most_three_decimals() {
        for (text, weight) in [
            ("0", 0),
            ("0.", 0),
            ("0.8", 800),
            ("0.08", 80),
            ("0.123", 123),
            ("1", 1000),
            ("1.000", 1000),
        ] {
            assert_eq!(parse_weight(text), Some(weight), "{text}");
        }

        for text in [
            "", "2", "1.001", "-1", "nan", "0.1234", "+0", ".5", "0.-1", "0 ",
        ] {
            assert_eq!(parse_weight(text), None, "{text}");
        }
    }
}
