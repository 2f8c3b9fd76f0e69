//! Who makes a request: its token, found in the one place where it may be, and what that proves.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Uri, header};

use crate::protocol::TOKEN_SUBPROTOCOL_PREFIX;
use crate::protocol::UserId;
use crate::server::auth::{Principal, TokenError};
use crate::server::http::AppState;
use crate::server::http::error::ApiError;
use crate::server::session::{IpBucket, RateLimitKey};
use crate::server::transport::unix_time;

/// The query's field that holds a token, for those who can set no header.
const TOKEN_FIELD: &str = "token";
/// The scheme of `Authorization` (RFC 6750 section 2.1). Any other is somebody else's, a proxy's perhaps.
const BEARER: &str = "bearer";

/// Who makes the request. A handler that does anything asks it first.
#[derive(Debug)]
pub(super) struct Caller(pub(super) Principal);

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        Ok(Self(principal(state, &parts.headers, &parts.uri)?))
    }
}

/// Who makes a request with these headers to this address.
pub(super) fn principal(
    state: &AppState,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Principal, TokenError> {
    if state.verifier.is_open() {
        return Ok(Principal::open());
    }
    state
        .verifier
        .principal(token(headers, uri)?.as_deref(), unix_time().as_secs())
}

/// Returns who makes a request by the token in its `Authorization` header, and by no other.
///
/// Addresses are kept in histories and logs, so a token in one must not administer.
pub(super) fn header_principal(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Principal, TokenError> {
    if state.verifier.is_open() {
        return Ok(Principal::open());
    }

    let token = only_one(authorizations(headers))?;
    state
        .verifier
        .principal(token.as_deref(), unix_time().as_secs())
}

/// Whose quota is used up by what `principal` says from `host` under `id`.
pub(super) const fn speaker(principal: &Principal, id: UserId, host: IpBucket) -> RateLimitKey {
    if principal.proven().is_some() {
        RateLimitKey::proven(id)
    } else {
        RateLimitKey::claimed(id, host)
    }
}

/// The token that a request was sent with, if it was with one.
fn token(headers: &HeaderMap, uri: &Uri) -> Result<Option<String>, TokenError> {
    let subprotocols = values(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .flat_map(|value| value.split(','))
        .filter_map(|part| {
            part.trim()
                .strip_prefix(TOKEN_SUBPROTOCOL_PREFIX)
                .map(str::to_owned)
        });
    let fields = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter(|(name, _)| name == TOKEN_FIELD)
        .map(|(_, value)| value.into_owned());

    only_one(authorizations(headers).chain(subprotocols).chain(fields))
}

/// Returns the tokens in `Authorization`.
fn authorizations(headers: &HeaderMap) -> impl Iterator<Item = String> {
    values(headers, header::AUTHORIZATION).filter_map(|value| {
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        scheme
            .eq_ignore_ascii_case(BEARER)
            .then(|| token.trim().to_owned())
    })
}

/// Returns the values of the header `name`. A value that is not even text is no token of ours.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
}

/// Returns the first of `tokens`, unless there is a second.
fn only_one(mut tokens: impl Iterator<Item = String>) -> Result<Option<String>, TokenError> {
    match (tokens.next(), tokens.next()) {
        (Some(_), Some(_)) => Err(TokenError::Several),
        (first, _) => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn found(
        headers: &[(header::HeaderName, &'static str)],
        uri: &'static str,
    ) -> Result<Option<String>, TokenError> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        token(&headers.collect(), &Uri::from_static(uri))
    }

    #[test]
    fn a_token_is_found_in_each_place_where_it_may_be() {
        let some = Ok(Some("a.b.c".to_owned()));
        assert_eq!(
            found(&[(header::AUTHORIZATION, "Bearer a.b.c")], "/ws"),
            some
        );
        assert_eq!(
            found(&[(header::AUTHORIZATION, "bearer  a.b.c ")], "/ws"),
            some
        );
        assert_eq!(
            found(
                &[(header::SEC_WEBSOCKET_PROTOCOL, "fanfare.v1, bearer.a.b.c")],
                "/ws"
            ),
            some
        );
        assert_eq!(found(&[], "/ws?room=x&token=a.b.c"), some);
        assert_eq!(found(&[], "/ws?tokens=a.b.c"), Ok(None));
        assert_eq!(
            found(&[(header::AUTHORIZATION, "Basic YTpi")], "/ws"),
            Ok(None)
        );
    }

    #[test]
    fn a_token_in_two_places_is_none() {
        let header = || (header::AUTHORIZATION, "Bearer a.b.c");
        assert_eq!(
            found(&[header()], "/ws?token=a.b.c"),
            Err(TokenError::Several)
        );
        assert_eq!(
            found(&[header(), header()], "/ws"),
            Err(TokenError::Several)
        );
        assert_eq!(
            found(&[], "/ws?token=&token=a.b.c"),
            Err(TokenError::Several)
        );
    }

    #[test]
    fn an_empty_token_is_a_bad_one_and_not_none() {
        assert_eq!(
            found(&[(header::AUTHORIZATION, "Bearer")], "/ws"),
            Ok(Some(String::new()))
        );
        assert_eq!(found(&[], "/ws?token="), Ok(Some(String::new())));
    }
}
