//! How a name is shown to people: so that no two names that differ look alike by what cannot be seen in them.
//!
//! A name may have any character but controls, among them some that have no shape (U+200B), turn the direction of
//! what follows (U+202E) or are a space at its end. Shown as they are, `ann` and `ann\u{200b}` would be one
//! person. They are written out instead, except where a script or an emoji needs them and they do change what is
//! seen: joiners in Persian or Hindi, and within a family of emoji (Unicode Technical Standard 39 section 3.1.1,
//! UAX 31 section 2.3).
//!
//! Absent: letters of two alphabets that look alike. They are letters, and whose alphabet is the right one is not
//! ours to say; only a token makes a name somebody's own.

use crate::protocol::name::UserId;

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
/// Makes an emoji of what comes before it.
const AS_EMOJI: char = '\u{fe0f}';
const BLACK_FLAG: char = '\u{1f3f4}';
/// The square around a digit that is an emoji.
const KEYCAP: char = '\u{20e3}';

impl UserId {
    /// Returns the name with everything written out that cannot be seen in it, like `\u{200b}`.
    pub fn shown(&self) -> String {
        make_visible(self.as_str())
    }
}

/// Returns `text`, one line, with everything written out that cannot be seen in it, like `\u{200b}`.
pub fn make_visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = None;
    while let Some(c) = chars.next() {
        if !c.is_control() && is_seen(before, c, chars.peek().copied()) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
        before = Some(c);
    }
    shown
}

/// Whether `c` makes a difference to the eye between these two neighbours.
fn is_seen(before: Option<char>, c: char, after: Option<char>) -> bool {
    let both = |is: fn(char) -> bool| before.is_some_and(is) && after.is_some_and(is);
    match c {
        // Spaces at an end, and more than one, are not seen in a page.
        ' ' | '\u{3000}' => both(|neighbour| !neighbour.is_whitespace()),
        NON_JOINER => both(joins),
        JOINER => {
            both(joins) || (after.is_some_and(is_pictured) && before.is_some_and(ends_picture))
        }
        '\u{fe0e}' | AS_EMOJI => before.is_some_and(is_pictured) || after == Some(KEYCAP),
        '\u{e0020}'..='\u{e007f}' => before.is_some_and(|before| {
            before == BLACK_FLAG || matches!(before, '\u{e0020}'..='\u{e007e}')
        }),
        _ => !c.is_whitespace() && !is_shapeless(c),
    }
}

/// Letters of scripts whose shape depends on their neighbours.
const fn joins(c: char) -> bool {
    matches!(c, '\u{620}'..='\u{109f}' | '\u{1780}'..='\u{18aa}' | '\u{1900}'..='\u{1cff}' | '\u{a800}'..='\u{abff}')
}

const fn is_pictured(c: char) -> bool {
    matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}'..='\u{27bf}' | '\u{2900}'..='\u{2bff}' | '\u{3030}'
            | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}'
    )
}

const fn ends_picture(c: char) -> bool {
    c == AS_EMOJI || is_pictured(c)
}

/// What has no shape of its own: `Default_Ignorable_Code_Point` of Unicode's `DerivedCoreProperties.txt`, and the
/// annotations and the blank of Braille, which are not among them.
const fn is_shapeless(c: char) -> bool {
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
    fn what_is_seen_is_shown_as_it_is() {
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
    fn what_is_not_seen_is_written_out() {
        for (name, expected) in [
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
        ] {
            assert_eq!(shown(name), expected);
        }
    }

    proptest! {
        #[test]
        fn a_mark_that_turns_the_direction_is_never_shown(name in "[a-z\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{206f} א👩]{1,20}") {
            let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            prop_assert!(!shown(&name).contains(turns));
        }

        #[test]
        fn two_names_that_differ_are_shown_differently(one in "[a\u{200b}\u{200d}\u{202e} 👩]{1,4}", other in "[a\u{200b}\u{200d}\u{202e} 👩]{1,4}") {
            prop_assert_eq!(one == other, shown(&one) == shown(&other));
        }
    }
}
