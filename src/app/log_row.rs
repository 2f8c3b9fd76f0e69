//! One row of the log. Names and texts of users are text nodes only.
//!
//! A row is drawn once, and follows its [`RowView`]: when a message is stored, deleted or found, Leptos changes the
//! attributes and texts that differ. The elements stay, and with them the focus and the selection of the user.

use leptos::either::{Either, EitherOf3};
use leptos::prelude::*;

use super::i18n::{Text, use_text};
use super::link::{Piece, pieces};
use super::live::{
    ConnectionStatus, Content, Entry, Gap, GapState, Message, MessageState, Missing, Reason,
    RoomState, RowView,
};
use crate::browser::dom;
use crate::protocol::UserId;

/// The class of the buttons that copy a message.
pub const COPY: &str = "copy";

/// The selector of the message that a search has found.
pub const FOUND: &str = ".found";

/// The colours of names, as CSS classes.
const HUES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The row `id`, with the lines above it.
#[component]
pub fn LogRow(
    /// The number of the row.
    id: u64,
    /// The drawn rows of the log.
    views: Memo<Vec<RowView>>,
) -> impl IntoView {
    let text = use_text();
    let live = expect_context::<RoomState>();

    // Of a change of the log, each row sees its own part only.
    let view = Memo::new(move |before: Option<&Option<RowView>>| {
        let view = views.with(|views| views.iter().find(|view| view.row.id == id).cloned());
        // A row that leaves the log stays as it was until then.
        view.or_else(|| before.cloned().flatten())
    });

    let content = move |view: RowView| {
        let day = view
            .row
            .message()
            .filter(|_| view.new_day)
            .map(|message| (text.day)(live.clock(message.at).day));
        let entry = match view.row.entry.clone() {
            Entry::Message(message) => {
                Either::Left(message_view(view.clone(), message, text, live))
            }
            Entry::Gap(gap) => Either::Right(gap_view(id, gap, text, live)),
        };
        view! {
            {day.map(|day| view! { <p class="line">{day}</p> })}
            {view.unread.then(|| view! { <p class="line new">{text.unread_line}</p> })}
            {entry}
        }
    };
    view! { <div class="row" id=format!("row-{id}")>{move || view.get().map(content)}</div> }
}

fn message_view(
    view: RowView,
    message: Message,
    text: &'static Text,
    live: RoomState,
) -> impl IntoView {
    let Message {
        from,
        at,
        content,
        state,
        ..
    } = message;
    let clock = live.clock(at);

    let who = view.first.then(|| {
        let class = if view.own { "name" } else { hue(&from) };
        view! {
            <p class="who">
                <bdi class=class>{from.shown()}</bdi>
                <time datetime=clock.iso title=clock.exact.clone()>{clock.short}</time>
            </p>
        }
    });

    let is_deleted = content == Content::Deleted;
    let is_pending = matches!(state, MessageState::Queued | MessageState::Sent);
    let (class, words) = match content {
        Content::Text(words) if is_pending => ("text unsure", words.to_string()),
        Content::Text(words) => ("text", words.to_string()),
        Content::Deleted => ("text deleted", text.deleted.to_owned()),
        Content::Binary { bytes } => ("text binary", (text.binary)(bytes)),
    };

    view! {
        <div class="msg" class:first=view.first class:found=view.found title=clock.exact>
            {who}
            // A user's text sets its own direction, and cannot change the direction of the text around it.
            <p class=class dir="auto">{linked(&words)}</p>
            {progress(view.row.id, state, view.own, text, live)}
            {(!is_deleted).then(|| view! { <CopyButton words/> })}
        </div>
    }
}

/// Returns `text` with its URLs as links.
fn linked(text: &str) -> impl IntoView + use<> {
    // HTML cannot contain this character: hydration would look for a text that the browser has dropped.
    let text = text.replace('\0', "\u{fffd}");

    pieces(&text)
        .into_iter()
        .map(|piece| match piece {
            Piece::Words(words) => Either::Left(words.to_owned()),
            // A URL reads from left to right even in right-to-left text.
            Piece::Link(link) => Either::Right(view! {
                <a href=link.to_owned() dir="ltr" rel="noopener nofollow" target="_blank">
                    {link.to_owned()}
                </a>
            }),
        })
        .collect_view()
}

/// Returns the progress of an own message.
fn progress(
    id: u64,
    state: MessageState,
    own: bool,
    text: &'static Text,
    live: RoomState,
) -> impl IntoView {
    match state {
        MessageState::Stored => EitherOf3::A(own.then(|| {
            view! { <span class="tick" role="img" aria-label=text.sent title=text.sent></span> }
        })),
        MessageState::Sent => EitherOf3::B(pending(text.sending)),
        MessageState::Queued if live.connection.get() == ConnectionStatus::Live => {
            EitherOf3::B(pending(text.queued))
        }
        MessageState::Queued => EitherOf3::B(pending(text.waiting)),
        MessageState::Failed { reason, retry } => {
            EitherOf3::C(failed(id, reason, retry, text, live))
        }
    }
}

fn pending(words: &'static str) -> impl IntoView {
    view! { <span class="progress pending"><span class="state">{words}</span></span> }
}

/// Returns the notice below a message that was refused.
fn failed(
    id: u64,
    reason: Reason,
    retry: bool,
    text: &'static Text,
    live: RoomState,
) -> impl IntoView {
    let again = retry.then(|| {
        view! {
            <button class="act" type="button" on:click=move |_| live.retry(id)>{text.retry}</button>
        }
    });
    view! {
        <span class="progress failed">
            <span class="state">{(text.not_sent)(reason)}</span>
            {again}
            <button class="act" type="button" on:click=move |_| live.edit(id)>{text.take_back}</button>
        </span>
    }
}

/// The button that copies `words`. The arrow keys reach it; the Tab key skips it.
#[component]
fn CopyButton(words: String) -> impl IntoView {
    let text = use_text();
    let is_copied = RwSignal::new(false);

    view! {
        <button
            class=COPY
            type="button"
            tabindex="-1"
            on:click=move |_| is_copied.set(dom::copy(&words))
        >
            {move || if is_copied.get() { text.copied } else { text.copy }}
        </button>
    }
}

fn gap_view(id: u64, gap: Gap, text: &'static Text, live: RoomState) -> impl IntoView {
    let words = match (gap.missing, gap.state) {
        (_, GapState::Requested) => text.loading.to_owned(),
        (Missing::Count(count), GapState::Gone) => (text.gone)(count),
        (Missing::Some, GapState::Gone) => text.gone_some.to_owned(),
        (Missing::Count(count), GapState::Open) => (text.missing)(count),
        (Missing::Some, GapState::Open) => text.missing_some.to_owned(),
        (Missing::Perhaps, _) => text.missing_perhaps.to_owned(),
    };
    let load = (gap.state == GapState::Open).then(|| {
        view! {
            <button class="act" type="button" on:click=move |_| live.load(id)>{text.load}</button>
        }
    });

    view! { <p class="gap"><span>{words} {load}</span></p> }
}

/// Returns the colour of a name, which is the same on every page (FNV-1a).
fn hue(id: &UserId) -> &'static str {
    let hash = id.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    HUES[hash as usize % HUES.len()]
}
