//! The state of one room.

mod actions;

use std::time::Duration;

use leptos::leptos_dom::helpers::{TimeoutHandle, set_timeout_with_handle};
use leptos::prelude::*;

use super::calendar::{self, ShownTime};
use super::connection_status::ConnectionStatus;
use super::message_list::{ListEffect, MessageList};
use super::page_state::PageState;
use super::room_access::RoomAccess;
use super::room_presence::RoomPresence;
use super::row::RowView;
use super::typing::{SHOWN_FOR, TYPING, TypingUsers};
use super::unsent_texts::UnsentTexts;
use crate::app::message_text;
use crate::browser::scroll::Viewport;
use crate::browser::{clock, dom};
use crate::client::ReadPosition;
use crate::protocol::{
    Body, Command, Offset, Publication, Push, RoomName, Signal, UnsubscribeCode, UserId,
};

/// The result of sending a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendResult {
    /// The text is a row now. The row shows its progress.
    Queued,
    /// The text was not accepted, because the page will not reconnect.
    Refused,
}

/// A part of the log to scroll to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrollTarget {
    /// The first row.
    Start,
    /// The end, which is followed from then on.
    End,
    /// The row that a search has found.
    Found,
    /// The line above the first unread message.
    Unread,
}

/// The purpose of the text in the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Composing {
    /// A new message.
    #[default]
    New,
    /// The answer to a message.
    Reply {
        /// The offset of the message.
        offset: Offset,
        /// The sender of the message.
        from: UserId,
    },
    /// The new text of an own message.
    Edit {
        /// The offset of the message.
        offset: Offset,
        /// The text before the edit.
        text: String,
    },
}

/// The state of one room.
#[derive(Clone, Copy, Debug)]
pub struct RoomState {
    /// The page that has the room.
    pub page: PageState,
    /// The access to the room.
    pub access: RwSignal<RoomAccess>,
    /// The users who are typing.
    pub typing: RwSignal<TypingUsers>,
    /// The users in the room, while connected.
    pub present: RwSignal<Option<RoomPresence>>,
    /// The messages, at first those that the server has rendered.
    pub messages: RwSignal<MessageList>,
    /// The purpose of the text in the input.
    pub composing: RwSignal<Composing>,
    /// The text of a withdrawn message, for the input.
    pub taken_back: RwSignal<Option<String>>,
    /// The part of the log that the page scrolls to.
    pub scroll_to: RwSignal<Option<ScrollTarget>>,
    name: StoredValue<RoomName>,
    /// The time of the last signal that the user is typing.
    signalled: StoredValue<Option<Duration>>,
    /// The read mark as it is stored.
    stored_read_mark: StoredValue<Option<ReadPosition>>,
    /// The timer of [`ListEffect::wake_after`].
    timer: StoredValue<Option<TimeoutHandle>>,
}

impl RoomState {
    /// Creates the state of the room `name` of `page`, with `access` and `messages`.
    pub(super) fn new(
        page: PageState,
        name: RoomName,
        access: RoomAccess,
        messages: MessageList,
    ) -> Self {
        // The message of a permalink is already found.
        let scroll_to = messages.has_found().then_some(ScrollTarget::Found);

        Self {
            page,
            access: RwSignal::new(access),
            typing: RwSignal::new(TypingUsers::default()),
            present: RwSignal::new(None),
            messages: RwSignal::new(messages),
            composing: RwSignal::new(Composing::New),
            taken_back: RwSignal::new(None),
            scroll_to: RwSignal::new(scroll_to),
            name: StoredValue::new(name),
            signalled: StoredValue::new(None),
            stored_read_mark: StoredValue::new(None),
            timer: StoredValue::new(None),
        }
    }

    /// Returns the name of the room.
    pub(in crate::app) fn name(self) -> RoomName {
        self.name.get_value()
    }

    /// Records which part of the log is visible.
    pub(in crate::app) fn on_scroll(self, viewport: Viewport) {
        let change = |list: &mut MessageList| {
            let (is_redrawn, effect) = list.set_viewport(viewport, clock::since_start());
            let is_attended = list.set_attended(viewport.at_end && dom::is_visible());
            (is_redrawn || is_attended || !effect.send.is_empty(), effect)
        };
        if let Some(effect) = self.messages.try_maybe_update(change) {
            self.apply(effect);
        }
        self.store_read_mark();
    }

