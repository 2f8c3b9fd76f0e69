//! One row of the log. Names and texts of users are text nodes only.
//!
//! A row is drawn once, and follows its [`RowView`]: when a message is stored, deleted or found, Leptos changes the
//! attributes and texts that differ. The elements stay, and with them the focus and the selection of the user.
//!
//! The arrow keys move the focus from message to message, and the Tab key from a message to its actions. The actions are
//! drawn for the message with the focus or the pointer alone.

use leptos::either::{Either, EitherOf3, EitherOf4};
use leptos::ev::{FocusEvent, MouseEvent, PointerEvent};
use leptos::html::Div;
use leptos::prelude::*;
use leptos::reactive::graph::{Subscriber, ToAnySubscriber};

use super::i18n::{Text, use_text};
use super::json_view::JsonView;
use super::live::{
    self, ConnectionStatus, Entry, Gap, GapState, Message, MessageContent, MessageState, Missing,
    Quote, Reason, RoomState, RowView,
};
use super::message_actions::MessageActions;
use super::message_text::{Block, Piece, blocks};
use crate::browser::dom;
use crate::protocol::{Offset, UserId};

/// The class of the elements of messages, which the arrow keys move the focus to.
pub const MESSAGE: &str = "msg";

/// The selector of the message that a search has found.
pub const FOUND: &str = ".found";

/// The selector of the line above the first unread message.
pub const UNREAD: &str = ".line.new";

/// The number of lines, and of characters, from which a text is folded.
const FOLDED: (usize, usize) = (20, 3000);

/// The colours of names, as CSS classes.
const HUES: [&str; live::HUES] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// A row, and the state of the page that its rendering depends on.
#[derive(Clone, PartialEq)]
struct DrawnRow {
    view: RowView,
    /// The user, whose mentions are marked.
    me: Option<UserId>,
    is_awake: bool,
    is_connected: bool,
}

/// The part of a row's state that does not depend on its message.
#[derive(Clone, Copy)]
struct RowState {
    id: u64,
    /// True while the row has the focus or the pointer.
    is_active: Memo<bool>,
    /// True if the user has unfolded a long text.
    is_unfolded: RwSignal<bool>,
    live: RoomState,
    text: &'static Text,
}

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

    // A row is drawn again only if its own part of the log has changed.
    let drawn = scoped_memo(move |before: Option<&Option<DrawnRow>>| {
        let view = views.with(|views| views.iter().find(|view| view.row.id == id).cloned());
        let drawn = view.map(|view| DrawnRow {
            view,
            me: live.page.me.get(),
            is_awake: live.page.awake.get(),
            is_connected: live.page.connection.get() == ConnectionStatus::Live,
        });
        // A row that leaves the log stays as it was until then.
        drawn.or_else(|| before.cloned().flatten())
    });

    let has_pointer = RwSignal::new(false);
    let has_focus = RwSignal::new(false);
    let element = NodeRef::<Div>::new();
    let state = RowState {
        id,
        is_active: Memo::new(move |_| has_pointer.get() || has_focus.get()),
        is_unfolded: RwSignal::new(false),
        live,
        text,
    };
    let on_focus = move |is_focused: bool| {
        has_focus.set(is_focused);
        live.hold(is_focused.then_some(id));
    };
    // With a touch, the actions appear when the row gets the focus, at the end of the touch: before, they would move the rows under
    // the finger.
    let on_pointer = move |event: PointerEvent| has_pointer.set(event.pointer_type() != "touch");
    // The actions stay while the focus moves to one of them.
    let on_blur = move |event: FocusEvent| {
        if !element.with_untracked(|row| {
            row.as_ref()
                .is_some_and(|row| dom::moves_within(&event, row))
        }) {
            on_focus(false);
        }
    };

    let content = move |drawn: DrawnRow| {
        let view = &drawn.view;
        let day = view
            .row
            .message()
            .filter(|_| view.new_day)
            .map(|message| (text.day)(untrack(|| live.clock(message.at)).day));
        let is_unread = view.unread;
        let entry = match view.row.entry.clone() {
            Entry::Message(message) => Either::Left(message_view(drawn, message, state)),
            Entry::Gap(gap) => Either::Right(gap_view(id, gap, text, live)),
        };
        view! {
            {day.map(|day| view! { <p class="line">{day}</p> })}
            {is_unread.then(|| view! { <p class="line new">{text.unread_line}</p> })}
            {entry}
        }
    };
    view! {
        <div
            class="row"
            id=format!("row-{id}")
            on:pointerenter=on_pointer
            on:pointerleave=move |_| has_pointer.set(false)
            on:focusin=move |_| on_focus(true)
            on:focusout=on_blur
            node_ref=element
        >
            {move || drawn.get().map(content)}
        </div>
    }
}

