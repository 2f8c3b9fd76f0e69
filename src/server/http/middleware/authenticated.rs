//! Authentication of requests: the extractor of the token in the header, the subprotocol or the query.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, Uri, header};

use crate::protocol::{RoomName, TOKEN_SUBPROTOCOL_PREFIX, UserId};
use crate::server::auth::{Principal, ProxyUser, Right, TokenError};
use crate::server::http::AppState;
use crate::server::http::client_address::ClientAddress;
use crate::server::http::error::ApiError;
use crate::server::moderation::AccessRequest;
use crate::server::room_rules::RuleRate;
use crate::server::session::{IpBucket, MessageLimits, RateLimitKey, RateLimited};
use crate::server::transport::{own_limits, unix_time};

/// The query parameter with a token, for clients that cannot set headers.
const TOKEN_PARAMETER: &str = "token";
/// The scheme of `Authorization` (RFC 6750 section 2.1). Other schemes are ignored; they may belong to a proxy.
const BEARER: &str = "bearer";

/// The client of a request, as an extractor.
#[derive(Debug)]
pub(in crate::server::http) struct AuthenticatedClient {
    pub(in crate::server::http) principal: Arc<Principal>,
    pub(in crate::server::http) address: IpAddr,
}

impl FromRequestParts<AppState> for AuthenticatedClient {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let principal = principal(state, &parts.headers, &parts.uri, &parts.extensions).await?;
        // A layer around all routes adds the address to every request.
        let client = parts.extensions.get::<ClientAddress>();
        let ClientAddress(address) = *client.ok_or(ApiError::NotFound)?;
        Ok(Self { principal, address })
    }
}

impl AuthenticatedClient {
    /// Checks that the client may read `room`, which may be closed.
    ///
    /// # Errors
    /// If it has no right to, or is banned.
    pub(in crate::server::http) fn check_read(
        &self,
        state: &AppState,
        room: &RoomName,
    ) -> Result<(), ApiError> {
        self.principal.check(Right::Read, room)?;
        let request = AccessRequest::new(self.principal.proven(), self.address, room);
        Ok(state.moderation.admit_reader(&request)?)
    }

    /// Checks that the client may write in `room`, as far as possible without a message.
    ///
    /// # Errors
    /// If it has no right to, it is banned, or the room is closed.
    pub(in crate::server::http) fn check_write(
        &self,
        state: &AppState,
        room: &RoomName,
    ) -> Result<(), ApiError> {
        self.principal.check(Right::Write, room)?;
        let request = AccessRequest::new(self.principal.proven(), self.address, room);
        Ok(state.moderation.admit(&request)?)
    }

    /// Returns the limits on the client's messages in `room`, for which a rule may set `rate`.
    pub(in crate::server::http) fn message_limits(
        &self,
        room: &RoomName,
        rate: Option<RuleRate>,
    ) -> MessageLimits {
        own_limits(&self.principal, Some(room)).unwrap_or_else(|| MessageLimits::of_room(rate))
    }

    /// Checks that the client may write in `room` and send a message now, before its body is read. Counts nothing. A rule
    /// may set `rate` for messages to the room. Returns the limits that apply.
    ///
    /// # Errors
    /// If it has no right to, it is banned, the room is closed, or the client sends too fast.
    pub(in crate::server::http) fn check_publish(
        &self,
        state: &AppState,
        room: &RoomName,
        rate: Option<RuleRate>,
    ) -> Result<MessageLimits, ApiError> {
        self.check_write(state, room)?;
        let limits = self.message_limits(room, rate);
        let now = state.hub.now();
        state.quotas.check_http(self.host(), limits, now)?;
        Ok(limits)
    }

    /// Counts `room` as a room that the client creates, unless it administers the room.
    ///
    /// # Errors
    /// If its address has created too many rooms.
    pub(in crate::server::http) fn count_new_room(
        &self,
        state: &AppState,
        room: &RoomName,
    ) -> Result<(), RateLimited> {
        if self.principal.may(Right::Admin, room) {
            return Ok(());
        }
        state.quotas.create_room(self.host(), state.hub.now())
    }

    /// Counts messages of the client with `limits`, each sender with its number: all of them, or none.
    pub(in crate::server::http) fn count_messages(
        &self,
        state: &AppState,
        limits: MessageLimits,
        senders: &[(&UserId, u32)],
    ) -> Result<(), RateLimited> {
        let host = self.host();
        let keys: Vec<_> = senders
            .iter()
            .map(|(id, messages)| {
                let key = rate_limit_key(&self.principal, (*id).clone(), host);
                (key, *messages)
            })
            .collect();

        state.quotas.take_http(host, &keys, limits, state.hub.now())
    }

