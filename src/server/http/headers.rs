//! What every answer forbids a browser to do with it, and what the page may do.
//!
//! Absent on purpose: `Strict-Transport-Security`, which is said where TLS ends; `Cross-Origin-Opener-Policy`,
//! which browsers ignore with an error in the console where a page came in the clear, and which would guard
//! nothing: the page listens to no other window, and its links open without one; `X-Frame-Options`, which
//! `frame-ancestors` replaces.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::server::auth::{Embedding, WebPolicy};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// The policy of what is no page: shown as one, it may do nothing, and nowhere.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// The policy of a file that is a page: it has what stands beside it, and nothing that stands in it.
const FILE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'",
);

/// The `Cross-Origin-Resource-Policy` of what no other origin has a use for.
pub(super) const OWN_ONLY: HeaderValue = HeaderValue::from_static("same-origin");

/// What the page has no use for, and whatever it may embed one day neither. It copies to the clipboard.
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), clipboard-write=(self), display-capture=(), \
     encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), \
     publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()",
);

/// Which pages may embed what is not read but shown or run, as `Cross-Origin-Resource-Policy` says it. (A named
/// origin asks by CORS, where this does not count.)
pub(super) const fn resource_policy(web: &WebPolicy) -> HeaderValue {
    if web.origins.any {
        HeaderValue::from_static("cross-origin")
    } else {
        OWN_ONLY
    }
}

/// Completes `response`, which may bring a policy of its own.
pub(super) fn complete(mut response: Response, resource_policy: HeaderValue) -> Response {
    // A WebSocket is nothing that a browser shows.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // Nothing for other sites. Not even to ourselves would make a browser hide the origin of the page's form.
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, resource_policy);
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(NOTHING);
    response
}

/// Returns the Content-Security-Policy of the file at `path`, by its name.
pub(super) fn file_policy(path: &str) -> HeaderValue {
    match mime_guess::from_path(path).first() {
        Some(kind) if kind.essence_str() == "text/html" => FILE,
        _ => NOTHING,
    }
}

/// Allows `response`, a page without scripts of its own, what a file that is a page is allowed.
pub(super) fn permit_own_files(response: &mut Response) {
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, FILE);
}

/// Gives `response`, a page, what a page may do besides.
pub(super) fn permit(response: &mut Response) {
    response
        .headers_mut()
        .insert(PERMISSIONS_POLICY, PERMISSIONS);
}

/// The page's Content-Security-Policy: nothing from elsewhere, no script but those that carry `nonce`, in no frame
/// but of `embedding`. `'self'` covers the page's WebSocket too (CSP 3 section 6.7.2.8); `reload` is one more
/// source to connect to.
pub(super) fn page_policy(nonce: &str, reload: Option<&str>, embedding: &Embedding) -> String {
    let reload = reload.map_or(String::new(), |source| format!(" {source}"));
    let embedders = embedding.sources();
    format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; \
         img-src 'self'; connect-src 'self'{reload}; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors {embedders}"
    )
}
