//! The moments at which a page should look around: the browser found the network, or someone looks at the tab
//! or away from it.

use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{EventTarget, VisibilityState};

/// Calls `tell` at each such moment, for as long as the page lives.
pub fn listen(tell: impl Fn() + 'static) {
    let moment = Closure::<dyn Fn()>::new(tell);
    on(&window(), "online", &moment);
    on(&document(), "visibilitychange", &moment);
    moment.forget();
}

/// Whether someone can see the page.
pub fn is_shown() -> bool {
    document().visibility_state() == VisibilityState::Visible
}

fn on(target: &EventTarget, event: &str, callback: &Closure<dyn Fn()>) {
    // Fails only for a callback that is no function.
    let _ = target.add_event_listener_with_callback(event, callback.as_ref().unchecked_ref());
}
