//! A scrolling element that follows its content while its end is in view, and keeps what someone reads where
//! it is, whatever comes in above.
//!
//! It has three children: empty space, the rows, and empty space again, which stands in for rows that are not
//! drawn. By size, not by message: whatever moves things (a new row, older ones, a growing composer, a turned
//! phone) is one change, seen before it is painted, and not earlier: until then the browser need not lay anything out,
//! and is free for what its reader does.
//!
//! Only someone who goes up leaves the end. The browser goes up by itself where content or surroundings
//! shrink, and its event may come when there is more content again; so while sizes change, only what follows
//! a hand's doing counts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{
    AddEventListenerOptions, Element, HtmlElement, MutationObserver, MutationObserverInit,
    ResizeObserver,
};

/// This near the end counts as at the end: half a line, so that no rounding unpins.
const NEAR: i32 = 12;

/// What someone does who wants to scroll.
const BY_HAND: [&str; 4] = ["wheel", "touchmove", "keydown", "pointerdown"];

/// Rows that are remembered to hold on to, in case some of them are drawn anew.
const ANCHORS: u32 = 8;

/// What is seen of the rows, in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Whether the end is in view and is to stay there.
    pub at_end: bool,
    /// How much of the rows is above the view, or how much nothing is before them, negative.
    pub above: f64,
    /// How much of the rows is below the view, or how much nothing is behind them, negative.
    pub below: f64,
    /// The rows' height.
    pub rows: f64,
}

/// A handle on one such element; see the [module docs](self).
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "elements have none that says anything"
)]
pub struct Keeper(Rc<Kept>);

struct Kept {
    scroller: Element,
    rows: Element,
    pinned: Cell<bool>,
    by_hand: Cell<bool>,
    /// Rows came or went since the last frame.
    is_due: Cell<bool>,
    /// `scrollTop`, `scrollHeight` and `clientHeight` as they were last.
    last: Cell<(i32, (i32, i32))>,
    /// Rows that are seen, and how far below the top of the view they begin.
    anchors: RefCell<Vec<(Element, f64)>>,
    /// The id of a row that is to come to the middle of the view as soon as it is drawn.
    goal: RefCell<Option<String>>,
    tell: Box<dyn Fn(View)>,
}

impl Keeper {
    /// From now on keeps `scroller`, and calls `tell` when something else is seen.
    pub fn keep(scroller: &Element, tell: impl Fn(View) + 'static) -> Option<Self> {
        let rows = scroller.children().item(1)?;
        let kept = Rc::new(Kept {
            scroller: scroller.clone(),
            rows,
            pinned: Cell::new(true),
            by_hand: Cell::new(false),
            is_due: Cell::new(false),
            last: Cell::default(),
            anchors: RefCell::default(),
            goal: RefCell::default(),
            tell: Box::new(tell),
        });
        // For the style sheet. Fails only for a name that is no attribute's.
        let _ = scroller.toggle_attribute_with_force("data-kept", true);
        kept.mark();
        kept.listen();
        Some(Self(kept))
    }

    /// Goes to the end and follows it.
    pub fn to_end(&self) {
        self.0.pinned.set(true);
        self.0.mark();
        self.0.settle();
    }

    /// Brings the element `id` among the rows to the middle of the view, as soon as it is there.
    pub fn to(&self, id: String) {
        self.0.pinned.set(false);
        self.0.mark();
        *self.0.goal.borrow_mut() = Some(id);
        self.0.settle();
    }

    /// The height of the empty space above and below the rows.
    pub fn set_spaces(&self, above: u32, below: u32) {
        let children = self.0.scroller.children();
        for (at, height) in [(0, above), (2, below)] {
            if let Some(space) = children
                .item(at)
                .and_then(|space| space.dyn_into::<HtmlElement>().ok())
            {
                // Fails only for a value that is no length.
                let _ = space.style().set_property("height", &format!("{height}px"));
            }
        }
    }
}

