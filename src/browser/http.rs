//! Requests to the API of the server.

use std::pin::pin;

use futures::future::{Either, select};
use gloo_net::http::{Method, Request};
use gloo_timers::future::TimeoutFuture;
use web_sys::{RequestCache, RequestRedirect};

use crate::protocol::Token;

/// The status of a request that got no response.
pub const NO_RESPONSE: u16 = 0;

/// The time for the answer of a proxy, in milliseconds.
const CHECK_TIMEOUT: u32 = 5000;

/// Returns the body of the response to a GET request of `url`, with `token` if there is one.
///
/// # Errors
/// The status of the response, or [`NO_RESPONSE`].
pub async fn get(url: &str, token: Option<&Token>) -> Result<String, u16> {
    let mut request = Request::get(url);
    if let Some(token) = token {
        request = request.header("Authorization", &format!("Bearer {}", token.reveal()));
    }

    let response = request.send().await.map_err(|_| NO_RESPONSE)?;
    if !response.ok() {
        return Err(response.status());
    }
    response.text().await.map_err(|_| NO_RESPONSE)
}

/// Returns true if a proxy in front of the server redirects or refuses a request of `url`, or answers with a page. The server
/// itself answers everyone with JSON.
pub async fn needs_sign_in(url: &str) -> bool {
    let request = Request::get(url)
        .method(Method::HEAD)
        .cache(RequestCache::NoStore)
        .redirect(RequestRedirect::Manual);
    let timeout = TimeoutFuture::new(CHECK_TIMEOUT);
    let Either::Left((Ok(response), _)) = select(pin!(request.send()), timeout).await else {
        return false;
    };

    let is_page = || {
        let kind = response.headers().get("content-type");
        kind.is_some_and(|kind| kind.starts_with("text/html"))
    };
    match response.status() {
        // A redirect has no status for scripts.
        0 | 401 | 403 => true,
        200..=299 => is_page(),
        _ => false,
    }
}
