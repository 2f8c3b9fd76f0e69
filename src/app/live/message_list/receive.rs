//! The handling of frames from the server.

use super::*;
use crate::app::live::edits::Edit;
use crate::app::live::row::Reason;
use crate::client::{SendOutcome, Settled, Update};
use crate::protocol::{Body, Publication, Push, UnsubscribeCode};

impl MessageList {
    /// Records frames of the server, in order.
    pub fn receive(&mut self, pushes: Vec<Push>, now: Duration) -> ListEffect {
        let mut effect = ListEffect::default();
        for push in pushes {
            self.on_push(push, now, &mut effect);
        }

        self.tidy();
        self.advance(now, &mut effect);
        effect
    }

    fn on_push(&mut self, push: Push, now: Duration, effect: &mut ListEffect) {
        let is_first = self.position().is_none();
        if let Some(settled) = self.outbox.on_push(&push, now) {
            self.on_settled(settled, effect);
        }
        for update in self.cursor.on_push(&push) {
            self.on_update(update, effect);
        }

        match push {
            Push::Welcome(welcome) => self.user = welcome.id,
            Push::Subscribed(subscribed) if is_first => {
                self.has_older = subscribed.head > Offset(0);
                self.apply_read_mark();
                if self.is_shown {
                    self.request_older();
                }
            }
            Push::Unsubscribed {
                code: UnsubscribeCode::RoomDeleted,
                ..
            } => self.on_deleted(),
            Push::Unsubscribed { .. } => self.on_disconnect(),
            Push::History { messages, more, .. } => self.on_history(messages, more, effect),
            // An error without a key is the response to the request for history.
            Push::Error { key: None, .. } => self.requests.on_refused(now),
            _ => {}
        }
    }

    /// Records that the room was deleted with its messages. Those that are not stored wait for another subscription.
    fn on_deleted(&mut self) {
        self.cursor = Cursor::new(None);
        self.rows.remove_stored();
        self.requests = HistoryRequests::default();
        self.has_older = false;
        self.edits.clear();
        self.unread.restart();
        self.found = None;
    }

    fn on_update(&mut self, update: Update, effect: &mut ListEffect) {
        match update {
            Update::Restarted => {
                self.has_restarted = true;
                self.has_older = false;
                self.edits.clear();
                self.unread.restart();
                self.requests.clear();
                self.rows.forget_offsets();
            }
            Update::Message(publication) => self.place(publication, effect),
            Update::Deleted { offset, .. } => self.rows.erase(offset),
            Update::Gap {
                after,
                before,
                count,
                ..
            } => self.add_gap(after, before, count),
        }
    }

    /// Records the outcome of an outgoing message.
    pub(super) fn on_settled(&mut self, settled: Settled, effect: &mut ListEffect) {
        let Settled { id, key, outcome } = settled;
        let failed = match outcome {
            SendOutcome::Stored { offset, .. } => return self.store(id, key, offset, effect),
            SendOutcome::Refused { code, retry, .. } => MessageState::Failed {
                reason: code.into(),
                retry,
            },
            SendOutcome::TooLong(limit) => {
                let text = self.message(id).and_then(Message::text);
                let size = text.map_or(0, str::len);
                MessageState::Failed {
                    reason: Reason::TooLong { size, limit },
                    retry: false,
                }
            }
        };

        self.rows.set_state(id, failed);
    }

    fn on_history(&mut self, messages: Vec<Publication>, more: bool, effect: &mut ListEffect) {
        match self.requests.on_response() {
            Some(HistoryRequest::Gap(id)) => self.narrow_gap(id, &messages, more),
            Some(HistoryRequest::Older) => self.has_older = more,
            Some(HistoryRequest::Again(before)) => return self.compare(before, &messages, more),
            None => {}
        }

        for publication in messages {
            self.place(publication, effect);
        }
    }

    /// Compares the rows before `before` with `messages`. The server has `more` messages before these.
    fn compare(&mut self, before: Offset, messages: &[Publication], more: bool) {
        let is_deleted = |message: &&Publication| message.body == Body::Deleted(true);
        for publication in messages.iter().filter(is_deleted) {
            self.rows.erase(publication.offset);
        }

        // If the server has no more messages, it no longer keeps those of the older rows. They are not requested
        // again.
        let start = messages
            .first()
            .filter(|_| more)
            .map_or(Offset(1), |oldest| oldest.offset);
        self.rows.mark_current(start, before, self.disconnects);
    }

