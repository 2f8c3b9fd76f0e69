//! The events after which the page checks its connection: the network returned, or the tab was shown or hidden.

use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{EventTarget, VisibilityState};

/// Calls `notify` on each of these events, as long as the page lives.
pub fn listen(notify: impl Fn() + 'static) {
    let callback = Closure::<dyn Fn()>::new(notify);
    on(&window(), "online", &callback);
    on(&document(), "visibilitychange", &callback);
    callback.forget();
}

/// Returns whether the tab is visible.
pub fn is_visible() -> bool {
    document().visibility_state() == VisibilityState::Visible
}

fn on(target: &EventTarget, event: &str, callback: &Closure<dyn Fn()>) {
    // Fails only for a callback that is not a function.
    let _ = target.add_event_listener_with_callback(event, callback.as_ref().unchecked_ref());
}
