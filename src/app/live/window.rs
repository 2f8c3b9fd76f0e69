//! Which of the rows are in the document: a few screens of them, however long the log is.
//!
//! What is not drawn is stood in for by empty space of the height that it is thought to have, so that the
//! scroll bar tells the truth. The window either follows the end of the log or stays where someone reads.
//!
//! Pure: what the reader sees is handed in as a [`Sight`], in CSS pixels.

use std::ops::Range;

/// Rows in the document: a tall screen of single lines, as much again above and below it.
pub(super) const WINDOW: usize = 150;

/// Rows in the document while the end is followed: a tall screen of them, and a little above it. Whoever goes up has
/// [`WINDOW`] of them at the first step.
pub(super) const FOLLOWED: usize = 100;

/// A guess at a row's height, until rows were measured.
const ROW_HEIGHT: f64 = 32.0;

/// What the reader sees of the rows that are in the document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sight {
    /// Whether the log's end is in view and is to stay there.
    pub at_end: bool,
    /// How much of the rows is above the view; negative where the view begins before the first of them.
    pub above: f64,
    /// How much of the rows is below the view; negative where the view ends behind the last of them.
    pub below: f64,
    /// The rows' height.
    pub rows: f64,
}

/// See the [module docs](self).
#[derive(Clone, Debug)]
pub(super) struct Window {
    range: Range<usize>,
    follows: bool,
    row_height: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            range: 0..0,
            follows: true,
            row_height: ROW_HEIGHT,
        }
    }
}

impl Window {
    /// The rows that are drawn.
    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Whether it follows the end of the log.
    pub(super) const fn follows(&self) -> bool {
        self.follows
    }

    /// The height of what is not drawn, above and below, in a log of `rows` rows.
    pub(super) fn spaces(&self, rows: usize) -> (u32, u32) {
        let height = |rows: usize| (rows as f64 * self.row_height) as u32;
        (
            height(self.range.start),
            height(rows.saturating_sub(self.range.end)),
        )
    }

    /// A row has come to stand at `at`.
    pub(super) const fn inserted(&mut self, at: usize) {
        if at < self.range.start {
            self.range.start += 1;
        }
        if at <= self.range.end {
            self.range.end += 1;
        }
    }

    /// The row at `at` is gone.
    pub(super) const fn removed(&mut self, at: usize) {
        if at < self.range.start {
            self.range.start -= 1;
        }
        if at < self.range.end {
            self.range.end -= 1;
        }
    }

    /// After changes to a log that has `rows` rows now.
    pub(super) fn settle(&mut self, rows: usize) {
        if self.follows {
            self.range = rows.saturating_sub(FOLLOWED)..rows;
        }
    }

    /// Follows the end from now on.
    pub(super) fn follow(&mut self, rows: usize) {
        self.follows = true;
        self.settle(rows);
    }

    /// Shows the row `at` and what stands around it.
    pub(super) fn show(&mut self, at: usize, rows: usize) {
        self.follows = false;
        let start = at
            .saturating_sub(WINDOW / 2)
            .min(rows.saturating_sub(WINDOW));
        self.range = start..(start + WINDOW).min(rows);
    }

    /// The reader of a log of `rows` rows sees this; answers whether other rows are drawn now.
    pub(super) fn look(&mut self, sight: Sight, rows: usize) -> bool {
        let before = self.range.clone();
        if sight.at_end {
            self.follow(rows);
            return before != self.range;
        }
        self.follows = false;
        let drawn = self.range.len().max(1) as f64;
        let height = (sight.rows / drawn).max(1.0);
        let seen = sight.rows - sight.above - sight.below;
        // New rows are drawn while there is still a view's height of them in reserve.
        let wants_above = self.range.start > 0 && sight.above < seen;
        let wants_below = self.range.end < rows && sight.below < seen;
        let is_too_many = self.range.len() > 2 * WINDOW;
        if wants_above || wants_below || is_too_many {
            self.row_height = height;
            let middle = self.range.start as f64 + (sight.above + seen / 2.0) / height;
            self.show(middle.max(0.0) as usize, rows);
        }
        before != self.range
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A view of 600 pixels that begins so many pixels below the first drawn row, each row 30 pixels.
    fn sight(window: &Window, above: f64) -> Sight {
        let rows = window.range.len() as f64 * 30.0;
        Sight {
            at_end: false,
            above,
            below: rows - above - 600.0,
            rows,
        }
    }

    #[test]
    fn the_end_is_followed_until_someone_reads_elsewhere() {
        let mut window = Window::default();
        window.settle(1000);
        assert_eq!(window.range(), 900..1000);
        window.inserted(1000);
        window.settle(1001);
        assert_eq!(window.range(), 901..1001);
        assert!(
            !window.look(sight(&window, 1000.0), 1001),
            "there is enough above and below"
        );
        window.inserted(1001);
        window.settle(1002);
        assert_eq!((window.follows(), window.range()), (false, 901..1002));
    }

    #[test]
    fn what_comes_in_above_leaves_the_same_rows_drawn() {
        let mut window = Window::default();
        window.show(500, 1000);
        assert_eq!(window.range(), 425..575);
        for _ in 0..50 {
            window.inserted(0);
        }
        assert_eq!(window.range(), 475..625);
        window.removed(0);
        assert_eq!(window.range(), 474..624);
        window.removed(500);
        assert_eq!(window.range(), 474..623);
    }

    #[test]
    fn whoever_comes_near_the_edge_of_what_is_drawn_gets_more_of_it() {
        let mut window = Window::default();
        window.show(500, 1000);
        assert!(window.look(sight(&window, 100.0), 1000));
        assert!(window.range().contains(&428), "{:?}", window.range());
        assert!(window.range().start < 400);
        // A view that begins a thousand pixels above what is drawn.
        let start = window.range().start;
        assert!(window.look(sight(&window, -1000.0), 1000));
        assert!(
            window.range().contains(&(start - 20)),
            "{:?}",
            window.range()
        );
    }

    proptest! {
        #[test]
        fn the_window_is_within_the_log_and_of_its_size(
            rows in 0..5000_usize, above in -200_000.0..200_000.0_f64, at in 0..5000_usize,
        ) {
            let mut window = Window::default();
            window.settle(rows);
            window.show(at.min(rows), rows);
            window.look(sight(&window, above), rows);
            let range = window.range();
            prop_assert!(range.start <= range.end && range.end <= rows);
            prop_assert_eq!(range.len(), rows.min(WINDOW));
        }
    }
}
