//! Whether the page that a request comes from may ask.

use axum::http::{HeaderMap, header};

use crate::server::http::State;
use crate::server::http::error::ApiError;

/// Lets requests pass that come from no page, from a page of our own, or from one that `--allow-origin` names.
pub(super) fn check(state: &State, headers: &HeaderMap) -> Result<(), ApiError> {
    // A value that is not even text is no origin of ours.
    let origins: Vec<&str> =
        headers.get_all(header::ORIGIN).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if state.origins.allows(&origins, host) { Ok(()) } else { Err(ApiError::Origin) }
}
