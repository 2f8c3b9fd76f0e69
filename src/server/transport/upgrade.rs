//! The opening handshake, which turns an HTTP request into a WebSocket (RFC 6455 section 4.2).

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Version};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::protocol::SUBPROTOCOL;
use crate::server::room::{Dialect, Format};
use crate::server::transport::handover::{HandedSocket, Handover};
use crate::server::wire;

/// The suffix of the client's key before it is hashed (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An error in a request to open a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// Not `GET` over HTTP/1.1.
    #[error("a WebSocket is opened with GET over HTTP/1.1")]
    NotGet,
    /// No `Connection: upgrade` or `Upgrade: websocket`.
    #[error("WebSocket endpoint: send Connection: Upgrade and Upgrade: websocket")]
    NotAnUpgrade,
    /// Another `Sec-WebSocket-Version` than 13.
    #[error("unsupported WebSocket version: send Sec-WebSocket-Version: 13")]
    WrongVersion,
    /// `Sec-WebSocket-Key` is missing or not 16 bytes in base64.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    BadKey,
    /// The request has a body.
    #[error(
        "a request for a WebSocket must have no body: leave out Content-Length and Transfer-Encoding"
    )]
    HasBody,
}

/// A valid request to open a WebSocket.
#[derive(Debug)]
pub struct Handshake {
    accept: HeaderValue,
    format: Format,
}

impl Handshake {
    /// Checks `request`. An offer to compress messages is accepted if `may_compress`.
    ///
    /// # Errors
    /// Returns the first rule that the request breaks.
    pub fn new(request: &Request, may_compress: bool) -> Result<Self, UpgradeError> {
        if request.method() != Method::GET || request.version() != Version::HTTP_11 {
            return Err(UpgradeError::NotGet);
        }
        let headers = request.headers();
        if !has_token(headers, &header::CONNECTION, "upgrade")
            || !has_token(headers, &header::UPGRADE, "websocket")
        {
            return Err(UpgradeError::NotAnUpgrade);
        }
        if headers
            .get(header::SEC_WEBSOCKET_VERSION)
            .is_none_or(|version| version != "13")
        {
            return Err(UpgradeError::WrongVersion);
        }

        let key = headers
            .get(header::SEC_WEBSOCKET_KEY)
            .ok_or(UpgradeError::BadKey)?
            .as_bytes();
        if STANDARD.decode(key).map_or(0, |decoded| decoded.len()) != 16 {
            return Err(UpgradeError::BadKey);
        }
        // Its bytes would be read as frames.
        if !request.body().is_end_stream() {
            return Err(UpgradeError::HasBody);
        }

        let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
        let accept =
            HeaderValue::try_from(STANDARD.encode(hash)).map_err(|_| UpgradeError::BadKey)?;

        let is_typed = has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
        let dialect = if is_typed {
            Dialect::Typed
        } else {
            Dialect::Plain
        };
        let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
        let is_offered = wire::is_deflate_offered(offers.filter_map(|offer| offer.to_str().ok()));
        let format = if may_compress && is_offered {
            Format::deflated(dialect)
        } else {
            Format::new(dialect)
        };

        Ok(Self { accept, format })
    }

    /// Returns the format negotiated by the client's subprotocols and extensions.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Returns the 101 response, and a future of its socket.
    pub(super) fn accept(self) -> (Response, impl Future<Output = Option<HandedSocket>>) {
        let (mut response, socket) = Handover::begin();
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;

        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if self.format.is_deflated() {
            let agreement = HeaderValue::from_static(wire::DEFLATE_AGREEMENT);
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, agreement);
        }
        if self.format.dialect() == Dialect::Typed {
            headers.insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(SUBPROTOCOL),
            );
        }

        (response, socket)
    }
}

/// Returns true if the comma-separated header `name` contains `token`, in upper or lower case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}
