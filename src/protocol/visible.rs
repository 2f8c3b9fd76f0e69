//! User names as people see them: two different names never look the same because of invisible characters.
//!
//! A name may contain any character except control characters. Some have no shape (U+200B), reverse the direction of
//! the text (U+202E) or are a space at the end of the name. Shown unchanged, `ann` and `ann\u{200b}` would look like
//! the same user. Such characters are written as escapes, except where a script or an emoji needs them and they change
//! what is visible: joiners in Persian or Hindi, and in emoji of families (Unicode Technical Standard 39 section 3.1.1,
//! UAX 31 section 2.3).
//!
//! Letters of different alphabets that look alike are not covered. Only a token proves who a user is.

use crate::protocol::name::UserId;

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
/// Selects the emoji form of the character before it.
const AS_EMOJI: char = '\u{fe0f}';
const BLACK_FLAG: char = '\u{1f3f4}';
/// Combines with a digit into a keycap emoji.
const KEYCAP: char = '\u{20e3}';

impl UserId {
    /// Returns the name with its invisible characters escaped, like `\u{200b}`.
    pub fn shown(&self) -> String {
        make_visible(self.as_str())
    }
}

/// Returns `text`, a single line, with its invisible characters escaped, like `\u{200b}`.
///
/// ```
/// use fanfare::protocol::make_visible;
///
/// assert_eq!(make_visible("ann"), "ann");
/// assert_eq!(make_visible("ann\u{200b}"), "ann\\u{200b}");
/// ```
pub fn make_visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = None;

    while let Some(c) = chars.next() {
        if !c.is_control() && is_visible(before, c, chars.peek().copied()) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
        before = Some(c);
    }

    shown
}

/// Returns true if `c` is visible, or changes what is visible, between these two characters.
fn is_visible(before: Option<char>, c: char, after: Option<char>) -> bool {
    let both = |is: fn(char) -> bool| before.is_some_and(is) && after.is_some_and(is);

    match c {
        // HTML collapses spaces and drops them at both ends of a line.
        ' ' | '\u{3000}' => both(|c| !c.is_whitespace()),
        NON_JOINER => both(changes_shape),
        JOINER => {
            both(changes_shape)
                || (after.is_some_and(is_pictograph) && before.is_some_and(ends_pictograph))
        }
        '\u{fe0e}' | AS_EMOJI => before.is_some_and(is_pictograph) || after == Some(KEYCAP),
        '\u{e0020}'..='\u{e007f}' => before.is_some_and(|before| {
            before == BLACK_FLAG || matches!(before, '\u{e0020}'..='\u{e007e}')
        }),
        _ => !c.is_whitespace() && !is_invisible(c),
    }
}

/// Returns true if `c` is a letter whose shape depends on the letters beside it.
const fn changes_shape(c: char) -> bool {
    matches!(c, '\u{620}'..='\u{109f}' | '\u{1780}'..='\u{18aa}' | '\u{1900}'..='\u{1cff}' | '\u{a800}'..='\u{abff}')
}

const fn is_pictograph(c: char) -> bool {
    matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}'..='\u{27bf}' | '\u{2900}'..='\u{2bff}' | '\u{3030}'
            | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}'
    )
}

const fn ends_pictograph(c: char) -> bool {
    c == AS_EMOJI || is_pictograph(c)
}

/// Returns true if `c` has no shape of its own: `Default_Ignorable_Code_Point` in Unicode's `DerivedCoreProperties.txt`,
/// the interlinear annotations and the Braille blank.
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(name: &str) -> String {
        UserId::parse(name).expect("a name").shown()
    }

    #[test]
    fn visible_characters_are_shown_unchanged() {
        for name in [
            "abc123",
            "李雷 and <b>",
            "李　雷",
            "علی\u{200c}رضا",
            "क्\u{200d}ष",
            "👩\u{200d}🚀",
            "👩🏽\u{200d}❤\u{fe0f}\u{200d}👨",
            "1\u{fe0f}\u{20e3}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "José e\u{301}",
        ] {
            assert_eq!(shown(name), name);
        }
    }

    #[test]
    fn invisible_characters_are_escaped() {
        let cases = [
            ("ann\u{200b}", "ann\\u{200b}"),
            ("a\u{200d}nn", "a\\u{200d}nn"),
            ("a\u{200c}nn", "a\\u{200c}nn"),
            ("\u{202e}nna", "\\u{202e}nna"),
            ("\u{2067}ann\u{2069}", "\\u{2067}ann\\u{2069}"),
            (" ann", "\\u{20}ann"),
            ("ann ", "ann\\u{20}"),
            ("a  b", "a\\u{20}\\u{20}b"),
            ("a\u{a0}b", "a\\u{a0}b"),
            ("\u{3164}", "\\u{3164}"),
            ("\u{2800}", "\\u{2800}"),
            ("ann\u{fe0f}", "ann\\u{fe0f}"),
            ("a\u{e0061}", "a\\u{e0061}"),
            ("李\u{200d}雷", "李\\u{200d}雷"),
            ("\u{feff}", "\\u{feff}"),
            ("a\u{2028}b", "a\\u{2028}b"),
        ];

        for (name, expected) in cases {
            assert_eq!(shown(name), expected);
        }
    }

    proptest! {
        #[test]
        fn a_direction_mark_is_never_shown(name in "[a-z\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{206f} א👩]{1,20}") {
            let is_direction_mark = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            prop_assert!(!shown(&name).contains(is_direction_mark));
        }

        #[test]
        fn two_names_that_differ_are_shown_differently(one in "[a\u{200b}\u{200d}\u{202e} 👩]{1,4}", other in "[a\u{200b}\u{200d}\u{202e} 👩]{1,4}") {
            prop_assert_eq!(one == other, shown(&one) == shown(&other));
        }
    }
}
