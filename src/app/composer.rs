//! The input line. Enter sends, Shift+Enter starts a new line, and no text is ever dropped in silence.
//!
//! The text lives in the element, not in a signal: what was typed before the page woke up is simply there.
//! It leaves the element only when it has gone out; until then the page says that it waits.

use leptos::ev::{KeyboardEvent, SubmitEvent};
use leptos::html::Textarea;
use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{Link, Live, Said};
use crate::protocol::RoomName;

/// Past this many lines the input scrolls instead of growing.
const MOST_LINES: usize = 8;

/// `keyCode` of a key that an input method has taken. Safari ends a composition before its Enter arrives,
/// so there `isComposing` is false and only this tells.
const TAKEN_BY_INPUT_METHOD: u32 = 229;

/// `#msg` and `#send`.
#[component]
pub fn Composer(
    /// Where the text goes.
    room: RoomName,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let input = NodeRef::<Textarea>::new();
    let lines = RwSignal::new(1_usize);
    // Without the page's own code the form would leave the page, and take the text with it.
    let asleep = RwSignal::new(true);
    // Send was asked for and the text still waits for a connection.
    let waiting = RwSignal::new(false);
    let label = (text.message_to)(&room);

    let measure = move || {
        if let Some(field) = input.get_untracked() {
            lines.set(field.value().split('\n').count().min(MOST_LINES));
        }
    };
    let send = move || {
        let Some(field) = input.get_untracked() else { return };
        let typed = field.value();
        if typed.trim().is_empty() {
            return;
        }
        match live.say(typed) {
            Said::Out => {
                field.set_value("");
                waiting.set(false);
            }
            Said::NotConnected => waiting.set(true),
        }
        measure();
    };

    let on_submit = move |event: SubmitEvent| {
        event.prevent_default();
        send();
        if let Some(field) = input.get_untracked() {
            // Focus only fails where there is no window to have it.
            let _ = field.focus();
        }
    };
    let on_keydown = move |event: KeyboardEvent| {
        let composing = event.is_composing() || event.key_code() == TAKEN_BY_INPUT_METHOD;
        if event.key() == "Enter" && !event.shift_key() && !composing {
            event.prevent_default();
            send();
        }
    };
    // Whoever edits has changed their mind about what to send, so it has to be asked for again.
    let on_input = move |_| {
        waiting.set(false);
        measure();
    };

    Effect::new(move |_| {
        asleep.set(false);
        measure();
    });
    Effect::new(move |_| {
        if live.link.get() == Link::Live && waiting.get_untracked() {
            send();
        }
    });

    let notice = move || match (waiting.get(), live.link.get()) {
        (false, _) => None,
        (true, Link::Refused) => Some(text.kept_refused),
        (true, _) => Some(text.kept),
    };

    view! {
        <form class="compose" method="post" action=format!("/r/{room}") on:submit=on_submit>
            <div class="box">
                <textarea
                    id="msg"
                    name="text"
                    rows=move || lines.get().to_string()
                    placeholder=label.clone()
                    aria-label=label
                    aria-describedby="notice"
                    autocomplete="off"
                    enterkeyhint="send"
                    node_ref=input
                    on:keydown=on_keydown
                    on:input=on_input
                ></textarea>
                <button id="send" type="submit" disabled=move || asleep.get()>
                    {text.send}
                </button>
            </div>
            <p class="hint">
                <span class="notice" id="notice" role="status">{notice}</span>
                <span class="keys">{text.keys}</span>
            </p>
        </form>
    }
}
