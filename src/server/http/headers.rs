//! The security headers of all responses, the policies of pages and files, and the headers of streams.
//!
//! Deliberately absent: `Strict-Transport-Security`, which the TLS terminator should add;
//! `Cross-Origin-Opener-Policy`, which browsers ignore with an error in the console for pages over plain HTTP, and which
//! would protect nothing, because the page uses no other window and its links open without an opener; and
//! `X-Frame-Options`, which `frame-ancestors` replaces.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use tower::util::MapResponseLayer;

use crate::server::auth::{PageUrl, WebPolicy};
use crate::server::http::middleware::listener::Endless;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
/// The header that disables buffering in proxies like nginx.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// The Content-Security-Policy of responses that are not pages: if shown as one, they may load nothing.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// The Content-Security-Policy of an HTML file: it may load the server's files, but contain no scripts or styles.
const FILE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'",
);

/// The `Cross-Origin-Resource-Policy` of responses that other origins must not embed.
pub(super) const OWN_ONLY: HeaderValue = HeaderValue::from_static("same-origin");

/// The `Permissions-Policy` of pages, which only write to the clipboard.
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), autoplay=(), camera=(), clipboard-read=(), clipboard-write=(self), display-capture=(), \
     encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), hid=(), idle-detection=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), \
     publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()",
);

/// Returns the `Cross-Origin-Resource-Policy`, which limits the pages that may embed responses as images or scripts. It
/// does not apply to requests by CORS, which allowed origins use.
const fn resource_policy(web: &WebPolicy) -> HeaderValue {
    if web.origins.any {
        HeaderValue::from_static("cross-origin")
    } else {
        OWN_ONLY
    }
}

/// Returns the layer that adds the security headers to all responses.
pub(super) fn security_layer(
    web: &WebPolicy,
) -> MapResponseLayer<impl Fn(Response) -> Response + Clone + use<>> {
    let resource_policy = resource_policy(web);
    MapResponseLayer::new(move |response| complete(response, resource_policy.clone()))
}

/// Adds the security headers to `response`, which may have a Content-Security-Policy of its own.
pub(super) fn complete(mut response: Response, resource_policy: HeaderValue) -> Response {
    // Browsers never show a WebSocket.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }

    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    // With `no-referrer`, browsers would hide the origin of the page's own form too.
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

/// Replaces the body of `response` by `html`, a page without inline scripts. It must not be cached for other readers: it
/// depends on the request headers in `vary`.
pub(super) fn put_page(response: &mut Response, html: String, vary: &'static str) {
    *response.body_mut() = Body::from(html);
    permit(response);

    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_SECURITY_POLICY, FILE);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(header::VARY, HeaderValue::from_static(vary));
}

/// Adds the headers of a response that has no end to `response`. Its connection sends no further requests, so it must
/// leave the connection table.
pub(super) fn describe_stream(response: &mut Response, media_type: &'static str) {
    response.extensions_mut().insert(Endless);

    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// Sets the `Permissions-Policy` of pages on `response`.
pub(super) fn permit(response: &mut Response) {
    response
        .headers_mut()
        .insert(PERMISSIONS_POLICY, PERMISSIONS);
}

/// Returns the page's Content-Security-Policy: nothing from other origins, only inline scripts with `nonce`, and only
/// frames of `web`. `'self'` includes the page's WebSocket (CSP 3 section 6.7.2.8). Other sources for connections are
/// `reload` and the endpoint for tokens.
pub(super) fn page_policy(nonce: &str, reload: Option<&str>, web: &WebPolicy) -> String {
    let reload = reload.map_or(String::new(), |source| format!(" {source}"));
    let tokens = web.sign_in.token.as_ref().and_then(PageUrl::origin);
    let tokens = tokens.map_or(String::new(), |origin| format!(" {origin}"));
    let embedders = web.embedding.frame_ancestors();

    format!(
        "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self'; \
         img-src 'self'; connect-src 'self'{reload}{tokens}; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors {embedders}"
    )
}
