//! The message input. Enter sends and Shift+Enter starts a new line. No text is dropped without a notice.
//!
//! The text is stored in the element, not in a signal. Text typed before hydration is therefore kept, and the browser
//! restores text typed before the page was left. The text leaves the element when it becomes a row of the log, which
//! shows its progress. If the page will not reconnect, the text stays and the page shows a notice.
//!
//! Without JavaScript the form is posted, and the server responds with the page.

use leptos::ev::{KeyboardEvent, SubmitEvent};
use leptos::html::Textarea;
use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{RoomState, SendResult};
use super::snapshot::Form;
use crate::protocol::{BasePath, RoomName};

/// The maximum number of visible lines. Longer text scrolls.
const MAX_LINES: usize = 8;

/// The `keyCode` of a key that an input method handles. Safari ends a composition before its Enter key event, so
/// `isComposing` is false there and only this code identifies the key.
const INPUT_METHOD_KEY: u32 = 229;

/// The message form, with `#msg` and `#send`.
#[component]
pub fn Composer(
    /// The room that messages are sent to.
    room: RoomName,
    /// The initial values of the form.
    form: Form,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let address = expect_context::<BasePath>().join(&format!("/r/{room}"));
    let label = (text.message_to)(&room);

    let input = NodeRef::<Textarea>::new();
    let lines = RwSignal::new(1_usize);
    let notice = RwSignal::new(form.refused.map(text.not_sent));

    let read = move || input.get_untracked().map(|input| input.value());
    let write = move |text: &str| {
        if let Some(input) = input.get_untracked() {
            input.set_value(text);
        }
    };
    let focus = move || {
        if let Some(input) = input.get_untracked() {
            // Fails only without a window.
            let _ = input.focus();
        }
    };
    let measure = move || {
        let typed = read().unwrap_or_default();
        lines.set(typed.split('\n').count().min(MAX_LINES));
        live.keep_draft(&typed);
    };
    let send = move || {
        let typed = read().unwrap_or_default();
        if typed.trim().is_empty() {
            return;
        }
        match live.send(&typed) {
            SendResult::Queued => write(""),
            SendResult::Refused => notice.set(Some(text.kept_refused)),
        }
        measure();
    };

    let on_submit = move |event: SubmitEvent| {
        event.prevent_default();
        send();
        focus();
    };
    let on_keydown = move |event: KeyboardEvent| {
        let is_composing = event.is_composing() || event.key_code() == INPUT_METHOD_KEY;
        if event.key() == "Enter" && !event.shift_key() && !is_composing {
            event.prevent_default();
            send();
        }
    };
    let on_input = move |_| {
        notice.set(None);
        measure();
    };

    // Text typed before hydration wins over a draft from an earlier visit.
    Effect::new(move |_| {
        if let Some(draft) = live.draft()
            && read().is_some_and(|typed| typed.is_empty())
        {
            write(&draft);
        }
        measure();
    });

    // A withdrawn message is put before the current text.
    Effect::new(move |_| {
        if let Some(taken) = live.taken_back.get() {
            let typed = read().unwrap_or_default();
            let separator = if typed.is_empty() { "" } else { "\n" };
            write(&format!("{taken}{separator}{typed}"));
            measure();
            focus();
        }
    });

    view! {
        <form class="compose" method="post" action=address on:submit=on_submit>
            <input type="hidden" name="key" value=form.key/>
            <label class="unscripted as">
                {text.your_name} " " <input name="from" maxlength="64" value=form.name/>
            </label>
            <div class="box">
                <textarea
                    id="msg"
                    name="text"
                    rows=lines
                    placeholder=label.clone()
                    aria-label=label
                    aria-describedby="notice"
                    autocomplete="off"
                    enterkeyhint="send"
                    node_ref=input
                    on:keydown=on_keydown
                    on:input=on_input
                    inner_html=as_html(&form.text)
                ></textarea>
                <button id="send" type="submit">{text.send}</button>
            </div>
            <p class="hint">
                <span class="notice" id="notice" role="status">{notice}</span>
                <span class="keys">{text.keys}</span>
            </p>
        </form>
    }
}

/// Returns `text` as the HTML content of a text area, whose children Leptos does not escape.
fn as_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
