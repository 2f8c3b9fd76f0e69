//! `GET /qr.svg`: the QR code of a page's URL, for the share panel.
//!
//! The URL is a parameter, because behind a proxy only the browser knows it. Only URLs whose pages may connect to this
//! server are drawn.

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::{Uri, header};
use axum::response::IntoResponse;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::{ECL, QRBuilder};
use serde::Deserialize;

use crate::server::auth::{OriginHeaders, ServedHost};
use crate::server::http::AppState;
use crate::server::http::error::ApiError;
use crate::server::http::extract::Query;

const NOT_A_PAGE: ApiError = ApiError::Parameter {
    name: "url",
    allowed: "the URL of a room's page, like https://chat.example.org/r/lobby",
};

/// The query parameters of a QR code.
#[derive(Debug, Deserialize)]
pub(super) struct QrCodeParams {
    url: String,
}

pub(super) async fn qr_code(
    Shared(state): Shared<AppState>,
    host: Option<Extension<ServedHost>>,
    Query(QrCodeParams { url }): Query<QrCodeParams>,
) -> Result<impl IntoResponse, ApiError> {
    let uri: Uri = url.parse().map_err(|_| NOT_A_PAGE)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(NOT_A_PAGE);
    };
    let origin = format!("{scheme}://{authority}");
    let origin = OriginHeaders {
        origins: &[&origin],
        ..OriginHeaders::default()
    };
    let host = host.map(|Extension(host)| host);
    if !state.web.origins.allows(&origin, host.as_ref()) {
        return Err(ApiError::Origin);
    }

    let code = QRBuilder::new(url)
        .ecl(ECL::M)
        .build()
        .map_err(|_| NOT_A_PAGE)?;
    let svg = SvgBuilder::default().to_str(&code);
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg))
}
