//! The token that this tab came with, in the fragment of a link: `#token=...`.
//!
//! A fragment is sent to no server. It is taken out of the address at once, before anyone copies that, and kept for
//! the tab alone: other tabs and later visits do not have it.
//!
//! A new link in the same tab differs in the fragment alone, and for that a browser loads nothing: so the page does.

use leptos::prelude::window;
use wasm_bindgen::JsCast;
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::Closure;

use super::base;
use crate::protocol::Token;

/// What the fragment begins with.
const FRAGMENT: &str = "#token=";
/// Where the tab keeps it.
const KEY: &str = "fanfare.token";

/// The token of this tab, the one in the address first.
pub fn token() -> Option<Token> {
    let kept = window().session_storage().ok().flatten();
    if let Some(token) = arrived() {
        if let Some(kept) = kept {
            // Where storage is forbidden, it is good until the page is left.
            let _ = kept.set_item(&base::scoped(KEY), &token);
        }
        return Some(Token::new(token));
    }
    kept?.get_item(&base::scoped(KEY)).ok()?.map(Token::new)
}

/// Begins anew whenever another token comes into the address.
pub fn watch() {
    let changed = Closure::<dyn Fn()>::new(|| {
        let location = window().location();
        if location.hash().is_ok_and(|hash| hash.starts_with(FRAGMENT)) {
            // Fails only where the page is no longer shown.
            let _ = location.reload();
        }
    });
    // Fails only for a callback that is no function.
    let _ =
        window().add_event_listener_with_callback("hashchange", changed.as_ref().unchecked_ref());
    changed.forget();
}

/// Takes the token out of the address, if there is one.
fn arrived() -> Option<String> {
    let location = window().location();
    let token = location.hash().ok()?.strip_prefix(FRAGMENT)?.to_owned();
    let address = location.pathname().ok()? + &location.search().ok()?;
    // Fails only if it is done too often.
    let _ = window()
        .history()
        .ok()?
        .replace_state_with_url(&JsValue::NULL, "", Some(&address));
    Some(token)
}
