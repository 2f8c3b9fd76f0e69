//! The handling of frames from the server.

use super::*;
use crate::app::live::row::Reason;
use crate::client::{SendOutcome, Settled, Update};
use crate::protocol::{Body, Publication, Push};

impl MessageList {
    /// Records frames of the server, in order.
    pub fn receive(&mut self, pushes: Vec<Push>, now: Duration) -> Effect {
        let mut effect = Effect::default();
        for push in pushes {
            self.on_push(push, now, &mut effect);
        }

        self.tidy();
        self.advance(now, &mut effect);
        effect
    }

    fn on_push(&mut self, push: Push, now: Duration, effect: &mut Effect) {
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
                self.request_older();
            }
            Push::History { messages, more, .. } => self.on_history(messages, more, effect),
            // An error without a key is the response to the request for history.
            Push::Error { key: None, .. } if self.is_requesting => {
                self.is_requesting = false;
                self.requests_paused_until = Some(now + HISTORY_PAUSE);
            }
            _ => {}
        }
    }

    fn on_update(&mut self, update: Update, effect: &mut Effect) {
        match update {
            Update::Restarted => {
                self.has_restarted = true;
                self.has_older = false;
                self.requests.clear();
                self.rows.forget_offsets();
            }
            Update::Message(publication) => {
                let is_own = publication.from == self.user;
                if let Some(id) = self.place(publication, effect)
                    && !is_own
                {
                    self.unread.add(id);
                }
            }
            Update::Deleted { offset, .. } => self.rows.erase(offset),
            Update::Gap {
                after,
                before,
                count,
                ..
            } => self.add_gap(after, before, count),
        }
    }

    fn add_gap(&mut self, after: Offset, before: Offset, count: Option<u64>) {
        let (missing, state) = if std::mem::take(&mut self.has_restarted) {
            // The messages of the old log are not in this one.
            (Missing::Perhaps, GapState::Gone)
        } else {
            (Missing::Some, GapState::Open)
        };

        let gap = Gap {
            missing: count.map_or(missing, Missing::Count),
            state,
            before: Some(before),
        };
        self.rows.add(Entry::Gap(gap), after.0);
    }

    /// Records the outcome of an outgoing message.
    pub(super) fn on_settled(&mut self, settled: Settled, effect: &mut Effect) {
        let Settled { id, key, outcome } = settled;
        let failed = match outcome {
            SendOutcome::Stored { offset, .. } => return self.store(id, key, offset, effect),
            SendOutcome::Refused { code, retry, .. } => MessageState::Failed {
                reason: code.into(),
                retry,
            },
            SendOutcome::TooLong(_) => MessageState::Failed {
                reason: Reason::TooLong,
                retry: false,
            },
        };

        self.rows.set_state(id, failed);
    }

    fn on_history(&mut self, messages: Vec<Publication>, more: bool, effect: &mut Effect) {
        let request = if std::mem::take(&mut self.is_requesting) {
            self.requests.pop_front()
        } else {
            None
        };
        match request {
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

    /// Shortens the gap of the row `id` by `messages`, which end where the gap ends. The server has `more` messages
    /// before.
    fn narrow_gap(&mut self, id: u64, messages: &[Publication], more: bool) {
        let Some(row) = self.rows.get(id) else { return };
        let (after, Entry::Gap(gap)) = (Offset(row.order), &row.entry) else {
            return;
        };
        let is_closed = messages.first().is_some_and(|oldest| oldest.prev <= after);
        if is_closed {
            self.rows.remove(id);
            return;
        }

        let is_found = |publication: &&Publication| publication.offset > after;
        let found = messages.iter().filter(is_found).count() as u64;
        let missing = match gap.missing {
            Missing::Count(count) => Missing::Count(count.saturating_sub(found).max(1)),
            other => other,
        };
        let gap = Gap {
            missing,
            state: if more { GapState::Open } else { GapState::Gone },
            before: messages.first().map(|oldest| oldest.offset).or(gap.before),
        };
        self.rows.replace(id, Entry::Gap(gap));
    }

    /// Adds `publication` at its position, unless it is in the list. Returns the id of a new row.
    pub(super) fn place(&mut self, publication: Publication, effect: &mut Effect) -> Option<u64> {
        let Publication {
            offset,
            at,
            from,
            body,
            fields,
            ..
        } = publication;

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
            message.seen_after = self.disconnects;
            // The message may have been deleted during a disconnect.
            if matches!(body, Body::Deleted(_)) {
                self.rows.erase(offset);
            }
            return None;
        }

        let message = Message {
            from,
            at,
            content: body.into(),
            state: MessageState::Stored,
            key: None,
            seen_after: self.disconnects,
        };
        Some(self.rows.add(Entry::Message(message), offset.0))
    }

    /// Records that the message of the row `id` is stored at `offset`.
    fn store(&mut self, id: u64, key: Key, offset: Offset, effect: &mut Effect) {
        if self.rows.find_stored(offset).is_some() {
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
