//! The actions of the user in a room.

use super::*;
use crate::app::live::pending_message::PendingMessage;
use crate::app::live::row::{Message, MessageState};
use crate::app::live::typing::SIGNAL_INTERVAL;
use crate::protocol::{Json, Kind};

/// The most users of a room in which the others are notified that the user is typing.
const MAX_SIGNALLED: usize = 50;

impl RoomState {
    /// Sends `text` to the room, now or once there is a connection.
    pub(in crate::app) fn send(self, text: &str) -> SendResult {
        if matches!(
            self.page.connection.get_untracked(),
            ConnectionStatus::Refused(_)
        ) {
            return SendResult::Refused;
        }

        let at = clock::now();
        let (Some(key), Some(from)) = (self.page.new_key(at), self.page.me.get_untracked()) else {
            return SendResult::Refused;
        };

        let (reply_to, edits) = match self.composing.get_untracked() {
            Composing::New => (None, None),
            Composing::Reply { offset, .. } => (Some(offset), None),
            Composing::Edit { offset, .. } => (None, Some(offset)),
        };
        self.composing.set(Composing::New);

        let pending = PendingMessage {
            key,
            from,
            at,
            text: text.to_owned(),
            reply_to,
            edits,
            position: self
                .messages
                .with_untracked(|list| list.position().cloned()),
        };
        // The message is stored before it is sent, so that a crash does not lose it.
        if let Some(texts) = self.unsent_texts() {
            texts.add(&pending);
        }

        self.change(|list| list.send(pending, clock::since_start()));
        self.to_end();
        SendResult::Queued
    }

    /// Sends the failed message of the row `id` again.
    pub(in crate::app) fn retry(self, id: u64) {
        self.change(|list| list.retry(id, clock::since_start()));
    }

    /// Removes the failed message of the row `id`, and returns its text.
    pub(in crate::app) fn discard(self, id: u64) -> Option<String> {
        let (text, effect) = self
            .messages
            .try_update(|list| list.take_back(id))
            .flatten()?;
        self.apply(effect);
        Some(text)
    }

    /// Moves the text of the failed message of the row `id` to the input.
    pub(in crate::app) fn take_back(self, id: u64) {
        if let Some(text) = self.discard(id) {
            self.taken_back.set(Some(text));
        }
    }

    /// Begins an answer to the message of the row `id`.
    pub(in crate::app) fn reply(self, id: u64) {
        let target = self
            .messages
            .with_untracked(|list| Some((list.offset(id)?, list.message(id)?.from.clone())));
        if let Some((offset, from)) = target {
            self.composing.set(Composing::Reply { offset, from });
        }
    }

    /// Begins an edit of the own message of the row `id`.
    pub(in crate::app) fn edit_message(self, id: u64) {
        let target = self.messages.with_untracked(|list| {
            let message = list
                .message(id)
                .filter(|message| self.may_change(message))?;
            Some((list.offset(id)?, message.text()?.to_owned()))
        });
        if let Some((offset, text)) = target {
            self.composing.set(Composing::Edit { offset, text });
        }
    }

    /// Begins an edit of the user's last message. Returns false if there is none that the user may edit.
    pub(in crate::app) fn edit_last(self) -> bool {
        let Some(last) = self.messages.with_untracked(MessageList::last_own) else {
            return false;
        };
        self.edit_message(last);
        matches!(self.composing.get_untracked(), Composing::Edit { .. })
    }

    /// Deletes the own message at `offset`.
    pub(in crate::app) fn delete(self, offset: Offset) {
        let room = Some(self.name());
        self.page.send(Command::Delete { room, offset });
    }

    /// Returns true if the user may edit and delete `message`: an own one, on a server that verifies names.
    pub(in crate::app) fn may_change(self, message: &Message) -> bool {
        !self.page.is_open
            && message.state == MessageState::Stored
            && self
                .page
                .me
                .with_untracked(|me| me.as_ref() == Some(&message.from))
    }

    /// Notifies the others that the user is typing; not in a large room, and not at each key.
    pub(in crate::app) fn signal_typing(self) {
        let now = clock::since_start();
        let is_due = self
            .signalled
            .with_value(|last| last.is_none_or(|last| now.saturating_sub(last) >= SIGNAL_INTERVAL));
        let has_readers = self.present.with_untracked(|present| {
            present
                .as_ref()
                .is_some_and(|present| (2..=MAX_SIGNALLED).contains(&present.count))
        });

        if is_due
            && has_readers
            && let (Ok(kind), Ok(json)) = (Kind::parse(TYPING), Json::parse("true"))
        {
            self.signalled.set_value(Some(now));
            let room = Some(self.name());
            self.page.send(Command::Signal { room, kind, json });
        }
    }

    /// Returns the draft that was stored when the user left the page. Tracks the user, whose own draft it is.
    pub(in crate::app) fn draft(self) -> Option<String> {
        self.page.me.track();
        self.unsent_texts()?.draft()
    }

    /// Stores `text` as a draft, in case the user leaves the page.
    pub(in crate::app) fn keep_draft(self, text: &str) {
        if let Some(texts) = self.unsent_texts() {
            texts.set_draft(text);
        }
    }

    /// Shows the message at `offset`, and its URL.
    pub(in crate::app) fn open_message(self, offset: Offset) {
        dom::push_path(&self.page.permalink(&self.name(), offset));
        self.jump(offset);
    }

    /// Loads the missing messages of the row `id`.
    pub(in crate::app) fn load(self, id: u64) {
        let skipped = self.messages.try_update(|list| list.request_skipped(id));
        match skipped.flatten() {
            Some((after, before)) => self.fill(id, after, before),
            None => self.change(|list| list.load_gap(id, clock::since_start())),
        }
    }

    /// Scrolls to the first loaded message.
    pub(in crate::app) fn to_start(self) {
        self.messages.update(MessageList::show_start);
        self.scroll_to.set(Some(ScrollTarget::Start));
    }

    /// Scrolls to the end of the log.
    pub(in crate::app) fn to_end(self) {
        self.change(|list| list.follow(clock::since_start()));
        self.scroll_to.set(Some(ScrollTarget::End));
    }

    /// Scrolls to the first of the messages that were unread when the user came back.
    pub(in crate::app) fn to_unread(self) {
        self.messages.update(MessageList::show_unread);
        self.scroll_to.set(Some(ScrollTarget::Unread));
    }

    /// Scrolls to the row `id` as the result of a search; `None` ends the search.
    pub(in crate::app) fn find(self, id: Option<u64>) {
        self.messages.update(|list| list.show_found(id));
        if id.is_some() {
            self.scroll_to.set(Some(ScrollTarget::Found));
        }
    }

    /// Keeps the row `id` drawn while it has the focus.
    pub(in crate::app) fn hold(self, id: Option<u64>) {
        self.messages.update(|list| list.hold(id));
    }

    /// Subscribes again to the room, which was deleted. It may have new messages.
    pub(in crate::app) fn reopen(self) {
        self.access.set(self.page.granted_access(&self.name()));
        self.page.send(self.subscribe());
    }
}