    /// Returns the drawn rows of the log, oldest first.
    pub(in crate::app) fn views(self) -> Vec<RowView> {
        let is_local = self.page.awake.get();
        self.messages
            .with(|list| list.views(|at| calendar::day(at, ahead_of_utc(at, is_local))))
    }

    /// Returns `at`, in milliseconds since 1970 UTC, in the local time zone, or in UTC until the page is awake.
    pub(in crate::app) fn clock(self, at: u64) -> ShownTime {
        let is_local = self.page.awake.get();
        ShownTime::new(at, is_local.then(|| ahead_of_utc(at, is_local)))
    }

    /// Returns true if the user may write in the room, as far as the page knows.
    pub(in crate::app) fn is_writable(self) -> bool {
        self.access.with(|access| *access == RoomAccess::Granted)
    }

    /// Returns true if the server refuses the room.
    pub(super) fn is_refused(self) -> bool {
        self.access.with_untracked(RoomAccess::is_refused)
    }

    /// Returns true if the room was deleted.
    pub(super) fn is_deleted(self) -> bool {
        self.access
            .with_untracked(|access| *access == RoomAccess::Deleted)
    }

    /// Returns true if the server has confirmed the subscription.
    pub(super) fn is_subscribed(self) -> bool {
        self.messages
            .with_untracked(|list| list.cursor().is_subscribed())
    }

    /// Returns the command that subscribes to the room at the position of the list.
    pub(super) fn subscribe(self) -> Command {
        let room = self.name().into();
        self.messages
            .with_untracked(|list| list.cursor().subscribe(room))
    }

    /// Restores the unsent messages and the read mark that the browser has stored.
    pub(super) fn restore(self) {
        let mark = self.page.profile().read_mark(&self.name());
        self.stored_read_mark.set_value(mark.clone());

        // Unsent messages may move the position back, so the read mark comes first.
        self.messages.update(|list| list.restore_read_mark(mark));
        self.restore_outbox();
    }

    /// Replaces the unsent messages by those that the browser has stored for the user. Returns true if there are any: they may be
    /// in the log before the position of an open subscription.
    pub(super) fn restore_outbox(self) -> bool {
        let Some(texts) = self.unsent_texts() else {
            return false;
        };

        let pending = texts.messages();
        let has_pending = !pending.is_empty();
        self.messages.update(|list| list.restore(pending));
        has_pending
    }

    /// Records frames of the server about the room.
    pub(super) fn receive(self, pushes: Vec<Push>) {
        for push in &pushes {
            match push {
                Push::Message(message) => self.on_message(message),
                Push::Signal(signal) => self.on_signal(signal),
                _ => {}
            }
        }
        self.change(|list| list.receive(pushes, clock::since_start()));
        self.store_read_mark();
    }

    pub(super) fn on_disconnect(self) {
        self.present.set(None);
        self.messages.update(MessageList::on_disconnect);
    }

    /// Records that the server refused the subscription, or ended it. The list of messages handles the frame itself.
    pub(super) fn on_refused(self, code: Option<UnsubscribeCode>, message: &str) {
        self.present.set(None);

        // The answer to a new subscription has the reason of the operator, and no code.
        let earlier = match self.access.get_untracked() {
            RoomAccess::Refused { code, .. } => code,
            _ => None,
        };
        self.access.set(RoomAccess::Refused {
            code: code.or(earlier),
            message: message.to_owned(),
        });
    }

    /// Records that the room was deleted. The list of messages removes those of the room itself.
    pub(super) fn on_deleted(self) {
        self.present.set(None);
        self.access.set(RoomAccess::Deleted);
    }

    pub(super) fn on_shown(self) {
        self.change(|list| list.on_shown(clock::since_start()));
    }

    pub(super) fn on_hidden(self) {
        self.messages.update(MessageList::on_hidden);
    }

