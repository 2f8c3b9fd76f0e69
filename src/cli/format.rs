//! Messages as lines of text for a terminal: time, name, text.
//!
//! A message cannot move the cursor, change colours, ring the bell, or look like another line. Control characters and
//! characters that change the direction of text are written as escapes.
//!
//! Pure: the style is a parameter.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::protocol::{Body, GapReason, Publication};

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The style of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Coloured,
}

/// Returns `publication` as a line with its newline.
pub(super) fn message(publication: &Publication, style: Style) -> String {
    let Publication {
        at,
        from,
        body,
        fields,
        ..
    } = publication;
    let (time, from) = (utc(*at), from.shown());
    let words = match (body, &fields.kind) {
        (_, Some(kind)) if kind.is_join() => "(joined)".to_owned(),
        (_, Some(kind)) if kind.is_leave() => "(left)".to_owned(),
        (Body::Text(text), _) => escape(text),
        (Body::Json(json), _) => escape_json(json.as_str()),
        (Body::Deleted(_), _) => "(deleted)".to_owned(),
        (Body::Data(data), _) => match STANDARD.decode(data) {
            Ok(bytes) => format!("({} bytes in base64) {data}", bytes.len()),
            Err(_) => escape(data),
        },
    };

    match style {
        Style::Plain => format!("{time} {from}: {words}\n"),
        Style::Coloured => format!("{DIM}{time}{PLAIN} {BOLD}{from}:{PLAIN} {words}\n"),
    }
}

/// Returns the description of a gap.
pub(super) fn gap(count: Option<u64>, reason: GapReason) -> String {
    let why = match reason {
        GapReason::Expired => "no longer kept",
        GapReason::Lagged => "passed over",
        GapReason::Damaged => "the server cannot read them",
    };

    match count {
        Some(1) => format!("1 message is missing: {why}"),
        Some(count) => format!("{count} messages are missing: {why}"),
        None => format!("messages may be missing: {why}"),
    }
}

/// Returns `text` with all characters escaped that a terminal interprets.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_active(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Escapes each line of `text`, and keeps the line breaks.
pub(super) fn escape_lines(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(escape).collect();
    lines.join("\n")
}

/// Returns `json` with all characters escaped that a terminal interprets. The JSON value stays the same.
///
/// Outside strings, JSON has only ASCII without control characters, apart from white space (RFC 8259 section 2).
pub(super) fn escape_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_active(c) && c != '\n' {
            // All of these characters are in the Basic Multilingual Plane, so four digits are enough.
            safe.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Returns true if a terminal interprets `c`: a control character (C0, DEL, C1), a change of text direction, or a
/// line separator.
const fn is_active(c: char) -> bool {
    matches!(
        c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// Returns `at`, in milliseconds since 1970, as date and time in UTC to the second (RFC 3339).
pub(super) fn utc(at: u64) -> String {
    match i64::try_from(at / 1000).map(Timestamp::from_second) {
        Ok(Ok(time)) => time.to_string(),
        // After the year 9999.
        _ => format!("{at} ms"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::samples;

    fn said(body: Body) -> Publication {
        Publication {
            at: 1_795_443_709_662,
            from: samples::user("ann"),
            body,
            ..samples::publication(1, "")
        }
    }

    #[test]
    fn a_message_is_time_name_and_words_on_one_line() {
        let text = said(Body::Text(
            "two\nlines, \u{1b}[31mred\u{7} and \u{202e}turned".into(),
        ));
        assert_eq!(
            message(&text, Style::Plain),
            "2026-11-23T14:21:49Z ann: two\\nlines, \\u{1b}[31mred\\u{7} and \\u{202e}turned\n"
        );

        assert_eq!(
            message(&said(Body::Data("AQL/".into())), Style::Plain)
                .split_once(": ")
                .map(|it| it.1),
            Some("(3 bytes in base64) AQL/\n")
        );

        assert!(
            message(&said(Body::Text("hi".into())), Style::Coloured)
                .contains("\x1b[1mann:\x1b[0m hi")
        );
    }

    proptest! {
        #[test]
        fn no_text_reaches_the_terminal_as_more_than_one_line_of_letters(text: String) {
            let line = message(&said(Body::Text(text)), Style::Plain);
            let (line, end) = line.split_at(line.len() - 1);
            prop_assert!(end == "\n" && !line.chars().any(char::is_control), "{line:?}");
        }

        #[test]
        fn escaped_json_means_the_same_and_has_nothing_that_a_terminal_acts_upon(text: String) {
            let text = format!("{text}\u{7f}\u{85}\u{9b}\u{202e}\u{2028}");
            let json = serde_json::to_string(&text).expect("JSON");

            let safe = escape_json(&json);

            prop_assert!(!safe.chars().any(is_active), "{safe}");
            prop_assert_eq!(serde_json::from_str::<String>(&safe).expect("JSON"), text);
        }
    }
}
