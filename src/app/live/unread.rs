//! The unread messages of a room: those that arrived while the user did not see the end of the log.
//!
//! A line is drawn above the first of them. It stays after the user has come back, so that the user finds the place.
//!
//! # Invariants
//!
//! - Messages of other users after the line are counted, whether they arrive or are loaded from the history.
//! - The read mark never moves back within an epoch.

use std::fmt;

use crate::protocol::Offset;

/// The state of reading: the read mark, and the line above the first unread message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread {
    /// True while the user sees the end of the log.
    is_attended: bool,
    /// The read mark: the newest offset that the user has seen.
    read: Offset,
    /// The last offset before the line; `None` if there was never a line.
    line: Option<Offset>,
    /// The first counted message: its offset and its row.
    first: Option<(Offset, u64)>,
    /// The number of messages after the line.
    count: usize,
    /// The number of those that mention the user.
    mentions: usize,
    /// True once the user has seen the end of the log since these messages arrived.
    is_seen: bool,
}

/// A number of unread messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnreadCount {
    /// The number.
    pub count: usize,
    /// The number of those that mention the user.
    pub mentions: usize,
    /// True if there are more, which are not loaded.
    pub is_more: bool,
}

impl fmt::Display for UnreadCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.is_more { "+" } else { "" };
        write!(f, "{}{more}", self.count)
    }
}

impl Default for Unread {
    fn default() -> Self {
        Self {
            is_attended: true,
            read: Offset(0),
            line: None,
            first: None,
            count: 0,
            mentions: 0,
            is_seen: true,
        }
    }
}

impl Unread {
    /// Returns true while the user sees the end of the log.
    pub(super) const fn is_attended(self) -> bool {
        self.is_attended
    }

    /// Returns the number of messages that the user has not seen.
    pub(super) const fn count(self) -> usize {
        if self.is_seen { 0 } else { self.count }
    }

    /// Returns the number of messages that were unread when the user came back, until the user visits the line.
    pub(super) const fn missed(self) -> usize {
        if self.is_seen { self.count } else { 0 }
    }

    /// Returns the number of counted messages that mention the user.
    pub(super) const fn mentions(self) -> usize {
        self.mentions
    }

    /// Returns the row of the first unread message, which gets a line above it.
    pub(super) fn first(self) -> Option<u64> {
        self.first.map(|(_, id)| id)
    }

    /// Returns the read mark.
    pub(super) const fn read(self) -> Offset {
        self.read
    }

    /// Returns true if messages after the line may be older than `oldest`, the oldest loaded one.
    pub(super) fn extends_before(self, oldest: Offset) -> bool {
        self.line.is_some_and(|line| line < oldest)
    }

    /// Continues from the read mark of an earlier visit, in a log whose newest message is at `newest`. The messages between
    /// are to be added next.
    pub(super) fn restore(&mut self, mark: Offset, newest: Offset) {
        let is_attended = self.is_attended;
        *self = Self {
            is_attended,
            read: if is_attended { newest } else { mark },
            line: Some(mark),
            first: None,
            count: 0,
            mentions: 0,
            is_seen: is_attended,
        };
    }

    /// Records that a new epoch began.
    pub(super) fn restart(&mut self) {
        self.read = Offset(0);
        self.line = self.line.map(|_| Offset(0));
        self.first = self.first.map(|(_, id)| (Offset(0), id));
    }

    /// Records whether the user sees the end of the log, whose newest message is at `newest`. Returns true if that changed.
    pub(super) fn attend(&mut self, is_attended: bool, newest: Offset) -> bool {
        let was = std::mem::replace(&mut self.is_attended, is_attended);
        if is_attended {
            self.is_seen = true;
            self.read = self.read.max(newest);
        }
        was != is_attended
    }

    /// Records that the user has seen the messages up to `mark` in another tab.
    pub(super) fn read_to(&mut self, mark: Offset) {
        if mark > self.read {
            self.read = mark;
            self.is_seen = true;
            self.visit();
        }
    }

