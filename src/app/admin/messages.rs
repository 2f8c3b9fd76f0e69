//! The messages of the selected room, one page at a time, each with a button that deletes it.

use leptos::prelude::*;

use super::AdminPage;
use super::form::{link, search};
use super::format::count;
use super::page_data::MessagePage;
use super::route::{AdminRoute, PendingAction};
use crate::app::i18n::AdminText;
use crate::protocol::{Body, Offset, Publication, RoomName};

/// The number of messages in a page.
pub const MAX_MESSAGES: usize = 30;

/// The length of a quoted text, in characters.
const EXCERPT: usize = 300;

/// Returns the page of the messages of `room`, newest first; `None` if they cannot be read.
pub(super) fn messages(
    page: &AdminPage,
    room: &RoomName,
    messages: Option<MessagePage>,
) -> AnyView {
    let AdminPage { route, text, .. } = page;
    let newest = AdminRoute {
        until: None,
        ..route.base()
    };
    let older = messages.as_ref().filter(|messages| messages.more);
    let older = older
        .and_then(|messages| messages.messages.first())
        .map(|oldest| {
            let until = Some(Offset(oldest.offset.0.saturating_sub(1)));
            let older = AdminRoute {
                until,
                ..route.base()
            };
            link("messages-older", &older, text.older)
        });
    let to_newest =
        (route.until.is_some()).then(|| link("messages-newest", &newest, text.to_newest));
    let until = route.until.map(|until| until.to_string());

    let note = match &messages {
        None => text.unread.to_owned(),
        Some(page) if page.messages.is_empty() => text.no_messages.to_owned(),
        Some(_) => (text.newest)(MAX_MESSAGES),
    };
    let messages = messages
        .map(|page| page.messages)
        .filter(|messages| !messages.is_empty());
    let list = messages.map(|messages| {
        let newest_first = messages.into_iter().rev();
        let items: Vec<_> = newest_first
            .map(|message| item(page, room, message))
            .collect();
        view! { <ol class="messages">{items}</ol> }
    });

    view! {
        <section id="messages" class="still" aria-labelledby="messages-title">
            <div class="admin-bar">
                <h2 id="messages-title">{(text.messages)(room)}</h2>
                {search(&newest, "until", until.as_deref().unwrap_or_default(), text.up_to, text.show)}
                {to_newest}
            </div>
            <p class="quiet">{note} " " <span class="held">{text.holds_still}</span></p>
            {list}
            {older}
        </section>
    }
    .into_any()
}

/// Returns the sender and the beginning of `message`, for the dialog that deletes it.
pub(super) fn quote(page: &AdminPage, message: Publication) -> AnyView {
    let text = page.text;
    let words = match content(message.body, text) {
        Ok(words) => words.chars().take(EXCERPT).collect(),
        Err(description) => description,
    };
    let ago = (text.ago)(&page.time_since(message.at));

    view! {
        <blockquote class="quoted">
            <p class="by"><bdi>{message.from.shown()}</bdi> " " <span class="quiet">{ago}</span></p>
            <p class="words" dir="auto">{words}</p>
        </blockquote>
    }
    .into_any()
}

/// Returns the text of a message, or as an error the description of one without text.
fn content(body: Body, text: &'static AdminText) -> Result<String, String> {
    match body {
        Body::Text(words) => Ok(words),
        Body::Json(json) => Ok(json.as_str().to_owned()),
        Body::Data(data) => {
            // Four characters of base64 encode three bytes.
            let size = data.trim_end_matches('=').len() * 3 / 4;
            Err((text.binary)(size))
        }
        Body::Deleted(_) => Err(text.deleted.to_owned()),
    }
}

fn item(page: &AdminPage, room: &RoomName, message: Publication) -> AnyView {
    let text = page.text;
    let offset = message.offset;
    let is_deleted = matches!(message.body, Body::Deleted(_));
    let body = match content(message.body, text) {
        Ok(words) => view! { <p class="words" dir="auto">{words}</p> }.into_any(),
        Err(description) => view! { <p class="words quiet">{description}</p> }.into_any(),
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
