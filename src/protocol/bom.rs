//! The byte order mark that some editors write at the start of a file (Unicode Standard section 23.8).

/// The mark in UTF-8.
const UTF_8: &[u8] = b"\xef\xbb\xbf";
/// The mark in UTF-16, in both byte orders.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Returns `text` without a UTF-8 mark at its start.
pub fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(UTF_8).unwrap_or(text)
}

/// Returns true if `file` begins with a UTF-8 or UTF-16 mark.
pub fn has_bom(file: &[u8]) -> bool {
    file.starts_with(UTF_8) || UTF_16.iter().any(|mark| file.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_is_skipped_and_only_at_the_start() {
        assert_eq!(without_bom("\u{feff}a".as_bytes()), b"a");
        assert_eq!(
            without_bom("\u{feff}\u{feff}a".as_bytes()),
            "\u{feff}a".as_bytes()
        );
        assert_eq!(without_bom("a\u{feff}".as_bytes()), "a\u{feff}".as_bytes());
        assert_eq!(without_bom(b"\xef\xbb"), b"\xef\xbb");
    }

    #[test]
    fn the_marks_of_utf_8_and_utf_16_are_recognised() {
        for (file, expected) in [
            (&b"\xef\xbb\xbfa"[..], true),
            (b"\xff\xfea\0", true),
            (b"\xfe\xff\0a", true),
            (b"a\xef\xbb\xbf", false),
            (b"", false),
        ] {
            assert_eq!(has_bom(file), expected, "{file:?}");
        }
    }
}
