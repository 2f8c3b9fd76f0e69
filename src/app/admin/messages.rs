//! The newest messages of one room, each of which can be deleted.

use leptos::prelude::*;

use super::place::{Place, Question};
use super::quantity::count;
use crate::app::i18n::AdminText;
use crate::protocol::Body;
use crate::protocol::Publication;
use crate::protocol::RoomName;

/// How many are shown.
pub const NEWEST: usize = 30;

/// The list, the newest first.
#[component]
pub fn Messages(
    /// Where the operator stands.
    place: Place,
    /// The room.
    room: RoomName,
    /// Its newest messages, oldest first; nothing if they cannot be read.
    messages: Option<Vec<Publication>>,
    /// Now, in milliseconds since 1970 UTC.
    now: u64,
    /// The language's phrases.
    text: &'static AdminText,
) -> impl IntoView {
    let list = match messages {
        None => view! { <p class="quiet">{text.unread}</p> }.into_any(),
        Some(messages) if messages.is_empty() => {
            view! { <p class="quiet">{text.no_messages}</p> }.into_any()
        }
        Some(messages) => {
            let rows: Vec<_> = messages
                .into_iter()
                .rev()
                .map(|message| view! { <Row place=place.clone() room=room.clone() message now text/> })
                .collect();
            view! {
                <p class="quiet">{(text.newest)(NEWEST)}</p>
                <ol class="said">{rows}</ol>
            }
            .into_any()
        }
    };
    view! {
        <section id="messages" aria-labelledby="messages-title">
            <h2 id="messages-title">{(text.messages)(&room)}</h2>
            {list}
        </section>
    }
}

#[component]
fn Row(
    place: Place,
    room: RoomName,
    message: Publication,
    now: u64,
    text: &'static AdminText,
) -> impl IntoView {
    let Publication {
        offset,
        at,
        from,
        body,
        ..
    } = message;
    let (words, is_there) = match body {
        Body::Text(words) => (
            view! { <p class="words" dir="auto">{words}</p> }.into_any(),
            true,
        ),
        // Four characters of base64 are three bytes.
        Body::Data(data) => {
            let size = data.trim_end_matches('=').len() * 3 / 4;
            (
                view! { <p class="words quiet">{(text.binary)(size)}</p> }.into_any(),
                true,
            )
        }
        Body::Deleted(_) => (
            view! { <p class="words quiet">{text.deleted}</p> }.into_any(),
            false,
        ),
    };
    let ago = (text.ago)(&(text.span)(now.saturating_sub(at) / 1000));
    let delete = is_there.then(|| {
        let href = place.asking(Question::Delete(room, offset)).href();
        view! { <a class="tool" id=format!("delete-{offset}") href=href>{text.delete}</a> }
    });
    view! {
        <li id=format!("message-{offset}")>
            <p class="by"><bdi>{from.shown()}</bdi> " " <span class="quiet">"#" {count(offset.0)} ", " {ago}</span></p>
            {words}
            {delete}
        </li>
    }
}
