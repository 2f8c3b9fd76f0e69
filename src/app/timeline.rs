//! The log: its rows, oldest first, the text of an empty log, and the button that scrolls to the end.
//!
//! [`super::live::MessageList`] decides which rows are in the document. Empty space stands in for the others.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::web_sys::{Element, Event};

use super::drawing::Drawing;
use super::dynamic::{effect, find, hide, on, set, show, still};
use super::i18n::use_text;
use super::live::{
    ConnectionStatus, MessageList, MessageState, RoomState, RowView, copy, move_focus,
};
use super::message::{COPY, EDIT, LOAD, RETRY, number, row};
use crate::protocol::RoomName;

const LOG: &str = "result";
const ROWS: &str = "rows";
const EMPTY: &str = "empty";
const MORE: &str = "more";

/// The messages of the room, and the unsent messages of this page.
#[component]
pub fn Timeline(
    /// The room, for the text of an empty log.
    room: RoomName,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();
    let is_spoken = move || !live.messages.with(MessageList::is_known_empty);
    // New messages are visible at the end of the log, so the button is hidden there.
    let at_end = move || live.messages.with(MessageList::follows);
    let news = move || live.messages.with(MessageList::unread);
    let rows = move || live.messages.with(|list| list.views(|at| live.day(at)));
    // Only messages that are not stored can wait for a connection.
    let cut_off = move |shown: &RowView| {
        let is_stored = shown
            .row
            .message()
            .is_none_or(|message| message.state == MessageState::Stored);
        !is_stored && live.connection.get() != ConnectionStatus::Live
    };

    let mut drawing = None;
    effect(move || {
        // The user's time zone is known after hydration, so all rows are drawn again.
        if !live.awake.get() {
            return;
        }
        let Some(list) = find(ROWS) else { return };
        let drawing = drawing.get_or_insert_with(|| Drawing::new(list));
        let values = rows()
            .into_iter()
            .map(|shown| (cut_off(&shown), shown))
            .collect();
        drawing.draw(
            values,
            |(_, shown)| shown.row.id,
            |(cut, shown)| row(shown, *cut, text, live),
        );
    });

    // The log is attached after the first drawing, so that a screen reader does not announce old messages.
    effect(move || {
        if live.awake.get()
            && let Some(log) = find(LOG)
        {
            live.attach(&log);
        }
    });

    // One listener for all rows.
    on(LOG, "click", move |event| {
        let target = event
            .target()
            .and_then(|target| target.dyn_into::<Element>().ok());
        if let Some(button) = target.filter(|target| target.tag_name() == "BUTTON") {
            press(&button, text.copied, live);
        }
    });

    // The arrow keys move between the buttons of rows. The Tab key skips them, because there are too many.
    on(LOG, "keydown", move |event: Event| {
        let by = match event
            .dyn_ref::<KeyboardEvent>()
            .map(KeyboardEvent::key)
            .as_deref()
        {
            Some("ArrowUp") => -1,
            Some("ArrowDown") => 1,
            _ => return,
        };
        if let Some(log) = find(LOG) {
            event.prevent_default();
            move_focus(&log, COPY, by);
        }
    });

    on(MORE, "click", move |_| live.to_end());
    hide(EMPTY, is_spoken);
    hide(MORE, at_end);
    set(
        MORE,
        "class",
        move || if news() > 0 { "more new" } else { "more" },
    );
    show(MORE, move || (text.to_end)(news()));

    still(move || {
        let drawn: String = rows()
            .iter()
            .map(|shown| row(shown, true, text, live).to_html())
            .collect();
        view! {
            <div
                class="log"
                id=LOG
                role="log"
                aria-live="off"
                aria-label=text.messages
                aria-describedby="log-keys"
                tabindex="0"
            >
                <div class="space"></div>
                <div class="rows" id=ROWS inner_html=drawn></div>
                <div class="space"></div>
            </div>
            <p class="heard" id="log-keys">{text.log_keys}</p>
            <div class="empty" id=EMPTY hidden=is_spoken()>
                <p class="empty-title">{text.empty}</p>
                <p>{(text.empty_promise)(&room)}</p>
            </div>
            <button class="more" id=MORE type="button" hidden=at_end()>{(text.to_end)(0)}</button>
        }
    })
}

/// Performs the action of a row's `button`.
fn press(button: &Element, copied: &str, live: RoomState) {
    let row = button.closest(".row").ok().flatten();
    let Some((row, id)) = row.and_then(|row| number(&row.id()).map(|id| (row, id))) else {
        return;
    };

    match button.class_name().as_str() {
        RETRY => live.retry(id),
        EDIT => live.edit(id),
        LOAD => live.load(id),
        COPY => {
            if let Ok(Some(words)) = row.query_selector(".text")
                && copy(&words.text_content().unwrap_or_default())
            {
                button.set_text_content(Some(copied));
            }
        }
        _ => {}
    }
}
