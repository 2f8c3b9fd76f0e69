//! The message input. Enter sends and Shift+Enter starts a new line; on a touch keyboard Enter starts a new line, and only the
//! button sends. ArrowUp in an empty input edits the user's last message, and Escape ends that. No text is dropped without a notice.
//!
//! The text is stored in the element, not in a signal. Text typed before hydration is therefore kept, and the browser
//! restores text typed before the page was left. The text leaves the element when it becomes a row of the log, which
//! shows its progress. If the page will not reconnect, the text stays and the page shows a notice.
//!
//! Without JavaScript the form is posted, and the server responds with the page.

use leptos::ev::{self, KeyboardEvent, SubmitEvent};
use leptos::html::Textarea;
use leptos::prelude::*;

use super::i18n::use_text;
use super::live::{Composing, ConnectionStatus, Refusal, RoomAccess, RoomState, SendResult};
use super::sign_in::SignInForm;
use super::snapshot::Form;
use crate::browser::dom;
use crate::protocol::UserId;

/// The maximum number of visible lines. Longer text scrolls.
const MAX_LINES: usize = 8;

/// The `keyCode` of a key that an input method handles. Safari ends a composition before its Enter key event, so
/// `isComposing` is false there and only this code identifies the key.
const INPUT_METHOD_KEY: u32 = 229;

/// The message form, with `#msg` and `#send`.
#[component]
pub fn Composer(
    /// The initial values of the form.
    form: Form,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let room = live.name();
    let address = live.page.path(&room);
    let label = (text.message_to)(&room);

    let input = NodeRef::<Textarea>::new();
    let lines = RwSignal::new(1_usize);
    let has_text = RwSignal::new(!form.text.is_empty());
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
        has_text.set(!typed.is_empty());
        live.keep_draft(&typed);
    };
    let send = move || {
        let typed = read().unwrap_or_default();
        if typed.trim().is_empty() {
            return;
        }
        match live.send(&typed) {
            SendResult::Queued => write(""),
            SendResult::Refused => notice.set(Some(text.kept_refused.to_owned())),
        }
        measure();
    };
    let cancel = move || live.composing.set(Composing::New);

    let on_submit = move |event: SubmitEvent| {
        event.prevent_default();
        send();
        focus();
    };
    let on_keydown = move |event: KeyboardEvent| {
        if event.is_composing() || event.key_code() == INPUT_METHOD_KEY {
            return;
        }
        match event.key().as_str() {
            "Enter" if !event.shift_key() && !dom::has_touch_keyboard() => {
                event.prevent_default();
                send();
            }
            "Escape" => cancel(),
            "ArrowUp" if read().is_some_and(|typed| typed.is_empty()) && live.edit_last() => {
                event.prevent_default();
            }
            _ => {}
        }
    };
    let on_input = move |_| {
        notice.set(None);
        measure();
        if read().is_some_and(|typed| !typed.is_empty()) {
            live.signal_typing();
        }
    };
    let typing = move || {
        live.typing.with(|typing| {
            let names: Vec<String> = typing.names().map(UserId::shown).collect();
            (!names.is_empty()).then(|| (text.typing)(&names))
        })
    };
    let needs_token = move || live.page.connection.get().needs_token();
    // The form takes its room, and is not seen until the page knows whether the user may write.
    let is_unknown = Memo::new(move |_| live.access.get() == RoomAccess::Unknown && !needs_token());
    let is_refused = Memo::new(move |_| needs_token() || !(live.is_writable() || is_unknown.get()));
    // The text that the user was typing stays visible.
    let is_hidden = move || is_refused.get() && !has_text.get();
    let began_unknown = is_unknown.get_untracked();
    Effect::new(move |was_unknown: Option<bool>| {
        if was_unknown.unwrap_or(began_unknown)
            && live.is_writable()
            && dom::is_focus_free()
            && !dom::has_touch_keyboard()
        {
            // The input is still hidden.
            request_animation_frame(focus);
        }
        is_unknown.get()
    });

    // Text typed before hydration wins over a draft from an earlier visit.
    Effect::new(move |_| {
        if let Some(draft) = live.draft()
            && read().is_some_and(|typed| typed.is_empty())
        {
            write(&draft);
        }
        measure();
    });

    // The text before an edit comes back after it.
    let before_edit = StoredValue::new(String::new());
    Effect::new(move |was_edit: Option<bool>| {
        let composing = live.composing.get();
        let is_edit = matches!(composing, Composing::Edit { .. });
        if was_edit == Some(true) {
            write(&before_edit.get_value());
        }
        if let Composing::Edit { text, .. } = &composing {
            before_edit.set_value(read().unwrap_or_default());
            write(text);
        }
        if composing != Composing::New {
            focus();
        }
        if is_edit || was_edit == Some(true) {
            measure();
        }
        is_edit
    });

    // Keys typed anywhere in the page go to the input.
    let on_key_anywhere = window_event_listener(ev::keydown, move |event| {
        let is_text = event.key().chars().count() == 1 && event.key() != " ";
        let has_modifier = event.ctrl_key() || event.meta_key() || event.alt_key();
        if is_text && !has_modifier && dom::is_focus_free() {
            focus();
        }
    });
    on_cleanup(move || on_key_anywhere.remove());

    // The user has chosen another room.
    if live.page.awake.get_untracked() {
        Effect::new(move |_| {
            if !dom::has_touch_keyboard() {
                focus();
            }
        });
    }

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
        <div
            class="compose refused"
            class:unscripted=is_unknown
            hidden=move || !(is_refused.get() || is_unknown.get())
        >
            <RefusalNotice/>
        </div>
        <form class="compose" class:unknown=is_unknown method="post" action=address hidden=is_hidden on:submit=on_submit>
            <input type="hidden" name="key" value=form.key/>
            // Where names are verified, the server knows the name.
            {live.page.is_open.then(|| view! {
                <label class="unscripted as">
                    {text.your_name} " " <input name="from" maxlength="64" value=form.name/>
                </label>
            })}
            <p class="composing" hidden=move || live.composing.get() == Composing::New>
                {move || match live.composing.get() {
                    Composing::New => String::new(),
                    Composing::Reply { from, .. } => (text.replying_to)(&from.shown()),
                    Composing::Edit { .. } => text.editing.to_owned(),
                }}
                <button class="act" type="button" on:click=move |_| cancel()>{text.cancel}</button>
            </p>
            <div class="box">
                <textarea
                    id="msg"
                    name="text"
                    rows=lines
                    placeholder=label.clone()
                    aria-label=label
                    aria-describedby="notice"
                    autocomplete="off"
                    autofocus
                    node_ref=input
                    on:keydown=on_keydown
                    on:input=on_input
                    inner_html=as_html(&form.text)
                ></textarea>
                <button id="send" type="submit">{text.send}</button>
            </div>
            <p class="hint">
                <span class="notice" id="notice" role="status">{notice}</span>
                <span class="typing">{typing}</span>
                <span class="keys" hidden=move || typing().is_some()>{text.keys}</span>
            </p>
        </form>
    }
}

