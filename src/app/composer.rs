//! The input line. Enter sends, Shift+Enter starts a new line, and no text is ever dropped in silence.
//!
//! The text lives in the element, not in a signal: what was typed before the page woke up is simply there.
//! It leaves the element when it has become a row of the log, which says how far it got, with a connection or
//! without; only where no connection will come it stays, and the page says so.

use leptos::ev::{KeyboardEvent, SubmitEvent};
use leptos::html::Textarea;
use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{Live, Said};
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
    // Send was asked for, and no connection will come.
    let kept = RwSignal::new(false);
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
        match live.say(&typed) {
            Said::Taken => field.set_value(""),
            Said::Refused => kept.set(true),
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
    let on_input = move |_| {
        kept.set(false);
        measure();
    };

    Effect::new(move |_| {
        asleep.set(false);
        measure();
    });

    let notice = move || kept.get().then_some(text.kept_refused);

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
