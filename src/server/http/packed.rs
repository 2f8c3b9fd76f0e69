//! Serves files that are inside the program, as a folder is served: in a compressed form to clients that accept one,
//! and without a body to clients that have the file already.
//!
//! Deliberately absent: ranges, which no page asks for of files so small.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::percent_decode_str;

use crate::server::files::{Archive, Packed};
use crate::server::http::error::{self, ApiError};
use crate::server::http::negotiation::{self, Offer};

/// Content codings, the best first, and the suffixes of the names of files that are compressed so.
const CODINGS: [Offer<(&str, &str)>; 2] = [
    (&["br"], ("br", ".br")),
    (&["gzip", "x-gzip"], ("gzip", ".gz")),
];

/// Returns the routes of the files of `archive` whose paths begin with `folder`, which is empty or ends with `/`.
pub(super) fn serve(archive: Arc<Archive>, folder: &'static str) -> Router {
    let answer = move |address: Uri, headers: HeaderMap| {
        std::future::ready(answer(&archive, folder, &address, &headers))
    };
    Router::new().fallback_service(get(answer).fallback(error::method_not_allowed))
}

fn answer(
    archive: &Archive,
    folder: &str,
    address: &Uri,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let path = percent_decode_str(address.path().trim_start_matches('/')).decode_utf8_lossy();
    let path = format!("{folder}{path}");
    let plain = archive.get(&path).ok_or(ApiError::NotFound)?;

    let compressed = CODINGS.into_iter().filter_map(|(names, (coding, suffix))| {
        let file = archive.get(&format!("{path}{suffix}"))?;
        Some((names, (file, coding)))
    });
    let compressed = negotiation::content_coding(headers, compressed);
    let Packed { bytes, etag } = compressed.map_or(plain, |(file, _)| file);

    let mut response = if is_known(headers, etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // hyper sends the head alone in answer to HEAD.
        let kind = mime_guess::from_path(&path).first_or_octet_stream();
        let mut response = bytes.clone().into_response();
        let answered = response.headers_mut();
        answered.remove(header::CONTENT_TYPE);
        answered
            .extend(HeaderValue::from_str(kind.as_ref()).map(|kind| (header::CONTENT_TYPE, kind)));
        answered.extend(
            compressed
                .map(|(_, coding)| (header::CONTENT_ENCODING, HeaderValue::from_static(coding))),
        );
        response
    };
    response
        .headers_mut()
        .extend(HeaderValue::from_str(etag).map(|etag| (header::ETAG, etag)));
    Ok(response)
}

/// Reports whether `If-None-Match` names `etag` (RFC 9110 section 13.1.2).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
