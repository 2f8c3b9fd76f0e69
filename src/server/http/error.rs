//! What goes wrong over HTTP: one table from cause to status, code and words, as
//! `{"error":{"code","message"}}`.

mod admin;

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::protocol::KeyError;
use crate::protocol::NameError;
use crate::server::auth::{AuthError, TokenError};
use crate::server::http::entrance::{MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES};
use crate::server::http::problem::ErrorText;
use crate::server::hub::Refusal;
use crate::server::metrics;
use crate::server::moderation::Denied;
use crate::server::session::{Rate, RateLimited};
use crate::server::store::StoreError;
use crate::server::transport::UpgradeError;

pub(super) use admin::AdminError;

/// Time after which a refused client may try again, where nothing says it more exactly.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The body of such an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// For programs: never changes.
    code: &'static str,
    /// For people: what is wrong and what is allowed.
    message: String,
}

/// An answer other than the one asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// A room or id that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A query's field or a header that is not what it must be.
    #[error("{name} must be {allowed}")]
    Parameter {
        /// Which.
        name: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// A query that cannot be read.
    #[error("{0}")]
    Query(String),
    /// A limit is reached.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store could not take or give something now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key that is none.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not a WebSocket handshake.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// A page of another origin.
    #[error(
        "pages of this origin may not connect; the server's --allow-origin names those that may"
    )]
    Origin,
    /// Not one `Host`, or one that is none.
    #[error("a request has one Host header: a name or an address, and perhaps a port")]
    BadHost,
    /// A name that is not the server's.
    #[error("this server does not answer to {host:?}; its --public-host {host} would make it")]
    Misdirected {
        /// The name.
        host: String,
    },
    /// Without a good token, or with one that does not allow this.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// No such address.
    #[error("there is nothing at this address")]
    NotFound,
    /// An address outside of `--base-path`.
    #[error("there is nothing at this address; this server is at {base}/ (--base-path {base})")]
    OutsideBase {
        /// The path under which it is.
        base: String,
    },
    /// The address exists, but not for this method.
    #[error("this address does not take this method")]
    Method,
    /// A body of another kind.
    #[error(
        "the body must be text/plain in UTF-8, application/json like {{\"text\":\"...\"}}, or application/x-ndjson, \
         one such object a line"
    )]
    MediaType,
    /// A body that is compressed, or encoded in another way.
    #[error(
        "the body is encoded as {coding:?}; send it as it is, without Content-Encoding: only identity is accepted"
    )]
    ContentCoding {
        /// The first coding that is not supported.
        coding: String,
    },
    /// A body of text that is not in UTF-8.
    #[error("the body has the charset {charset:?}; only utf-8 is accepted")]
    Charset {
        /// As `Content-Type` names it.
        charset: String,
    },
    /// A body that is encoded for its transfer.
    #[error("the body has the transfer coding {coding:?}; only chunked is supported")]
    TransferCoding {
        /// The first coding that is not supported.
        coding: String,
    },
    /// An answer in no form that the server has.
    #[error("the Accept header refuses every form of this answer; it can be {offered}")]
    NotAcceptable {
        /// The media types that there are.
        offered: &'static str,
    },
    /// A body of the right kind that does not say what it must.
    #[error("{0}")]
    Body(String),
    /// A line of a batch that is no message.
    #[error("line {number}: {error}")]
    Line {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        error: Box<Self>,
    },
    /// A key for a whole batch.
    #[error("Idempotency-Key is for one message; in a batch each line has a \"key\" of its own")]
    KeyOfBatch,
    /// More bytes than allowed: of one message, or of a body.
    #[error("the {what} is larger than the {limit} bytes allowed")]
    TooBig {
        /// `message` or `body`.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// More messages in a batch than may ever pass at once.
    #[error("the batch has more than the {limit} messages allowed at once")]
    TooMany {
        /// How many are allowed.
        limit: usize,
    },
    /// More connections than one address may open.
    #[error("too fast; one address may open {} connections a second, {} at once", rate.per_second, rate.burst)]
    ConnectsTooFast {
        /// What is allowed.
        rate: Rate,
        /// How long to wait.
        wait: Duration,
    },
    /// More places than one address may hold.
    #[error(
        "one address may ask for {limit} things at once; close connections that are not needed"
    )]
    TooManyAtOnce {
        /// How many connections are allowed.
        limit: usize,
    },
    /// More messages than an id or an address may say.
    #[error(transparent)]
    TooFast(#[from] RateLimited),
    /// A banned client, or a closed room.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// What only operators meet.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A body that does not come.
    #[error("the body did not come in time")]
    Slow,
    /// A body whose end never came.
    #[error("the body broke off")]
    BrokenOff,
    /// More pages than can be rendered now.
    #[error("the server renders as many pages as it can now, and {limit} {whose} wait; try again")]
    TooManyPages {
        /// The limit for waiting requests.
        limit: usize,
        /// `requests`, or `requests from this address`.
        whose: &'static str,
    },
    /// A page that had to wait for too long.
    #[error(
        "the server renders as many pages as it can now, and none of them was done in {} s; try again",
        limit.as_secs()
    )]
    PageTimeout {
        /// How long a request waits.
        limit: Duration,
    },
    /// More bodies at once than one address may send.
    #[error(
        "request bodies from this address take the {limit} bytes that they may at once (a part of --memory-budget); \
         wait for an answer before the next"
    )]
    Busy {
        /// The limit in bytes.
        limit: usize,
    },
    /// More answers that were not read than one address may leave.
    #[error(
        "answers that this address has not read take the {limit} bytes that they may (a part of --memory-budget); \
         read them first"
    )]
    TooMuchUnread {
        /// The limit in bytes.
        limit: usize,
    },
    /// All connections that ask over HTTP are in use.
    #[error("the server has {limit} open HTTP connections, as many as it allows")]
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
    /// A target that is too long.
    #[error("the address is longer than the {limit} bytes allowed")]
    LongTarget {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// A head that is too large by far: how large is not known.
    #[error(
        "the request's head is too large; it may have {MAX_HEADERS} headers and {MAX_HEAD_BYTES} bytes of them, \
         and a target of {MAX_TARGET_BYTES} bytes"
    )]
    HugeHead,
    /// Bytes that are no request.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// The preface of HTTP/2.
    #[error("HTTP/2 is not supported; use HTTP/1.1")]
    HttpVersion,
    /// More of a request's head than allowed.
    #[error("the request has more than the {limit} {what} allowed")]
    LargeHead {
        /// `headers`, or `bytes of headers`.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
}

