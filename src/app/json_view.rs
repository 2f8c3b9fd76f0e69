//! A JSON message: readable, with a line for each value, and folded if it is long.

use std::sync::Arc;

use leptos::prelude::*;

/// The number of lines up to which the value is unfolded.
const UNFOLDED: usize = 12;

/// The length of the beginning in the summary, in characters.
const SUMMARY: usize = 80;

/// The depth from which arrays and objects stay on one line. Any user can send a value that is deeply nested, and each level is
/// indented.
const MAX_DEPTH: usize = 8;

/// A JSON value.
#[component]
pub fn JsonView(
    /// The value as compact text.
    json: Arc<str>,
) -> impl IntoView {
    let lines = indented(&json);
    let is_short = lines.lines().nth(UNFOLDED).is_none();
    let summary: String = json.chars().take(SUMMARY).collect();

    view! {
        <details class="json" open=is_short>
            <summary><code>{summary}</code></summary>
            <pre tabindex="-1"><code>{lines}</code></pre>
        </details>
    }
}

/// Returns compact `json` with a line for each value.
fn indented(json: &str) -> String {
    let mut lines = String::with_capacity(json.len() * 2);
    let (mut depth, mut is_in_string, mut is_escaped) = (0_usize, false, false);
    let break_line = |lines: &mut String, depth: usize| {
        if depth <= MAX_DEPTH {
            lines.push('\n');
            lines.extend(std::iter::repeat_n("  ", depth));
        }
    };

    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if is_in_string {
            is_in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            lines.push(c);
            continue;
        }

        match c {
            '[' | '{' => {
                lines.push(c);
                depth += 1;
                let is_empty = matches!(chars.peek(), Some(']' | '}'));
                if !is_empty {
                    break_line(&mut lines, depth);
                }
            }
            ']' | '}' => {
                let is_empty = lines.ends_with(['[', '{']);
                if !is_empty {
                    // A value that was opened on one line ends on it.
                    if depth <= MAX_DEPTH {
                        break_line(&mut lines, depth - 1);
                    }
                }
                depth -= 1;
                lines.push(c);
            }
            ',' => {
                lines.push(c);
                break_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            '"' => {
                is_in_string = true;
                lines.push(c);
            }
            c => lines.push(c),
        }
    }
    // HTML cannot contain this character: hydration would look for a text that the browser has dropped.
    lines.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn each_value_has_a_line() {
        let lines = indented(r#"{"a":[1,"x,{\"y"],"b":{},"c":[]}"#);

        assert_eq!(
            lines,
            "{\n  \"a\": [\n    1,\n    \"x,{\\\"y\"\n  ],\n  \"b\": {},\n  \"c\": []\n}"
        );
    }

    #[test]
    fn deep_values_stay_on_one_line() {
        let deep = "[".repeat(100) + &"]".repeat(100);

        assert_eq!(indented(&deep).lines().count(), 2 * MAX_DEPTH + 1);
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same(keys in prop::collection::vec("[a-c\"\\\\{},:]{0,5}", 0..6), deep in 0..20_usize) {
            let mut value = Value::from(keys);
            for _level in 0..deep {
                value = Value::from(vec![value, Value::Null]);
            }

            let lines = indented(&value.to_string());

            prop_assert_eq!(serde_json::from_str::<Value>(&lines).ok(), Some(value));
        }
    }
}
