//! The messages that a client sends, until each is stored or permanently refused.
//!
//! # Invariants
//!
//! - Messages are sent in the order in which they were added. Each stays here until it is settled. After a broken
//!   connection, messages without an answer are sent again with the same key.
//! - No message is sent before the reader has caught up: a message that an earlier connection stored is in the log by
//!   then, and is not sent again.
//! - While a temporarily refused message waits for its second attempt, no later message is sent. The second attempt is
//!   sent alone, because it may be refused too.

use std::collections::VecDeque;
use std::time::Duration;

use super::Cursor;
use super::send_rate::SendRate;
use crate::protocol::{
    Body, Command, ErrorCode, Key, Kind, MessageFields, Offset, Publication, Push, UserId,
};

/// The most messages at once: enough for a server to store many in one transaction.
const MAX_MESSAGES: usize = 256;

/// The most bytes at once. One message may be longer.
const MAX_BYTES: usize = 1024 * 1024;

/// The pause after a temporary refusal.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// The messages of a client that are not settled yet.
///
/// ```
/// use std::time::Duration;
/// use fanfare::client::{Cursor, Outbox, OutgoingMessage, SendMode, SendOutcome, SendStep};
/// use fanfare::protocol::{Body, Key, Push, UserId};
///
/// let now = Duration::ZERO;
/// let mut cursor = Cursor::new(None);
/// let mut outbox = Outbox::new(SendMode::Bulk);
/// outbox.enqueue(OutgoingMessage {
///     id: 1,
///     key: Key::parse("a key of its own").unwrap(),
///     from: UserId::parse("ann").unwrap(),
///     body: Body::Text("hello".to_owned()),
///     kind: None,
///     reply_to: None,
///     edits: None,
/// });
/// assert_eq!(outbox.next(&cursor, now), SendStep::Idle);
///
/// let welcome = r#"{"type":"welcome","connection":1,"id":"ann","heartbeat_ms":25000,"expire_ms":60000,
///     "max_message":65536,"max_subscriptions":128}"#;
/// let subscribed = r#"{"type":"subscribed","room":"lobby","epoch":"5f3e9a01","head":7,"first":1,
///     "recovery":"fresh","count":1}"#;
/// outbox.on_push(&Push::decode(welcome).unwrap(), now);
/// cursor.on_push(&Push::decode(subscribed).unwrap());
/// assert!(matches!(outbox.next(&cursor, now), SendStep::Send(_)));
///
/// let ack = r#"{"type":"ack","room":"lobby","key":"a key of its own","offset":8,"duplicate":false}"#;
/// let settled = outbox.on_push(&Push::decode(ack).unwrap(), now).unwrap();
/// assert_eq!(settled.id, 1);
/// assert!(matches!(settled.outcome, SendOutcome::Stored { offset, .. } if offset.0 == 8));
/// ```
#[derive(Clone, Debug)]
pub struct Outbox {
    mode: SendMode,
    /// The messages, in the order in which they were added.
    entries: VecDeque<OutboxEntry>,
    /// The size of all contents.
    bytes: usize,
    /// The limits of the connected server; `None` while disconnected.
    limits: Option<ServerLimits>,
    /// After a refusal, no message is sent before this time, nor before all messages in flight are answered.
    paused_until: Option<Duration>,
}

/// The treatment of messages in flight and of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendMode {
    /// For a person who watches each message. One message is in flight at a time, so the order holds even if the
    /// server refuses one. An outage of the store is reported, and the user decides whether to retry.
    Interactive,
    /// For programs. As many messages are in flight as the server's rate allows. An outage of the store is waited out.
    Bulk,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The caller's number of the message.
    pub id: u64,
    /// The key, which no other message of the sender has. The server stores one message per sender and key.
    pub key: Key,
    /// The sender.
    pub from: UserId,
    /// The content.
    pub body: Body,
    /// The application's own type of the message.
    pub kind: Option<Kind>,
    /// The offset of the message that this one answers.
    pub reply_to: Option<Offset>,
    /// The offset of the sender's earlier message whose content this one replaces.
    pub edits: Option<Offset>,
}

