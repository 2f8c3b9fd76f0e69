//! A scrolling element that follows its content while its end is visible. Otherwise the visible rows stay in place
//! when rows are added above them.
//!
//! The element has three children: empty space, the rows, and empty space again. The empty space stands in for rows
//! that are not drawn. Changes of size trigger the module, not messages. New rows, older rows, a growing composer and
//! a rotated phone are therefore all handled in the same way, before the browser paints. Until then no layout has to
//! be computed.
//!
//! Only the user can leave the end, by scrolling up. The browser itself scrolls up when the content or the view
//! shrinks, and its event may arrive after the content has grown again. While sizes change, only an event after user
//! input counts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leptos::prelude::request_animation_frame;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Element, MutationObserver, MutationObserverInit, ResizeObserver};

use super::dom::{Listener, listen};

/// The distance from the end that counts as the end, in CSS pixels: half a line, to tolerate rounding.
const NEAR: i32 = 12;

/// The events of user input that scrolls.
const USER_EVENTS: [&str; 4] = ["wheel", "touchmove", "keydown", "pointerdown"];

/// The number of rows stored as anchors, in case some of them are removed.
const ANCHORS: u32 = 8;

/// The visible part of the rows that are in the document, in CSS pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Viewport {
    /// True if the end of the log is visible and must stay visible.
    pub at_end: bool,
    /// The height of the rows above the view; negative if the view begins before the first row.
    pub above: f64,
    /// The height of the rows below the view; negative if the view ends after the last row.
    pub below: f64,
    /// The height of the rows.
    pub rows: f64,
    /// The index of the first visible row.
    pub first: usize,
}

/// A handle on a scrolling element. Dropping it ends the control.
#[expect(
    missing_debug_implementations,
    reason = "that of an element has no information"
)]
pub struct ScrollAnchor {
    inner: Rc<Inner>,
    /// Removed when they are dropped.
    _listeners: Vec<Listener>,
    resizes: ResizeObserver,
    changes: MutationObserver,
    /// The callbacks of the observers.
    _callbacks: [Closure<dyn Fn()>; 2],
}

impl Drop for ScrollAnchor {
    fn drop(&mut self) {
        self.resizes.disconnect();
        self.changes.disconnect();
    }
}

struct Inner {
    scroller: Element,
    rows: Element,
    pinned: Cell<bool>,
    user_scrolls: Cell<bool>,
    /// True if the position is restored in the next frame.
    is_due: Cell<bool>,
    /// The last `scrollTop`, `scrollHeight` and `clientHeight`.
    last: Cell<(i32, (i32, i32))>,
    /// The visible rows, and their distances from the top of the view.
    anchors: RefCell<Vec<(Element, f64)>>,
    /// The selector of a row to move to the middle of the view in the next frame.
    goal: Cell<Option<&'static str>>,
    notify: Box<dyn Fn(Viewport)>,
}

impl ScrollAnchor {
    /// Controls `scroller` from now on. Calls `notify` when another part of it becomes visible.
    pub fn attach(scroller: &Element, notify: impl Fn(Viewport) + 'static) -> Option<Self> {
        let rows = scroller.children().item(1)?;

        // Until now the style sheet has laid the log out in reverse, so that it began at its end: distances were measured
        // from there, and are negative.
        let from_end = -scroller.scroll_top();
        // Fails only for an invalid name.
        let _ = scroller.toggle_attribute_with_force("data-kept", true);
        scroller.set_scroll_top(scroller.scroll_height() - scroller.client_height() - from_end);

        let inner = Rc::new(Inner {
            scroller: scroller.clone(),
            rows,
            pinned: Cell::new(from_end <= NEAR),
            user_scrolls: Cell::new(false),
            is_due: Cell::new(false),
            last: Cell::default(),
            anchors: RefCell::default(),
            goal: Cell::new(None),
            notify: Box::new(notify),
        });
        let resized = inner.clone();
        let resized = Closure::<dyn Fn()>::new(move || resized.settle());
        // Rows may be added and removed without a change of size.
        let changed = inner.clone();
        let changed = Closure::<dyn Fn()>::new(move || changed.settle_in_next_frame());
        // Fails only for a callback that is not a function.
        let resizes = ResizeObserver::new(resized.as_ref().unchecked_ref()).ok()?;
        let changes = MutationObserver::new(changed.as_ref().unchecked_ref()).ok()?;
        inner.observe(&resizes, &changes);

        let anchor = Self {
            _listeners: inner.listen(),
            resizes,
            changes,
            _callbacks: [resized, changed],
            inner,
        };
        anchor.inner.settle();
        Some(anchor)
    }

    /// Scrolls to the end, and follows it.
    pub fn to_end(&self) {
        self.inner.pinned.set(true);
        self.inner.goal.set(None);
        self.inner.settle();
    }

    /// Scrolls to the first row, once it is drawn.
    pub fn to_start(&self) {
        self.inner.pinned.set(false);
        self.inner.anchors.borrow_mut().clear();
        self.inner.goal.set(None);
        self.inner.scroller.set_scroll_top(0);
    }

