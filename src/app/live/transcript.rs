//! What this page has seen of its room, and what it wants to say there.
//!
//! # Invariants
//!
//! - What is said stays a row until the room has it: confirmed by its `ack` or by the message that carries
//!   our id and key, whichever comes first, and sent again with its key after each reconnect until then.
//! - One message is on its way at a time, and the next follows its confirmation: so they are stored in the
//!   order in which they were said, whatever the server refuses for now.
//! - Nothing is sent before all that the log had at the welcome is here: if an earlier try was stored, it is
//!   among that, and is not sent again.
//! - A message whose `prev` was not seen has a row in front that says so.
//! - After an absence, however long, what is drawn is read again: an operator may have deleted some of it, and the
//!   server remembers only the newest of that for those who come back.
//!
//! Pure: no clock, no chance, no browser; those are handed in.

mod listen;
mod speak;

use std::collections::VecDeque;

use super::outbox::Waiting;
use super::row::{Entry, Gap, LAST, Message, Missing, Outlook, Shown, State};
use super::rows::{MOST_ROWS, Rows};
use super::unread::Unread;
use super::window::Sight;
use crate::app::snapshot::Past;
use crate::protocol::Command;
use crate::protocol::Epoch;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::UserId;

/// How much older history is asked for at once.
const PAGE: u16 = 100;

/// This near the beginning of what is here, in CSS pixels, older history is asked for.
const READ_AHEAD: f64 = 800.0;

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
    /// Whether the log has messages from before the oldest row.
    has_older: bool,
    /// What the server is asked for, one after the other.
    asks: VecDeque<Ask>,
    /// Whether the first of them is on its way.
    is_asking: bool,
    /// How often a connection was lost.
    absences: u32,
    /// The server has had too much of us for now.
    is_resting: bool,
    /// The row that says that the position was lost, until a `gap` or a message follows.
    lost: Option<u64>,
    unread: Unread,
    /// The row that a search has led to.
    found: Option<u64>,
    /// In bytes; until a server says, no limit is known.
    max_message: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Away,
    /// What was said until here is still to come.
    CatchingUp(Offset),
    /// What is said goes out.
    Here,
}

/// A page of history that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// What came before the oldest row.
    Older,
    /// What is missing at this row.
    Gap(u64),
    /// What is here from before this offset.
    Again(Offset),
}

/// What is to be done after something was said or heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Todo {
    /// Send these.
    pub send: Vec<Command>,
    /// These messages need no longer be remembered.
    pub forget: Vec<Key>,
    /// Call [`Transcript::go_on`] in a while.
    pub rest: bool,
}

impl Default for Transcript {
    fn default() -> Self {
        Self {
            rows: Rows::default(),
            me: UserId::anonymous(),
            epoch: None,
            seen: Offset(0),
            phase: Phase::Away,
            has_older: false,
            asks: VecDeque::new(),
            is_asking: false,
            absences: 0,
            is_resting: false,
            lost: None,
            unread: Unread::default(),
            found: None,
            max_message: usize::MAX,
        }
    }
}

impl Transcript {
    /// Begins with what the server rendered.
    pub fn new(past: Option<Past>) -> Self {
        let mut transcript = Self::default();
        if let Some(Past {
            epoch,
            head,
            messages,
            more,
        }) = past
        {
            transcript.epoch = Some(epoch);
            transcript.seen = head;
            transcript.has_older = more;
            for publication in messages {
                transcript.place(publication, &mut Todo::default());
            }
            transcript.tidy();
        }
        transcript
    }

    /// The drawn rows, oldest first. `day` is the number of the day that a time belongs to.
    pub fn shown(&self, day: impl Fn(u64) -> i64) -> Vec<Shown> {
        let day_of = |row: &super::Row| row.message().map(|message| day(message.at));
        // A gap does not end a day.
        let mut last_day = None;
        let draw = |(before, row): (Option<&super::Row>, &super::Row)| {
            last_day = before.and_then(day_of).or(last_day);
            let today = day_of(row);
            Shown {
                first: row.opens_after(before),
                new_day: today.is_some() && today != last_day,
                unread: self.unread.first() == Some(row.id),
                found: self.found == Some(row.id),
                own: row
                    .message()
                    .is_some_and(|message| message.from == self.me || message.key.is_some()),
                row: row.clone(),
            }
        };
        self.rows.drawn().map(draw).collect()
    }

