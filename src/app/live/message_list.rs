//! The messages of a room as the page shows them: received ones, outgoing ones, and gaps.
//!
//! [`Cursor`] and [`Outbox`] implement the rules of the protocol. This list adds rows and pages of history.
//!
//! # Invariants
//!
//! - An outgoing message is a row from the start. It stays the same row when it is stored.
//! - One message is in flight at a time. Messages are therefore stored in the order in which they were sent, even if
//!   the server refuses some.
//! - A gap is a row. The user can load it while the server has its messages.
//! - After a disconnect, the drawn rows are requested again. Some may have been deleted, and the server sends only
//!   the newest deletions to a client that reconnects.
//!
//! Pure: times and random keys are passed in.

mod receive;
mod send;

use std::collections::VecDeque;
use std::time::Duration;

use super::pending_message::PendingMessage;
use super::row::{Entry, Gap, GapState, LAST, Message, MessageState, Missing, RowView};
use super::rows::{MAX_ROWS, Rows};
use super::unread::Unread;
use crate::app::snapshot::InitialHistory;
use crate::browser::scroll::Viewport;
use crate::client::{Cursor, Outbox, ReadPosition, SendMode};
use crate::protocol::{Command, Key, Offset, UserId};

/// The number of older messages in one request.
const PAGE: u16 = 100;

/// The distance from the oldest row at which older messages are requested, in CSS pixels.
const READ_AHEAD: f64 = 800.0;

/// The pause after the server refused a request for history.
const HISTORY_PAUSE: Duration = Duration::from_secs(1);

/// The rows of a room, and the page's state in the protocol.
#[derive(Clone, Debug)]
pub struct MessageList {
    rows: Rows,
    cursor: Cursor,
    outbox: Outbox,
    user: UserId,
    /// True if a new epoch began, and its gap was not received yet.
    has_restarted: bool,
    /// True while the server has messages that are older than the oldest row.
    has_older: bool,
    /// The requests for history, which are sent one at a time.
    requests: VecDeque<HistoryRequest>,
    /// True while the first request is in flight.
    is_requesting: bool,
    /// The time before which no request is sent.
    requests_paused_until: Option<Duration>,
    /// The number of connections that were lost.
    disconnects: u32,
    unread: Unread,
    /// The row that a search found.
    found: Option<u64>,
}

/// A request for one page of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HistoryRequest {
    /// Messages before the oldest row.
    Older,
    /// The missing messages of this row.
    Gap(u64),
    /// The known messages before this offset, requested to detect deletions.
    Again(Offset),
}

/// The work that a change of the list requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effect {
    /// Commands to send, in order.
    pub send: Vec<Command>,
    /// Messages to remove from the storage.
    pub forget: Vec<Key>,
    /// The time after which to call [`MessageList::on_timer`].
    pub wake_after: Option<Duration>,
}

impl Default for MessageList {
    fn default() -> Self {
        Self {
            rows: Rows::default(),
            cursor: Cursor::new(None),
            outbox: Outbox::new(SendMode::Interactive),
            user: UserId::anonymous(),
            has_restarted: false,
            has_older: false,
            requests: VecDeque::new(),
            is_requesting: false,
            requests_paused_until: None,
            disconnects: 0,
            unread: Unread::default(),
            found: None,
        }
    }
}

impl MessageList {
    /// Creates the list of a page that the server has rendered with `history`.
    pub fn new(history: Option<InitialHistory>) -> Self {
        let mut list = Self::default();
        if let Some(InitialHistory {
            epoch,
            head,
            messages,
            more,
        }) = history
        {
            list.cursor = Cursor::new(Some(ReadPosition {
                epoch: Some(epoch),
                offset: head,
            }));

            list.has_older = more;
            for publication in messages {
                list.place(publication, &mut Effect::default());
            }
            list.tidy();
        }
        list
    }

