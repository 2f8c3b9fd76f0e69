//! Static HTML with dynamic parts, which are found by their ids.
//!
//! The server renders every panel with `view!`, and the browser keeps that HTML. The browser neither builds nor walks
//! it, so the code for that is not downloaded; together with the code of the rows it was a sixth of the page. A
//! component declares its dynamic parts with [`show`], [`set`], [`hide`], [`fill`], [`list`] and [`on`], and passes
//! the rest to [`still`].
//!
//! Closures are boxed here once. Each closure has its own type, and generic code would be compiled again for each.

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::wasm_bindgen::closure::Closure;
use leptos::web_sys::{self, Event, HtmlInputElement};

use super::live;
use super::markup::Element;

/// Runs `effect` now and after each change of a signal that it reads. Never runs on the server.
pub fn effect(effect: impl FnMut() + 'static) {
    let mut effect: Box<dyn FnMut()> = Box::new(effect);
    Effect::new(move |_| effect());
}

/// Returns the static HTML of `view`: the server renders it, and the browser keeps what the server has rendered.
pub fn still<V: RenderHtml>(view: impl FnOnce() -> V) -> impl IntoView {
    // The HTML comes from Leptos, which escapes texts. The browser does not read it.
    view! { <div class="still" inner_html=live::html(view)></div> }
}

/// Keeps the text of the element `id` equal to `words`.
pub fn show<T: Into<String>>(id: &'static str, mut words: impl FnMut() -> T + 'static) {
    each(
        id,
        Box::new(move || Some(words().into())),
        |element, words| element.set_text_content(words),
    );
}

/// Keeps the attribute `name` of the element `id` equal to `value`.
pub fn set<T: Into<String>>(
    id: &'static str,
    name: &'static str,
    mut value: impl FnMut() -> T + 'static,
) {
    each(
        id,
        Box::new(move || Some(value().into())),
        move |element, value| put(element, name, value),
    );
}

/// Hides the element `id` while `is_hidden` returns true.
pub fn hide(id: &'static str, mut is_hidden: impl FnMut() -> bool + 'static) {
    each(
        id,
        Box::new(move || is_hidden().then(String::new)),
        |element, value| put(element, "hidden", value),
    );
}

/// Sets the value of the field `id`, and sets it again when `text` changes. The user's input is then lost.
pub fn fill<T: Into<String>>(id: &'static str, mut text: impl FnMut() -> T + 'static) {
    each(
        id,
        Box::new(move || Some(text().into())),
        |element, text| {
            if let (Some(field), Some(text)) = (element.dyn_ref::<HtmlInputElement>(), text) {
                field.set_value(text);
            }
        },
    );
}

/// Keeps the children of the element `id` equal to `children`.
pub fn list(id: &'static str, mut children: impl FnMut() -> Vec<Element> + 'static) {
    // Only its children are compared.
    const NOTHING: Element = Element::new("ul");
    let mut shown: Option<Element> = None;

    effect(move || {
        let next = NOTHING.with(children());
        if let Some(parent) = find::<web_sys::Element>(id) {
            let was = shown.take().unwrap_or_else(|| {
                // The server's content is replaced once.
                parent.set_text_content(None);
                NOTHING
            });
            was.patch(&parent, &next);
        }
        shown = Some(next);
    });
}

/// Calls `act` for each `event` of the element `id`.
pub fn on(id: &'static str, event: &'static str, act: impl FnMut(Event) + 'static) {
    let mut act: Option<Box<dyn FnMut(Event)>> = Some(Box::new(act));
    effect(move || {
        if let (Some(element), Some(act)) = (find::<web_sys::Element>(id), act.take()) {
            let act = Closure::wrap(act);
            // Fails only for a callback that is not a function.
            let _ = element.add_event_listener_with_callback(event, act.as_ref().unchecked_ref());
            // The listener lives as long as the page.
            act.forget();
        }
    });
}

/// Returns the element `id`. For handlers and effects only, because the server has no document.
pub fn find<E: JsCast>(id: &str) -> Option<E> {
    document().get_element_by_id(id)?.dyn_into().ok()
}

/// Calls `change` with each new value for the element `id`.
fn each(
    id: &'static str,
    mut value: Box<dyn FnMut() -> Option<String>>,
    change: impl Fn(&web_sys::Element, Option<&str>) + 'static,
) {
    let mut shown = None;
    effect(move || {
        let value = Some(value());
        // Unchanged text is not written, because a screen reader would read it again.
        if value != shown
            && let Some(element) = find::<web_sys::Element>(id)
        {
            change(&element, value.as_ref().and_then(Option::as_deref));
        }
        shown = value;
    });
}

fn put(element: &web_sys::Element, name: &str, value: Option<&str>) {
    // Both fail only for an invalid name.
    let _ = match value {
        Some(value) => element.set_attribute(name, value),
        None => element.remove_attribute(name),
    };
}
