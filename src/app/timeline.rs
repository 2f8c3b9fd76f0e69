//! The log: its rows, oldest first, what the page says where there is none, and the way back to its end.
//!
//! Which rows are in the document is [`super::live::Transcript`]'s; the empty space around them stands in for
//! the others.

use leptos::ev::{KeyboardEvent, MouseEvent};
use leptos::html::Div;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::Element;

use super::dynamic::{act, effect, holds, words};
use super::i18n::use_text;
use super::live::{Live, Shown, Transcript, copy, move_focus};
use super::message::{COPY, MessageRow};
use crate::protocol::RoomName;

/// What was said in the room, and what this page is about to say.
#[component]
pub fn Timeline(
    /// The room, for the words that fill an empty log.
    room: RoomName,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let log = NodeRef::<Div>::new();
    let is_spoken = holds(move || !live.transcript.with(Transcript::is_silent));
    // The reader's clock is known when the page is awake: then every row is drawn anew.
    let rows = move || {
        live.awake.track();
        live.transcript.with(|transcript| transcript.shown(|at| live.day(at)))
    };
    let key = move |shown: &Shown| (shown.key(), live.awake.get_untracked());
    let promise = (text.empty_promise)(&room);
    // At the end of the log, what is new is in view.
    let at_end = holds(move || live.transcript.with(Transcript::follows));
    let news = move || live.transcript.with(Transcript::unread);

    effect(move || {
        // What was said before the page woke up is not news to a screen reader; the keeper makes it so.
        if let Some(log) = log.get()
            && live.awake.get()
        {
            live.attach(&log);
        }
    });

    // One listener for all rows.
    let on_click = act(move |event: MouseEvent| {
        let button = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        if let Some(button) = button.filter(|target| target.class_list().contains(COPY))
            && let Some(row) = button.parent_element()
            && let Ok(Some(words)) = row.query_selector(".text")
            && copy(&words.text_content().unwrap_or_default())
        {
            button.set_text_content(Some(text.copied));
        }
    });
    // The buttons of the rows are no stops of the Tab key, which would never come past them.
    let on_keydown = act(move |event: KeyboardEvent| {
        let by = match event.key().as_str() {
            "ArrowUp" => -1,
            "ArrowDown" => 1,
            _ => return,
        };
        if let Some(log) = log.get_untracked() {
            event.prevent_default();
            move_focus(&log, COPY, by);
        }
    });

    view! {
        <div
            class="log"
            id="result"
            role="log"
            aria-live="off"
            aria-label=text.messages
            aria-describedby="log-keys"
            tabindex="0"
            node_ref=log
            on:click=on_click
            on:keydown=on_keydown
        >
            <div class="space"></div>
            <div class="rows">
                <For each=rows key=key children=move |shown| view! { <MessageRow shown/> }/>
            </div>
            <div class="space"></div>
        </div>
        <p class="heard" id="log-keys">{text.log_keys}</p>
        <div class="empty" hidden=is_spoken>
            <p class="empty-title">{text.empty}</p>
            <p>{promise}</p>
        </div>
        <button
            class=words(move || if news() > 0 { "more new" } else { "more" })
            type="button"
            hidden=at_end
            on:click=act(move |_: MouseEvent| live.to_end())
        >
            {words(move || (text.to_end)(news()))}
        </button>
    }
}
