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
use super::snapshot::MessageForm;
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
    form: MessageForm,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let room = live.name();
    let address = live.page.path(&room);
    let label = (text.message_to)(&room);

    let notice = RwSignal::new(form.refused.map(text.not_sent));
    let input = MessageInput {
        element: NodeRef::new(),
        lines: RwSignal::new(1),
        has_text: RwSignal::new(!form.text.is_empty()),
        live,
    };
    let element = input.element;
    let send = move || {
        if input.send() == Some(SendResult::Refused) {
            notice.set(Some(text.kept_refused.to_owned()));
        }
    };
    let cancel = move || live.composing.set(Composing::New);

    let on_submit = move |event: SubmitEvent| {
        event.prevent_default();
        send();
        input.focus();
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
            "ArrowUp" if input.is_empty() && live.edit_last() => event.prevent_default(),
            _ => {}
        }
    };
    let on_input = move |_| {
        notice.set(None);
        input.measure();
        if !input.is_empty() {
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
    let is_hidden = move || is_refused.get() && !input.has_text.get();

    focus_once_writable(input, is_unknown);
    restore_draft(input);
    keep_text_during_edit(input);
    take_withdrawn_text(input);
    focus_on_typing(input);
    focus_in_other_room(input);

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
                    rows=input.lines
                    placeholder=label.clone()
                    aria-label=label
                    aria-describedby="notice"
                    autocomplete="off"
                    autofocus
                    node_ref=element
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

/// The text area of the form, and the size of its text.
#[derive(Clone, Copy)]
struct MessageInput {
    element: NodeRef<Textarea>,
    /// The number of visible lines.
    lines: RwSignal<usize>,
    has_text: RwSignal<bool>,
    live: RoomState,
}

impl MessageInput {
    fn read(self) -> String {
        let element = self.element.get_untracked();
        element.map(|element| element.value()).unwrap_or_default()
    }

    fn is_empty(self) -> bool {
        self.read().is_empty()
    }

    /// Replaces the text. The caller calls [`MessageInput::measure`] after it.
    fn write(self, text: &str) {
        if let Some(element) = self.element.get_untracked() {
            element.set_value(text);
        }
    }

    fn focus(self) {
        if let Some(element) = self.element.get_untracked() {
            // Fails only without a window.
            let _ = element.focus();
        }
    }

    /// Records the size of the text, and stores it as a draft.
    fn measure(self) {
        let typed = self.read();
        self.lines.set(typed.split('\n').count().min(MAX_LINES));
        self.has_text.set(!typed.is_empty());
        self.live.keep_draft(&typed);
    }

    /// Sends the text. Returns `None` if there is none.
    fn send(self) -> Option<SendResult> {
        let typed = self.read();
        if typed.trim().is_empty() {
            return None;
        }

        let result = self.live.send(&typed);
        if result == SendResult::Queued {
            self.write("");
        }
        self.measure();
        Some(result)
    }
}

/// Focuses `input` when it becomes known that the user may write. `is_unknown` is true until then.
fn focus_once_writable(input: MessageInput, is_unknown: Memo<bool>) {
    let began_unknown = is_unknown.get_untracked();
    Effect::new(move |was_unknown: Option<bool>| {
        if was_unknown.unwrap_or(began_unknown)
            && input.live.is_writable()
            && dom::is_focus_free()
            && !dom::has_touch_keyboard()
        {
            // The input is still hidden.
            request_animation_frame(move || input.focus());
        }
        is_unknown.get()
    });
}

/// Restores the draft of an earlier visit. Text typed before hydration wins over it.
fn restore_draft(input: MessageInput) {
    Effect::new(move |_| {
        if let Some(draft) = input.live.draft()
            && input.is_empty()
        {
            input.write(&draft);
        }
        input.measure();
    });
}

/// Puts the edited message into `input`, and the text before the edit back after it.
fn keep_text_during_edit(input: MessageInput) {
    let before_edit = StoredValue::new(String::new());
    Effect::new(move |was_edit: Option<bool>| {
        let composing = input.live.composing.get();
        let is_edit = matches!(composing, Composing::Edit { .. });

        if was_edit == Some(true) {
            input.write(&before_edit.get_value());
        }
        if let Composing::Edit { text, .. } = &composing {
            before_edit.set_value(input.read());
            input.write(text);
        }
        if composing != Composing::New {
            input.focus();
        }
        if is_edit || was_edit == Some(true) {
            input.measure();
        }
        is_edit
    });
}

/// Puts a withdrawn message before the text of `input`.
fn take_withdrawn_text(input: MessageInput) {
    Effect::new(move |_| {
        if let Some(taken) = input.live.taken_back.get() {
            let typed = input.read();
            let separator = if typed.is_empty() { "" } else { "\n" };
            input.write(&format!("{taken}{separator}{typed}"));
            input.measure();
            input.focus();
        }
    });
}

/// Focuses `input` when a key with a character is pressed anywhere in the page, so that the input gets it.
fn focus_on_typing(input: MessageInput) {
    let on_key = window_event_listener(ev::keydown, move |event| {
        let is_text = event.key().chars().count() == 1 && event.key() != " ";
        let has_modifier = event.ctrl_key() || event.meta_key() || event.alt_key();
        if is_text && !has_modifier && dom::is_focus_free() {
            input.focus();
        }
    });
    on_cleanup(move || on_key.remove());
}

/// Focuses `input` of the new form after the user has chosen another room.
fn focus_in_other_room(input: MessageInput) {
    if input.live.page.awake.get_untracked() {
        Effect::new(move |_| {
            if !dom::has_touch_keyboard() {
                input.focus();
            }
        });
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