/// Returns a memo that unsubscribes from its sources when the current owner is dropped. Leptos itself keeps a memo, and visits it at
/// each change, until the sources are dropped; here they outlast the rows.
fn scoped_memo<T>(value: impl Fn(Option<&T>) -> T + Send + Sync + 'static) -> Memo<T>
where
    T: PartialEq + Send + Sync + 'static,
{
    let memo = ArcMemo::new(value);
    let subscriber = memo.to_any_subscriber();
    on_cleanup(move || subscriber.clear_sources(&subscriber));

    memo.into()
}

fn message_view(drawn: DrawnRow, message: Message, row: RowState) -> impl IntoView {
    let RowState { id, live, text, .. } = row;
    let DrawnRow {
        view,
        me,
        is_awake,
        is_connected,
    } = drawn;
    let clock = untrack(|| live.clock(message.at));
    let offset = view.row.offset();

    let who = view.first.then(|| {
        let class = if view.own { "name" } else { HUES[view.hue] };
        let time = view! { <time datetime=clock.iso.clone() title=clock.exact.clone()>{clock.short.clone()}</time> };
        view! {
            <p class="who">
                <bdi class=class>{message.from.shown()}</bdi>
                " "
                {match offset {
                    Some(offset) => Either::Left(message_link(offset, "at", live, time)),
                    None => Either::Right(time),
                }}
            </p>
        }
    });
    // The focus comes only to a page that is awake.
    let label = is_awake.then(|| {
        let words = match &message.content {
            MessageContent::Joined => text.joined,
            MessageContent::Left => text.left,
            _ => message.text().unwrap_or(text.deleted),
        };
        format!("{}, {}: {words}", message.from.shown(), clock.short)
    });
    let actions = move || row.is_active.get().then(|| view! { <MessageActions id/> });

    view! {
        <div
            class=MESSAGE
            class:first=view.first
            class:found=view.found
            class:mentioned=view.mentions_me
            role="article"
            tabindex="-1"
            autofocus=view.found
            aria-label=label
            title=clock.exact
        >
            {view.quote.map(|quote| quote_view(quote, live, text))}
            {who}
            {content_view(&message, me.as_ref(), row)}
            {progress(id, message.state, view.own, is_connected, text, live)}
            {actions}
        </div>
    }
}

/// Returns a link to the message at `offset`, which shows the message without a reload.
fn message_link(
    offset: Offset,
    class: &'static str,
    live: RoomState,
    children: impl IntoView,
) -> impl IntoView {
    let on_click = move |event: MouseEvent| {
        if !(event.ctrl_key() || event.meta_key() || event.shift_key() || event.alt_key()) {
            event.prevent_default();
            live.open_message(offset);
        }
    };
    view! {
        <a class=class href=live.page.permalink(&live.name(), offset) on:click=on_click>{children}</a>
    }
}

/// Returns the beginning of the message that a message answers.
fn quote_view(quote: Quote, live: RoomState, text: &'static Text) -> impl IntoView {
    let words = match quote.message {
        Some((from, words)) => {
            Either::Left(view! { <bdi>{from.shown()}</bdi> " " <bdi>{words}</bdi> })
        }
        None => Either::Right(text.earlier_message),
    };
    let words = view! { <span class="visually-hidden">{text.answer_to}</span> " " {words} };
    message_link(quote.offset, "quote", live, words)
}

/// Returns the content of `message`, with its kind and the mark of an edit. Mentions are those of `me`.
fn content_view(message: &Message, me: Option<&UserId>, row: RowState) -> impl IntoView + use<> {
    let text = row.text;
    let is_pending = matches!(message.state, MessageState::Queued | MessageState::Sent);
    let kind = message
        .kind
        .as_ref()
        .map(|kind| view! { <code class="kind">{kind.as_str().to_owned()}</code> " " });
    let edited = message
        .edited
        .is_some()
        .then(|| view! { " " <span class="edited">{text.edited}</span> });

    match &message.content {
        MessageContent::Text(words) => {
            let is_long = is_long(words);
            let is_folded = move || is_long && !row.is_unfolded.get();
            let me = me.map(UserId::as_str);
            EitherOf4::A(view! {
                // A user's text sets its own direction, and cannot change the direction of the text around it.
                <div class="text" class:unsure=is_pending class:folded=is_folded dir="auto">
                    {kind}
                    {text_view(words, me)}
                    {edited}
                </div>
                {is_long.then(|| view! {
                    <button
                        class="act fold scripted"
                        type="button"
                        aria-expanded=move || row.is_unfolded.get().to_string()
                        on:click=move |_| row.is_unfolded.update(|is_unfolded| *is_unfolded = !*is_unfolded)
                    >
                        {move || if row.is_unfolded.get() { text.show_less } else { text.show_more }}
                    </button>
                })}
            })
        }
        MessageContent::Json(json) => EitherOf4::B(view! {
            <div class="text" dir="ltr">
                {kind}
                <JsonView json=json.clone()/>
                {edited}
            </div>
        }),
        MessageContent::Deleted => {
            EitherOf4::C(view! { <p class="text deleted">{text.deleted}</p> })
        }
        MessageContent::Joined => EitherOf4::C(view! { <p class="text event">{text.joined}</p> }),
        MessageContent::Left => EitherOf4::C(view! { <p class="text event">{text.left}</p> }),
        MessageContent::Binary { bytes } => {
            EitherOf4::D(view! { <p class="text binary">{(text.binary)(*bytes)}</p> })
        }
    }
}

/// Returns true if `text` is folded.
fn is_long(text: &str) -> bool {
    let (lines, chars) = FOLDED;
    text.len() > chars || text.lines().nth(lines).is_some()
}

/// Returns `text` with its markup as elements. Mentions are those of `me`.
fn text_view(text: &str, me: Option<&str>) -> impl IntoView + use<> {
    // HTML cannot contain this character: hydration would look for a text that the browser has dropped.
    let text = text.replace('\0', "\u{fffd}");

    blocks(&text, me)
        .into_iter()
        .map(|block| match block {
            Block::Text(pieces) => EitherOf3::A(pieces_view(pieces)),
            Block::Quote(pieces) => {
                EitherOf3::B(view! { <blockquote dir="auto">{pieces_view(pieces)}</blockquote> })
            }
            Block::Code(code) => EitherOf3::C(
                view! { <pre dir="ltr" tabindex="-1"><code>{code.to_owned()}</code></pre> },
            ),
        })
        .collect_view()
}

fn pieces_view(pieces: Vec<Piece<'_>>) -> impl IntoView + use<> {
    pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Words(words) => EitherOf4::A(words.to_owned()),
            // A URL reads from left to right even in right-to-left text.
            Piece::Link(link) => EitherOf4::B(view! {
                <a href=link.to_owned() dir="ltr" rel="noopener nofollow" target="_blank">
                    {link.to_owned()}
                </a>
            }),
            Piece::Code(code) => EitherOf4::C(view! { <code>{code.to_owned()}</code> }),
            Piece::Mention(name) => {
                EitherOf4::D(view! { <bdi class="mention">{name.to_owned()}</bdi> })
            }
        })
        .collect_view()
}

