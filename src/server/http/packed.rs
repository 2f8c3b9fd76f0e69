//! Serves files that are inside the program, as a folder is served: packed forms to whoever takes them, and nothing at
//! all to whoever has them already.
//!
//! Deliberately absent: ranges, which no page asks for of files so small.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use crate::server::files::{Archive, Packed};
use crate::server::http::error::ApiError;

/// Encodings, the best first, and how the names of files end that are packed so.
const PACKED: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// The files of `archive` whose paths begin with `folder`, which is empty or ends with `/`.
pub(super) fn serve(archive: Arc<Archive>, folder: &'static str) -> Router {
    Router::new().fallback(move |method: Method, address: Uri, headers: HeaderMap| {
        std::future::ready(answer(&archive, folder, &method, &address, &headers))
    })
}

fn answer(
    archive: &Archive,
    folder: &str,
    method: &Method,
    address: &Uri,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let path = percent_decode_str(address.path().trim_start_matches('/')).decode_utf8_lossy();
    let path = format!("{folder}{path}");
    let plain = archive.get(&path).ok_or(ApiError::NotFound)?;
    if ![Method::GET, Method::HEAD].contains(method) {
        return Err(ApiError::Method);
    }
    let said = |name| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
    };
    let packed = PACKED.into_iter().find_map(|(encoding, ending)| {
        let file = archive.get(&format!("{path}{ending}"))?;
        said(header::ACCEPT_ENCODING)
            .any(|accepted| accepts(accepted, encoding))
            .then_some((file, encoding))
    });
    let Packed { bytes, etag } = packed.map_or(plain, |(file, _)| file);
    let is_known = said(header::IF_NONE_MATCH)
        .flat_map(|tags| tags.split(','))
        .any(|tag| {
            let tag = tag.trim();
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
        });
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // Without its body, where only the head is asked for: hyper sees to that.
        bytes.clone().into_response()
    };
    let answered = response.headers_mut();
    answered.remove(header::CONTENT_TYPE);
    answered.extend(HeaderValue::from_str(etag).map(|etag| (header::ETAG, etag)));
    if !is_known {
        let kind = mime_guess::from_path(&path).first_or_octet_stream();
        answered
            .extend(HeaderValue::from_str(kind.as_ref()).map(|kind| (header::CONTENT_TYPE, kind)));
        answered.extend(
            packed.map(|(_, encoding)| {
                (header::CONTENT_ENCODING, HeaderValue::from_static(encoding))
            }),
        );
    }
    Ok(response)
}

/// Whether `accepted`, an `Accept-Encoding` (RFC 9110 section 12.5.3), names `encoding`, and not to refuse it.
fn accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        let weight = weight
            .trim()
            .strip_prefix("q=")
            .and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case(encoding) && weight.is_none_or(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_accepted_by_its_name_unless_its_weight_is_nothing() {
        for accepted in ["br", "gzip, deflate, br, zstd", "gzip;q=0.5,BR;q=0.1"] {
            assert!(accepts(accepted, "br"), "{accepted}");
        }
        for accepted in ["", "gzip", "*", "br;q=0", "gzip, br; q=0.0", "brotli"] {
            assert!(!accepts(accepted, "br"), "{accepted}");
        }
    }
}
