//! The progress of the user's reading: the read mark, and the unread messages after it.

use super::*;

impl MessageList {
    /// Returns true while the user sees the end of the log.
    pub const fn is_attended(&self) -> bool {
        self.unread.is_attended()
    }

    /// Returns the number of unread messages.
    pub fn unread(&self) -> UnreadCount {
        self.counted(self.unread.count())
    }

    /// Returns the number of messages that were unread when the user came back, until the user has seen the first of them.
    pub fn missed(&self) -> UnreadCount {
        self.counted(self.unread.missed())
    }

    /// Returns the position up to which the user has read; `None` until the read mark of an earlier visit was applied.
    pub fn read_mark(&self) -> Option<ReadPosition> {
        let position = self.position().filter(|_| self.has_read_mark)?;
        Some(ReadPosition {
            offset: self.unread.read(),
            ..position.clone()
        })
    }

    /// Applies the read mark of an earlier visit, if there was one: the messages after it are unread.
    pub fn restore_read_mark(&mut self, mark: Option<ReadPosition>) {
        self.restored_mark = mark;
        self.apply_read_mark();
    }

    /// Records that the user has read up to `mark` in another tab.
    pub fn read_to(&mut self, mark: &ReadPosition) {
        if self
            .position()
            .is_some_and(|position| position.epoch == mark.epoch)
        {
            self.unread.read_to(mark.offset);
        }
    }

    /// Records whether the user sees the end of the log, which is never so while another room is shown. Returns true if that
    /// changed.
    pub fn set_attended(&mut self, is_attended: bool) -> bool {
        let is_attended = is_attended && self.is_shown;
        let is_changed = self.unread.attend(is_attended, self.newest());
        self.visit_line();
        is_changed
    }

    /// Applies the restored read mark, once the log is known. A mark of another epoch is ignored.
    pub(super) fn apply_read_mark(&mut self) {
        let Some(position) = self.position().cloned() else {
            return;
        };
        let newest = position.offset;
        let mark = self
            .restored_mark
            .take()
            .filter(|mark| mark.epoch == position.epoch)
            .map_or(newest, |mark| mark.offset.min(newest));

        self.has_read_mark = true;
        self.unread.restore(mark, newest);
        for (id, offset, message) in self.rows.stored_after(mark) {
            if self.is_counted(message) {
                let is_mention = mentions(message, &self.user);
                self.unread.add(id, offset, is_mention);
            }
        }
    }

    /// Records a visit of the line above the unread messages, if it is in view or below.
    pub(super) fn visit_line(&mut self) {
        let (Some(line), Some(first_in_view)) = (self.unread.first(), self.first_in_view) else {
            return;
        };
        if !self.has_unloaded_unread() && self.rows.is_at_or_after(line, first_in_view) {
            self.unread.visit();
        }
    }

    /// Returns true if messages that are not loaded may be unread.
    fn has_unloaded_unread(&self) -> bool {
        let oldest = self.rows.oldest();
        let is_unread = |oldest| self.unread.extends_before(oldest);
        self.has_older && is_unread(oldest.unwrap_or_else(|| self.newest()))
    }

    /// Requests older messages while some of them may be unread.
    pub(super) fn request_unread(&mut self) {
        if self.rows.len() < MAX_COUNTED && self.has_unloaded_unread() {
            self.request_older();
        }
    }

    fn counted(&self, count: usize) -> UnreadCount {
        UnreadCount {
            count,
            mentions: if count > 0 { self.unread.mentions() } else { 0 },
            is_more: count > 0 && self.has_unloaded_unread(),
        }
    }

    /// Returns true if `message` is unread until the user has seen it.
    pub(super) fn is_counted(&self, message: &Message) -> bool {
        !self.is_own(message) && !message.content.is_presence()
    }
}
