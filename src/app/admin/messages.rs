//! The newest messages of the selected room, each with a button that deletes it.

use leptos::prelude::*;

use super::Page;
use super::form::link;
use super::format::count;
use super::route::PendingAction;
use crate::protocol::{Body, Publication, RoomName};

/// The number of messages that are shown.
pub const NEWEST: usize = 30;

/// Returns the messages of `room`, given oldest first and shown newest first; `None` if they cannot be read.
pub(super) fn messages(
    page: &Page,
    room: &RoomName,
    messages: Option<Vec<Publication>>,
) -> AnyView {
    let text = page.text;
    let note = match &messages {
        None => text.unread.to_owned(),
        Some(messages) if messages.is_empty() => text.no_messages.to_owned(),
        Some(_) => (text.newest)(NEWEST),
    };
    let messages = messages.filter(|messages| !messages.is_empty());
    let list = messages.map(|messages| {
        let newest_first = messages.into_iter().rev();
        let items: Vec<_> = newest_first
            .map(|message| item(page, room, message))
            .collect();
        view! { <ol class="said">{items}</ol> }
    });

    view! {
        <section id="messages" aria-labelledby="messages-title">
            <h2 id="messages-title">{(text.messages)(room)}</h2>
            <p class="quiet">{note}</p>
            {list}
        </section>
    }
    .into_any()
}

fn words_view(words: String) -> AnyView {
    view! { <p class="words" dir="auto">{words}</p> }.into_any()
}

fn item(page: &Page, room: &RoomName, message: Publication) -> AnyView {
    let text = page.text;
    let offset = message.offset;
    let (body, is_deleted) = match message.body {
        Body::Text(words) => (words_view(words), false),
        Body::Json(json) => (words_view(json.as_str().to_owned()), false),
        Body::Data(data) => {
            // Four characters of base64 encode three bytes.
            let size = data.trim_end_matches('=').len() * 3 / 4;
            let body = view! { <p class="words quiet">{(text.binary)(size)}</p> };
            (body.into_any(), false)
        }
        Body::Deleted(_) => {
            let body = view! { <p class="words quiet">{text.deleted}</p> };
            (body.into_any(), true)
        }
    };
    let ago = (text.ago)(&page.time_since(message.at));
    let delete = (!is_deleted).then(|| {
        let pending = PendingAction::Delete(room.clone(), offset);
        let dialog = page.route.with_pending(pending);
        link(format!("delete-{offset}"), &dialog, text.delete)
    });

    view! {
        <li id=format!("message-{offset}")>
            <p class="by">
                <bdi>{message.from.shown()}</bdi> " " <span class="quiet">"#" {count(offset.0)} ", " {ago}</span>
            </p>
            {body}
            {delete}
        </li>
    }
    .into_any()
}