    /// Returns the drawn rows, oldest first. `day` returns the number of the day of a time.
    pub fn views(&self, day: impl Fn(u64) -> i64) -> Vec<RowView> {
        let day_of = |row: &super::Row| row.message().map(|message| day(message.at));
        // A row without a time does not end a day.
        let mut last_day = None;

        let view = |(before, row): (Option<&super::Row>, &super::Row)| {
            last_day = before.and_then(day_of).or(last_day);
            let today = day_of(row);
            RowView {
                first: row.opens_after(before),
                new_day: today.is_some() && today != last_day,
                unread: self.unread.first() == Some(row.id),
                found: self.found == Some(row.id),
                own: row
                    .message()
                    .is_some_and(|message| message.from == self.user || message.key.is_some()),
                row: row.clone(),
            }
        };
        self.rows.drawn().map(view).collect()
    }

    /// Returns the height of the rows above and below the drawn ones, in CSS pixels.
    pub fn spaces(&self) -> (u32, u32) {
        self.rows.window.spaces(self.rows.len())
    }

    /// Returns whether the room is known to have no messages.
    pub fn is_known_empty(&self) -> bool {
        self.rows.len() == 0 && self.position().is_some() && !self.has_older
    }

    /// Returns whether the end of the log is drawn and followed.
    pub const fn follows(&self) -> bool {
        self.rows.window.follows()
    }

    /// Returns the cursor from which the next connection continues.
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Returns the position in the log; `None` before the first `subscribed`.
    pub const fn position(&self) -> Option<&ReadPosition> {
        self.cursor.position()
    }

    /// Returns the message of the row `id`.
    pub fn message(&self, id: u64) -> Option<&Message> {
        self.rows.get(id).and_then(super::Row::message)
    }

    /// Returns the number of unread messages.
    pub const fn unread(&self) -> usize {
        self.unread.count()
    }

    /// Returns the number of messages of this page that are not stored.
    pub fn pending_count(&self) -> usize {
        self.rows.unstored().count()
    }

    /// Returns the ids of the messages that contain `words`, newest first.
    pub fn search(&self, words: &str) -> Vec<u64> {
        self.rows.search(words)
    }

    /// Sets the user whose messages are this page's own.
    pub fn set_user(&mut self, user: UserId) {
        self.user = user;
    }

    /// Records whether the user sees the end of the log. Reports whether that changed.
    pub fn set_attended(&mut self, is_attended: bool) -> bool {
        self.unread.attend(is_attended)
    }

    /// Records the visible part. Reports whether other rows are drawn now, and returns the effect.
    pub fn set_viewport(&mut self, viewport: Viewport, now: Duration) -> (bool, Effect) {
        let rows = self.rows.len();
        let is_redrawn = self.rows.window.update(viewport, rows);

        let is_at_start = self.rows.window.range().start == 0 && viewport.above < READ_AHEAD;
        let has_room = rows + usize::from(PAGE) <= MAX_ROWS;
        if is_at_start && !viewport.at_end && has_room {
            self.request_older();
        }

        let mut effect = Effect::default();
        self.advance(now, &mut effect);
        (is_redrawn, effect)
    }

    /// Draws the row `id` and its neighbours as the result of a search; `None` ends the search.
    pub fn show_found(&mut self, id: Option<u64>) {
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

    /// Requests the missing messages of the row `id`.
    pub fn load_gap(&mut self, id: u64, now: Duration) -> Effect {
        let mut effect = Effect::default();
        if let Some(Entry::Gap(gap)) = self.rows.get(id).map(|row| &row.entry)
            && gap.state == GapState::Open
        {
            let gap = Gap {
                state: GapState::Requested,
                ..*gap
            };
            self.rows.replace(id, Entry::Gap(gap));
            self.requests.push_back(HistoryRequest::Gap(id));
            self.advance(now, &mut effect);
        }

        effect
    }

    fn request_older(&mut self) {
        if self.has_older && !self.requests.contains(&HistoryRequest::Older) {
            self.requests.push_back(HistoryRequest::Older);
        }
    }

    /// Requests one page of the drawn messages that were received before the last disconnect.
    fn request_again(&mut self) {
        let is_requested = |request: &HistoryRequest| matches!(request, HistoryRequest::Again(_));
        if let Some(newest) = self.rows.newest_outdated(self.disconnects)
            && !self.requests.iter().any(is_requested)
        {
            let before = Offset(newest.0 + 1);
            self.requests.push_back(HistoryRequest::Again(before));
        }
    }

    fn tidy(&mut self) {
        self.has_older |= self.rows.tidy();
    }
}

#[cfg(test)]
mod tests;
