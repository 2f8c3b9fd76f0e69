//! The document and the window: events, focus, clipboard, address.

use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{AddEventListenerOptions, Element, EventTarget, VisibilityState};

/// Calls `callback` on each `event` of `target`, as long as the page lives. The callback cannot prevent the event.
pub fn listen(target: &EventTarget, event: &str, callback: impl Fn() + 'static) {
    let callback = Closure::<dyn Fn()>::new(callback);
    // Without this option, the browser waits for the callback before it scrolls.
    let options = AddEventListenerOptions::new();
    options.set_passive(true);

    // Fails only for a callback that is not a function.
    let _ = target.add_event_listener_with_callback_and_add_event_listener_options(
        event,
        callback.as_ref().unchecked_ref(),
        &options,
    );
    callback.forget();
}

/// Returns whether the tab is visible.
pub fn is_visible() -> bool {
    document().visibility_state() == VisibilityState::Visible
}

/// Sets the attribute `name` of the whole document.
pub fn set_root_attribute(name: &str, value: &str) {
    if let Some(root) = document().document_element() {
        // Fails only for an invalid name.
        let _ = root.set_attribute(name, value);
    }
}

/// Returns the URL of the page without query and fragment.
pub fn address() -> String {
    let location = window().location();
    location.origin().unwrap_or_default() + &location.pathname().unwrap_or_default()
}

/// Copies `text` to the clipboard. Returns false if there is none, as in pages loaded over plain HTTP from another
/// machine.
pub fn copy(text: &str) -> bool {
    let clipboard = window().navigator().clipboard();
    if clipboard.is_undefined() {
        return false;
    }
    // If the user has forbidden it, the browser shows that.
    let _ = clipboard.write_text(text);
    true
}

/// Moves the focus by `by` elements among those of the class `kind` in `list`.
pub fn move_focus(list: &Element, kind: &str, by: i32) {
    let all = list.get_elements_by_class_name(kind);
    let count = all.length() as i32;

    let focus = document().active_element();
    let now = (0..count).find(|&at| all.item(at as u32) == focus);
    // If no such element has the focus, the last one gets it.
    let next = now.map_or(count - 1, |now| (now + by).clamp(0, count - 1));

    if let Some(element) = all
        .item(next.max(0) as u32)
        .and_then(|next| next.dyn_into::<web_sys::HtmlElement>().ok())
    {
        // Fails only without a window.
        let _ = element.focus();
    }
}