    /// Records that the tab was shown or hidden.
    pub(super) fn on_visibility(self) {
        let is_visible = dom::is_visible();
        let change = |list: &mut MessageList| {
            let is_attended = list.follows() && is_visible;
            (list.set_attended(is_attended), ())
        };
        // Fails only after the list was disposed with the page.
        let _ = self.messages.try_maybe_update(change);
        self.store_read_mark();
    }

    /// Ends the typing of the sender, and alerts the user to a mention that the user does not see.
    fn on_message(self, message: &Publication) {
        if self
            .typing
            .with_untracked(|typing| typing.names().next().is_some())
        {
            self.typing
                .try_maybe_update(|typing| (typing.remove(&message.from), ()));
        }

        let me = self.page.me.get_untracked();
        if let Some(me) = me.filter(|me| *me != message.from)
            && let Body::Text(text) = &message.body
            && message_text::mentions(text, me.as_str())
            && !self.messages.with_untracked(MessageList::is_attended)
        {
            self.page.alert(message, text);
        }
    }

    /// Records the signal of a user who is typing.
    fn on_signal(self, signal: &Signal) {
        let is_own = self
            .page
            .me
            .with_untracked(|me| me.as_ref() == Some(&signal.from));
        if signal.kind.as_str() != TYPING || is_own {
            return;
        }

        let now = clock::since_start();
        self.typing
            .update(|typing| typing.add(signal.from.clone(), now));
        let expire = move || {
            // Fails only after the page was closed.
            let _ = self
                .typing
                .try_maybe_update(|typing| (typing.expire(clock::since_start()), ()));
        };
        set_timeout(expire, SHOWN_FOR + Duration::from_millis(100));
    }

    /// Applies the read mark that another tab has stored.
    pub(super) fn apply_read_mark(self) {
        let mark = self.page.profile().read_mark(&self.name());
        if let Some(mark) = mark
            && self
                .stored_read_mark
                .with_value(|stored| stored.as_ref() != Some(&mark))
        {
            self.stored_read_mark.set_value(Some(mark.clone()));
            self.messages.update(|list| list.read_to(&mark));
        }
    }

    /// Stores the read mark, if it has changed.
    fn store_read_mark(self) {
        let mark = self.messages.with_untracked(MessageList::read_mark);
        if let Some(mark) = mark
            && self
                .stored_read_mark
                .with_value(|stored| stored.as_ref() != Some(&mark))
        {
            self.page.profile().set_read_mark(&self.name(), &mark);
            self.stored_read_mark.set_value(Some(mark));
        }
    }

    /// Changes the message list, and performs the effect.
    pub(super) fn change(self, change: impl FnOnce(&mut MessageList) -> ListEffect) {
        if let Some(effect) = self.messages.try_update(change) {
            self.apply(effect);
        }
    }

    fn apply(self, effect: ListEffect) {
        let ListEffect {
            send,
            forget,
            wake_after,
        } = effect;

        for command in send {
            self.page.send(command.in_room(&self.name()));
        }

        if let Some(texts) = self.unsent_texts() {
            for key in &forget {
                texts.remove(key);
            }
        }

        if let Some(time) = wake_after {
            if let Some(earlier) = self.timer.get_value() {
                earlier.clear();
            }
            // One millisecond more, so that the time has passed.
            let time = time + Duration::from_millis(1);
            let wake = move || self.change(|list| list.on_timer(clock::since_start()));
            // Fails only without a window.
            self.timer
                .set_value(set_timeout_with_handle(wake, time).ok());
        }
    }

    /// Returns the user's texts for this room that the browser has stored; `None` until the user is known.
    fn unsent_texts(self) -> Option<UnsentTexts> {
        let user = self.page.me.get_untracked()?;
        // Where everyone may choose any name, the texts belong to the browser.
        let owner = (!self.page.is_open).then_some(user);
        Some(UnsentTexts::new(self.page.storage(), self.name(), owner))
    }
}

/// Returns the milliseconds by which the clock of the page is ahead of UTC at `at`; zero unless it `is_local`.
fn ahead_of_utc(at: u64, is_local: bool) -> i64 {
    if is_local { clock::ahead_of_utc(at) } else { 0 }
}
