//! A scrolling element that follows its content while its end is in view, and stays put while someone reads
//! further up.
//!
//! By size, not by message: whatever moves the end out of view (a new row, a growing composer, a turned
//! phone, a font that arrives late) is one resize, seen before it is painted.

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Element, ResizeObserver};

/// This near the end counts as at the end: half a line, so that no rounding unpins.
const NEAR: i32 = 12;

/// From now on keeps `scroller` at its end while it is there.
pub fn keep_at_end(scroller: &Element) {
    let pinned = Rc::new(Cell::new(true));
    mark(scroller, true);

    let scrolled = Closure::<dyn FnMut()>::new({
        let (scroller, pinned) = (scroller.clone(), pinned.clone());
        let mut last = scroller.scroll_top();
        move || {
            let top = scroller.scroll_top();
            let at_end = scroller.scroll_height() - top - scroller.client_height() <= NEAR;
            // Only going up leaves the end. Being short of it may also mean that more content came since.
            let now = at_end || (pinned.get() && top >= last);
            last = top;
            if pinned.replace(now) != now {
                mark(&scroller, now);
            }
        }
    });
    let _ = scroller.add_event_listener_with_callback("scroll", scrolled.as_ref().unchecked_ref());

    let resized = Closure::<dyn FnMut()>::new({
        let scroller = scroller.clone();
        move || {
            if pinned.get() {
                scroller.set_scroll_top(scroller.scroll_height());
            }
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
    resized.forget();
}

/// For the style sheet: at the end the browser must not hold on to a row of its own choosing.
fn mark(scroller: &Element, pinned: bool) {
    // Fails only for a name that is no attribute's.
    let _ = scroller.toggle_attribute_with_force("data-at-end", pinned);
}