/// A message that is no longer in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The caller's number of the message.
    pub id: u64,
    /// The key of the message.
    pub key: Key,
    /// The final result.
    pub outcome: SendOutcome,
}

/// The final result of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The message is stored.
    Stored {
        /// The position of the message.
        offset: Offset,
        /// True if an earlier attempt had stored it.
        duplicate: bool,
    },
    /// The server refused the message.
    Refused {
        /// The kind of error.
        code: ErrorCode,
        /// The server's explanation.
        message: String,
        /// True if a later attempt may succeed.
        retry: bool,
    },
    /// The message was not sent, because it is longer than this limit of the server, in bytes.
    TooLong(usize),
}

/// The next step for the owner of the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendStep {
    /// Send this command. Its message is in flight from now on.
    Send(Command),
    /// This message was settled without being sent.
    Settled(Settled),
    /// Call [`Outbox::next`] again after this time.
    Wait(Duration),
    /// Wait for a frame of the server or another message.
    Idle,
}

#[derive(Clone, Debug)]
struct OutboxEntry {
    message: OutgoingMessage,
    /// True if it was sent on this connection and has no answer yet.
    is_in_flight: bool,
    /// True if it was temporarily refused and no later attempt has succeeded.
    was_refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct ServerLimits {
    rate: SendRate,
    max_message: usize,
}

impl Outbox {
    /// Creates an empty outbox.
    pub const fn new(mode: SendMode) -> Self {
        Self {
            mode,
            entries: VecDeque::new(),
            bytes: 0,
            limits: None,
            paused_until: None,
        }
    }

    /// Returns true if every message is settled.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of messages that are not settled.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if another message should be added now: there are at most 256 of them, and 1 MiB of text.
    pub fn has_capacity(&self) -> bool {
        self.entries.len() < MAX_MESSAGES && self.bytes < MAX_BYTES
    }

