//! The check of `Host` and `Origin` for every route: the request must name this server, and a browser's page must have an
//! allowed origin.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Version, header};
use axum::response::{IntoResponse, Response};
use tower_http::validate_request::ValidateRequestHeaderLayer;
use tracing::field::display;
use tracing::info;

use crate::server::auth::{Authority, OriginHeaders, ServedHost, WebPolicy};
use crate::server::http::client_address::ClientAddress;
use crate::server::http::error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Returns the layer that passes a request on if `web` allows its host and its origin. The host becomes an extension of the
/// request.
#[expect(clippy::result_large_err, reason = "the layer passes the response on")]
pub(in crate::server::http) fn layer(
    web: Arc<WebPolicy>,
) -> ValidateRequestHeaderLayer<impl Fn(&mut Request) -> Result<(), Response> + Clone> {
    ValidateRequestHeaderLayer::custom(move |request: &mut Request| {
        check(&web, request).map_err(|error| {
            let client = request.extensions().get::<ClientAddress>();
            let address = client.map(|ClientAddress(address)| display(address));
            info!(address, %error, "refused");
            error.into_response()
        })
    })
}

fn check(web: &WebPolicy, request: &mut Request) -> Result<(), ApiError> {
    let host = check_host(web, request)?;
    check_origin(web, request.headers(), host.as_ref())?;

    if let Some(host) = host {
        request.extensions_mut().insert(host);
    }
    Ok(())
}

/// Returns the name by which `request` addresses this server; `None` for HTTP/1.0 without `Host`, which browsers do not
/// send.
///
/// # Errors
/// Returns an error if `Host` is missing, repeated or invalid (RFC 9112 section 3.2), or names another server (RFC 9110
/// section 15.5.20).
fn check_host(web: &WebPolicy, request: &Request) -> Result<Option<ServedHost>, ApiError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| ApiError::BadHost)?,
        (None, None) if request.version() == Version::HTTP_10 => return Ok(None),
        _ => return Err(ApiError::BadHost),
    };

    // A host in the request line takes precedence (RFC 9112 section 3.2.2).
    let host = request
        .uri()
        .authority()
        .map_or(host, |authority| authority.as_str());
    let authority = Authority::parse(host).ok_or(ApiError::BadHost)?;
    let served = web
        .hosts
        .served_host(authority)
        .ok_or_else(|| ApiError::Misdirected {
            host: host.to_owned(),
        })?;

    Ok(Some(served))
}

fn check_origin(
    web: &WebPolicy,
    headers: &HeaderMap,
    host: Option<&ServedHost>,
) -> Result<(), ApiError> {
    // A value that is not UTF-8 becomes an empty origin, which is never allowed.
    let origins: Vec<&str> = headers
        .get_all(header::ORIGIN)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = OriginHeaders {
        origins: &origins,
        site: text(SEC_FETCH_SITE),
        mode: text(SEC_FETCH_MODE),
    };

    if web.origins.allows(&origin, host) {
        Ok(())
    } else {
        Err(ApiError::Origin)
    }
}
