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
//! - The messages after the read mark of an earlier visit are loaded and counted, up to [`MAX_COUNTED`] of them.
//! - After a disconnect, the drawn rows are requested again. Some may have been deleted, and the server sends only
//!   the newest deletions to a client that reconnects.
//!
//! Pure: times and random keys are passed in.

mod gaps;
mod reading;
mod receive;
mod send;

use std::time::Duration;

use super::edits::Edits;
use super::history_requests::{HistoryRequest, HistoryRequests};
use super::hues::Hues;
use super::pending_message::PendingMessage;
use super::row::{
    Entry, Gap, GapState, LAST, Message, MessageContent, MessageState, Missing, Quote, RowView,
};
use super::rows::{MAX_ROWS, Rows};
use super::unread::{Unread, UnreadCount};
use crate::app::message_text;
use crate::app::snapshot::HistoryPage;
use crate::browser::scroll::Viewport;
use crate::client::{Cursor, Outbox, ReadPosition, SendMode};
use crate::protocol::{Command, Key, Offset, UserId};

/// The number of older messages in one request.
const PAGE: u16 = 100;

/// The distance from the oldest row at which older messages are requested, in CSS pixels.
const READ_AHEAD: f64 = 800.0;

/// The length of the beginning of a message that an answer quotes, in characters.
const EXCERPT: usize = 120;

/// The number of loaded rows from which no older ones are loaded to count unread messages.
const MAX_COUNTED: usize = 1000;

/// The rows of a room, and the page's state in the protocol.
#[derive(Clone, Debug)]
pub struct MessageList {
    rows: Rows,
    cursor: Cursor,
    outbox: Outbox,
    user: UserId,
    /// The number of this browser; `None` until it was read.
    browser: Option<u32>,
    /// True if a new epoch began, and its gap was not received yet.
    has_restarted: bool,
    /// True while the server has messages that are older than the oldest row.
    has_older: bool,
    requests: HistoryRequests,
    /// True while the room is shown.
    is_shown: bool,
    /// The number of connections that were lost.
    disconnects: u32,
    /// The edits of messages.
    edits: Edits,
    /// The colours of names.
    hues: Hues,
    unread: Unread,
    /// The read mark of an earlier visit, until the log is known to which it belongs.
    restored_mark: Option<ReadPosition>,
    /// True once the read mark of an earlier visit was applied.
    has_read_mark: bool,
    /// The first row in view.
    first_in_view: Option<u64>,
    /// The row that a search found.
    found: Option<u64>,
}

/// The work that a change of the list requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ListEffect {
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
            browser: None,
            has_restarted: false,
            has_older: false,
            requests: HistoryRequests::default(),
            is_shown: true,
            disconnects: 0,
            edits: Edits::default(),
            hues: Hues::default(),
            unread: Unread::default(),
            restored_mark: None,
            has_read_mark: false,
            first_in_view: None,
            found: None,
        }
    }
}

impl MessageList {
    /// Creates the list of a page that the server has rendered with `history`: the newest messages, or those around `at`, which
    /// is shown.
    pub fn new(history: Option<HistoryPage>, at: Option<Offset>) -> Self {
        let mut list = Self::default();
        let Some(HistoryPage {
            epoch,
            head,
            messages,
            more,
        }) = history
        else {
            return list;
        };

        list.cursor = Cursor::new(Some(ReadPosition {
            epoch: Some(epoch),
            offset: head,
        }));
        list.has_older = more;
        match at {
            None => {
                for publication in messages {
                    list.place(publication, &mut ListEffect::default());
                }
            }
            Some(at) => {
                list.insert(messages, &mut ListEffect::default());
                list.show_message(at);
            }
        }
        list.tidy();
        list
    }

