//! What this page has seen of its room, and what it wants to say there.
//!
//! # Invariants
//!
//! - What is said stays a row until the room has it: confirmed by its `ack` or by the message that carries
//!   our id and key, whichever comes first, and sent again with its key after each reconnect until then.
//! - Nothing is sent before all that the log had at the welcome is here: if an earlier try was stored, it is
//!   among that, and is not sent again.
//! - A message whose `prev` was not seen has a row in front that says so.
//!
//! Pure: no clock, no chance, no browser; those are handed in.

use super::row::{Entry, LAST, Message, Missing, Reason, Row, State, Words};
use super::rows::Rows;
use crate::protocol::Command;
use crate::protocol::Epoch;
use crate::protocol::ErrorCode;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::Publication;
use crate::protocol::Push;
use crate::protocol::Recovery;
use crate::protocol::UserId;
use crate::protocol::Welcome;

/// How much of what was said before a newcomer sees.
const HISTORY: u16 = 50;

/// The rows, and where this page stands in the log.
#[derive(Clone, Debug)]
pub struct Transcript {
    rows: Rows,
    me: UserId,
    /// Of the last welcome.
    epoch: Option<Epoch>,
    /// The last offset that came or is known not to come.
    seen: Offset,
    phase: Phase,
    /// History from before here is still to come.
    history_before: Option<Offset>,
    /// The row that says that the position was lost, until a `gap` or a message follows.
    lost: Option<u64>,
    /// In bytes; until a server says, no limit is known.
    max_message: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Away,
    /// What was said until here is still to come.
    CatchingUp(Offset),
    /// What is said goes out at once.
    Here,
}

impl Default for Transcript {
    fn default() -> Self {
        Self {
            rows: Rows::default(),
            me: UserId::anonymous(),
            epoch: None,
            seen: Offset(0),
            phase: Phase::Away,
            history_before: None,
            lost: None,
            max_message: usize::MAX,
        }
    }
}

