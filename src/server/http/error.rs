//! Errors over HTTP, and their statuses, codes and messages. They are sent as `{"error":{"code","message"}}`.

mod admin;

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::protocol::{KeyError, NameError, RoomSelector};
use crate::server::auth::{AuthError, TokenError};
use crate::server::http::error_page::ErrorText;
use crate::server::http::middleware::request_limit::{
    MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES,
};
use crate::server::http::streams::StreamError;
use crate::server::hub::{DeleteError, ReferenceError, Refusal};
use crate::server::metrics;
use crate::server::moderation::Denied;
use crate::server::session::{Rate, RateLimited};
use crate::server::store::StoreError;
use crate::server::transport::UpgradeError;

pub(super) use admin::AdminError;

/// The time after which a refused client may retry, unless it can be computed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The body of an error response.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

/// The error of a request.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// The code, for programs. Codes never change.
    code: &'static str,
    /// The message, for people: the fault and the allowed values.
    message: String,
}

/// An error of a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The room or the id is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A query parameter or a header is invalid.
    #[error("{name} must be {allowed}")]
    Parameter {
        /// The name of the parameter or header.
        name: &'static str,
        /// The allowed values.
        allowed: &'static str,
    },
    /// The query cannot be parsed.
    #[error("{0}")]
    Query(String),
    /// A limit of the hub is reached.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed to write or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key is invalid.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not a WebSocket handshake.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The origin of the page is not allowed.
    #[error("this origin is not allowed; allow it with the server's --allow-origin")]
    Origin,
    /// There is not exactly one valid `Host`.
    #[error("a request needs one Host header: a name or an address, and optionally a port")]
    BadHost,
    /// The `Host` names another server.
    #[error("this server is not {host:?}; if it is, start it with --public-host {host}")]
    Misdirected {
        /// The name in the request.
        host: String,
    },
    /// The token is missing, invalid, or does not grant the right.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The URL does not exist.
    #[error("not found")]
    NotFound,
    /// The URL is outside of `--base-path`.
    #[error("not found; this server is at {base}/ (--base-path {base})")]
    OutsideBase {
        /// The path of the server.
        base: String,
    },
    /// The URL exists, but not for this method.
    #[error("method not allowed")]
    Method,
    /// The media type of the body is not supported.
    #[error(
        "the body must be text/plain in UTF-8, application/octet-stream, application/json like {{\"text\":\"...\"}}, or \
         application/x-ndjson, one such object a line"
    )]
    MediaType,
    /// The media type of the body is not JSON.
    #[error(
        "the body must be application/json like {{\"kind\":\"typing\",\"json\":{{\"seconds\":3}}}}"
    )]
    NotJson,
    /// The body is compressed, or has another content coding.
    #[error(
        "the body is encoded as {coding:?}; send it without Content-Encoding: only identity is accepted"
    )]
    ContentCoding {
        /// The first coding that is not supported.
        coding: String,
    },
    /// The text in the body is not in UTF-8.
    #[error("the body has the charset {charset:?}; only utf-8 is accepted")]
    Charset {
        /// The charset in `Content-Type`.
        charset: String,
    },
    /// The body has an unsupported transfer coding.
    #[error("the body has the transfer coding {coding:?}; only chunked is supported")]
    TransferCoding {
        /// The first coding that is not supported.
        coding: String,
    },
    /// `Accept` refuses every form of the response.
    #[error("the Accept header refuses every form of this response; available: {offered}")]
    NotAcceptable {
        /// The available media types.
        offered: &'static str,
    },
    /// The body is invalid.
    #[error("{0}")]
    Body(String),
    /// A line of a batch is invalid.
    #[error("line {number}: {error}")]
    Line {
        /// The number of the line, from 1.
        number: usize,
        /// The error of the line.
        error: Box<Self>,
    },
    /// A request for several rooms fails because of one of them.
    #[error("room {room}: {error}")]
    InRoom {
        /// The room or pattern.
        room: RoomSelector,
        /// The error of the room.
        error: Box<Self>,
    },
    /// `Idempotency-Key` was sent with a batch.
    #[error("Idempotency-Key is for one message; in a batch each line has a \"key\" of its own")]
    KeyOfBatch,
    /// A message or a body is too long.
    #[error("the {what} is larger than the {limit} bytes allowed")]
    TooBig {
        /// `message`, `signal` or `body`.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// A batch has more messages than the rate limits ever allow at once.
    #[error("the batch has more than the {limit} messages allowed at once")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The address opens connections too fast.
    #[error("too many new connections; one address may open {} a second, and {} at once", rate.per_second, rate.burst)]
    ConnectsTooFast {
        /// The limit.
        rate: Rate,
        /// The time after which the client may connect again.
        wait: Duration,
    },
    /// The address has too many HTTP connections.
    #[error(
        "too many HTTP connections from this address (limit {limit}); close those that are not needed"
    )]
    TooManyAtOnce {
        /// The limit.
        limit: usize,
    },
    /// The id or the address publishes too fast.
    #[error(transparent)]
    TooFast(#[from] RateLimited),
    /// The user or the address is banned, or the room is closed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// An error of the admin API.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The client cannot delete the message.
    #[error(transparent)]
    Delete(#[from] DeleteError),
    /// An error of a stream.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The message refers to one that it may not refer to.
    #[error(transparent)]
    Reference(ReferenceError),
    /// A search where the store has none.
    #[error(
        "this server stores messages in NATS, where they cannot be searched; read pages without q instead"
    )]
    NoSearch,
    /// As many searches run as may run at the same time.
    #[error("{limit} searches are running, which is the limit of the server; try again")]
    TooManySearches {
        /// The limit.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the request body timed out")]
    Slow,
    /// The body ended early.
    #[error("the request body ended early")]
    BrokenOff,
    /// Too many requests wait for a page.
    #[error("the server renders as many pages as it can now, and {limit} {whose} wait; try again")]
    TooManyPages {
        /// The limit for waiting requests.
        limit: usize,
        /// `requests`, or `requests from this address`.
        whose: &'static str,
    },
    /// A request has waited too long for a page.
    #[error(
        "the server renders as many pages as it can now, and none of them was done in {} s; try again",
        limit.as_secs()
    )]
    PageTimeout {
        /// The longest wait.
        limit: Duration,
    },
    /// The address sends too many request bodies at once.
    #[error(
        "request bodies from this address take the {limit} bytes allowed at once (a part of --memory-budget); \
         wait for a response before the next request"
    )]
    Busy {
        /// The limit in bytes.
        limit: usize,
    },
    /// The address has not read its responses.
    #[error(
        "unread responses to this address take the {limit} bytes allowed (a part of --memory-budget); read them first"
    )]
    TooMuchUnread {
        /// The limit in bytes.
        limit: usize,
    },
    /// All HTTP connections are in use.
    #[error("the server has {limit} open HTTP connections, which is its limit")]
    TooManyHttpConnections {
        /// The limit.
        limit: usize,
    },
    /// All file descriptors for connections are in use.
    #[error("the server has {limit} connections, as many as its file limit allows (ulimit -n)")]
    NoFileLeft {
        /// The limit for connections.
        limit: usize,
    },
    /// The request target is too long.
    #[error("the URL is longer than the {limit} bytes allowed")]
    LongTarget {
        /// The limit in bytes.
        limit: usize,
    },
    /// The head is so large that it was not read to its end.
    #[error(
        "the request's head is too large; it may have {MAX_HEADERS} headers and {MAX_HEAD_BYTES} bytes of them, \
         and a target of {MAX_TARGET_BYTES} bytes"
    )]
    HugeHead,
    /// The bytes are not an HTTP request.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// The client sent the preface of HTTP/2.
    #[error("HTTP/2 is not supported; use HTTP/1.1")]
    HttpVersion,
    /// The head of the request is too large.
    #[error("the request has more than the {limit} {what} allowed")]
    LargeHead {
        /// `headers`, or `bytes of headers`.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl ApiError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Name(_) => (StatusCode::BAD_REQUEST, "bad_name"),
            Self::Key(_) | Self::KeyOfBatch => (StatusCode::BAD_REQUEST, "bad_key"),
            Self::Parameter { .. } | Self::Query(_) => (StatusCode::BAD_REQUEST, "bad_parameter"),
            Self::Line { error, .. } | Self::InRoom { error, .. } => error.status_and_code(),
            Self::Refused(Refusal::TooManyRooms | Refusal::TooManyPatterns)
            | Self::Store(StoreError::TooManyRooms { .. } | StoreError::TooManyStreams { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, "too_many_rooms")
            }
            Self::Store(StoreError::RoomClosed) => (StatusCode::CONFLICT, "stream_closed"),
            Self::Refused(Refusal::StoreUnavailable)
            | Self::Store(_)
            | Self::Delete(DeleteError::Store(_)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
            }
            Self::Refused(Refusal::TooManyConnections) => {
                (StatusCode::SERVICE_UNAVAILABLE, "too_many_connections")
            }
            Self::Refused(Refusal::TooManyFromAddress) => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_connections_from_address",
            ),
            Self::Refused(Refusal::RoomFull) => (StatusCode::SERVICE_UNAVAILABLE, "room_full"),
            Self::Refused(Refusal::MemoryFull) => (StatusCode::SERVICE_UNAVAILABLE, "memory_full"),
            Self::Refused(Refusal::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self::Upgrade(UpgradeError::NotAnUpgrade | UpgradeError::WrongVersion) => {
                (StatusCode::UPGRADE_REQUIRED, "upgrade_required")
            }
            Self::Upgrade(_) => (StatusCode::BAD_REQUEST, "bad_handshake"),
            Self::Origin => (StatusCode::FORBIDDEN, "origin_not_allowed"),
            Self::BadHost => (StatusCode::BAD_REQUEST, "bad_host"),
            Self::Misdirected { .. } => (StatusCode::MISDIRECTED_REQUEST, "misdirected"),
            Self::Auth(AuthError::Token(TokenError::Missing | TokenError::NoProxyUser)) => {
                (StatusCode::UNAUTHORIZED, "no_token")
            }
            // RFC 6750 section 3.1.
            Self::Auth(AuthError::Token(TokenError::Several)) => {
                (StatusCode::BAD_REQUEST, "several_tokens")
            }
            Self::Auth(AuthError::Token(TokenError::NoKeys)) => {
                (StatusCode::SERVICE_UNAVAILABLE, "no_keys")
            }
            Self::Auth(AuthError::Token(_)) => (StatusCode::UNAUTHORIZED, "bad_token"),
            Self::Auth(_) => (StatusCode::FORBIDDEN, "not_allowed"),
            Self::Denied(Denied::Banned { .. }) => (StatusCode::FORBIDDEN, "banned"),
            Self::Denied(Denied::Closed { .. }) => (StatusCode::FORBIDDEN, "room_closed"),
            Self::Admin(error) => error.status_and_code(),
            Self::Stream(error) => error.status_and_code(),
            Self::NotFound | Self::OutsideBase { .. } => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::MediaType | Self::NotJson | Self::ContentCoding { .. } | Self::Charset { .. } => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::TransferCoding { .. } => {
                (StatusCode::NOT_IMPLEMENTED, "unsupported_transfer_coding")
            }
            Self::NotAcceptable { .. } => (StatusCode::NOT_ACCEPTABLE, "not_acceptable"),
            Self::Body(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_body"),
            Self::TooBig { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_big"),
            Self::TooMany { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many"),
            Self::TooManyAtOnce { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_at_once"),
            Self::ConnectsTooFast { .. } => (StatusCode::TOO_MANY_REQUESTS, "connects_too_fast"),
            Self::TooFast(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::Delete(DeleteError::Unverified | DeleteError::OtherSender) => {
                (StatusCode::FORBIDDEN, "not_allowed")
            }
            Self::Reference(
                ReferenceError::Unverified { .. }
                | ReferenceError::OfServer { .. }
                | ReferenceError::OtherSender { .. },
            ) => (StatusCode::FORBIDDEN, "not_allowed"),
            Self::Delete(DeleteError::NoMessage)
            | Self::Reference(ReferenceError::NoMessage { .. }) => {
                (StatusCode::NOT_FOUND, "no_such_message")
            }
            Self::Reference(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_body"),
            Self::NoSearch => (StatusCode::NOT_IMPLEMENTED, "no_search"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::BrokenOff => (StatusCode::BAD_REQUEST, "broken_off"),
            Self::TooManyPages { .. } | Self::PageTimeout { .. } | Self::TooManySearches { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy")
            }
            Self::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            Self::TooMuchUnread { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_much_unread"),
            Self::TooManyHttpConnections { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "too_many_http_connections")
            }
            Self::NoFileLeft { .. } => (StatusCode::SERVICE_UNAVAILABLE, "no_file_left"),
            Self::LongTarget { .. } => (StatusCode::URI_TOO_LONG, "address_too_long"),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed_request"),
            Self::HttpVersion => (
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "http_version_not_supported",
            ),
            Self::LargeHead { .. } | Self::HugeHead => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
            ),
        }
    }
}

impl ApiError {
    /// Returns the code, for programs and metrics.
    pub(super) fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    /// Returns the time after which the same request may succeed; `None` if it never will.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooFast(RateLimited { wait, .. }) | Self::ConnectsTooFast { wait, .. } => {
                Some(*wait)
            }
            Self::Store(StoreError::RoomClosed) => None,
            Self::Refused(_) | Self::Store(_) | Self::Delete(DeleteError::Store(_)) => {
                Some(RETRY_AFTER)
            }
            Self::Auth(AuthError::Token(TokenError::NoKeys))
            | Self::Busy { .. }
            | Self::TooManyPages { .. }
            | Self::PageTimeout { .. }
            | Self::TooManySearches { .. }
            | Self::TooMuchUnread { .. }
            | Self::TooManyHttpConnections { .. }
            | Self::NoFileLeft { .. }
            | Self::TooManyAtOnce { .. } => Some(RETRY_AFTER),
            _ => None,
        }
    }

    /// Returns true if browsers get the error as a page, which needs the renderer.
    const fn may_be_page(&self) -> bool {
        !matches!(self, Self::TooManyPages { .. } | Self::PageTimeout { .. })
    }

    /// Returns the value of `WWW-Authenticate` (RFC 6750 section 3), which names no error if there was no token.
    const fn challenge(&self) -> Option<&'static str> {
        let Self::Auth(error) = self else { return None };

        Some(match error {
            AuthError::Token(TokenError::NoKeys) => return None,
            AuthError::Token(TokenError::Missing | TokenError::NoProxyUser) => {
                "Bearer realm=\"fanfare\""
            }
            AuthError::Token(TokenError::Several) => {
                "Bearer realm=\"fanfare\", error=\"invalid_request\""
            }
            AuthError::Token(_) => "Bearer realm=\"fanfare\", error=\"invalid_token\"",
            _ => "Bearer realm=\"fanfare\", error=\"insufficient_scope\"",
        })
    }
}

impl From<ReferenceError> for ApiError {
    fn from(error: ReferenceError) -> Self {
        match error {
            ReferenceError::Store(error) => Self::Store(error),
            error => Self::Reference(error),
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        Self::Auth(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        metrics::count_refusal(code);

        let message = self.to_string();
        let body = ErrorBody {
            error: ErrorDetail {
                code,
                message: message.clone(),
            },
        };
        let mut response = (status, Json(body)).into_response();
        response.extensions_mut().insert(ErrorText {
            code,
            message,
            may_be_page: self.may_be_page(),
        });

        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after() {
            // Whole seconds (RFC 9110 section 10.2.3), rounded up.
            let seconds = wait.as_millis().div_ceil(1000) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        if let Self::Upgrade(UpgradeError::NotAnUpgrade | UpgradeError::WrongVersion) = self {
            // RFC 9110 sections 7.8 and 15.5.22, and RFC 6455 section 4.4.
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            );
        }
        if let Self::ContentCoding { .. } = self {
            // RFC 9110 section 15.5.16.
            headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
        }

        response
    }
}

pub(super) async fn not_found() -> ApiError {
    ApiError::NotFound
}

pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::Method
}
