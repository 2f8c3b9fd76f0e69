//! The token of this tab, from the fragment of a link: `#token=...`.
//!
//! Browsers do not send fragments to servers. The token is removed from the URL at once, before the user can copy it,
//! and stored for this tab only: other tabs and later visits do not have it.
//!
//! A new link in the same tab differs only in the fragment. Browsers do not load a page for that, so the page reloads
//! itself.

use leptos::prelude::window;
use wasm_bindgen::JsValue;

use super::dom;
use super::storage::PageStorage;
use crate::protocol::Token;

/// The prefix of the fragment.
const FRAGMENT: &str = "#token=";
/// The key in the session storage.
const KEY: &str = "fanfare.token";

/// Returns the token in the URL, or else the stored one.
pub fn token(storage: &PageStorage) -> Option<Token> {
    let key = storage.scoped(KEY);
    let kept = window().session_storage().ok().flatten();

    if let Some(token) = arrived() {
        if let Some(kept) = kept {
            // Without storage, the token is lost with the page.
            let _ = kept.set_item(&key, &token);
        }
        return Some(Token::new(token));
    }
    kept?.get_item(&key).ok()?.map(Token::new)
}

/// Returns the claims of `token` as JSON, if it is a JSON Web Token (RFC 7519). Its signature is not verified.
pub fn claims(token: &Token) -> Option<Vec<u8>> {
    let payload = token.reveal().split('.').nth(1)?;
    let base64 = payload.replace('-', "+").replace('_', "/");
    // Each character of the result is one byte.
    let bytes = window().atob(&base64).ok()?;
    bytes.chars().map(|byte| u8::try_from(byte).ok()).collect()
}

/// Reloads the page when its URL gets another token.
pub fn watch() {
    dom::listen_for_ever(&window(), "hashchange", || {
        let location = window().location();
        if location.hash().is_ok_and(|hash| hash.starts_with(FRAGMENT)) {
            // Fails only in a page that is no longer shown.
            let _ = location.reload();
        }
    });
}

/// Reloads the page with `token`, as a link with it would.
pub fn enter(token: &str) {
    // Fails only in a page that is no longer shown.
    let _ = window().location().set_hash(&format!("{FRAGMENT}{token}"));
}

/// Removes the token from the URL, and returns it.
fn arrived() -> Option<String> {
    let location = window().location();
    let token = location.hash().ok()?.strip_prefix(FRAGMENT)?.to_owned();
    let address = location.pathname().ok()? + &location.search().ok()?;
    // Fails only if the browser limits the rate of calls.
    let _ = window()
        .history()
        .ok()?
        .replace_state_with_url(&JsValue::NULL, "", Some(&address));
    Some(token)
}
