//! What every request must show before anything else is looked at: that it asks for this server, and from where.
//!
//! One rule for pages, files, WebSockets, API and the operator's answers, so that no route can forget it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderName, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::info;

use crate::server::auth::{Authority, RequestOrigin, ServedHost, WebPolicy};
use crate::server::http::client::ClientAddress;
use crate::server::http::error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Lets pass what `web` allows.
pub(super) async fn check(
    Shared(web): Shared<Arc<WebPolicy>>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let refused = |error: &ApiError| info!(%address, %error, "refused");
    let own = own_host(&web, &request).inspect_err(refused)?;
    check_origin(&web, request.headers(), own.as_ref()).inspect_err(refused)?;
    Ok(next.run(request).await)
}

/// The name under which `request` asks. HTTP/1.0 knew no `Host`; whoever speaks it is no browser.
///
/// # Errors
/// RFC 9112 section 3.2: it is missing, there are two, or it is none. RFC 9110 section 15.5.20: it is not ours.
fn own_host(web: &WebPolicy, request: &Request) -> Result<Option<ServedHost>, ApiError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| ApiError::BadHost)?,
        (None, None) if request.version() == Version::HTTP_10 => return Ok(None),
        _ => return Err(ApiError::BadHost),
    };
    // Where the request line itself says whom it asks, that is what counts (RFC 9112 section 3.2.2).
    let host = request
        .uri()
        .authority()
        .map_or(host, |authority| authority.as_str());
    let authority = Authority::parse(host).ok_or(ApiError::BadHost)?;
    let own = web
        .hosts
        .served_host(authority)
        .ok_or_else(|| ApiError::Misdirected {
            host: host.to_owned(),
        })?;
    Ok(Some(own))
}

fn check_origin(
    web: &WebPolicy,
    headers: &HeaderMap,
    own: Option<&ServedHost>,
) -> Result<(), ApiError> {
    // A value that is not even text is no origin of ours.
    let origins: Vec<&str> = headers
        .get_all(header::ORIGIN)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    let said = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let whence = RequestOrigin {
        origins: &origins,
        site: said(SEC_FETCH_SITE),
        mode: said(SEC_FETCH_MODE),
    };
    if web.origins.allows(&whence, own) {
        Ok(())
    } else {
        Err(ApiError::Origin)
    }
}
