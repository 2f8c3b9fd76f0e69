//! One row of the log. Names and texts from people go into the document as text nodes only.
//!
//! A row is drawn once; only how far a message of this page got changes in place, so that a screen reader does
//! not hear it twice.

use leptos::either::Either;
use leptos::ev::MouseEvent;
use leptos::prelude::*;

use super::dynamic::{act, holds, words};
use super::i18n::{Text, use_locale};
use super::link::{Piece, pieces};
use super::live::{Clock, Entry, Gap, Link, Live, Message, Missing, Outlook, Shown, State, Words};
use crate::protocol::UserId;

/// The colours of names, as classes.
const HUES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The class of the buttons that copy a message, which the log finds them by.
pub(super) const COPY: &str = "copy";

/// A row with the lines that stand above it.
#[component]
pub fn MessageRow(
    /// What it shows.
    shown: Shown,
) -> impl IntoView {
    let Shown { row, first, new_day, unread, found, own } = shown;
    let locale = use_locale();
    let text = locale.text();
    let live = expect_context::<Live>();
    let id = row.id;
    let line = |class, words: String| view! { <p class=class>{words}</p> };
    let day = match &row.entry {
        Entry::Message(message) if new_day => Some(line("line", live.day_in_words(message.at, locale.tag()))),
        _ => None,
    };
    let unread = unread.then(|| line("line new", text.unread_line.to_owned()));
    let entry = match row.entry {
        Entry::Gap(missing) => Either::Left(gap(id, missing, text, live)),
        Entry::Message(words) => Either::Right(message(id, words, [first, found, own], text, live)),
    };
    view! { <div class="row" id=format!("row-{id}")>{day}{unread}{entry}</div> }
}

fn message(
    id: u64,
    message: Message,
    [first, found, own]: [bool; 3],
    text: &'static Text,
    live: Live,
) -> impl IntoView {
    let Message { from, at, words, state, .. } = message;
    // Only what is not stored yet will change.
    let is_moving = state != State::Stored;
    let now = move || {
        let now = |seen: &super::live::Transcript| seen.message(id).map(|now| (now.state, now.at));
        live.transcript.with(now).unwrap_or((State::Stored, at))
    };
    let progress = is_moving.then(|| progress(id, move || now().0, text, live));
    let tick = (own && !is_moving)
        .then(|| view! { <span class="tick" role="img" aria-label=text.sent title=text.sent></span> });
    let (kind, words) = match words {
        Words::Text(words) => ("text", linked(&words)),
        Words::Binary { bytes } => ("text binary", vec![Either::Left((text.binary)(bytes))]),
    };
    let class = match (first, found) {
        (true, false) => "msg first",
        (false, false) => "msg",
        (true, true) => "msg first found",
        (false, true) => "msg found",
    };
    view! {
        <div class=class title=live.clock(at).exact>
            {first.then(|| sender(from, own, move || if is_moving { now().1 } else { at }, live))}
            // A person's text decides its own direction and cannot turn what stands around it.
            <p class=kind dir="auto">{words}</p>
            {progress}
            {tick}
            <button class=COPY type="button" tabindex="-1">{text.copy}</button>
        </div>
    }
}

fn linked(text: &str) -> Vec<Either<String, impl IntoView + use<>>> {
    let piece = |piece| match piece {
        Piece::Words(words) => Either::Left(words.to_owned()),
        // An address reads from left to right, whatever the words before it want.
        Piece::Link(link) => Either::Right(view! {
            <a href=link.to_owned() dir="ltr" rel="noopener nofollow" target="_blank">{link.to_owned()}</a>
        }),
    };
    pieces(text).into_iter().map(piece).collect()
}

/// Who says so and when, above the first of their messages. The time changes once: when a message of this page
/// is stored, the server's clock counts.
fn sender(
    from: UserId,
    own: bool,
    at: impl Fn() -> u64 + Copy + Send + 'static,
    live: Live,
) -> impl IntoView {
    let clock = move |part: fn(Clock) -> String| words(move || part(live.clock(at())));
    let class = if own { "name" } else { hue(&from) };
    view! {
        <p class="who">
            <bdi class=class>{from.shown()}</bdi>
            <time datetime=clock(|clock| clock.iso) title=clock(|clock| clock.exact)>{clock(|clock| clock.short)}</time>
        </p>
    }
}

/// How far a message of this page got.
fn progress(
    id: u64,
    state: impl Fn() -> State + Copy + Send + 'static,
    text: &'static Text,
    live: Live,
) -> impl IntoView {
    let class = words(move || match state() {
        State::Stored | State::Sent | State::Queued => "progress pending",
        State::Failed { .. } => "progress failed",
    });
    let said = words(move || match state() {
        State::Stored => "",
        State::Sent => text.sending,
        State::Queued if live.link.get() == Link::Live => text.queued,
        State::Queued => text.waiting,
        State::Failed { reason, .. } => (text.not_sent)(reason),
    });
    let is_unstored = holds(move || state() != State::Stored);
    let is_final = holds(move || !matches!(state(), State::Failed { retry: true, .. }));
    let is_well = holds(move || !matches!(state(), State::Failed { .. }));
    view! {
        <span class=class hidden=holds(move || state() == State::Stored)>
            <span class="state">{said}</span>
            <button class="act" type="button" hidden=is_final on:click=act(move |_: MouseEvent| live.retry(id))>
                {text.retry}
            </button>
            <button class="act" type="button" hidden=is_well on:click=act(move |_: MouseEvent| live.edit(id))>
                {text.take_back}
            </button>
        </span>
        <span class="tick" role="img" aria-label=text.sent title=text.sent hidden=is_unstored></span>
    }
}

fn gap(id: u64, gap: Gap, text: &'static Text, live: Live) -> impl IntoView {
    let Gap { missing, outlook, .. } = gap;
    let words = match (missing, outlook) {
        (_, Outlook::Asked) => text.loading.to_owned(),
        (Missing::Count(count), Outlook::Gone) => (text.gone)(count),
        (Missing::Some, Outlook::Gone) => text.gone_some.to_owned(),
        (Missing::Count(count), Outlook::Open) => (text.missing)(count),
        (Missing::Some, Outlook::Open) => text.missing_some.to_owned(),
        (Missing::Perhaps, _) => text.missing_perhaps.to_owned(),
    };
    view! {
        <p class="gap">
            <span>
                {words}
                {(outlook == Outlook::Open).then(|| view! {
                    <button class="act" type="button" on:click=act(move |_: MouseEvent| live.load(id))>
                        {text.load}
                    </button>
                })}
            </span>
        </p>
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
