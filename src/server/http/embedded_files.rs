//! Routes for the files inside the program. Like a folder, they are sent compressed to clients that accept it, and as 304
//! to clients that have them.
//!
//! Deliberately absent: range requests, which no page makes for files of this size.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::percent_decode_str;

use crate::server::files::{Archive, EmbeddedFile};
use crate::server::http::answer::OfProgram;
use crate::server::http::error::ApiError;
use crate::server::http::negotiation::{self, Offer};

/// The content codings, best first, with the suffixes of compressed files.
const CODINGS: [Offer<(&str, &str)>; 2] = [
    (&["br"], ("br", ".br")),
    (&["gzip", "x-gzip"], ("gzip", ".gz")),
];

/// Returns the routes of the files of `archive` whose paths begin with `folder`, which is empty or ends with `/`.
pub(super) fn serve(archive: Arc<Archive>, folder: &'static str) -> Router {
    let handler = move |uri: Uri, headers: HeaderMap| {
        std::future::ready(respond(&archive, folder, &uri, &headers))
    };
    Router::new().fallback_service(get(handler))
}

fn respond(
    archive: &Archive,
    folder: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let path = percent_decode_str(uri.path().trim_start_matches('/')).decode_utf8_lossy();
    let path = format!("{folder}{path}");
    let plain = archive.get(&path).ok_or(ApiError::NotFound)?;

    let compressed = CODINGS.into_iter().filter_map(|(names, (coding, suffix))| {
        let file = archive.get(&format!("{path}{suffix}"))?;
        Some((names, (file, coding)))
    });
    let compressed = negotiation::content_coding(headers, compressed);
    let EmbeddedFile { bytes, etag } = compressed.map_or(plain, |(file, _)| file);

    let mut response = if is_known(headers, etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // hyper omits the body of responses to HEAD.
        let mut response = bytes.clone().into_response();
        let media_type = mime_guess::from_path(&path).first_or_octet_stream();
        if let Ok(media_type) = HeaderValue::from_str(media_type.as_ref()) {
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, media_type);
        }
        if let Some((_, coding)) = compressed {
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        response
    };
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response.extensions_mut().insert(OfProgram);

    Ok(response)
}

/// Returns true if `If-None-Match` names `etag` (RFC 9110 section 13.1.2).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
