//! The error page of browsers: the problem, and links to continue.
//!
//! The server renders it for requests that accept HTML; programs receive JSON. The page needs no script.

use leptos::prelude::*;

use super::{Locale, Theme};
use crate::protocol::make_visible;
use crate::protocol::{BasePath, RoomName};

/// The maximum number of characters of an invalid room name that are shown.
const MAX_SHOWN_CHARS: usize = 64;

/// The content of the error page.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The language.
    pub locale: Locale,
    /// The theme.
    pub theme: Theme,
    /// The base path of the server.
    pub base: BasePath,
    /// The URL of the style sheet.
    pub styles: String,
    /// The kind of the problem.
    pub kind: ProblemKind,
    /// The room that the user may have meant.
    pub suggestion: Option<RoomName>,
    /// The message of the API, in English.
    pub message: String,
}

/// The kind of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The URL has an invalid room name.
    NoRoom {
        /// The name, as it is shown.
        asked: String,
    },
    /// The URL does not exist.
    NotFound,
    /// The user has no right to do this.
    Forbidden,
    /// The URL does not allow the method.
    Method,
    /// The server does not serve the host name in the URL.
    Misdirected,
    /// The user or the IP address exceeds a limit.
    TooMany,
    /// The server is unavailable at present.
    Unavailable,
    /// Anything else.
    Other,
}

impl ProblemKind {
    /// Returns the kind for a request of the invalid room name `asked`. Invisible characters are shown as escapes.
    pub fn no_room(asked: &str) -> Self {
        let beginning: String = asked.chars().take(MAX_SHOWN_CHARS).collect();
        let mut shown = make_visible(&beginning);
        if asked.chars().count() > MAX_SHOWN_CHARS {
            shown.push('…');
        }
        Self::NoRoom { asked: shown }
    }
}

/// Returns a valid room name close to the invalid name `asked`: with `-` in place of spaces, and without empty
/// segments. `None` if the result is not valid either.
pub fn suggest_room(asked: &str) -> Option<RoomName> {
    let segments: Vec<&str> = asked
        .trim()
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let name = segments.join("/").replace(char::is_whitespace, "-");
    RoomName::parse(&name).ok()
}

/// Returns the whole HTML document.
pub fn document(problem: Problem) -> String {
    let Problem {
        locale,
        theme,
        base,
        styles,
        kind,
        suggestion,
        message,
    } = problem;

    let text = locale.text();
    let words = locale.problem_text();
    let heading = (words.title)(&kind);
    let advice = (words.advice)(&kind);
    let suggestion = suggestion.map(|room| {
        let href = base.join(&format!("/r/{room}"));
        view! { <p>{words.suggestion} " " <a href=href>{room.to_string()}</a></p> }
    });

    // A server that does not accept the host of the request serves no files to it either.
    let files = (kind != ProblemKind::Misdirected).then(|| {
        view! {
            <link rel="icon" href=base.join("/favicon.svg") type="image/svg+xml"/>
            <link rel="stylesheet" href=styles/>
        }
    });

    let page = view! {
        <html lang=locale.tag() data-theme=theme.tag()>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <meta name="robots" content="noindex"/>
                <title inner_html="Fanfare"></title>
                {files}
            </head>
            <body>
                <main class="problem">
                    <h1>{heading}</h1>
                    <p>{advice}</p>
                    {suggestion}
                    <form class="own" method="get" action=base.join("/")>
                        <label for="other-room">{text.other_room}</label>
                        <input id="other-room" name="room" maxlength="128" required autocomplete="off" autocapitalize="none"/>
                        <button class="tool" type="submit">{text.go}</button>
                    </form>
                    <p><a href=base.join("/")>{words.to_lobby}</a></p>
                    <p class="quiet">{words.server_says} " " <span lang="en">{message}</span></p>
                </main>
            </body>
        </html>
    };
    format!("<!DOCTYPE html>{}", page.to_html())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_suggested_where_only_spaces_or_slashes_are_wrong() {
        for (asked, suggested) in [
            ("lobby/", Some("lobby")),
            ("runs//7", Some("runs/7")),
            (" Team Room ", Some("Team-Room")),
            ("中文", None),
            ("", None),
            ("..", None),
        ] {
            let suggestion = suggest_room(asked).map(String::from);
            assert_eq!(suggestion.as_deref(), suggested, "{asked}");
        }
    }

    #[test]
    fn a_name_is_shown_with_what_cannot_be_seen_written_out_and_not_for_ever() {
        let shown = |asked: &str| match ProblemKind::no_room(asked) {
            ProblemKind::NoRoom { asked } => asked,
            other => panic!("{other:?}"),
        };
        assert_eq!(shown("Team 中文"), "Team 中文");
        assert_eq!(shown("a\u{7}\u{85}b"), "a\\u{7}\\u{85}b");
        assert_eq!(shown("\u{202e}mool"), "\\u{202e}mool");
        assert_eq!(shown(&"x".repeat(9000)), format!("{}…", "x".repeat(64)));
    }
}
