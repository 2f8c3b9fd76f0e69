//! The actions of a message: copy, link, reply, and for one's own messages edit and delete. They are drawn over the row, so
//! that they take no room in it.

use leptos::prelude::*;

use super::i18n::{Text, use_text};
use super::live::{Message, MessageContent, RoomState};
use crate::browser::dom;
use crate::protocol::Offset;

/// The actions of the message of the row `id`.
#[component]
pub fn MessageActions(
    /// The number of the row.
    id: u64,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let offset = live.messages.with_untracked(|list| list.offset(id));
    let message = live
        .messages
        .with_untracked(|list| list.message(id).cloned());
    let is_asking = RwSignal::new(false);

    let actions = message
        .filter(|message| message.content != MessageContent::Deleted)
        .map(|message| {
            let is_mine = live.may_change(&message) && !message.content.is_presence();
            let is_text = matches!(message.content, MessageContent::Text(_));
            let words = copied_text(&message, text);
            view! {
                <CopyButton label=text.copy words/>
                {offset.map(|offset| view! {
                    <CopyButton label=text.copy_link words=link_url(live, offset)/>
                    <button
                        class="tool"
                        type="button"
                        hidden=move || !live.is_writable()
                        on:click=move |_| live.reply(id)
                    >
                        {text.reply}
                    </button>
                    {(is_mine && is_text).then(|| view! {
                        <button
                            class="tool"
                            type="button"
                            hidden=move || !live.is_writable()
                            on:click=move |_| live.edit_message(id)
                        >
                            {text.edit}
                        </button>
                    })}
                    {is_mine.then(|| view! {
                        <button
                            class="tool"
                            type="button"
                            hidden=is_asking
                            on:click=move |_| is_asking.set(true)
                        >
                            {text.delete}
                        </button>
                        <button
                            class="tool danger"
                            type="button"
                            hidden=move || !is_asking.get()
                            on:click=move |_| live.delete(offset)
                        >
                            {text.delete_for_all}
                        </button>
                    })}
                })}
            }
        });
    view! { <div class="actions" role="group" aria-label=text.actions>{actions}</div> }
}

/// The button that copies `words`.
#[component]
fn CopyButton(
    /// The label.
    label: &'static str,
    words: String,
) -> impl IntoView {
    let text = use_text();
    let is_copied = RwSignal::new(false);

    view! {
        <button class="tool" type="button" on:click=move |_| is_copied.set(dom::copy(&words))>
            {move || if is_copied.get() { text.copied } else { label }}
        </button>
    }
}

fn copied_text(message: &Message, text: &Text) -> String {
    match &message.content {
        MessageContent::Binary { bytes } => (text.binary)(*bytes),
        MessageContent::Joined => text.joined.to_owned(),
        MessageContent::Left => text.left.to_owned(),
        _ => message.text().unwrap_or_default().to_owned(),
    }
}

/// Returns the URL of the message at `offset`.
fn link_url(live: RoomState, offset: Offset) -> String {
    dom::origin() + &live.page.permalink(&live.name(), offset)
}
