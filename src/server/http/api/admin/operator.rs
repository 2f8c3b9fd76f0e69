//! Who administers, and which rooms.

use std::fmt;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, header};

use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::auth::{AuthError, Grants, Principal, Right};
use crate::server::http::AppState;
use crate::server::http::caller;
use crate::server::http::client::ClientAddress;
use crate::server::http::error::{AdminError, ApiError};

/// Marks requests that came to the ops listener.
#[derive(Clone, Copy, Debug)]
pub(in crate::server::http) struct OnOps;

/// See the [module docs](self). As text, what the log calls it.
#[derive(Clone, Debug)]
pub(in crate::server::http) struct Operator {
    address: IpAddr,
    /// Who it is; nothing on the ops listener, where whoever reaches it administers every room.
    proven: Option<(UserId, Principal)>,
}

impl Operator {
    /// Returns the operator that sent this request: on the public listener, by the token in its header.
    ///
    /// # Errors
    /// If its token names no operator, or there is none.
    pub(in crate::server::http) fn of(parts: &Parts, state: &AppState) -> Result<Self, ApiError> {
        // Every request has one: the entrance put it there.
        let ClientAddress(address) = parts
            .extensions
            .get()
            .copied()
            .ok_or(AdminError::NoOperator)?;
        if parts.extensions.get::<OnOps>().is_some() {
            return Ok(Self {
                address,
                proven: None,
            });
        }
        let principal = caller::header_principal(state, &parts.headers)?;
        match principal.user_id(None)? {
            Some(id) if principal.may_anywhere(Right::Admin) => Ok(Self {
                address,
                proven: Some((id, principal)),
            }),
            _ => Err(AdminError::NoOperator.into()),
        }
    }

    /// Whether it came with a token, and not to the ops listener.
    pub(in crate::server::http) const fn has_token(&self) -> bool {
        self.proven.is_some()
    }

    /// What it administers; `None` is everything.
    pub(super) fn within(&self) -> Option<Grants> {
        self.proven
            .as_ref()
            .map(|(_, principal)| principal.grants().clone())
    }

    /// Whether `room` is among its rooms.
    pub(in crate::server::http) fn administers(&self, room: &RoomName) -> bool {
        self.proven
            .as_ref()
            .is_none_or(|(_, principal)| principal.may(Right::Admin, room))
    }

    /// That `room` is among its rooms.
    pub(in crate::server::http) fn check(&self, room: &RoomName) -> Result<(), AuthError> {
        self.proven
            .as_ref()
            .map_or(Ok(()), |(_, principal)| principal.check(Right::Admin, room))
    }

    /// That it administers `room`, or without one every room that there may ever be.
    pub(in crate::server::http) fn check_all(
        &self,
        room: Option<&RoomName>,
    ) -> Result<(), AuthError> {
        match (&self.proven, room) {
            (_, Some(room)) => self.check(room),
            (Some((_, principal)), None) => principal.check_admin(),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proven {
            Some((id, _)) => write!(f, "{id} from {}", self.address),
            None => write!(f, "ops from {}", self.address),
        }
    }
}

impl FromRequestParts<AppState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if parts.extensions.get::<OnOps>().is_some() {
            refuse_forms(parts)?;
        }
        Self::of(parts, state)
    }
}

/// Where no token is asked for, a page that an operator happens to look at must not act in its name. Those of other
/// origins are refused by the guard before this; a form, whoever shows it, can send neither JSON nor `DELETE`.
fn refuse_forms(parts: &Parts) -> Result<(), ApiError> {
    let kind = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    let is_json = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    if parts.method == Method::POST && !is_json {
        Err(AdminError::NotJson.into())
    } else {
        Ok(())
    }
}