impl Transcript {
    /// Oldest first.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter()
    }

    /// Whether it is known that nothing was said, as opposed to not known yet.
    pub fn is_silent(&self) -> bool {
        self.rows.iter().len() == 0 && self.epoch.is_some() && self.history_before.is_none()
    }

    /// From where the next connection should read on; nothing before the first welcome.
    pub fn position(&self) -> Option<(&Epoch, Offset)> {
        self.epoch.as_ref().map(|epoch| (epoch, self.seen))
    }

    /// The message of the row `id` as it is now.
    pub fn message(&self, id: u64) -> Option<&Message> {
        self.rows.get(id).and_then(Row::message)
    }

    /// This page is called `me`.
    pub fn introduce(&mut self, me: UserId) {
        self.me = me;
    }

    /// This page wants to say `text`; the answer is to be sent.
    pub fn say(&mut self, text: &str, key: Key, now: u64) -> Option<Command> {
        let message = Message {
            from: self.me.clone(),
            own: true,
            at: now,
            words: Words::Text(text.into()),
            state: State::Pending,
            key: Some(key),
        };
        let id = self.rows.add(Entry::Message(message), LAST);
        let command = self.send(id);
        self.rows.tidy();
        command
    }

    /// Someone wants the failed row `id` tried again; the answer is to be sent.
    pub fn retry(&mut self, id: u64) -> Option<Command> {
        self.settle(id, State::Pending);
        let command = self.send(id);
        self.rows.tidy();
        command
    }

    /// The server says `pushes`; the answer is to be sent.
    pub fn hear(&mut self, pushes: Vec<Push>) -> Vec<Command> {
        let mut commands = Vec::new();
        for push in pushes {
            match push {
                Push::Welcome(welcome) => commands.extend(self.enter(welcome)),
                Push::Message(publication) => self.read(publication),
                Push::History { messages, .. } => {
                    self.history_before = None;
                    messages.into_iter().for_each(|publication| self.place(publication));
                }
                Push::Gap { after, before, count, .. } => self.skip(after, before, count),
                Push::Ack { key, offset, .. } => self.confirm(&key, offset),
                Push::Error { code, retry, key: Some(key), .. } => {
                    if let Some(id) = self.rows.find_unstored(&key) {
                        self.settle(id, State::Failed { reason: code.into(), retry });
                    }
                }
                Push::Error { .. } | Push::Presence { .. } | Push::Drain { .. } | Push::Pong => {}
            }
            if matches!(self.phase, Phase::CatchingUp(head) if self.seen >= head) {
                self.phase = Phase::Here;
                commands.extend(self.rows.pending().into_iter().filter_map(|id| self.send(id)));
            }
        }
        self.rows.tidy();
        commands
    }

    /// The connection is gone; what was not answered waits for the next.
    pub fn cut_off(&mut self) {
        self.phase = Phase::Away;
    }

    /// There will be no other connection; what waits has failed.
    pub fn give_up(&mut self) {
        self.phase = Phase::Away;
        for id in self.rows.pending() {
            self.settle(id, State::Failed { reason: Reason::Refused, retry: false });
        }
        self.rows.tidy();
    }

    fn enter(&mut self, welcome: Welcome) -> Option<Command> {
        let Welcome { id, epoch, head, recovery, max_message, .. } = welcome;
        match recovery {
            Recovery::Resumed => {}
            Recovery::Fresh if self.epoch.is_none() => {
                self.seen = head;
                self.history_before = Some(Offset(head.0 + 1)).filter(|_| head > Offset(0));
            }
            Recovery::Fresh | Recovery::Lost => {
                let same_log = self.epoch.as_ref() == Some(&epoch) && self.seen <= head;
                if !same_log {
                    // The old offsets mean nothing in this log.
                    self.seen = Offset(0);
                    self.history_before = None;
                    self.rows.forget_offsets();
                }
                self.lost = Some(self.miss(if same_log { Missing::Some } else { Missing::Perhaps }));
                if recovery == Recovery::Fresh {
                    // It reads on from the newest, whatever we asked for.
                    self.seen = head;
                }
            }
        }
        self.me = id;
        self.epoch = Some(epoch);
        self.max_message = max_message;
        self.phase = Phase::CatchingUp(head);
        self.history_before.map(|before| Command::History { before: Some(before), limit: Some(HISTORY) })
    }

    fn read(&mut self, publication: Publication) {
        if publication.prev > self.seen && self.lost.is_none() {
            self.miss(Missing::Some);
        }
        self.lost = None;
        self.seen = self.seen.max(publication.offset);
        self.place(publication);
    }

    /// What lies between `after` and `before` will not come.
    fn skip(&mut self, after: Offset, before: Offset, count: Option<u64>) {
        let id = self.lost.take().unwrap_or_else(|| {
            self.seen = self.seen.max(after);
            self.miss(Missing::Some)
        });
        if let Some(count) = count {
            self.rows.replace(id, Entry::Gap(Missing::Count(count)));
        }
        self.seen = self.seen.max(Offset(before.0.saturating_sub(1)));
    }

    /// A row behind the last that was seen.
    fn miss(&mut self, missing: Missing) -> u64 {
        self.rows.add(Entry::Gap(missing), self.seen.0)
    }

    /// Shows `publication` where it belongs, once.
    fn place(&mut self, publication: Publication) {
        let Publication { offset, at, from, body, key, .. } = publication;
        let own = from == self.me;
        if let Some(key) = key.filter(|_| own) {
            self.confirm(&key, offset);
        }
        if let Some(message) = self.rows.find_stored(offset) {
            // An `ack` does not say when it was stored.
            message.at = at;
        } else {
            let message = Message { from, own, at, words: body.into(), state: State::Stored, key: None };
            self.rows.add(Entry::Message(message), offset.0);
        }
    }

    /// What this page said under `key` is stored at `offset`.
    fn confirm(&mut self, key: &Key, offset: Offset) {
        let Some(id) = self.rows.find_unstored(key) else { return };
        if self.rows.find_stored(offset).is_some() {
            self.rows.remove(id);
        } else {
            self.rows.settle(id, offset.0, State::Stored);
        }
    }

    /// The row `id` stands at `state` now, which is not [`State::Stored`].
    fn settle(&mut self, id: u64, state: State) {
        let order = if state == State::Pending { LAST } else { self.seen.0 };
        self.rows.settle(id, order, state);
    }

    /// What says the pending row `id`, if that can be said now.
    fn send(&mut self, id: u64) -> Option<Command> {
        if self.phase != Phase::Here {
            return None;
        }
        let message = self.message(id)?;
        let (Words::Text(text), Some(key)) = (&message.words, &message.key) else { return None };
        if text.len() > self.max_message {
            // The server would close the connection, and again each time that it is tried.
            self.settle(id, State::Failed { reason: Reason::TooLong, retry: false });
            return None;
        }
        Some(Command::Say { text: text.as_ref().to_owned(), key: Some(key.clone()) })
    }
}

impl From<ErrorCode> for Reason {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::RateLimited => Self::TooFast,
            ErrorCode::StoreUnavailable => Self::Unavailable,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests;