/// Returns the progress of an own message.
fn progress(
    id: u64,
    state: MessageState,
    own: bool,
    is_connected: bool,
    text: &'static Text,
    live: RoomState,
) -> impl IntoView {
    match state {
        MessageState::Stored => EitherOf3::A(own.then(|| {
            view! { <span class="tick" role="img" aria-label=text.sent title=text.sent></span> }
        })),
        MessageState::Sent => EitherOf3::B(pending(text.sending)),
        MessageState::Queued if is_connected => EitherOf3::B(pending(text.queued)),
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
    // The text of a discarded message is dropped.
    let discard = move |_| drop(live.discard(id));

    view! {
        <span class="progress failed">
            <span class="state">{(text.not_sent)(reason)}</span>
            {again}
            <button class="act" type="button" on:click=move |_| live.take_back(id)>{text.take_back}</button>
            <button class="act" type="button" on:click=discard>{text.discard}</button>
        </span>
    }
}

fn gap_view(id: u64, gap: Gap, text: &'static Text, live: RoomState) -> impl IntoView {
    let words = match (gap.missing, gap.state) {
        (_, GapState::Requested) => text.loading.to_owned(),
        (Missing::Count(count), GapState::Gone) => (text.gone)(count),
        (Missing::Some, GapState::Gone) => text.gone_some.to_owned(),
        (Missing::Count(count), GapState::Open) => (text.missing)(count),
        (Missing::Some, GapState::Open) if gap.is_skipped => text.skipped.to_owned(),
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
