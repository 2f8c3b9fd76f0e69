//! The headers of the protocol.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

use crate::protocol::{Epoch, Offset};
use crate::server::http::error::ApiError;
use crate::server::http::streams::offset;
use crate::server::store::{Lifecycle, ProducerPosition, RoomSettings};

pub(super) const STREAM_TTL: HeaderName = HeaderName::from_static("stream-ttl");
pub(super) const STREAM_EXPIRES_AT: HeaderName = HeaderName::from_static("stream-expires-at");
pub(super) const STREAM_SEQ: HeaderName = HeaderName::from_static("stream-seq");
pub(super) const STREAM_CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
pub(super) const STREAM_NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(super) const STREAM_UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
pub(super) const STREAM_CLOSED: HeaderName = HeaderName::from_static("stream-closed");
pub(super) const STREAM_FORKED_FROM: HeaderName = HeaderName::from_static("stream-forked-from");
pub(super) const STREAM_SSE_DATA_ENCODING: HeaderName =
    HeaderName::from_static("stream-sse-data-encoding");
pub(super) const PRODUCER_ID: HeaderName = HeaderName::from_static("producer-id");
pub(super) const PRODUCER_EPOCH: HeaderName = HeaderName::from_static("producer-epoch");
pub(super) const PRODUCER_SEQ: HeaderName = HeaderName::from_static("producer-seq");
pub(super) const PRODUCER_EXPECTED_SEQ: HeaderName =
    HeaderName::from_static("producer-expected-seq");
pub(super) const PRODUCER_RECEIVED_SEQ: HeaderName =
    HeaderName::from_static("producer-received-seq");

/// The response headers that pages of other origins may read.
pub(in crate::server::http) const EXPOSED: [HeaderName; 14] = [
    STREAM_TTL,
    STREAM_EXPIRES_AT,
    STREAM_CURSOR,
    STREAM_NEXT_OFFSET,
    STREAM_UP_TO_DATE,
    STREAM_CLOSED,
    STREAM_SSE_DATA_ENCODING,
    PRODUCER_EPOCH,
    PRODUCER_SEQ,
    PRODUCER_EXPECTED_SEQ,
    PRODUCER_RECEIVED_SEQ,
    header::ETAG,
    header::LOCATION,
    header::CACHE_CONTROL,
];

/// The value of headers that are only present or absent.
pub(super) const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The largest number in a header: 2^53 - 1, which JavaScript can represent.
const MAX_NUMBER: u64 = (1 << 53) - 1;
/// The longest content type, producer id and writer sequence, in bytes.
const MAX_TEXT: usize = 255;

/// A request header, and the allowed values for the error message.
struct HeaderRule {
    header: HeaderName,
    name: &'static str,
    allowed: &'static str,
}

impl HeaderRule {
    const fn number(header: HeaderName, name: &'static str) -> Self {
        let allowed = "a number from 0 to 9007199254740991, in digits without leading zeros";
        Self {
            header,
            name,
            allowed,
        }
    }

    const fn error(&self) -> ApiError {
        ApiError::Parameter {
            name: self.name,
            allowed: self.allowed,
        }
    }

    /// Returns the text of the header; `None` if the request does not have it.
    fn text<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, ApiError> {
        let mut values = headers.get_all(&self.header).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) if value.len() <= MAX_TEXT => {
                value.to_str().map(Some).map_err(|_| self.error())
            }
            _ => Err(self.error()),
        }
    }

    /// Returns the number in the header: decimal digits without leading zeros.
    fn read_number(&self, headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(headers)? else {
            return Ok(None);
        };

        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'));
        let number = text.parse().ok();
        let number = number.filter(|number| is_plain && *number <= MAX_NUMBER);
        number.map(Some).ok_or_else(|| self.error())
    }
}

/// Returns true if the request has `Stream-Closed: true`. Other values count as absent.
pub(super) fn is_closed(headers: &HeaderMap) -> bool {
    headers
        .get(STREAM_CLOSED)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Returns the content type of the body; `None` if the request has none.
///
/// # Errors
/// If it is not a media type.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let rule = HeaderRule {
        header: header::CONTENT_TYPE,
        name: "Content-Type",
        allowed: "a media type like application/json, at most 255 bytes",
    };
    let Some(text) = rule.text(headers)? else {
        return Ok(None);
    };

    if is_media_type(text) {
        Ok(Some(text.trim().to_owned()))
    } else {
        Err(rule.error())
    }
}

