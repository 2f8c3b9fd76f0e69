//! The message input. Enter sends and Shift+Enter starts a new line. No text is dropped without a notice.
//!
//! The text is stored in the element, not in a signal. Text typed before hydration is therefore kept, and the browser
//! restores text typed before the page was left. The text leaves the element when it becomes a row of the log, which
//! shows its progress. If the page will not reconnect, the text stays and the page shows a notice.
//!
//! Without JavaScript the form is posted, and the server responds with the page.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{Event, HtmlTextAreaElement};

use super::dynamic::{effect, find, on, set, show, still};
use super::i18n::use_text;
use super::live::{RoomState, SendResult};
use super::snapshot::Form;
use crate::protocol::BasePath;
use crate::protocol::RoomName;

const FORM: &str = "compose";
const INPUT: &str = "msg";
const NOTICE: &str = "notice";

/// The maximum number of visible lines. Longer text scrolls.
const MOST_LINES: usize = 8;

/// The `keyCode` of a key that an input method handles. Safari ends a composition before its Enter key event, so
/// `isComposing` is false there and only this code identifies the key.
const TAKEN_BY_INPUT_METHOD: u32 = 229;

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
    let lines = RwSignal::new(1_usize);
    // Set if the user sent a message and the page will not reconnect.
    let kept = RwSignal::new(false);
    let label = (text.message_to)(&room);
    let address = expect_context::<BasePath>().join(&format!("/r/{room}"));
    let Form {
        key,
        name,
        text: unsent,
        refused,
    } = form;

    let input = || find::<HtmlTextAreaElement>(INPUT);
    let measure = move || {
        if let Some(field) = input() {
            let typed = field.value();
            lines.set(typed.split('\n').count().min(MOST_LINES));
            live.keep_draft(&typed);
        }
    };
    let send = move || {
        let Some(field) = input() else { return };
        let typed = field.value();
        if typed.trim().is_empty() {
            return;
        }
        match live.send(&typed) {
            SendResult::Queued => field.set_value(""),
            SendResult::Refused => kept.set(true),
        }
        measure();
    };

    on(FORM, "submit", move |event| {
        event.prevent_default();
        send();
        if let Some(field) = input() {
            // Fails only without a window.
            let _ = field.focus();
        }
    });
    on(INPUT, "keydown", move |event: Event| {
        let Some(event) = event.dyn_ref::<KeyboardEvent>() else {
            return;
        };
        let composing = event.is_composing() || event.key_code() == TAKEN_BY_INPUT_METHOD;
        if event.key() == "Enter" && !event.shift_key() && !composing {
            event.prevent_default();
            send();
        }
    });
    on(INPUT, "input", move |_| {
        kept.set(false);
        measure();
    });

    // Text typed before hydration wins over a draft from an earlier visit.
    effect(move || {
        if live.awake.get()
            && let Some(field) = input()
        {
            if field.value().is_empty()
                && let Some(draft) = live.draft()
            {
                field.set_value(&draft);
            }
            measure();
        }
    });

    // A withdrawn message is put before the current text.
    effect(move || {
        if let Some(taken) = live.taken_back.get()
            && let Some(field) = input()
        {
            let typed = field.value();
            let between = if typed.is_empty() { "" } else { "\n" };
            field.set_value(&format!("{taken}{between}{typed}"));
            measure();
            let _ = field.focus();
        }
    });

    let notice = move || {
        let refused = refused.filter(|_| !live.awake.get()).map(text.not_sent);
        refused
            .or_else(|| kept.get().then_some(text.kept_refused))
            .unwrap_or_default()
    };
    set(INPUT, "rows", move || lines.get().to_string());
    show(NOTICE, notice);

    still(move || {
        view! {
            <form class="compose" id=FORM method="post" action=address>
                <input type="hidden" name="key" value=key/>
                <label class="unscripted as">
                    {text.your_name} " " <input name="from" maxlength="64" value=name/>
                </label>
                <div class="box">
                    <textarea
                        id=INPUT
                        name="text"
                        rows="1"
                        placeholder=label.clone()
                        aria-label=label
                        aria-describedby=NOTICE
                        autocomplete="off"
                        enterkeyhint="send"
                        inner_html=as_html(&unsent)
                    ></textarea>
                    <button id="send" type="submit">
                        {text.send}
                    </button>
                </div>
                <p class="hint">
                    <span class="notice" id=NOTICE role="status">{notice()}</span>
                    <span class="keys">{text.keys}</span>
                </p>
            </form>
        }
    })
}

/// Returns `text` as HTML. A child node would get a hydration marker, which browsers show in the field.
fn as_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
