//! The little of the browser that a page uses besides its connection: title, cookies, clipboard.

use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlDocument};

use super::base;

/// Seconds that a cookie lives: a year.
const COOKIE_LIFE: u32 = 365 * 24 * 60 * 60;

/// What the tab is called.
pub fn set_title(title: &str) {
    document().set_title(title);
}

/// Tells the server something for each request from now on.
pub fn set_cookie(name: &str, value: &str) {
    if let Some(document) = document().dyn_ref::<HtmlDocument>() {
        let value = js_sys::encode_uri_component(value);
        let path = base::join("/");
        // Where cookies are forbidden, nothing is remembered.
        let _ = document.set_cookie(&format!(
            "{name}={value}; Path={path}; Max-Age={COOKIE_LIFE}; SameSite=Lax"
        ));
    }
}

/// Sets the attribute `name` of the whole document.
pub fn mark(name: &str, value: &str) {
    if let Some(root) = document().document_element() {
        // Fails only for a name that is no attribute's.
        let _ = root.set_attribute(name, value);
    }
}

/// The text of the element `id`, of any kind.
pub fn text_of(id: &str) -> Option<String> {
    document().get_element_by_id(id)?.text_content()
}

/// Where the page is, without what follows the path.
pub fn address() -> String {
    let location = window().location();
    location.origin().unwrap_or_default() + &location.pathname().unwrap_or_default()
}

/// Copies `text`; answers whether the browser has a clipboard for us. Over plain HTTP from another machine it
/// has none.
pub fn copy(text: &str) -> bool {
    let clipboard = window().navigator().clipboard();
    if clipboard.is_undefined() {
        return false;
    }
    // If somebody forbids it, the browser says so itself.
    let _ = clipboard.write_text(text);
    true
}

/// Moves the focus from the element under `focus` in `list` by so many, among its elements of the class `kind`.
pub fn move_focus(list: &Element, kind: &str, by: i32) {
    let all = list.get_elements_by_class_name(kind);
    let count = all.length() as i32;
    let focus = document().active_element();
    let now = (0..count).find(|&at| all.item(at as u32) == focus);
    // From outside of them one comes to the last.
    let next = now.map_or(count - 1, |now| (now + by).clamp(0, count - 1));
    if let Some(element) = all
        .item(next.max(0) as u32)
        .and_then(|next| next.dyn_into::<web_sys::HtmlElement>().ok())
    {
        // Focus only fails where there is no window to have it.
        let _ = element.focus();
    }
}
