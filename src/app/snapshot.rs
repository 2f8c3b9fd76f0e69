//! The input of the first render, shared by server and browser.
//!
//! The HTML contains it as JSON, so both sides render from the same values. It contains nothing that the first render
//! does not need.

use leptos::prelude::*;
use serde::{Deserialize, Serialize};

use super::i18n::Locale;
use super::live::{Reason, RoomAccess};
use super::theme::Theme;
use crate::protocol::{BasePath, Epoch, Offset, Publication, RoomName, UserId};

/// The id of the element that contains the snapshot.
pub(super) const ELEMENT: &str = "snapshot";

/// The input of the first render.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The base path of the server.
    pub base: BasePath,
    /// The room that the page shows.
    pub room: RoomName,
    /// The language of the page.
    pub locale: Locale,
    /// The theme of the page.
    pub theme: Theme,
    /// True if users choose their names; otherwise a token or a proxy fixes the name.
    pub is_open: bool,
    /// The user, if the request of the page was authenticated, such as by a proxy.
    pub user: Option<UserId>,
    /// The settings of the sign-in.
    pub sign_in: SignIn,
    /// The access to the room.
    pub access: RoomAccess,
    /// The newest messages, or those around `at`; `None` if the store failed or the user has no right to read them.
    pub past: Option<HistoryPage>,
    /// The offset of the message that the URL links to.
    pub at: Option<Offset>,
    /// The initial values of the form.
    pub form: MessageForm,
}

/// The settings of the sign-in, where users do not choose their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// The endpoint that answers with a token of the user.
    pub token_url: Option<String>,
    /// The page at which users sign in.
    pub page_url: Option<String>,
    /// True if tokens are accepted, and not only the names of a proxy.
    pub accepts_tokens: bool,
    /// True if the claim `rooms` of a token has all rights of its user.
    pub has_rights_in_tokens: bool,
}

/// A part of a room's log, as the API returns it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The newest offset.
    pub head: Offset,
    /// The messages, oldest first; as the result of a search, newest first.
    pub messages: Vec<Publication>,
    /// True if there are more such messages.
    pub more: bool,
}

/// The values of the form for browsers without JavaScript.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MessageForm {
    /// The deduplication key, so that a form sent twice is stored once.
    pub key: String,
    /// The last name that was used.
    pub name: String,
    /// The text of a message that was refused.
    pub text: String,
    /// The reason for the refusal.
    pub refused: Option<Reason>,
}

impl Snapshot {
    /// Returns the snapshot of the page: on the server from the context of the renderer, in the browser from the document.
    pub(super) fn of_page() -> Self {
        use_context().unwrap_or_else(|| {
            document()
                .get_element_by_id(ELEMENT)
                .and_then(|element| element.text_content())
                .and_then(|json| serde_json::from_str(&json).ok())
                .expect("the server embeds the snapshot in each page")
        })
    }

    /// Returns the snapshot as JSON that is safe inside a script element.
    pub fn to_json(&self) -> String {
        // Fails only for maps with keys that are not strings, and there are none.
        let json = serde_json::to_string(self).unwrap_or_default();
        // JSON has `<` only inside strings, where the escape is equivalent. It prevents `</script>` and `<!--`.
        json.replace('<', "\\u003c")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::samples;

    #[test]
    fn a_snapshot_is_read_as_it_was_written_and_no_message_ends_its_element() {
        let text = "</script><!-- <script>".to_owned();
        let publication = samples::publication(1, &text);
        let past = HistoryPage {
            epoch: Epoch::new(1),
            head: Offset(1),
            messages: vec![publication],
            more: false,
        };
        let snapshot = Snapshot {
            base: BasePath::parse("/chat").expect("a path"),
            room: RoomName::lobby(),
            locale: Locale::ZhCn,
            theme: Theme::System,
            is_open: true,
            user: Some(UserId::anonymous()),
            sign_in: SignIn::default(),
            access: RoomAccess::Ended,
            past: Some(past),
            at: None,
            form: MessageForm {
                refused: Some(Reason::TooLong {
                    size: 70_000,
                    limit: 65_536,
                }),
                ..MessageForm::default()
            },
        };

        let json = snapshot.to_json();

        assert!(!json.contains('<'));
        let read: Snapshot = serde_json::from_str(&json).expect("a snapshot");
        assert_eq!(read, snapshot);
    }
}