    /// Scrolls to the row that matches `selector`, once it is drawn.
    pub fn to_row(&self, selector: &'static str) {
        self.inner.pinned.set(false);
        self.inner.goal.set(Some(selector));
        self.inner.settle_in_next_frame();
    }
}

impl Inner {
    /// Adds the listeners for scrolling.
    fn listen(self: &Rc<Self>) -> Vec<Listener> {
        let inner = self.clone();
        let scrolled = listen(&self.scroller, "scroll", move || inner.on_scroll());
        let by_user = USER_EVENTS.map(|event| {
            let inner = self.clone();
            listen(&self.scroller, event, move || inner.user_scrolls.set(true))
        });
        by_user.into_iter().chain([scrolled]).collect()
    }

    /// Observes the sizes of the element and of its children, and the rows.
    fn observe(&self, resizes: &ResizeObserver, changes: &MutationObserver) {
        resizes.observe(&self.scroller);
        let children = self.scroller.children();
        for child in (0..children.length()).filter_map(|at| children.item(at)) {
            resizes.observe(&child);
        }

        let options = MutationObserverInit::new();
        options.set_child_list(true);
        // Fails only for options that observe nothing.
        let _ = changes.observe_with_options(&self.rows, &options);
    }

    fn settle_in_next_frame(self: &Rc<Self>) {
        if !self.is_due.replace(true) {
            let inner = self.clone();
            request_animation_frame(move || {
                inner.is_due.set(false);
                inner.settle();
            });
        }
    }

    fn measure(&self) -> (i32, (i32, i32)) {
        (
            self.scroller.scroll_top(),
            (self.scroller.scroll_height(), self.scroller.client_height()),
        )
    }

    fn on_scroll(&self) {
        let now = self.measure();
        let (top, sizes) = now;
        let before = self.last.replace(now);

        let is_at_end = sizes.0 - top - sizes.1 <= NEAR;
        let went_up = top < before.0 && (self.user_scrolls.get() || sizes == before.1);
        if is_at_end {
            self.user_scrolls.set(false);
        }

        self.pinned
            .set(is_at_end || (self.pinned.get() && !went_up));
        self.update_view();
    }

    /// Restores the position after a change of sizes or rows, before the browser paints.
    fn settle(&self) {
        let goal = self.goal.get().and_then(|selector| {
            // Fails only for an invalid selector.
            self.rows.query_selector(selector).ok().flatten()
        });

        if self.pinned.get() {
            self.scroller.set_scroll_top(self.scroller.scroll_height());
        } else if let Some(row) = goal {
            self.goal.set(None);
            self.shift(self.below_top(&row) - f64::from(self.scroller.client_height()) / 2.0);
            // In a short log, the end stays in view.
            let (top, (height, view)) = self.measure();
            self.pinned.set(height - top - view <= NEAR);
        } else {
            let shift = self
                .anchors
                .borrow()
                .iter()
                .find(|(row, _)| row.is_connected())
                .map(|(row, was)| self.below_top(row) - was);
            self.shift(shift.unwrap_or_default());
        }

        self.last.set(self.measure());
        self.update_view();
    }

    fn shift(&self, by: f64) {
        let by = by.round() as i32;
        if by != 0 {
            self.scroller
                .set_scroll_top(self.scroller.scroll_top() + by);
        }
    }

    /// Returns the distance of `row` from the top of the view.
    fn below_top(&self, row: &Element) -> f64 {
        row.get_bounding_client_rect().top() - self.scroller.get_bounding_client_rect().top()
    }

    /// Stores the visible rows as anchors, and reports the visible part.
    fn update_view(&self) {
        let (view, rows) = (
            self.scroller.get_bounding_client_rect(),
            self.rows.get_bounding_client_rect(),
        );
        let first = self.first_visible_row(view.top());
        *self.anchors.borrow_mut() = self.anchors_from(first);

        // While the row to scroll to is not drawn, the visible part is temporary.
        if self.goal.get().is_some() {
            return;
        }

        (self.notify)(Viewport {
            at_end: self.pinned.get(),
            above: view.top() - rows.top(),
            below: rows.bottom() - view.bottom(),
            rows: rows.height(),
            first: first as usize,
        });
    }

    /// Returns the index of the first row that ends below `top`.
    fn first_visible_row(&self, top: f64) -> u32 {
        let children = self.rows.children();
        let (mut first, mut end) = (0, children.length());
        while first < end {
            let middle = first.midpoint(end);
            let is_above = children
                .item(middle)
                .is_some_and(|row| row.get_bounding_client_rect().bottom() <= top);
            if is_above {
                first = middle + 1
            } else {
                end = middle
            }
        }
        first
    }

    /// Returns the rows from the index `first`, and their distances from the top of the view. Empty while the end is
    /// followed.
    fn anchors_from(&self, first: u32) -> Vec<(Element, f64)> {
        if self.pinned.get() {
            return Vec::new();
        }

        let children = self.rows.children();
        let seen = (first..first + ANCHORS).filter_map(|at| children.item(at));
        seen.map(|row| (row.clone(), self.below_top(&row)))
            .collect()
    }
}
