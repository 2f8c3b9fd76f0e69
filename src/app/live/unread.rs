//! What has come while nobody looked: how much, and where it begins.

/// See the [module docs](self).
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread {
    /// Whether somebody sees the end of the log.
    is_attended: bool,
    count: usize,
    /// The row of the first of them. It outlives the count, so that the reader finds the place.
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
    /// How many messages nobody has seen.
    pub(super) const fn count(self) -> usize {
        self.count
    }

    /// The row before which a line says that the new begins here.
    pub(super) const fn first(self) -> Option<u64> {
        self.first
    }

    /// Somebody begins to see the end of the log, or ceases to; answers whether that is news.
    pub(super) fn attend(&mut self, is_attended: bool) -> bool {
        let was = std::mem::replace(&mut self.is_attended, is_attended);
        if is_attended {
            self.count = 0;
        }
        was != is_attended
    }

    /// A message of somebody else has come as the row `id`.
    pub(super) const fn came(&mut self, id: u64) {
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
    fn what_comes_while_nobody_looks_is_counted_from_the_first() {
        let mut unread = Unread::default();
        unread.came(1);
        assert_eq!((unread.count(), unread.first()), (0, None));
        unread.attend(false);
        unread.came(2);
        unread.came(3);
        assert_eq!((unread.count(), unread.first()), (2, Some(2)));
        unread.attend(true);
        assert_eq!(
            (unread.count(), unread.first()),
            (0, Some(2)),
            "the line stays for the reader"
        );
        unread.attend(false);
        unread.came(4);
        assert_eq!((unread.count(), unread.first()), (1, Some(4)));
    }
}