impl Kept {
    /// The listeners live as long as the page, as the log does.
    fn listen(self: &Rc<Self>) {
        let kept = self.clone();
        let scrolled = Closure::<dyn Fn()>::new(move || kept.scrolled());
        listen(&self.scroller, "scroll", &scrolled);
        scrolled.forget();

        let kept = self.clone();
        let touched = Closure::<dyn Fn()>::new(move || kept.by_hand.set(true));
        for event in BY_HAND {
            listen(&self.scroller, event, &touched);
        }
        touched.forget();

        let kept = self.clone();
        let resized = Closure::<dyn Fn()>::new(move || kept.settle());
        if let Ok(observer) = ResizeObserver::new(resized.as_ref().unchecked_ref()) {
            observer.observe(&self.scroller);
            let children = self.scroller.children();
            for child in (0..children.length()).filter_map(|at| children.item(at)) {
                observer.observe(&child);
            }
        }
        resized.forget();

        // Rows may come and go without a change of size.
        let kept = self.clone();
        let framed = Closure::<dyn Fn()>::new(move || {
            kept.is_due.set(false);
            kept.settle();
        });
        let kept = self.clone();
        let changed = Closure::<dyn Fn()>::new(move || {
            if !kept.is_due.replace(true) {
                // Fails only for a callback that is no function.
                let _ = leptos::prelude::window()
                    .request_animation_frame(framed.as_ref().unchecked_ref());
            }
        });
        if let Ok(observer) = MutationObserver::new(changed.as_ref().unchecked_ref()) {
            let children = MutationObserverInit::new();
            children.set_child_list(true);
            // Fails only for options that observe nothing.
            let _ = observer.observe_with_options(&self.rows, &children);
        }
        changed.forget();
    }

    fn measure(&self) -> (i32, (i32, i32)) {
        (
            self.scroller.scroll_top(),
            (self.scroller.scroll_height(), self.scroller.client_height()),
        )
    }

    fn scrolled(&self) {
        let now = self.measure();
        let (top, sizes) = now;
        let before = self.last.replace(now);
        let is_at_end = sizes.0 - top - sizes.1 <= NEAR;
        let went_up = top < before.0 && (self.by_hand.get() || sizes == before.1);
        if is_at_end {
            self.by_hand.set(false);
        }
        let pinned = is_at_end || (self.pinned.get() && !went_up);
        if self.pinned.replace(pinned) != pinned {
            self.mark();
        }
        self.remember();
    }

    /// After a change of sizes or rows, before it is painted.
    fn settle(&self) {
        let goal = self.goal.borrow_mut().take();
        if self.pinned.get() {
            self.scroller.set_scroll_top(self.scroller.scroll_height());
        } else if let Some(goal) = goal {
            match leptos::prelude::document().get_element_by_id(&goal) {
                Some(row) => self
                    .shift(self.below_top(&row) - f64::from(self.scroller.client_height()) / 2.0),
                None => *self.goal.borrow_mut() = Some(goal),
            }
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
        self.remember();
    }

    fn shift(&self, by: f64) {
        let by = by.round() as i32;
        if by != 0 {
            self.scroller
                .set_scroll_top(self.scroller.scroll_top() + by);
        }
    }

    /// How far below the top of the view `row` begins.
    fn below_top(&self, row: &Element) -> f64 {
        row.get_bounding_client_rect().top() - self.scroller.get_bounding_client_rect().top()
    }

    /// Remembers what is seen, and tells it.
    fn remember(&self) {
        let (view, rows) = (
            self.scroller.get_bounding_client_rect(),
            self.rows.get_bounding_client_rect(),
        );
        *self.anchors.borrow_mut() = self.seen(view.top());
        // What is seen on the way to a row that is not drawn yet is of no interest.
        if self.goal.borrow().is_some() {
            return;
        }
        (self.tell)(View {
            at_end: self.pinned.get(),
            above: view.top() - rows.top(),
            below: rows.bottom() - view.bottom(),
            rows: rows.height(),
        });
    }

    /// The first rows that end below `top`, and how far below the top of the view they begin. Whoever follows the
    /// end holds on to none.
    fn seen(&self, top: f64) -> Vec<(Element, f64)> {
        if self.pinned.get() {
            return Vec::new();
        }
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
        let seen = (first..first + ANCHORS).filter_map(|at| children.item(at));
        seen.map(|row| (row.clone(), self.below_top(&row)))
            .collect()
    }

    /// For the style sheet and for screen readers: what is drawn while someone reads back is not news.
    fn mark(&self) {
        let pinned = self.pinned.get();
        // Both fail only for names that are no attributes'.
        let _ = self
            .scroller
            .toggle_attribute_with_force("data-at-end", pinned);
        let _ = self
            .scroller
            .set_attribute("aria-live", if pinned { "polite" } else { "off" });
    }
}

fn listen(scroller: &Element, event: &str, callback: &Closure<dyn Fn()>) {
    // Or the browser would wait for the callback before it scrolls.
    let options = AddEventListenerOptions::new();
    options.set_passive(true);
    let callback = callback.as_ref().unchecked_ref();
    // Fails only for a callback that is no function.
    let _ = scroller
        .add_event_listener_with_callback_and_add_event_listener_options(event, callback, &options);
}
