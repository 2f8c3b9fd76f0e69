//! The log: its rows, oldest first, the text of an empty log, and the button that scrolls to the end.
//!
//! [`MessageList`] decides which rows are in the document. Empty space stands in for the others.

use leptos::ev::KeyboardEvent;
use leptos::html::Div;
use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{MessageList, RoomAccess, RoomState, ScrollTarget};
use super::log_row::{FOUND, LogRow, MESSAGE, UNREAD};
use super::share;
use crate::browser::dom::move_focus;
use crate::browser::scroll::ScrollAnchor;

/// The messages of the room, and the unsent messages of this page.
#[component]
pub fn Timeline() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let log = NodeRef::<Div>::new();

    let views = Memo::new(move |_| live.views());
    let spaces = Memo::new(move |_| live.messages.with(MessageList::spaces));
    let is_empty = Memo::new(move |_| live.messages.with(MessageList::is_known_empty));
    let follows = Memo::new(move |_| live.messages.with(MessageList::follows));
    let unread = Memo::new(move |_| live.messages.with(MessageList::unread).count);
    let missed = Memo::new(move |_| live.messages.with(MessageList::missed));
    let has_ended = Memo::new(move |_| live.access.with(|access| *access == RoomAccess::Ended));
    let is_refused = Memo::new(move |_| live.access.with(RoomAccess::is_refused));
    let room = live.name();

    keep_position(log, live);

    // The Tab key skips the messages, because there are too many.
    let on_keydown = move |event: KeyboardEvent| {
        let by = match event.key().as_str() {
            "ArrowUp" => -1,
            "ArrowDown" => 1,
            "Home" => {
                event.prevent_default();
                return live.to_start();
            }
            "End" => {
                event.prevent_default();
                return live.to_end();
            }
            _ => return,
        };
        if let Some(log) = log.get_untracked() {
            event.prevent_default();
            move_focus(&log, MESSAGE, by);
        }
    };
    // Rows drawn while the user reads older ones are not announced, and neither are those of the server.
    let is_announced = move || live.page.awake.get() && follows.get();

    view! {
        <div
            class="log"
            id="result"
            role="log"
            aria-live=move || if is_announced() { "polite" } else { "off" }
            aria-label=text.messages
            aria-describedby="log-keys"
            tabindex="0"
            node_ref=log
            on:keydown=on_keydown
        >
            <div class="space" style:height=move || height(spaces.get().0)></div>
            <div class="rows">
                <For
                    each=move || views.with(|views| views.iter().map(|view| view.row.id).collect::<Vec<_>>())
                    key=|id| *id
                    let:id
                >
                    <LogRow id views/>
                </For>
            </div>
            <div class="space" style:height=move || height(spaces.get().1)></div>
        </div>
        <p class="visually-hidden" id="log-keys">{text.log_keys}</p>
        <div class="empty" hidden=move || !is_empty.get() || is_refused.get()>
            <p class="empty-title">{move || if has_ended.get() { text.empty_ended } else { text.empty }}</p>
            <div hidden=has_ended>
                <p>{(text.empty_promise)(&room)}</p>
                <p>{if live.page.is_open { text.open_to_all } else { text.open_to_tokens }}</p>
                <button class="tool scripted" type="button" popovertarget=share::PANEL>{text.invite}</button>
            </div>
        </div>
        <button
            class="more missed"
            type="button"
            hidden=move || missed.get().count == 0
            on:click=move |_| live.to_unread()
        >
            {move || (text.to_unread)(missed.get())}
        </button>
        // New messages are visible at the end of the log, so the button is hidden there.
        <button
            class="more"
            class:new=move || unread.get() != 0
            type="button"
            hidden=follows
            on:click=move |_| live.to_end()
        >
            {move || (text.to_end)(unread.get())}
        </button>
    }
}

/// Makes `log` follow its end or keep its position, and scrolls it to the target of `live`.
fn keep_position(log: NodeRef<Div>, live: RoomState) {
    Effect::new(move |_| {
        let anchor = log
            .get()
            .and_then(|log| ScrollAnchor::attach(&log, move |viewport| live.on_scroll(viewport)));
        let Some(anchor) = anchor else { return };

        Effect::new(move |_| match live.scroll_to.get() {
            Some(ScrollTarget::Start) => anchor.to_start(),
            Some(ScrollTarget::End) => anchor.to_end(),
            Some(ScrollTarget::Found) => anchor.to_row(FOUND),
            Some(ScrollTarget::Unread) => anchor.to_row(UNREAD),
            None => {}
        });
    });
}

/// Returns the height of an empty space. Without rows that are not drawn there is none, so the server sends no inline
/// style, which its Content-Security-Policy forbids.
fn height(pixels: u32) -> Option<String> {
    (pixels != 0).then(|| format!("{pixels}px"))
}