    /// Returns true if the message `id` was sent on this connection and has no answer yet.
    pub fn is_in_flight(&self, id: u64) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.message.id == id && entry.is_in_flight)
    }

    /// Adds a message behind the others.
    pub fn enqueue(&mut self, message: OutgoingMessage) {
        self.bytes += message.body.size();
        self.entries.push_back(OutboxEntry {
            message,
            is_in_flight: false,
            was_refused: false,
        });
    }

    /// Removes the message `id`, if it is here.
    pub fn remove(&mut self, id: u64) {
        if let Some(at) = self.entries.iter().position(|entry| entry.message.id == id) {
            self.take(at);
        }
    }

    /// Returns the next step of a client whose reader is at `cursor`.
    pub fn next(&mut self, cursor: &Cursor, now: Duration) -> SendStep {
        let Some(limits) = self.limits.filter(|_| cursor.has_caught_up()) else {
            return SendStep::Idle;
        };

        let in_flight = self.entries.iter().filter(|entry| entry.is_in_flight);
        let unanswered = in_flight.clone().count();
        let is_retrying = in_flight.clone().any(|entry| entry.was_refused);

        if let Some(until) = self.paused_until {
            match until.saturating_sub(now) {
                _ if unanswered > 0 => return SendStep::Idle,
                Duration::ZERO => self.paused_until = None,
                left => return SendStep::Wait(left),
            }
        }

        if is_retrying || (self.mode == SendMode::Interactive && unanswered > 0) {
            return SendStep::Idle;
        }

        let Some(at) = self.entries.iter().position(|entry| !entry.is_in_flight) else {
            return SendStep::Idle;
        };
        // The server would close the connection at each attempt to send it.
        if self.entries[at].message.body.size() > limits.max_message {
            return self
                .settle(at, SendOutcome::TooLong(limits.max_message))
                .map_or(SendStep::Idle, SendStep::Settled);
        }

        match limits.rate.pause(unanswered, now) {
            Some(Duration::ZERO) => {
                let entry = &mut self.entries[at];
                entry.is_in_flight = true;
                let message = &entry.message;
                SendStep::Send(Command::Publish {
                    room: None,
                    body: message.body.clone(),
                    fields: MessageFields {
                        kind: message.kind.clone(),
                        key: Some(message.key.clone()),
                        reply_to: message.reply_to,
                        edits: message.edits,
                    },
                })
            }
            Some(pause) => SendStep::Wait(pause),
            None => SendStep::Idle,
        }
    }

    /// Records the end of the connection. The next connection sends all messages without an answer again.
    pub fn on_disconnect(&mut self) {
        self.limits = None;
        self.paused_until = None;
        for entry in &mut self.entries {
            entry.is_in_flight = false;
        }
    }

    /// Records a frame of the server, and returns the message that it settles. A `message` frame settles too: it
    /// confirms a message that an earlier connection stored.
    pub fn on_push(&mut self, push: &Push, now: Duration) -> Option<Settled> {
        match push {
            Push::Welcome(welcome) => {
                self.limits = Some(ServerLimits {
                    rate: SendRate::new(welcome.message_rate, welcome.message_burst, now),
                    max_message: welcome.max_message,
                });
                None
            }
            Push::Ack {
                key,
                offset,
                duplicate,
                ..
            } => {
                let outcome = SendOutcome::Stored {
                    offset: *offset,
                    duplicate: *duplicate,
                };
                self.on_answer(self.find(key)?, outcome, now)
            }
            Push::Message(publication) => self.on_publication(publication, now),
            Push::Error {
                key: Some(key),
                code,
                message,
                retry,
                ..
            } => {
                let at = self.find(key)?;
                if self.is_retried(*code, *retry) {
                    self.on_refusal(at, now);
                    return None;
                }

                let outcome = SendOutcome::Refused {
                    code: *code,
                    message: message.clone(),
                    retry: *retry,
                };
                self.on_answer(at, outcome, now)
            }
            _ => None,
        }
    }

    fn on_publication(&mut self, publication: &Publication, now: Duration) -> Option<Settled> {
        let at = self.find(publication.fields.key.as_ref()?)?;
        let entry = &self.entries[at];
        if entry.message.from != publication.from {
            return None;
        }

        let outcome = SendOutcome::Stored {
            offset: publication.offset,
            duplicate: !entry.is_in_flight,
        };
        self.on_answer(at, outcome, now)
    }

    /// Settles the message at `at`, which the server has answered.
    fn on_answer(&mut self, at: usize, outcome: SendOutcome, now: Duration) -> Option<Settled> {
        let entry = self.entries.get(at)?;
        if let Some(limits) = self.limits.as_mut().filter(|_| entry.is_in_flight) {
            limits.rate.on_answer(now);
        }
        if entry.was_refused {
            for entry in &mut self.entries {
                entry.was_refused = false;
            }
        }

        self.settle(at, outcome)
    }

    /// Prepares the second attempt of the message at `at`, which the server temporarily refused.
    fn on_refusal(&mut self, at: usize, now: Duration) {
        if let Some(entry) = self.entries.get_mut(at)
            && entry.is_in_flight
        {
            entry.is_in_flight = false;
            entry.was_refused = true;
            self.paused_until = Some(now + REFUSED_PAUSE);
        }
    }

    fn is_retried(&self, code: ErrorCode, retry: bool) -> bool {
        retry && (code == ErrorCode::RateLimited || self.mode == SendMode::Bulk)
    }

    fn find(&self, key: &Key) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.message.key == *key)
    }

    fn settle(&mut self, at: usize, outcome: SendOutcome) -> Option<Settled> {
        let OutgoingMessage { id, key, .. } = self.take(at)?;
        Some(Settled { id, key, outcome })
    }

    fn take(&mut self, at: usize) -> Option<OutgoingMessage> {
        let message = self.entries.remove(at)?.message;
        self.bytes -= message.body.size();
        Some(message)
    }
}

#[cfg(test)]
mod tests;