    /// Records that the user has seen the line.
    pub(super) fn visit(&mut self) {
        if self.is_seen {
            self.count = 0;
            self.line = None;
        }
    }

    /// Records that an own message was stored at `offset`.
    pub(super) fn add_own(&mut self, offset: Offset) {
        if self.is_attended {
            self.read = self.read.max(offset);
        }
    }

    /// Records that a message of another user at `offset` was added as the row `id`, and whether it mentions the user.
    pub(super) fn add(&mut self, id: u64, offset: Offset, is_mention: bool) {
        let is_new = offset > self.read;
        if is_new && self.is_attended {
            self.read = offset;
            return;
        }
        if is_new && self.is_seen {
            // The first message since the user has left.
            self.is_seen = false;
            self.line = Some(self.read);
            self.first = None;
            self.count = 0;
            self.mentions = 0;
        }

        if self.line.is_some_and(|line| offset > line) {
            self.count += 1;
            self.mentions += usize::from(is_mention);
            if self.first.is_none_or(|(first, _)| offset < first) {
                self.first = Some((offset, id));
            }
        }
    }

    /// Records that a message of another user at `offset` was removed from the list, and whether it mentioned the user.
    pub(super) fn remove(&mut self, offset: Offset, is_mention: bool) {
        if self.line.is_some_and(|line| offset > line) {
            self.count = self.count.saturating_sub(1);
            self.mentions = self.mentions.saturating_sub(usize::from(is_mention));
        }
    }

    /// Moves the line to the row `id` at `offset`, the oldest of the list, if its row was removed.
    pub(super) fn move_line(&mut self, id: u64, offset: Offset) {
        self.first = self.first.map(|first| {
            if first.0 < offset {
                (offset, id)
            } else {
                first
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(unread: &mut Unread, offsets: std::ops::RangeInclusive<u64>) {
        for offset in offsets {
            unread.add(offset, Offset(offset), false);
        }
    }

    #[test]
    fn messages_are_unread_while_the_user_does_not_see_the_end_of_the_log() {
        let mut unread = Unread::default();
        add(&mut unread, 1..=1);
        assert_eq!((unread.count(), unread.first()), (0, None));

        unread.attend(false, Offset(1));
        add(&mut unread, 2..=3);
        assert_eq!((unread.count(), unread.first()), (2, Some(2)));

        unread.attend(true, Offset(3));
        assert_eq!((unread.count(), unread.missed()), (0, 2));
        assert_eq!(unread.first(), Some(2), "the line stays for the user");
        assert_eq!(unread.read(), Offset(3));

        unread.attend(false, Offset(3));
        add(&mut unread, 4..=4);
        assert_eq!((unread.count(), unread.first()), (1, Some(4)));
    }

    #[test]
    fn messages_of_an_earlier_visit_are_counted_from_its_read_mark() {
        let mut unread = Unread::default();
        add(&mut unread, 251..=300);

        unread.restore(Offset(40), Offset(300));
        add(&mut unread, 251..=300);
        assert_eq!((unread.missed(), unread.first()), (50, Some(251)));
        assert!(unread.extends_before(Offset(251)));

        add(&mut unread, 1..=250);
        assert_eq!((unread.missed(), unread.first()), (260, Some(41)));
        assert!(!unread.extends_before(Offset(1)));
        assert_eq!(unread.read(), Offset(300));
    }

    #[test]
    fn the_count_of_missed_messages_ends_when_the_user_visits_the_line() {
        let mut unread = Unread::default();
        unread.restore(Offset(1), Offset(2));
        add(&mut unread, 2..=2);

        unread.visit();

        assert_eq!(unread.missed(), 0);
        assert_eq!(unread.first(), Some(2));
    }

    #[test]
    fn messages_that_another_tab_has_read_are_read() {
        let mut unread = Unread::default();
        unread.attend(false, Offset(0));
        add(&mut unread, 1..=3);

        unread.read_to(Offset(3));
        assert_eq!(unread.count(), 0);

        add(&mut unread, 4..=4);
        assert_eq!((unread.count(), unread.first()), (1, Some(4)));
    }
}