    /// Creates the list of a room that is not shown.
    pub fn in_background() -> Self {
        let mut list = Self::default();
        list.on_hidden();
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
                mentions_me: row
                    .message()
                    .is_some_and(|message| message.from != self.user && self.mentions_me(message)),
                quote: row
                    .message()
                    .and_then(|message| self.quote(message.reply_to?)),
                hue: row
                    .message()
                    .map_or(0, |message| self.hues.of(&message.from)),
                own: row.message().is_some_and(|message| self.is_own(message)),
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

    /// Returns the offset of the stored message of the row `id`.
    pub fn offset(&self, id: u64) -> Option<Offset> {
        self.rows
            .get(id)
            .filter(|row| row.is_stored())
            .map(|row| Offset(row.order))
    }

    /// Returns the offsets of the oldest and the newest message in the list, if there are older and newer ones.
    pub fn limits(&self) -> (Option<Offset>, Option<Offset>) {
        let oldest = self.rows.oldest().filter(|_| self.has_older);
        let newest = self.rows.stored_before(self.end());
        (oldest, newest.filter(|newest| *newest < self.newest()))
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

    /// Sets the number of this browser, whose messages are the user's own under any name.
    pub const fn set_browser(&mut self, browser: u32) {
        self.browser = Some(browser);
    }

    /// Records that the room is shown.
    pub fn on_shown(&mut self, now: Duration) -> ListEffect {
        self.is_shown = true;
        if self.rows.len() < usize::from(PAGE) {
            self.request_older();
        }

        let mut effect = self.follow(now);
        self.advance(now, &mut effect);
        effect
    }

    /// Records that another room is shown.
    pub fn on_hidden(&mut self) {
        self.is_shown = false;
        self.set_attended(false);
    }

    /// Records the visible part. Returns true if other rows are drawn now, and the effect.
    pub fn set_viewport(&mut self, viewport: Viewport, now: Duration) -> (bool, ListEffect) {
        let rows = self.rows.len();
        let first_in_view = self.rows.drawn().nth(viewport.first);
        self.first_in_view = first_in_view.map(|(_, row)| row.id);
        self.visit_line();
        let is_redrawn = self.rows.update_window(viewport);

        let is_at_start = self.rows.window.range().start == 0 && viewport.above < READ_AHEAD;
        let has_room = rows + usize::from(PAGE) <= MAX_ROWS;
        if is_at_start && !viewport.at_end && has_room {
            self.request_older();
        }

        let mut effect = ListEffect::default();
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

    /// Draws the message at `offset`, or the first one after it, and its neighbours, as the result of a search. Returns false
    /// if the message is not in the list.
    pub fn show_message(&mut self, offset: Offset) -> bool {
        let Some((id, found)) = self.rows.first_stored_from(offset) else {
            return false;
        };

        self.show_found(Some(id));
        found == offset
    }

    /// Draws the first rows of the list.
    pub fn show_start(&mut self) {
        self.rows.window.show(0, self.rows.len());
    }

    /// Draws the first unread message and its neighbours.
    pub fn show_unread(&mut self) {
        if let Some(first) = self.unread.first() {
            self.rows.show(first);
        }
    }

    /// Draws the end of the log and follows it. The newest messages are loaded if the user has skipped them.
    pub fn follow(&mut self, now: Duration) -> ListEffect {
        let rows = self.rows.len();
        self.rows.window.follow(rows);
        if let Some(id) = self.rows.skipped_end() {
            return self.load_gap(id, now);
        }
        ListEffect::default()
    }

    /// Returns true if a message was found.
    pub const fn has_found(&self) -> bool {
        self.found.is_some()
    }

    /// Returns the row of the user's newest message that has text.
    pub fn last_own(&self) -> Option<u64> {
        self.rows.last_text_of(&self.user)
    }

    /// Keeps the row `id` drawn, because it has the focus; `None` ends that.
    pub fn hold(&mut self, id: Option<u64>) {
        self.rows.held = id;
        self.tidy();
    }

    fn quote(&self, offset: Offset) -> Option<Quote> {
        let message = self.rows.stored(offset);
        let excerpt = |message: &Message| {
            let text = message.text()?.lines().next().unwrap_or_default();
            Some((message.from.clone(), text.chars().take(EXCERPT).collect()))
        };
        Some(Quote {
            offset,
            message: message.and_then(excerpt),
        })
    }

    /// Returns true if this user, or this browser under another name, sent `message`.
    fn is_own(&self, message: &Message) -> bool {
        message.from == self.user
            || message.key.is_some()
            || self.is_of_this_browser(message.browser)
    }

    fn is_of_this_browser(&self, browser: Option<u32>) -> bool {
        browser.is_some() && browser == self.browser
    }

    fn mentions_me(&self, message: &Message) -> bool {
        mentions(message, &self.user)
    }

    /// Returns the newest offset that was received.
    fn newest(&self) -> Offset {
        self.position().map_or(Offset(0), |known| known.offset)
    }

    /// Returns the offset after the newest one.
    fn end(&self) -> Offset {
        Offset(self.newest().0 + 1)
    }

    fn request_older(&mut self) {
        if self.has_older {
            self.requests.add(HistoryRequest::Older);
        }
    }

    /// Requests one page of the drawn messages that were received before the last disconnect.
    fn request_again(&mut self) {
        if let Some(newest) = self.rows.newest_outdated(self.disconnects) {
            let before = Offset(newest.0 + 1);
            self.requests.add(HistoryRequest::Again(before));
        }
    }

    /// Removes rows beyond the limit, with their unread counts and edits.
    fn tidy(&mut self) {
        let dropped = self.rows.tidy();
        if dropped.is_empty() {
            return;
        }

        self.has_older = true;
        for row in dropped.iter().filter(|row| row.is_stored()) {
            if let Some(message) = row.message().filter(|message| self.is_counted(message)) {
                let is_mention = self.mentions_me(message);
                self.unread.remove(Offset(row.order), is_mention);
            }
        }
        if let Some((id, oldest)) = self.rows.first_stored_from(Offset(1)) {
            self.unread.move_line(id, oldest);
            self.edits.forget_before(oldest);
        }
    }
}

fn mentions(message: &Message, user: &UserId) -> bool {
    matches!(&message.content, MessageContent::Text(text) if message_text::mentions(text, user.as_str()))
}

#[cfg(test)]
mod tests;
