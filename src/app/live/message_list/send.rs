//! The sending of messages and of requests for history.

use super::*;
use crate::app::live::history_requests::RequestStep;
use crate::app::live::row::{MessageContent, Reason};
use crate::client::{OutgoingMessage, SendStep};
use crate::protocol::{Body, ErrorCode};

impl MessageList {
    /// Replaces the outgoing messages by `pending`, those that the user has written in earlier visits.
    pub fn restore(&mut self, pending: Vec<PendingMessage>) {
        let outgoing: Vec<u64> = self.rows.unstored().map(|(id, _)| id).collect();
        for id in outgoing {
            self.outbox.remove(id);
            self.rows.remove(id);
        }

        for message in pending {
            let epoch = self.position().and_then(|known| known.epoch.as_ref());
            if let Some(position) = &message.position
                && epoch == position.epoch.as_ref()
            {
                // One of the messages since then may be this one, so they are read again.
                self.cursor.rewind(position.offset);
            }
            self.add_pending(message);
        }
        self.tidy();
    }

    /// Sends a message.
    pub fn send(&mut self, message: PendingMessage, now: Duration) -> ListEffect {
        self.add_pending(message);

        let mut effect = ListEffect::default();
        self.advance(now, &mut effect);
        self.tidy();
        effect
    }

    /// Sends the failed message of the row `id` again, after the queued ones.
    pub fn retry(&mut self, id: u64, now: Duration) -> ListEffect {
        let mut effect = ListEffect::default();
        if let Some(message) = self.failed(id).cloned() {
            self.rows.set_state(id, MessageState::Queued);
            self.queue(id, &message);
            self.advance(now, &mut effect);
        }
        effect
    }

    /// Removes the failed message of the row `id`, and returns its text.
    pub fn take_back(&mut self, id: u64) -> Option<(String, ListEffect)> {
        let Message { content, key, .. } = self.failed(id)?;
        let MessageContent::Text(text) = content else {
            return None;
        };

        let text = text.as_ref().to_owned();
        let forget = key.clone().into_iter().collect();
        self.rows.remove(id);
        self.tidy();

        let effect = ListEffect {
            forget,
            ..ListEffect::default()
        };
        Some((text, effect))
    }

    /// Continues after [`ListEffect::wake_after`].
    pub fn on_timer(&mut self, now: Duration) -> ListEffect {
        let mut effect = ListEffect::default();
        self.advance(now, &mut effect);
        effect
    }

    /// Records the end of the connection. Messages and requests without a response wait for the next one.
    pub fn on_disconnect(&mut self) {
        self.cursor.on_disconnect();
        self.outbox.on_disconnect();
        self.disconnects += 1;
        self.requests.on_disconnect();
        self.update_states();
    }

    /// Records that the page will not reconnect. All queued messages fail.
    pub fn on_refused(&mut self) {
        self.on_disconnect();
        self.outbox = Outbox::new(SendMode::Interactive);
        let failed = MessageState::Failed {
            reason: Reason::Refused,
            retry: false,
        };
        for id in self.waiting() {
            self.rows.set_state(id, failed);
        }
    }

    /// Sends the messages and requests that can be sent now.
    pub(super) fn advance(&mut self, now: Duration, effect: &mut ListEffect) {
        if self.cursor.has_caught_up() {
            self.request_again();
        }
        self.request_unread();
        self.send_request(now, effect);

        loop {
            match self.outbox.next(&self.cursor, now) {
                SendStep::Send(command) => effect.send.push(command),
                SendStep::Settled(settled) => self.on_settled(settled, effect),
                SendStep::Wait(time) => break wake(effect, time),
                SendStep::Idle => break,
            }
        }
        self.update_states();
    }

    fn send_request(&mut self, now: Duration, effect: &mut ListEffect) {
        if !self.cursor.is_subscribed() {
            return;
        }

        match self.requests.next(now) {
            RequestStep::Send(request) => effect.send.push(Command::History {
                room: None,
                before: Some(self.end_of(request)),
                limit: Some(PAGE),
            }),
            RequestStep::Wait(time) => wake(effect, time),
            RequestStep::Idle => {}
        }
    }

    /// Returns the offset before which the messages of `request` end.
    fn end_of(&self, request: HistoryRequest) -> Offset {
        match request {
            HistoryRequest::Again(before) => before,
            HistoryRequest::Older => self.rows.oldest().unwrap_or_else(|| self.end()),
            HistoryRequest::Gap(id) => match self.rows.get(id).map(|row| &row.entry) {
                Some(Entry::Gap(gap)) => gap.before.unwrap_or_else(|| self.end()),
                _ => self.end(),
            },
        }
    }

    fn add_pending(&mut self, pending: PendingMessage) {
        let message = Message {
            from: pending.from,
            at: pending.at,
            content: MessageContent::Text(pending.text.into()),
            kind: None,
            reply_to: pending.reply_to,
            edits: pending.edits,
            edited: None,
            state: MessageState::Queued,
            browser: PendingMessage::browser(&pending.key),
            key: Some(pending.key),
            prev: Offset(0),
            seen_after: self.disconnects,
        };
        let id = self.rows.add(Entry::Message(message.clone()), LAST);
        self.queue(id, &message);
    }

    fn queue(&mut self, id: u64, message: &Message) {
        if let (MessageContent::Text(text), Some(key)) = (&message.content, &message.key) {
            self.outbox.enqueue(OutgoingMessage {
                id,
                key: key.clone(),
                from: message.from.clone(),
                body: Body::Text(text.as_ref().to_owned()),
                kind: None,
                reply_to: message.reply_to,
                edits: message.edits,
            });
        }
    }

    fn failed(&self, id: u64) -> Option<&Message> {
        self.message(id)
            .filter(|message| matches!(message.state, MessageState::Failed { .. }))
    }

    /// Returns the rows of all messages that are in the outbox.
    fn waiting(&self) -> Vec<u64> {
        self.rows
            .unstored()
            .filter(|(_, message)| !matches!(message.state, MessageState::Failed { .. }))
            .map(|(id, _)| id)
            .collect()
    }

    /// Updates the state of each message in the outbox: sent or queued.
    fn update_states(&mut self) {
        for id in self.waiting() {
            let state = if self.outbox.is_in_flight(id) {
                MessageState::Sent
            } else {
                MessageState::Queued
            };
            self.rows.set_state(id, state);
        }
    }
}

/// Requests a wake-up after `time`, unless an earlier one is requested.
fn wake(effect: &mut ListEffect, time: Duration) {
    effect.wake_after = Some(effect.wake_after.map_or(time, |earlier| earlier.min(time)));
}

impl From<ErrorCode> for Reason {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::StoreUnavailable => Self::Unavailable,
            ErrorCode::NotAllowed => Self::NotAllowed,
            ErrorCode::StreamClosed => Self::Ended,
            _ => Self::Refused,
        }
    }
}
