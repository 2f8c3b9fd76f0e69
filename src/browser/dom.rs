//! The parts of the document API that the page uses: title, cookies, attributes, focus, clipboard.

use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlDocument};

use super::base;

/// The lifetime of a cookie in seconds: a year.
const COOKIE_LIFE: u32 = 365 * 24 * 60 * 60;

/// Sets the title of the tab.
pub fn set_title(title: &str) {
    document().set_title(title);
}

/// Sets a cookie, which the browser sends with each request.
pub fn set_cookie(name: &str, value: &str) {
    if let Some(document) = document().dyn_ref::<HtmlDocument>() {
        let value = js_sys::encode_uri_component(value);
        let path = base::join("/");
        // Without cookies, the choice is lost with the page.
        let _ = document.set_cookie(&format!(
            "{name}={value}; Path={path}; Max-Age={COOKIE_LIFE}; SameSite=Lax"
        ));
    }
}

/// Sets the attribute `name` of the whole document.
pub fn mark(name: &str, value: &str) {
    if let Some(root) = document().document_element() {
        // Fails only for an invalid name.
        let _ = root.set_attribute(name, value);
    }
}

/// Returns the text of the element `id`.
pub fn text_of(id: &str) -> Option<String> {
    document().get_element_by_id(id)?.text_content()
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
