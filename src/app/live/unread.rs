//! The unread messages: those that arrived while the user did not see the end of the log.

/// The number of unread messages, and the row of the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread {
    /// True while the user sees the end of the log.
    is_attended: bool,
    count: usize,
    /// The row of the first unread message. It outlives the count, so that the user finds the place.
    first: Option<u64>,
}

impl Default for Unread {
    fn default() -> Self {
        Self {
            is_attended: true,
            count: 0,
            first: None,
        }
    }
}

impl Unread {
    /// Returns the number of unread messages.
    pub(super) const fn count(self) -> usize {
        self.count
    }

    /// Returns the row of the first unread message, which gets a line above it.
    pub(super) const fn first(self) -> Option<u64> {
        self.first
    }

    /// Records whether the user sees the end of the log. Reports whether that changed.
    pub(super) fn attend(&mut self, is_attended: bool) -> bool {
        let was = std::mem::replace(&mut self.is_attended, is_attended);
        if is_attended {
            self.count = 0;
        }
        was != is_attended
    }

    /// Records that a message of another user was added as the row `id`.
    pub(super) const fn add(&mut self, id: u64) {
        if self.is_attended {
            return;
        }
        if self.count == 0 {
            self.first = Some(id);
        }
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_unread_while_nobody_sees_the_end_of_the_log() {
        let mut unread = Unread::default();
        unread.add(1);
        assert_eq!((unread.count(), unread.first()), (0, None));

        unread.attend(false);
        unread.add(2);
        unread.add(3);
        assert_eq!((unread.count(), unread.first()), (2, Some(2)));

        unread.attend(true);
        assert_eq!(
            (unread.count(), unread.first()),
            (0, Some(2)),
            "the line stays for the user"
        );

        unread.attend(false);
        unread.add(4);
        assert_eq!((unread.count(), unread.first()), (1, Some(4)));
    }
}