    /// Returns the bucket of the client's address in limits.
    pub(in crate::server::http) fn host(&self) -> IpBucket {
        IpBucket::of(self.address)
    }
}

/// Returns the principal of a request with these headers, this URI and these extensions. A user whom a trusted proxy named
/// takes precedence over a token.
pub(in crate::server::http) async fn principal(
    state: &AppState,
    headers: &HeaderMap,
    uri: &Uri,
    extensions: &Extensions,
) -> Result<Arc<Principal>, TokenError> {
    match extensions.get::<ProxyUser>() {
        Some(user) => state.authenticator.verifier().proxy_user(user),
        None => verify(state, || token(headers, uri)).await,
    }
}

/// Returns the principal of a request by the token in its `Authorization` header only.
///
/// For the admin API: URIs are kept in histories and logs, so their tokens must not administer. A proxy's user must not
/// either, because browsers send the proxy's cookie with every request.
pub(in crate::server::http) async fn header_principal(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Arc<Principal>, TokenError> {
    verify(state, || at_most_one(bearer_tokens(headers))).await
}

/// Returns the principal with the token that `find` returns. In open mode no token is needed.
async fn verify(
    state: &AppState,
    find: impl FnOnce() -> Result<Option<String>, TokenError>,
) -> Result<Arc<Principal>, TokenError> {
    let authenticator = &state.authenticator;
    let is_open = authenticator.verifier().is_open();
    let token = if is_open { None } else { find()? };

    authenticator
        .principal(token.as_deref(), || unix_time().as_secs())
        .await
}

/// Returns the key of the quota for messages of `principal` as `id` from `host`.
pub(in crate::server::http) const fn rate_limit_key(
    principal: &Principal,
    id: UserId,
    host: IpBucket,
) -> RateLimitKey {
    if principal.proven().is_some() {
        RateLimitKey::proven(id)
    } else {
        RateLimitKey::claimed(id, host)
    }
}

/// Returns the token of a request; `None` if there is none.
fn token(headers: &HeaderMap, uri: &Uri) -> Result<Option<String>, TokenError> {
    let subprotocols = values(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .flat_map(|value| value.split(','))
        .filter_map(|part| {
            part.trim()
                .strip_prefix(TOKEN_SUBPROTOCOL_PREFIX)
                .map(str::to_owned)
        });
    let parameters = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter(|(name, _)| name == TOKEN_PARAMETER)
        .map(|(_, value)| value.into_owned());

    at_most_one(bearer_tokens(headers).chain(subprotocols).chain(parameters))
}

/// Returns the bearer tokens in `Authorization` headers.
fn bearer_tokens(headers: &HeaderMap) -> impl Iterator<Item = String> {
    values(headers, header::AUTHORIZATION).filter_map(|value| {
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        scheme
            .eq_ignore_ascii_case(BEARER)
            .then(|| token.trim().to_owned())
    })
}

/// Returns the values of the header `name`. A value that is not text becomes empty, which is never a valid token.
fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
}

/// Returns the token, or an error if there are several.
fn at_most_one(mut tokens: impl Iterator<Item = String>) -> Result<Option<String>, TokenError> {
    match (tokens.next(), tokens.next()) {
        (Some(_), Some(_)) => Err(TokenError::Several),
        (first, _) => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const AUTHORIZATION: HeaderName = header::AUTHORIZATION;

    /// Returns the token of a request with these headers and this URI.
    fn find(
        headers: &[(HeaderName, &'static str)],
        uri: &'static str,
    ) -> Result<Option<String>, TokenError> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        token(&headers.collect(), &Uri::from_static(uri))
    }

    #[test]
    fn other_parameters_and_schemes_are_ignored() {
        assert_eq!(find(&[], "/ws?tokens=a.b.c"), Ok(None));
        assert_eq!(find(&[(AUTHORIZATION, "Basic YTpi")], "/ws"), Ok(None));
    }

    #[test]
    fn an_empty_token_is_not_ignored() {
        let empty = Ok(Some(String::new()));

        assert_eq!(find(&[(AUTHORIZATION, "Bearer")], "/ws"), empty);
        assert_eq!(find(&[], "/ws?token="), empty);
    }
}