/// Returns true if `text` can be the content type of a stream.
pub(in crate::server::http) fn is_content_type(text: &str) -> bool {
    text.len() <= MAX_TEXT && HeaderValue::try_from(text).is_ok() && is_media_type(text)
}

fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        !part.is_empty() && part.bytes().all(is_allowed)
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Returns the time to live in seconds, and the time of expiry in milliseconds since 1970 UTC.
///
/// # Errors
/// If one of them is invalid, or there are both.
pub(super) fn expiry(headers: &HeaderMap) -> Result<(Option<u64>, Option<u64>), ApiError> {
    let ttl = HeaderRule::number(STREAM_TTL, "Stream-TTL").read_number(headers)?;
    let rule = HeaderRule {
        header: STREAM_EXPIRES_AT,
        name: "Stream-Expires-At",
        allowed: "a time like 2030-01-31T12:00:00Z (RFC 3339), without Stream-TTL",
    };
    let Some(expires_at) = rule.text(headers)? else {
        return Ok((ttl, None));
    };

    let parsed = expires_at.parse::<Timestamp>().ok();
    let expires_at = parsed.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    match (ttl, expires_at) {
        (None, Some(expires_at)) => Ok((None, Some(expires_at))),
        _ => Err(rule.error()),
    }
}

/// Returns the position of an append among those of its producer; `None` if the request has none.
///
/// # Errors
/// If one of the three headers is missing or invalid.
pub(super) fn producer(headers: &HeaderMap) -> Result<Option<ProducerPosition>, ApiError> {
    let rule = HeaderRule {
        header: PRODUCER_ID,
        name: "Producer-Id",
        allowed: "1 to 255 bytes of text, together with Producer-Epoch and Producer-Seq",
    };
    let id = rule.text(headers)?;
    let epoch = HeaderRule::number(PRODUCER_EPOCH, "Producer-Epoch").read_number(headers)?;
    let seq = HeaderRule::number(PRODUCER_SEQ, "Producer-Seq").read_number(headers)?;

    match (id, epoch, seq) {
        (None, None, None) => Ok(None),
        (Some(id), Some(epoch), Some(seq)) if !id.is_empty() => {
            let id = id.to_owned();
            Ok(Some(ProducerPosition { id, epoch, seq }))
        }
        _ => Err(rule.error()),
    }
}

/// Returns the writer sequence of an append; `None` if the request has none.
///
/// # Errors
/// If it is too long or not text.
pub(super) fn writer_seq(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let rule = HeaderRule {
        header: STREAM_SEQ,
        name: "Stream-Seq",
        allowed: "at most 255 bytes of text",
    };
    Ok(rule.text(headers)?.map(str::to_owned))
}

/// Returns the value of a header with the token of `offset`.
pub(super) fn offset_value(epoch: &Epoch, offset: Offset) -> HeaderValue {
    // A token is ASCII.
    HeaderValue::try_from(offset::token(epoch, offset)).unwrap_or(HeaderValue::from_static("-1"))
}

/// Adds the headers that describe a stream with this `lifecycle` whose newest offset is `head`.
pub(super) fn describe(
    headers: &mut HeaderMap,
    lifecycle: &Lifecycle,
    epoch: &Epoch,
    head: Offset,
) {
    // It was a header's value when the stream was created.
    if let Ok(content_type) = HeaderValue::try_from(lifecycle.content_type()) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(STREAM_NEXT_OFFSET, offset_value(epoch, head));
    if lifecycle.is_closed {
        headers.insert(STREAM_CLOSED, TRUE);
    }

    let Some(RoomSettings {
        ttl, expires_at, ..
    }) = &lifecycle.settings
    else {
        return;
    };
    if let Some(ttl) = ttl {
        headers.insert(STREAM_TTL, HeaderValue::from(*ttl));
    }
    let expires_at = expires_at.and_then(|at| Timestamp::from_millisecond(at as i64).ok());
    let value = expires_at.and_then(|time| HeaderValue::try_from(time.to_string()).ok());
    if let Some(value) = value {
        headers.insert(STREAM_EXPIRES_AT, value);
    }
}
