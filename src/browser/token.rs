//! The token of this tab, from the fragment of a link, `#token=...`, or from an endpoint.
//!
//! Browsers do not send fragments to servers. The token is removed from the URL at once, before the user can copy it,
//! and stored for this tab only: other tabs and later visits do not have it.
//!
//! A new link in the same tab differs only in the fragment. Browsers do not load a page for that, so the page reloads
//! itself.

use std::pin::pin;

use futures::future::{Either, select};
use gloo_net::http::Request;
use gloo_timers::future::TimeoutFuture;
use leptos::prelude::window;
use serde::Deserialize;
use wasm_bindgen::JsValue;
use web_sys::{RequestCache, RequestCredentials, RequestRedirect, Storage};

use super::dom;
use super::storage::PageStorage;
use crate::protocol::Token;

/// The prefix of the fragment.
const FRAGMENT: &str = "#token=";
/// The key in the session storage.
const KEY: &str = "fanfare.token";

/// The time for the answer of an endpoint, in milliseconds.
const REQUEST_TIMEOUT: u32 = 10_000;

/// The error of a request for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRequestError {
    /// The user is not signed in.
    SignedOut,
    /// There was no answer with a token.
    Unavailable,
}

/// The answer of an endpoint, if it is JSON.
#[derive(Deserialize)]
struct TokenAnswer {
    token: String,
}

/// Returns the token in the URL, or else the stored one.
pub fn token(storage: &PageStorage) -> Option<Token> {
    if let Some(token) = arrived().map(Token::new) {
        store(storage, &token);
        return Some(token);
    }

    let key = storage.scoped(KEY);
    tab_storage()?.get_item(&key).ok()?.map(Token::new)
}

/// Stores `token` for this tab. Without storage, it is lost with the page.
pub fn store(storage: &PageStorage, token: &Token) {
    if let Some(tab) = tab_storage() {
        // Fails only if the storage is full.
        let _ = tab.set_item(&storage.scoped(KEY), token.reveal());
    }
}

/// Removes the stored token.
pub fn forget(storage: &PageStorage) {
    if let Some(tab) = tab_storage() {
        // Never fails.
        let _ = tab.remove_item(&storage.scoped(KEY));
    }
}

/// Requests a token at `url`, with the cookies of the user. The answer is the token, or JSON: `{"token": "..."}`.
///
/// # Errors
/// [`TokenRequestError`].
pub async fn request(url: &str) -> Result<Token, TokenRequestError> {
    let answer = async {
        let request = Request::get(url)
            .credentials(RequestCredentials::Include)
            .cache(RequestCache::NoStore)
            .redirect(RequestRedirect::Manual);
        let response = request.send().await.ok()?;
        let text = response.text().await.ok()?;
        Some((response.status(), text))
    };

    let (status, text) = match select(pin!(answer), TimeoutFuture::new(REQUEST_TIMEOUT)).await {
        Either::Left((Some(answer), _)) => answer,
        Either::Left((None, _)) | Either::Right(_) => return Err(TokenRequestError::Unavailable),
    };
    match status {
        200..=299 => parse(&text).ok_or(TokenRequestError::Unavailable),
        // A redirect to a page for people, which has no status for scripts.
        0 | 401 | 403 => Err(TokenRequestError::SignedOut),
        _ => Err(TokenRequestError::Unavailable),
    }
}

/// Returns the token in the answer of an endpoint (RFC 6750 section 2.1).
fn parse(answer: &str) -> Option<Token> {
    let token = match serde_json::from_str(answer) {
        Ok(TokenAnswer { token }) => token,
        Err(_) => answer.trim().to_owned(),
    };
    let is_token = !token.is_empty()
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    is_token.then(|| Token::new(token))
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
        let hash = window().location().hash();
        if hash.is_ok_and(|hash| hash.starts_with(FRAGMENT)) {
            dom::reload();
        }
    });
}

/// Reloads the page with `token`, as a link with it would.
pub fn enter(token: &str) {
    // Fails only in a page that is no longer shown.
    let _ = window().location().set_hash(&format!("{FRAGMENT}{token}"));
}

/// Returns the storage of this tab, unless the browser blocks it.
fn tab_storage() -> Option<Storage> {
    window().session_storage().ok().flatten()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_token_or_json_with_one() {
        for answer in [
            "a.b-c.d_e",
            " a.b-c.d_e\n",
            r#"{"token":"a.b-c.d_e","expires_in":60}"#,
        ] {
            assert_eq!(
                parse(answer),
                Some(Token::new("a.b-c.d_e".to_owned())),
                "{answer}"
            );
        }

        for answer in [
            "",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"a b"}"#,
            "<!DOCTYPE html>",
            "\"a.b\"",
        ] {
            assert_eq!(parse(answer), None, "{answer}");
        }
    }
}
