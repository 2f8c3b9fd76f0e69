//! The log: one row for each message, oldest first. Also what the page says where there is none.
//!
//! Names and texts from people go into the document as text nodes only. A row is drawn once; only how far a
//! message of this page got changes in place, so that a screen reader does not hear it twice. The window that
//! bounds the rows is [`super::live::Transcript`]'s.

use leptos::either::Either;
use leptos::html::Div;
use leptos::prelude::*;

use super::i18n::{Text, use_text};
use super::live::{Clock, Entry, Link, Live, Message, Missing, Row, State, Words, clock};
use crate::protocol::RoomName;
use crate::protocol::UserId;

/// The colours of names, as classes.
const HUES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// What was said in the room, and what this page is about to say.
#[component]
pub fn Timeline(
    /// The room, for the words that fill an empty log.
    room: RoomName,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<Live>();
    let log = NodeRef::<Div>::new();
    let silent = Memo::new(move |_| live.transcript.with(|transcript| transcript.is_silent()));
    let rows = move || live.transcript.with(|transcript| transcript.rows().cloned().collect::<Vec<_>>());
    let promise = (text.empty_promise)(&room);

    // The button that had the focus goes away with the failure.
    let retry = move |id| {
        live.retry(id);
        if let Some(log) = log.get_untracked() {
            // Focus only fails where there is no window to have it.
            let _ = log.focus();
        }
    };

    // Reading back is never disturbed: the log follows new rows only while its end is in view.
    Effect::new(move |_| {
        if let Some(log) = log.get() {
            live.keep_at_end(&log);
        }
    });

    view! {
        <div class="log" id="result" role="log" aria-label=text.messages tabindex="0" node_ref=log>
            <div class="rows">
                <For each=rows key=Row::key children=move |row| drawn(row, text, live, retry)/>
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
fn drawn(
    row: Row,
    text: &'static Text,
    live: Live,
    retry: impl Fn(u64) + Copy + Send + 'static,
) -> impl IntoView {
    let Row { id, first, entry, .. } = row;
    match entry {
        Entry::Gap(missing) => Either::Left(view! {
            <p class="gap"><span>{phrase(missing, text)}</span></p>
        }),
        Entry::Message(message) => {
            let Message { from, own, at, words, state, .. } = message;
            let moving = (state != State::Stored).then(|| {
                Memo::new(move |_| {
                    live.transcript
                        .with(|seen| seen.message(id).map_or((State::Stored, at), |now| (now.state, now.at)))
                })
            });
            let moves = moving.map(|now| progress(now, text, live, move || retry(id)));
            let (kind, words) = match words {
                Words::Text(words) => ("text", words),
                Words::Binary { bytes } => ("text binary", (text.binary)(bytes).into()),
            };
            Either::Right(view! {
                <div class=if first { "msg first" } else { "msg" }>
                    {first.then(|| sender(&from, own, at, moving))}
                    // A person's text decides its own direction and cannot turn what stands around it.
                    <p class=kind dir="auto">{words}</p>
                    {moves}
                </div>
            })
        }
    }
}

/// Who says so and when, above the first of their messages.
fn sender(from: &UserId, own: bool, at: u64, moving: Option<Memo<(State, u64)>>) -> impl IntoView + use<> {
    let time = |at| {
        let Clock { iso, local } = clock(at);
        view! { <time datetime=iso>{local}</time> }
    };
    // Once it is stored, the server's clock counts.
    let time = match moving {
        Some(now) => Either::Left(move || time(now.get().1)),
        None => Either::Right(time(at)),
    };
    let class = if own { "name" } else { hue(from) };
    view! {
        <p class="who">
            <bdi class=class>{from.to_string()}</bdi>
            {time}
        </p>
    }
}

/// How far a message of this page got, for as long as that is worth a word.
fn progress(
    now: Memo<(State, u64)>,
    text: &'static Text,
    live: Live,
    retry: impl Fn() + Copy + Send + 'static,
) -> impl IntoView {
    move || match now.get().0 {
        State::Stored => None,
        State::Pending => {
            let word = move || if live.link.get() == Link::Live { text.sending } else { text.waiting };
            Some(Either::Left(view! { <span class="state pending">{word}</span> }))
        }
        State::Failed { reason, retry: can } => Some(Either::Right(view! {
            <span class="state failed">
                {(text.not_sent)(reason)}
                {can.then(|| view! {
                    <button class="retry" type="button" on:click=move |_| retry()>{text.retry}</button>
                })}
            </span>
        })),
    }
}

fn phrase(missing: Missing, text: &'static Text) -> String {
    match missing {
        Missing::Count(count) => (text.missing)(count),
        Missing::Some => text.missing_some.to_owned(),
        Missing::Perhaps => text.missing_perhaps.to_owned(),
    }
}

/// The colour of a name: always the same one, everywhere (FNV-1a).
fn hue(id: &UserId) -> &'static str {
    let hash = id
        .as_str()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    HUES[hash as usize % HUES.len()]
}