    /// The height of the rows that are not drawn, above and below those that are, in CSS pixels.
    pub fn spaces(&self) -> (u32, u32) {
        self.rows.window.spaces(self.rows.len())
    }

    /// Whether it is known that nothing was said, as opposed to not known yet.
    pub fn is_silent(&self) -> bool {
        self.rows.len() == 0 && self.epoch.is_some() && !self.has_older
    }

    /// Whether the end of the log is drawn and followed.
    pub const fn follows(&self) -> bool {
        self.rows.window.follows()
    }

    /// From where the next connection should read on; nothing before the first welcome.
    pub fn position(&self) -> Option<(&Epoch, Offset)> {
        self.epoch.as_ref().map(|epoch| (epoch, self.seen))
    }

    /// The message of the row `id` as it is now.
    pub fn message(&self, id: u64) -> Option<&Message> {
        self.rows.get(id).and_then(super::Row::message)
    }

    /// How many messages nobody has seen.
    pub const fn unread(&self) -> usize {
        self.unread.count()
    }

    /// How many messages of this page the room does not have.
    pub fn waiting(&self) -> usize {
        self.rows.unstored().count()
    }

    /// The ids of the messages that contain `words`, the newest first.
    pub fn search(&self, words: &str) -> Vec<u64> {
        self.rows.search(words)
    }

    /// This page is called `me`.
    pub fn introduce(&mut self, me: UserId) {
        self.me = me;
    }

    /// Somebody begins to see the end of the log, or ceases to; answers whether that is news.
    pub fn attend(&mut self, is_attended: bool) -> bool {
        self.unread.attend(is_attended)
    }

    /// The reader sees this; answers whether other rows are drawn now, and what to do.
    pub fn look(&mut self, sight: Sight) -> (bool, Todo) {
        let mut todo = Todo::default();
        let rows = self.rows.len();
        let is_redrawn = self.rows.window.look(sight, rows);
        let is_at_start = self.rows.window.range().start == 0 && sight.above < READ_AHEAD;
        if is_at_start && !sight.at_end && self.rows.len() + usize::from(PAGE) <= MOST_ROWS {
            self.want_older();
        }
        self.advance(&mut todo);
        (is_redrawn, todo)
    }

    /// Draws the row `id`, to which a search has led, and what stands around it; nothing ends the search.
    pub fn find(&mut self, id: Option<u64>) {
        self.found = id;
        if let Some(id) = id {
            self.rows.show(id);
        }
    }

    /// Draws the end of the log and follows it.
    pub fn follow(&mut self) {
        let rows = self.rows.len();
        self.rows.window.follow(rows);
    }

    /// Someone wants to see what is missing at the row `id`.
    pub fn load(&mut self, id: u64) -> Todo {
        let mut todo = Todo::default();
        if let Some(Entry::Gap(gap)) = self.rows.get(id).map(|row| &row.entry)
            && gap.outlook == Outlook::Open
        {
            let gap = Gap {
                outlook: Outlook::Asked,
                ..*gap
            };
            self.rows.replace(id, Entry::Gap(gap));
            self.asks.push_back(Ask::Gap(id));
            self.advance(&mut todo);
        }
        todo
    }

    fn want_older(&mut self) {
        if self.has_older && !self.asks.contains(&Ask::Older) {
            self.asks.push_back(Ask::Older);
        }
    }

    /// What is drawn and may have been deleted meanwhile is read again, a page of it at a time.
    fn want_again(&mut self) {
        if let Some(newest) = self.rows.newest_untold(self.absences)
            && !self.asks.iter().any(|ask| matches!(ask, Ask::Again(_)))
        {
            self.asks.push_back(Ask::Again(Offset(newest.0 + 1)));
        }
    }

    fn tidy(&mut self) {
        self.has_older |= self.rows.tidy();
    }
}

#[cfg(test)]
mod tests;
