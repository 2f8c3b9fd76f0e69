//! The range of rows that are in the document: a few screens, regardless of the length of the log.
//!
//! Empty space of an estimated height stands in for the other rows, so that the scroll bar is right. The window follows
//! the end of the log, or stays where the user reads.
//!
//! Pure: the visible part is passed in as a [`Viewport`], in CSS pixels.

use std::ops::Range;

use crate::browser::scroll::Viewport;

/// The number of rows in the document: a tall screen of single lines, and as many above and below.
pub(super) const WINDOW: usize = 150;

/// The number of rows in the document while the end is followed: a tall screen and a few rows above it. The first
/// scroll up draws [`WINDOW`] rows.
pub(super) const FOLLOWED: usize = 100;

/// The estimated height of a row until rows are measured.
const ROW_HEIGHT: f64 = 32.0;

/// A range of rows.
#[derive(Clone, Debug)]
pub(super) struct RowWindow {
    range: Range<usize>,
    follows: bool,
    row_height: f64,
}

impl Default for RowWindow {
    fn default() -> Self {
        Self {
            range: 0..0,
            follows: true,
            row_height: ROW_HEIGHT,
        }
    }
}

impl RowWindow {
    /// Returns the drawn rows.
    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Returns whether the window follows the end of the log.
    pub(super) const fn follows(&self) -> bool {
        self.follows
    }

    /// Returns the height of the rows above and below the window, in a log of `rows` rows.
    pub(super) fn spaces(&self, rows: usize) -> (u32, u32) {
        let height = |rows: usize| (rows as f64 * self.row_height) as u32;
        (
            height(self.range.start),
            height(rows.saturating_sub(self.range.end)),
        )
    }

    /// Records a new row at `at`.
    pub(super) const fn inserted(&mut self, at: usize) {
        if at < self.range.start {
            self.range.start += 1;
        }
        if at <= self.range.end {
            self.range.end += 1;
        }
    }

    /// Records that the row at `at` was removed.
    pub(super) const fn removed(&mut self, at: usize) {
        if at < self.range.start {
            self.range.start -= 1;
        }
        if at < self.range.end {
            self.range.end -= 1;
        }
    }

    /// Moves the window to the end if it follows it. Call it after changes to a log that now has `rows` rows. The row at `held`
    /// stays drawn: if it is far from the end, the window no longer follows.
    pub(super) fn settle(&mut self, rows: usize, held: Option<usize>) {
        if !self.follows {
            return;
        }

        let start = rows.saturating_sub(FOLLOWED);
        let start = held.map_or(start, |held| held.min(start));
        if rows - start > 2 * WINDOW {
            self.follows = false;
        } else {
            self.range = start..rows;
        }
    }

    /// Moves the window to the end, and follows it.
    pub(super) fn follow(&mut self, rows: usize) {
        self.follows = true;
        self.settle(rows, None);
    }

    /// Moves the window around the row `at`.
    pub(super) fn show(&mut self, at: usize, rows: usize) {
        self.follows = false;
        let start = at
            .saturating_sub(WINDOW / 2)
            .min(rows.saturating_sub(WINDOW));
        self.range = start..(start + WINDOW).min(rows);
    }

    /// Moves the window to the visible part of a log of `rows` rows, and returns whether other rows are drawn now. The row at
    /// `held` stays drawn at the end of the log.
    pub(super) fn update(&mut self, viewport: Viewport, rows: usize, held: Option<usize>) -> bool {
        let before = self.range.clone();
        if viewport.at_end {
            self.follows = true;
            self.settle(rows, held);
            return before != self.range;
        }

        self.follows = false;
        let drawn = self.range.len().max(1) as f64;
        let height = (viewport.rows / drawn).max(1.0);
        let visible = viewport.rows - viewport.above - viewport.below;
        // More rows are drawn when less than one view's height is left.
        let wants_above = self.range.start > 0 && viewport.above < visible;
        let wants_below = self.range.end < rows && viewport.below < visible;
        let is_too_many = self.range.len() > 2 * WINDOW;
        if wants_above || wants_below || is_too_many {
            self.row_height = height;
            let middle = self.range.start as f64 + (viewport.above + visible / 2.0) / height;
            self.show(middle.max(0.0) as usize, rows);
        }
        before != self.range
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a view of 600 pixels that begins `above` pixels below the first drawn row. Each row has 30 pixels.
    fn viewport(window: &RowWindow, above: f64) -> Viewport {
        let rows = window.range.len() as f64 * 30.0;
        Viewport {
            at_end: false,
            above,
            below: rows - above - 600.0,
            rows,
            first: 0,
        }
    }

    #[test]
    fn the_end_is_followed_until_the_user_reads_elsewhere() {
        let mut window = RowWindow::default();
        window.settle(1000, None);
        assert_eq!(window.range(), 900..1000);

        window.inserted(1000);
        window.settle(1001, None);
        assert_eq!(window.range(), 901..1001);

        assert!(
            !window.update(viewport(&window, 1000.0), 1001, None),
            "there is enough above and below"
        );
        window.inserted(1001);
        window.settle(1002, None);
        assert_eq!((window.follows(), window.range()), (false, 901..1002));
    }

    #[test]
    fn a_held_row_stays_drawn_and_ends_the_following_when_it_is_far_from_the_end() {
        let mut window = RowWindow::default();
        window.settle(1000, Some(950));
        assert_eq!(window.range(), 900..1000);

        window.settle(1120, Some(950));
        assert_eq!(window.range(), 950..1120);

        window.settle(1300, Some(950));
        assert_eq!((window.follows(), window.range()), (false, 950..1120));
    }

    #[test]
    fn rows_that_are_added_above_leave_the_same_rows_drawn() {
        let mut window = RowWindow::default();
        window.show(500, 1000);
        assert_eq!(window.range(), 425..575);

        for _row in 0..50 {
            window.inserted(0);
        }
        assert_eq!(window.range(), 475..625);

        window.removed(0);
        assert_eq!(window.range(), 474..624);
        window.removed(500);
        assert_eq!(window.range(), 474..623);
    }

    #[test]
    fn near_the_edge_of_the_window_more_rows_are_drawn() {
        let mut window = RowWindow::default();
        window.show(500, 1000);

        assert!(window.update(viewport(&window, 100.0), 1000, None));
        assert!(window.range().contains(&428), "{:?}", window.range());
        assert!(window.range().start < 400);

        // A view that begins a thousand pixels above what is drawn.
        let start = window.range().start;
        assert!(window.update(viewport(&window, -1000.0), 1000, None));
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
            let mut window = RowWindow::default();
            window.settle(rows, None);
            window.show(at.min(rows), rows);
            window.update(viewport(&window, above), rows, None);
            let range = window.range();
            prop_assert!(range.start <= range.end && range.end <= rows);
            prop_assert_eq!(range.len(), rows.min(WINDOW));
        }
    }
}
