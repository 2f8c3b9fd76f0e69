//! A scrolling element that follows its content while its end is in view, and stays put while someone reads
//! further up.
//!
//! By size, not by message: whatever moves the end out of view (a new row, a growing composer, a turned
//! phone, a font that arrives late) is one resize, seen before it is painted.
//!
//! Only someone who goes up leaves the end. The browser goes up by itself where content or surroundings
//! shrink, and its event may come when there is more content again; so while sizes change, only what follows
//! a hand's doing counts.

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{AddEventListenerOptions, Element, ResizeObserver};

/// This near the end counts as at the end: half a line, so that no rounding unpins.
const NEAR: i32 = 12;

/// What someone does who wants to scroll.
const BY_HAND: [&str; 4] = ["wheel", "touchmove", "keydown", "pointerdown"];

/// Where a scroller stands.
#[derive(Clone, Copy)]
struct View {
    top: i32,
    /// Of the content, and of what is seen of it.
    sizes: (i32, i32),
}

impl View {
    fn of(scroller: &Element) -> Self {
        Self { top: scroller.scroll_top(), sizes: (scroller.scroll_height(), scroller.client_height()) }
    }

    const fn is_at_end(self) -> bool {
        self.sizes.0 - self.top - self.sizes.1 <= NEAR
    }
}

/// From now on keeps `scroller` at its end while it is there.
pub fn keep_at_end(scroller: &Element) {
    let pinned = Rc::new(Cell::new(true));
    let last = Rc::new(Cell::new(View::of(scroller)));
    let by_hand = Rc::new(Cell::new(false));
    mark(scroller, true);

    let scrolled = Closure::<dyn FnMut()>::new({
        let (scroller, pinned, last, by_hand) =
            (scroller.clone(), pinned.clone(), last.clone(), by_hand.clone());
        move || {
            let view = View::of(&scroller);
            let before = last.replace(view);
            let went_up = view.top < before.top && (by_hand.get() || view.sizes == before.sizes);
            if view.is_at_end() {
                by_hand.set(false);
            }
            let now = view.is_at_end() || (pinned.get() && !went_up);
            if pinned.replace(now) != now {
                mark(&scroller, now);
            }
        }
    });
    listen(scroller, "scroll", &scrolled);

    let touched = Closure::<dyn FnMut()>::new(move || by_hand.set(true));
    for event in BY_HAND {
        listen(scroller, event, &touched);
    }

    let resized = Closure::<dyn FnMut()>::new({
        let scroller = scroller.clone();
        move || {
            if pinned.get() {
                scroller.set_scroll_top(scroller.scroll_height());
            }
            last.set(View::of(&scroller));
        }
    });
    if let Ok(observer) = ResizeObserver::new(resized.as_ref().unchecked_ref()) {
        observer.observe(scroller);
        if let Some(content) = scroller.first_element_child() {
            observer.observe(&content);
        }
    }

    // The log lives as long as the page, and these with it.
    scrolled.forget();
    touched.forget();
    resized.forget();
}

fn listen(scroller: &Element, event: &str, callback: &Closure<dyn FnMut()>) {
    // Or the browser would wait for the callback before it scrolls.
    let options = AddEventListenerOptions::new();
    options.set_passive(true);
    let callback = callback.as_ref().unchecked_ref();
    // Fails only for a callback that is no function.
    let _ =
        scroller.add_event_listener_with_callback_and_add_event_listener_options(event, callback, &options);
}

/// For the style sheet: at the end the browser must not hold on to a row of its own choosing.
fn mark(scroller: &Element, pinned: bool) {
    // Fails only for a name that is no attribute's.
    let _ = scroller.toggle_attribute_with_force("data-at-end", pinned);
}
