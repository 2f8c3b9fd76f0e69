//! The content coding and the character set of request bodies, which are checked before any handler reads one.
//!
//! Bodies are read as sent. Nothing is decompressed, so that a small request cannot become a large one, and text must
//! be UTF-8.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use tower_http::validate_request::ValidateRequestHeaderLayer;

use crate::server::http::error::ApiError;
use crate::server::http::negotiation::split_unquoted;

/// The names of UTF-8 and of its subset, in any case (RFC 9110 section 8.3.2).
const CHARSETS: [&str; 3] = ["utf-8", "utf8", "us-ascii"];

/// Returns the layer that passes a request on if its body is in a supported coding and character set.
#[expect(clippy::result_large_err, reason = "the layer passes the response on")]
pub(super) fn layer()
-> ValidateRequestHeaderLayer<impl Fn(&mut Request) -> Result<(), Response> + Clone> {
    ValidateRequestHeaderLayer::custom(|request: &mut Request| {
        check_headers(request.headers()).map_err(IntoResponse::into_response)
    })
}

/// Checks the headers that describe a body.
///
/// # Errors
/// Returns an error if the body is compressed, or in an unsupported character set.
fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    // hyper refuses requests whose last transfer coding is not "chunked".
    if let Some(coding) = other_element(headers, &header::TRANSFER_ENCODING, "chunked") {
        return Err(ApiError::TransferCoding { coding });
    }
    if let Some(coding) = other_element(headers, &header::CONTENT_ENCODING, "identity") {
        return Err(ApiError::ContentCoding { coding });
    }
    let charset = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| charset(kind.to_str().ok()?));
    match charset {
        Some(charset) if !is_supported(&charset) => Err(ApiError::Charset { charset }),
        _ => Ok(()),
    }
}

fn is_supported(charset: &str) -> bool {
    CHARSETS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(charset))
}

/// Returns the first element of the headers called `name` that is not `allowed`.
fn other_element(headers: &HeaderMap, name: &HeaderName, allowed: &str) -> Option<String> {
    headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .flat_map(|value| {
            let elements = value.split(',').map(|element| element.trim().to_owned());
            elements.collect::<Vec<_>>()
        })
        .find(|element| !element.is_empty() && !element.eq_ignore_ascii_case(allowed))
}

/// Returns the parameter `charset` of a `Content-Type`.
fn charset(kind: &str) -> Option<String> {
    split_unquoted(kind, ';')
        .skip(1)
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(name: HeaderName, value: &'static str) -> Result<(), String> {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        check_headers(&headers).map_err(|error| error.to_string())
    }

    #[test]
    fn bodies_without_a_coding_are_accepted() {
        for coding in ["", "identity", "Identity, identity"] {
            assert_eq!(check(header::CONTENT_ENCODING, coding), Ok(()), "{coding}");
        }
        assert_eq!(check(header::TRANSFER_ENCODING, "Chunked"), Ok(()));
    }

    #[test]
    fn bodies_in_utf_8_are_accepted() {
        for kind in [
            "text/plain",
            "text/plain; charset=UTF-8",
            "text/plain; charset=\"utf8\"; a=b",
            "text/plain; charset=us-ascii",
            "application/json; a=\"; charset=utf-16\"",
            "multipart/form-data; boundary=x",
        ] {
            assert_eq!(check(header::CONTENT_TYPE, kind), Ok(()), "{kind}");
        }
    }
}
