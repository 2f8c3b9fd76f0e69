//! The log: one row for each message, oldest first. Also what the page says before there is one.
//!
//! Text from people goes into the document as text nodes only. Rows are keyed and never change, so a new
//! message costs one new row; the window that bounds them is [`super::live::Transcript`]'s.

use leptos::html::Div;
use leptos::prelude::*;

use super::i18n::{Text, use_text};
use super::live::{Body, Live, Row};
use crate::protocol::RoomName;

/// What was said in the room since the page opened.
#[component]
pub fn Timeline(
    /// The room, for the words that fill an empty log.
    room: RoomName,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let log = NodeRef::<Div>::new();
    let silent = Memo::new(move |_| live.transcript.with(|transcript| transcript.rows().is_empty()));
    let rows = move || live.transcript.with(|transcript| transcript.rows().clone());
    let promise = (text.empty_promise)(&room);

    // Reading back is never disturbed: the log follows new rows only while its end is in view.
    Effect::new(move |_| {
        if let Some(log) = log.get() {
            live.keep_at_end(&log);
        }
    });

    view! {
        <div class="log" id="result" role="log" aria-label=text.messages tabindex="0" node_ref=log>
            <div class="rows">
                <For each=rows key=|row| row.key children=move |row| said(row, text)/>
            </div>
        </div>
        <Show when=move || silent.get()>
            <div class="empty">
                <p class="empty-title">{text.empty}</p>
                <p>{promise.clone()}</p>
            </div>
        </Show>
    }
}

/// One row.
fn said(row: Row, text: &'static Text) -> impl IntoView {
    let (class, words, state) = match row.body {
        Body::Text(words) => ("msg", words, None),
        Body::Unconfirmed(words) => ("msg unconfirmed", words, Some(text.unconfirmed)),
        Body::Binary { bytes } => ("msg binary", (text.binary)(bytes).into(), None),
    };
    let state = state.map(|state| view! { <span class="state">{state}</span> });
    view! {
        <div class=class>
            // A person's text decides its own direction and cannot turn what stands around it.
            <p class="text" dir="auto">{words}</p>
            {state}
        </div>
    }
}
