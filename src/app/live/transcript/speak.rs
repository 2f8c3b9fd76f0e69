//! What this page wants to say, and what it asks for.

use super::*;
use crate::app::live::row::{Reason, Words};
use crate::protocol::ErrorCode;

impl Transcript {
    /// Takes up what an earlier visit said and never saw confirmed.
    pub fn restore(&mut self, waiting: Vec<Waiting>) {
        for waiting in waiting {
            if let Some((epoch, offset)) = &waiting.position
                && self.epoch.as_ref() == Some(epoch)
            {
                // What has come since may be one of these.
                self.seen = self.seen.min(*offset);
            }
            // The server may have rendered it, or another entry of the same name may be here already.
            let is_known = self
                .rows
                .unstored()
                .any(|(_, message)| message.key.as_ref() == Some(&waiting.key));
            if !is_known {
                self.queue(waiting);
            }
        }
        self.tidy();
    }

    /// This page says something.
    pub fn say(&mut self, waiting: Waiting) -> Todo {
        self.queue(waiting);
        let mut todo = Todo::default();
        self.advance(&mut todo);
        self.tidy();
        todo
    }

    /// Someone wants the failed row `id` tried again.
    pub fn retry(&mut self, id: u64) -> Todo {
        self.rows.settle(id, State::Queued);
        let mut todo = Todo::default();
        self.advance(&mut todo);
        todo
    }

    /// Someone wants the failed row `id` back: it is no row any more, and this is its text.
    pub fn take_back(&mut self, id: u64) -> Option<(String, Todo)> {
        let Entry::Message(message) = self.rows.remove(id)?.entry else {
            return None;
        };
        self.tidy();
        let Words::Text(text) = message.words else {
            return None;
        };
        Some((
            text.as_ref().to_owned(),
            Todo {
                forget: message.key.into_iter().collect(),
                ..Todo::default()
            },
        ))
    }

    /// The rest is over.
    pub fn go_on(&mut self) -> Todo {
        self.is_resting = false;
        let mut todo = Todo::default();
        self.advance(&mut todo);
        todo
    }

    /// The connection is gone; what was not answered waits for the next.
    pub fn cut_off(&mut self) {
        self.phase = Phase::Away;
        self.absences += 1;
        // It is asked anew from where that is needed then.
        self.asks.retain(|ask| !matches!(ask, Ask::Again(_)));
        self.is_asking = false;
        self.is_resting = false;
        self.each_pending(State::Queued);
    }

    /// There will be no other connection; what waits has failed.
    pub fn give_up(&mut self) {
        self.phase = Phase::Away;
        self.each_pending(State::Failed {
            reason: Reason::Refused,
            retry: false,
        });
    }

    fn each_pending(&mut self, state: State) {
        let is_pending = |(id, message): (u64, &Message)| match message.state {
            State::Queued | State::Sent => Some(id),
            State::Stored | State::Failed { .. } => None,
        };
        let pending: Vec<u64> = self.rows.unstored().filter_map(is_pending).collect();
        for id in pending {
            self.rows.settle(id, state);
        }
    }

    fn queue(&mut self, waiting: Waiting) {
        let Waiting {
            key,
            from,
            at,
            text,
            ..
        } = waiting;
        let words = Words::Text(text.into());
        let message = Message {
            from,
            at,
            words,
            state: State::Queued,
            key: Some(key),
            told: self.absences,
        };
        self.rows.add(Entry::Message(message), LAST);
    }

    /// Says and asks what can be said and asked now.
    pub(super) fn advance(&mut self, todo: &mut Todo) {
        if self.phase == Phase::Away || self.is_resting {
            return;
        }
        if self.phase == Phase::Here {
            self.want_again();
        }
        if !self.is_asking
            && let Some(&ask) = self.asks.front()
        {
            self.is_asking = true;
            todo.send.push(self.question(ask));
        }
        if self.phase == Phase::Here {
            todo.send.extend(self.next_message());
        }
    }

    fn question(&self, ask: Ask) -> Command {
        let newest = Offset(self.seen.0 + 1);
        let before = match ask {
            Ask::Again(before) => before,
            Ask::Older => self.rows.oldest().unwrap_or(newest),
            Ask::Gap(id) => match self.rows.get(id).map(|row| &row.entry) {
                Some(Entry::Gap(gap)) => gap.before.unwrap_or(newest),
                _ => newest,
            },
        };
        Command::History {
            before: Some(before),
            limit: Some(PAGE),
        }
    }

    /// What says the first message that waits, if none is on its way.
    fn next_message(&mut self) -> Option<Command> {
        loop {
            let unstored = self.rows.unstored();
            let pending = |state| matches!(state, State::Queued | State::Sent);
            let (id, message) = unstored
                .into_iter()
                .find(|(_, message)| pending(message.state))?;
            let (State::Queued, Words::Text(text)) = (message.state, &message.words) else {
                return None;
            };
            if text.len() <= self.max_message {
                let command = Command::Say {
                    text: text.as_ref().to_owned(),
                    key: message.key.clone(),
                };
                self.rows.settle(id, State::Sent);
                return Some(command);
            }
            // The server would close the connection, and again each time that it is tried.
            self.rows.settle(
                id,
                State::Failed {
                    reason: Reason::TooLong,
                    retry: false,
                },
            );
        }
    }

    /// The server refuses something: a message if it has a `key`, else what it was asked.
    pub(super) fn refused(
        &mut self,
        code: ErrorCode,
        retry: bool,
        key: Option<&Key>,
        todo: &mut Todo,
    ) {
        let unstored = key.and_then(|key| self.find_unstored(key));
        let is_for_now = code == ErrorCode::RateLimited || (key.is_none() && self.is_asking);
        if let Some(id) = unstored {
            let failed = State::Failed {
                reason: code.into(),
                retry,
            };
            self.rows
                .settle(id, if is_for_now { State::Queued } else { failed });
        }
        if is_for_now {
            self.is_asking &= key.is_some();
            todo.rest |= !std::mem::replace(&mut self.is_resting, true);
        }
    }

    /// The row of this page's message `key`, unless it is stored.
    pub(super) fn find_unstored(&self, key: &Key) -> Option<u64> {
        self.rows
            .unstored()
            .find(|(_, message)| message.key.as_ref() == Some(key))
            .map(|(id, _)| id)
    }
}

impl From<ErrorCode> for Reason {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::StoreUnavailable => Self::Unavailable,
            ErrorCode::NotAllowed => Self::NotAllowed,
            _ => Self::Refused,
        }
    }
}