    /// Adds `messages`, which follow each other in the log, between the rows of the list. Where others are missing before or
    /// after them, a gap is added.
    pub(super) fn insert(&mut self, messages: Vec<Publication>, effect: &mut ListEffect) {
        let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
            return;
        };
        let (first, prev, last) = (first.offset, first.prev, last.offset);
        for publication in messages {
            self.place(publication, effect);
        }

        self.rows.remove_gaps(first, last);
        match self.known_before(first) {
            None => self.has_older = prev > Offset(0),
            Some(before) => {
                self.rows.remove_gaps(before, first);
                if prev > before {
                    self.add_skipped_gap(before, Some(first));
                }
            }
        }
        match self.rows.first_stored_from(Offset(last.0 + 1)) {
            None if last < self.newest() => self.add_skipped_gap(last, None),
            None => {}
            Some((id, after)) => {
                let is_next = self.message(id).is_none_or(|message| message.prev <= last);
                if !is_next && !self.rows.has_gap(last, after) {
                    self.add_skipped_gap(last, Some(after));
                }
            }
        }
    }

    /// Returns the offset of the last message before `offset` that is in the list.
    fn known_before(&self, offset: Offset) -> Option<Offset> {
        self.rows
            .stored_before(offset)
            .max(self.edits.before(offset))
    }

    /// Adds `messages` like [`MessageList::insert`], and draws the one at `offset`.
    pub fn insert_page(&mut self, messages: Vec<Publication>, offset: Offset) -> ListEffect {
        let mut effect = ListEffect::default();
        self.insert(messages, &mut effect);
        // A log that is followed would drop the page.
        self.show_message(offset);
        self.tidy();
        effect
    }

    /// Adds `publication` at its position, unless it is in the list.
    pub(super) fn place(&mut self, publication: Publication, effect: &mut ListEffect) {
        let Publication {
            offset,
            prev,
            at,
            from,
            body,
            fields,
            ..
        } = publication;

        let browser = fields.key.as_ref().and_then(PendingMessage::browser);
        // The message may be an own one, even one that is shown as failed.
        if let Some(key) = fields.key
            && let Some(id) = self.find_unstored(&key)
            && self.message(id).is_some_and(|message| message.from == from)
        {
            self.outbox.remove(id);
            self.store(id, key, offset, effect);
        }

        if let Some(message) = self.rows.find_stored(offset) {
            // An `ack` has no time, so the time of an own message is set here.
            message.at = at;
            message.prev = prev;
            message.seen_after = self.disconnects;
            // The message may have been deleted during a disconnect.
            if matches!(body, Body::Deleted(_)) {
                self.rows.erase(offset);
            }
            return;
        }

        if let Some(original) = fields.edits {
            let edit = Edit {
                original,
                offset,
                from,
                content: body.into(),
            };
            return self.add_edit(edit);
        }

        self.hues.add(&from);
        let is_own = from == self.user || self.is_of_this_browser(browser);
        let content = MessageContent::new(body, fields.kind.as_ref());
        let is_presence = content.is_presence();
        let message = Message {
            from,
            at,
            content,
            kind: fields.kind,
            reply_to: fields.reply_to,
            edits: None,
            edited: None,
            state: MessageState::Stored,
            key: None,
            browser,
            prev,
            seen_after: self.disconnects,
        };
        let id = self.rows.add(Entry::Message(message), offset.0);
        if is_own || is_presence {
            self.unread.add_own(offset);
        } else {
            let is_mention = self
                .message(id)
                .is_some_and(|message| self.mentions_me(message));
            self.unread.add(id, offset, is_mention);
        }
        self.edits.apply(offset, &mut self.rows);
    }

    /// Replaces the content of the edited message, now or when it is loaded.
    fn add_edit(&mut self, edit: Edit) {
        let original = edit.original;
        self.edits.add(edit);
        self.edits.apply(original, &mut self.rows);
    }

    /// Records that the message of the row `id` is stored at `offset`.
    fn store(&mut self, id: u64, key: Key, offset: Offset, effect: &mut ListEffect) {
        if let Some(message) = self.message(id)
            && let Some(original) = message.edits
        {
            let edit = Edit {
                original,
                offset,
                from: message.from.clone(),
                content: message.content.clone(),
            };
            self.rows.remove(id);
            self.add_edit(edit);
        } else if self.rows.find_stored(offset).is_some() {
            self.rows.remove(id);
        } else {
            self.rows.store(id, offset, self.disconnects);
        }
        effect.forget.push(key);
    }

    /// Returns the row of this page's message `key`, unless the message is stored.
    pub(super) fn find_unstored(&self, key: &Key) -> Option<u64> {
        self.rows
            .unstored()
            .find(|(_, message)| message.key.as_ref() == Some(key))
            .map(|(id, _)| id)
    }
}
