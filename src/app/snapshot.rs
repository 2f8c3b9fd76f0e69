//! What the server knows when it renders the page, and what the browser must therefore know too.
//!
//! It travels inside the HTML as JSON, so both sides render from the same value. Only what the first render
//! needs belongs here.

use serde::Serialize;

use super::i18n::Locale;
use super::live::Reason;
use super::theme::Theme;
use crate::protocol::BasePath;
use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::Publication;
use crate::protocol::RoomName;

/// The id of the element that holds it.
pub const ELEMENT: &str = "snapshot";

/// The first render's input.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// The path under which the server is reached.
    pub base: BasePath,
    /// The room that the page shows.
    pub room: RoomName,
    /// The language that the page speaks.
    pub locale: Locale,
    /// Its colours.
    pub theme: Theme,
    /// Whether everyone may come in under any name; else a token says who its holder is.
    pub is_open: bool,
    /// What was said last, unless the store could not tell or the reader may not know.
    pub past: Option<InitialHistory>,
    /// What the form begins with.
    pub form: Form,
}

/// The end of the room's log.
#[derive(Clone, Debug, Serialize)]
pub struct InitialHistory {
    /// Which life of the log it is.
    pub epoch: Epoch,
    /// The newest offset.
    pub head: Offset,
    /// The newest messages, oldest first.
    pub messages: Vec<Publication>,
    /// Whether there are older ones.
    pub more: bool,
}

/// The form where JavaScript is off: who speaks, and a text that could not be taken.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Form {
    /// Makes sending it twice storing it once.
    pub key: String,
    /// The name that was given last.
    pub name: String,
    /// What was sent, if it was refused.
    pub text: String,
    /// Why.
    pub refused: Option<Reason>,
}

impl Snapshot {
    /// As JSON that may stand in a script element of an HTML page.
    pub fn to_json(&self) -> String {
        // Fails only for maps with keys that are no text, and there are none.
        let json = serde_json::to_string(self).unwrap_or_default();
        // Only in texts; there it means the same, and ends no element and begins no comment.
        json.replace('<', "\\u003c")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Body, UserId};

    #[test]
    fn no_message_ends_the_element_that_a_snapshot_stands_in() {
        let text = "</script><!-- <script>".to_owned();
        let publication = Publication {
            offset: Offset(1),
            prev: Offset(0),
            at: 0,
            from: UserId::anonymous(),
            body: Body::Text(text.clone()),
            key: None,
        };
        let past = InitialHistory {
            epoch: Epoch::new(1),
            head: Offset(1),
            messages: vec![publication],
            more: false,
        };
        let snapshot = Snapshot {
            base: BasePath::default(),
            room: RoomName::lobby(),
            locale: Locale::ZhCn,
            theme: Theme::System,
            is_open: true,
            past: Some(past),
            form: Form::default(),
        };
        let json = snapshot.to_json();
        assert!(!json.contains('<'));
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["past"]["messages"][0]["text"], text);
        assert_eq!(
            (&read["locale"], &read["theme"]),
            (&"zh-CN".into(), &"system".into())
        );
    }
}
