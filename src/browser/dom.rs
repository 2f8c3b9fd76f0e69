//! The document and the window: events, focus, clipboard, address.

use leptos::prelude::{document, window};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AddEventListenerOptions, Element, EventTarget, FocusEvent, Node, VisibilityState};

/// A listener for an event. It is removed when it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Listener {
    target: EventTarget,
    event: &'static str,
    callback: Closure<dyn Fn()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Fails only for a callback that is not a function.
        let _ = self.target.remove_event_listener_with_callback(
            self.event,
            self.callback.as_ref().unchecked_ref(),
        );
    }
}

/// Calls `callback` on each `event` of `target`. The callback cannot prevent the event.
pub fn listen(
    target: &EventTarget,
    event: &'static str,
    callback: impl Fn() + 'static,
) -> Listener {
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
    Listener {
        target: target.clone(),
        event,
        callback,
    }
}

/// Calls `callback` on each `event` of `target`, as long as the page lives.
pub fn listen_for_ever(target: &EventTarget, event: &'static str, callback: impl Fn() + 'static) {
    std::mem::forget(listen(target, event, callback));
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

/// Loads the page again.
pub fn reload() {
    // Fails only in a page that is no longer shown.
    let _ = window().location().reload();
}

/// Returns the path of the URL.
pub fn path() -> String {
    window().location().pathname().unwrap_or_default()
}

/// Sets the icon of the tab.
pub fn set_icon(path: &str) {
    if let Ok(Some(icon)) = document().query_selector("link[rel=icon]") {
        // Fails only for an invalid name.
        let _ = icon.set_attribute("href", path);
    }
}

/// Returns the value of `name` in the query of the URL.
pub fn query_value(name: &str) -> Option<String> {
    let query = window().location().search().ok()?;
    let query = query.strip_prefix('?')?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Returns true on a narrow screen, where panels cover the log.
pub fn is_narrow() -> bool {
    matches_media("(max-width: 760px)")
}

fn matches_media(query: &str) -> bool {
    let query = window().match_media(query);
    query.ok().flatten().is_some_and(|query| query.matches())
}

/// Changes the URL to `path`, as a new entry in the history of the tab.
pub fn push_path(path: &str) {
    if let Ok(history) = window().history() {
        // Fails only if the browser limits the rate of calls.
        let _ = history.push_state_with_url(&JsValue::NULL, "", Some(path));
    }
}

/// Returns the scheme, the host and the port of the URL.
pub fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// Returns true if the user types on the screen, where the Enter key is needed for new lines.
pub fn has_touch_keyboard() -> bool {
    matches_media("(hover: none) and (pointer: coarse)")
}

/// Returns true if the focus is on nothing that reads keys: on the document, the log, or one of its messages.
pub fn is_focus_free() -> bool {
    let focus = document().active_element();
    focus.is_none_or(|focus| {
        focus
            .matches("body, [role=log], [role=article]")
            .unwrap_or(false)
    })
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

/// Moves the focus by `by` elements among those of the class `kind` in `list`, from the one that has or contains the focus.
pub fn move_focus(list: &Element, kind: &str, by: i32) {
    let all = list.get_elements_by_class_name(kind);
    let count = all.length() as i32;

    let focus = document().active_element();
    let contains = |at: i32| {
        let element = all.item(at as u32);
        element.is_some_and(|element| element.contains(focus.as_deref()))
    };
    let now = (0..count).find(|&at| contains(at));
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

/// Returns true if the focus moves to an element in `element`.
pub fn moves_within(event: &FocusEvent, element: &Element) -> bool {
    let target = event.related_target();
    target
        .and_then(|target| target.dyn_into::<Node>().ok())
        .is_some_and(|target| element.contains(Some(&target)))
}

/// Closes the popover that contains `element`, if it is open.
pub fn close_popover_around(element: &Element) {
    if let Ok(Some(popover)) = element.closest(":popover-open")
        && let Ok(popover) = popover.dyn_into::<web_sys::HtmlElement>()
    {
        // Fails only for a popover that is closed.
        let _ = popover.hide_popover();
    }
}
