//! The page stands still, and what changes in it is found by its id.
//!
//! The server renders every panel with `view!`; the browser takes that HTML as it is. It does not build it and
//! does not walk through it, so none of the code that would do so is downloaded: together with that of the rows
//! it was a sixth of the page. A component names what changes, and where ([`show`], [`set`], [`hide`],
//! [`fill`], [`list`], [`on`]), and hands the rest to [`still`].
//!
//! Closures are boxed here, once: each is a type of its own, and what is done with it would be compiled again
//! for each.

use leptos::prelude::*;
use leptos::wasm_bindgen::JsCast;
use leptos::wasm_bindgen::closure::Closure;
use leptos::web_sys::{self, Event, HtmlInputElement};

use super::live;
use super::markup::Element;

/// Does `effect` now and whenever something that it asked for changes; never on the server.
pub fn effect(effect: impl FnMut() + 'static) {
    let mut effect: Box<dyn FnMut()> = Box::new(effect);
    Effect::new(move |_| effect());
}

/// What `view` renders, on the server; in the browser, what the server has rendered of it. Nothing in it
/// changes by itself.
pub fn still<V: RenderHtml>(view: impl FnOnce() -> V) -> impl IntoView {
    // On the server it is HTML that Leptos has made, texts escaped; in the browser it is not looked at.
    view! { <div class="still" inner_html=live::html(view)></div> }
}

/// The element `id` shows these words.
pub fn show<T: Into<String>>(id: &'static str, mut words: impl FnMut() -> T + 'static) {
    each(
        id,
        Box::new(move || Some(words().into())),
        |element, words| element.set_text_content(words),
    );
}

/// The attribute `name` of the element `id` has this value.
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

/// The element `id` is hidden while this holds.
pub fn hide(id: &'static str, mut is_hidden: impl FnMut() -> bool + 'static) {
    each(
        id,
        Box::new(move || is_hidden().then(String::new)),
        |element, value| put(element, "hidden", value),
    );
}

/// The field `id` begins with this text, and gets it anew when it changes; what was typed is gone then.
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

/// The children of the element `id` are these.
pub fn list(id: &'static str, mut children: impl FnMut() -> Vec<Element> + 'static) {
    // Only what is in it counts.
    const NOTHING: Element = Element::new("ul");
    let mut shown: Option<Element> = None;
    effect(move || {
        let next = NOTHING.with(children());
        if let Some(parent) = find::<web_sys::Element>(id) {
            let was = shown.take().unwrap_or_else(|| {
                // What the server has rendered.
                parent.set_text_content(None);
                NOTHING
            });
            was.patch(&parent, &next);
        }
        shown = Some(next);
    });
}

/// Does this at each `event` of the element `id`.
pub fn on(id: &'static str, event: &'static str, act: impl FnMut(Event) + 'static) {
    let mut act: Option<Box<dyn FnMut(Event)>> = Some(Box::new(act));
    effect(move || {
        if let (Some(element), Some(act)) = (find::<web_sys::Element>(id), act.take()) {
            let act = Closure::wrap(act);
            // Fails only for a callback that is no function.
            let _ = element.add_event_listener_with_callback(event, act.as_ref().unchecked_ref());
            // It is there for as long as the page.
            act.forget();
        }
    });
}

/// The element `id`; in handlers and effects only, since on the server there is none.
pub fn find<E: JsCast>(id: &str) -> Option<E> {
    document().get_element_by_id(id)?.dyn_into().ok()
}

/// Gives `change` each new value for the element `id`.
fn each(
    id: &'static str,
    mut value: Box<dyn FnMut() -> Option<String>>,
    change: impl Fn(&web_sys::Element, Option<&str>) + 'static,
) {
    let mut shown = None;
    effect(move || {
        let value = Some(value());
        // A screen reader would say again what is written again.
        if value != shown
            && let Some(element) = find::<web_sys::Element>(id)
        {
            change(&element, value.as_ref().and_then(Option::as_deref));
        }
        shown = value;
    });
}

fn put(element: &web_sys::Element, name: &str, value: Option<&str>) {
    // Both fail only for a name that is no attribute's.
    let _ = match value {
        Some(value) => element.set_attribute(name, value),
        None => element.remove_attribute(name),
    };
}
