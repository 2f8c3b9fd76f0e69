//! The markup of one row of the log. Names and texts of users become text nodes only.
//!
//! Each action of a row is a button whose class names the action. The log has one listener for all of them.

use super::i18n::Text;
use super::link::{Piece, pieces};
use super::live::{
    Content, Entry, Gap, GapState, Message, MessageState, Missing, Reason, RoomState, RowView,
};
use super::markup::Element;
use crate::protocol::UserId;

/// The colours of names, as CSS classes.
const HUES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The button that copies a message.
pub const COPY: &str = "copy";
/// The button that sends a failed message again.
pub const RETRY: &str = "act retry";
/// The button that moves a failed message back into the input.
pub const EDIT: &str = "act edit";
/// The button that loads the missing messages.
pub const LOAD: &str = "act load";

/// The prefix of the ids of rows; the row's number follows.
const ID: &str = "row-";

/// Returns the number of the row whose element has this `id`.
pub fn number(id: &str) -> Option<u64> {
    id.strip_prefix(ID)?.parse().ok()
}

/// Returns a row with the lines above it. If the page is `cut_off`, queued messages are shown as waiting for a
/// connection.
pub fn row(shown: &RowView, cut_off: bool, text: &Text, live: RoomState) -> Element {
    let mut whole = Element::new("div")
        .class("row")
        .set("id", format!("{ID}{}", shown.row.id));

    if shown.new_day
        && let Entry::Message(message) = &shown.row.entry
    {
        whole = whole.with([line("line", (text.day)(live.clock(message.at).day))]);
    }
    if shown.unread {
        whole = whole.with([line("line new", text.unread_line.to_owned())]);
    }

    whole.with([match &shown.row.entry {
        Entry::Message(words) => message(words, shown, cut_off, text, live),
        Entry::Gap(missing) => gap(missing, text),
    }])
}

fn line(class: &'static str, words: String) -> Element {
    Element::new("p").class(class).text(words)
}

fn message(
    message: &Message,
    shown: &RowView,
    cut_off: bool,
    text: &Text,
    live: RoomState,
) -> Element {
    let clock = live.clock(message.at);
    let class = match (shown.first, shown.found) {
        (true, false) => "msg first",
        (false, false) => "msg",
        (true, true) => "msg first found",
        (false, true) => "msg found",
    };

    let content = match &message.content {
        // A user's text sets its own direction, and cannot change the direction of the text around it.
        Content::Text(words) => {
            let is_pending = matches!(message.state, MessageState::Queued | MessageState::Sent);
            let class = if is_pending { "text unsure" } else { "text" };
            linked(Element::new("p").class(class).set("dir", "auto"), words)
        }
        Content::Deleted => Element::new("p").class("text deleted").text(text.deleted),
        Content::Binary { bytes } => Element::new("p")
            .class("text binary")
            .text((text.binary)(*bytes)),
    };

    let who = shown.first.then(|| {
        let class = if shown.own {
            "name"
        } else {
            hue(&message.from)
        };
        let name = Element::new("bdi").class(class).text(message.from.shown());
        let time = Element::new("time")
            .set("datetime", clock.iso)
            .set("title", clock.exact.clone());
        Element::new("p")
            .class("who")
            .with([name, time.text(clock.short)])
    });

    let progress = match message.state {
        MessageState::Stored => shown.own.then(|| {
            let tick = Element::new("span").class("tick").set("role", "img");
            tick.set("aria-label", text.sent).set("title", text.sent)
        }),
        MessageState::Sent => Some(pending(text.sending)),
        MessageState::Queued => Some(pending(if cut_off { text.waiting } else { text.queued })),
        MessageState::Failed { reason, retry } => Some(failed(reason, retry, text)),
    };

    let copy = (message.content != Content::Deleted)
        .then(|| button(COPY, text.copy).set("tabindex", "-1"));
    let whole = Element::new("div").class(class).set("title", clock.exact);
    whole.with(who).with([content]).with(progress).with(copy)
}

/// Appends `text` to `element`, with its URLs as links.
fn linked(element: Element, text: &str) -> Element {
    pieces(text)
        .into_iter()
        .fold(element, |element, piece| match piece {
            Piece::Words(words) => element.text(words.to_owned()),
            Piece::Link(link) => element.with([Element::new("a")
                .set("href", link.to_owned())
                // A URL reads from left to right even in right-to-left text.
                .set("dir", "ltr")
                .set("rel", "noopener nofollow")
                .set("target", "_blank")
                .text(link.to_owned())]),
        })
}

/// Returns the progress of a message that is not stored yet.
fn pending(said: &'static str) -> Element {
    Element::new("span")
        .class("progress pending")
        .with([state(said)])
}

/// Returns the notice below a message that was refused.
fn failed(reason: Reason, retry: bool, text: &Text) -> Element {
    let again = retry.then(|| button(RETRY, text.retry));
    let failed = Element::new("span")
        .class("progress failed")
        .with([state((text.not_sent)(reason))]);
    failed.with(again).with([button(EDIT, text.take_back)])
}

fn state(said: &'static str) -> Element {
    Element::new("span").class("state").text(said)
}

fn gap(gap: &Gap, text: &Text) -> Element {
    let words = match (gap.missing, gap.state) {
        (_, GapState::Requested) => text.loading.to_owned(),
        (Missing::Count(count), GapState::Gone) => (text.gone)(count),
        (Missing::Some, GapState::Gone) => text.gone_some.to_owned(),
        (Missing::Count(count), GapState::Open) => (text.missing)(count),
        (Missing::Some, GapState::Open) => text.missing_some.to_owned(),
        (Missing::Perhaps, _) => text.missing_perhaps.to_owned(),
    };
    let load = (gap.state == GapState::Open).then(|| button(LOAD, text.load));

    Element::new("p")
        .class("gap")
        .with([Element::new("span").text(words).with(load)])
}

fn button(class: &'static str, words: &'static str) -> Element {
    Element::new("button")
        .class(class)
        .set("type", "button")
        .text(words)
}

/// Returns the colour of a name, which is the same on every page (FNV-1a).
fn hue(id: &UserId) -> &'static str {
    let hash = id.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    HUES[hash as usize % HUES.len()]
}