/// The reason why the user cannot write, in the place of the form, and the ways to sign in if that helps.
#[component]
fn RefusalNotice() -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let page = live.page;

    let is_deleted = move || live.access.get() == RoomAccess::Deleted;
    let is_guest = move || !page.is_open && page.sign_in.user.with(Option::is_none);
    let can_sign_in = move || {
        let is_read_only = matches!(
            live.access.get(),
            RoomAccess::ReadOnly | RoomAccess::Unknown
        );
        page.connection.get().needs_token() || (is_guest() && is_read_only)
    };
    let words = move || match (page.connection.get(), live.access.get()) {
        (ConnectionStatus::Refused(Refusal::NoToken), _) if page.sign_in.accepts_tokens() => {
            text.needs_token
        }
        (ConnectionStatus::Refused(Refusal::NoToken), _) => text.not_signed_in,
        (ConnectionStatus::Refused(Refusal::TokenExpired), _) => text.token_expired,
        (ConnectionStatus::Refused(Refusal::TokenRefused), _) => text.token_refused,
        (_, RoomAccess::Ended) => text.ended,
        (_, RoomAccess::Deleted) => text.room_deleted,
        (_, RoomAccess::ReadOnly) if is_guest() => text.read_only_guest,
        (_, RoomAccess::ReadOnly) => text.read_only,
        (_, RoomAccess::Unknown) if page.sign_in.accepts_tokens() => text.token_needs_script,
        (_, RoomAccess::Unknown) if !page.is_open => text.not_signed_in,
        (_, RoomAccess::Unknown | RoomAccess::Granted | RoomAccess::Refused { .. }) => {
            text.no_access
        }
    };
    let reason = move || match live.access.get() {
        RoomAccess::Refused { message, .. } => message,
        _ => String::new(),
    };

    view! {
        <p role="status">{words} " " <bdi>{reason}</bdi></p>
        <button class="tool" type="button" hidden=move || !is_deleted() on:click=move |_| live.reopen()>
            {text.reopen}
        </button>
        <div hidden=move || !can_sign_in()><SignInForm/></div>
    }
}

/// Returns `text` as the HTML content of a text area, whose children Leptos does not escape.
fn as_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