impl ApiError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Name(
                NameError::Length { .. }
                | NameError::RoomCharacter { .. }
                | NameError::RoomDots
                | NameError::IdControl { .. },
            ) => (StatusCode::BAD_REQUEST, "bad_name"),
            Self::Key(_) | Self::KeyOfBatch => (StatusCode::BAD_REQUEST, "bad_key"),
            Self::Parameter { .. } | Self::Query(_) => (StatusCode::BAD_REQUEST, "bad_parameter"),
            Self::Line { error, .. } => error.status_and_code(),
            Self::Refused(Refusal::TooManyRooms) | Self::Store(StoreError::TooManyRooms { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, "too_many_rooms")
            }
            Self::Refused(Refusal::StoreUnavailable) | Self::Store(_) => {
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
            Self::Auth(AuthError::Token(TokenError::Missing)) => {
                (StatusCode::UNAUTHORIZED, "no_token")
            }
            // RFC 6750 section 3.1.
            Self::Auth(AuthError::Token(TokenError::Several)) => {
                (StatusCode::BAD_REQUEST, "several_tokens")
            }
            Self::Auth(AuthError::Token(_)) => (StatusCode::UNAUTHORIZED, "bad_token"),
            Self::Auth(_) => (StatusCode::FORBIDDEN, "not_allowed"),
            Self::Denied(Denied::Banned { .. }) => (StatusCode::FORBIDDEN, "banned"),
            Self::Denied(Denied::Closed { .. }) => (StatusCode::FORBIDDEN, "room_closed"),
            Self::Admin(error) => error.status_and_code(),
            Self::NotFound | Self::OutsideBase { .. } => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::MediaType | Self::ContentCoding { .. } | Self::Charset { .. } => {
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
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::BrokenOff => (StatusCode::BAD_REQUEST, "broken_off"),
            Self::TooManyPages { .. } | Self::PageTimeout { .. } => {
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
    /// What programs know it by, and counters.
    pub(super) fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    /// When the same request may succeed, if it may.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooFast(RateLimited { wait, .. }) | Self::ConnectsTooFast { wait, .. } => {
                Some(*wait)
            }
            Self::Refused(_) | Self::Store(_) => Some(RETRY_AFTER),
            Self::Busy { .. }
            | Self::TooManyPages { .. }
            | Self::PageTimeout { .. }
            | Self::TooMuchUnread { .. }
            | Self::TooManyHttpConnections { .. }
            | Self::NoFileLeft { .. }
            | Self::TooManyAtOnce { .. } => Some(RETRY_AFTER),
            _ => None,
        }
    }

    /// Returns whether browsers are shown it as a page: not if pages cannot be rendered now.
    const fn may_be_page(&self) -> bool {
        !matches!(self, Self::TooManyPages { .. } | Self::PageTimeout { .. })
    }

    /// What `WWW-Authenticate` says (RFC 6750 section 3). Whoever sent no token is told of no error.
    const fn challenge(&self) -> Option<&'static str> {
        let Self::Auth(error) = self else { return None };
        Some(match error {
            AuthError::Token(TokenError::Missing) => "Bearer realm=\"fanfare\"",
            AuthError::Token(TokenError::Several) => {
                "Bearer realm=\"fanfare\", error=\"invalid_request\""
            }
            AuthError::Token(_) => "Bearer realm=\"fanfare\", error=\"invalid_token\"",
            _ => "Bearer realm=\"fanfare\", error=\"insufficient_scope\"",
        })
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
            // In whole seconds (RFC 9110 section 10.2.3), none of them too few.
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
