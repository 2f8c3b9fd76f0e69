//! Who administers, and which rooms.
//!
//! A ban applies to an admin too, as on every other way in: otherwise banned admins would lift their own bans. On the
//! ops listener there is no id that a ban could apply to.

use std::fmt;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, header};

use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::auth::{Grants, Principal, Right};
use crate::server::http::AppState;
use crate::server::http::caller;
use crate::server::http::client::ClientAddress;
use crate::server::http::error::{AdminError, ApiError};
use crate::server::moderation::{Barred, Moderation};

/// Marks requests that came to the ops listener.
#[derive(Clone, Copy, Debug)]
pub(in crate::server::http) struct OnOps;

/// See the [module docs](self). As text, what the log calls it.
#[derive(Clone, Debug)]
pub(in crate::server::http) struct Operator {
    address: IpAddr,
    /// Who it is; nothing on the ops listener, where whoever reaches it administers every room.
    proven: Option<Admin>,
}

/// An operator with a token.
#[derive(Clone, Debug)]
struct Admin {
    id: UserId,
    principal: Principal,
    moderation: Moderation,
}

impl Operator {
    /// Returns the operator that sent this request: on the public listener, by the token in its header.
    ///
    /// # Errors
    /// If its token names no operator, or there is none, or the operator is banned in all rooms.
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
            Some(id) if principal.may_anywhere(Right::Admin) => {
                let moderation = state.moderation.clone();
                moderation.admit_admin(&id, address, None)?;
                let proven = Some(Admin {
                    id,
                    principal,
                    moderation,
                });
                Ok(Self { address, proven })
            }
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
            .map(|admin| admin.principal.grants().clone())
    }

    /// Returns whether it administers `room`.
    pub(in crate::server::http) fn administers(&self, room: &RoomName) -> bool {
        self.check(room).is_ok()
    }

    /// Checks that it administers `room`.
    ///
    /// # Errors
    /// If its token does not grant that, or it is banned there.
    pub(in crate::server::http) fn check(&self, room: &RoomName) -> Result<(), ApiError> {
        if let Some(admin) = &self.proven {
            admin.principal.check(Right::Admin, room)?;
        }
        Ok(self.check_bans(room)?)
    }

    /// Checks that it is not banned in `room`.
    ///
    /// # Errors
    /// The ban.
    pub(super) fn check_bans(&self, room: &RoomName) -> Result<(), Barred> {
        self.proven.as_ref().map_or(Ok(()), |admin| {
            admin
                .moderation
                .admit_admin(&admin.id, self.address, Some(room))
        })
    }

    /// Checks that it administers `room`, or without one every room that there may ever be.
    ///
    /// # Errors
    /// As [`Operator::check`].
    pub(in crate::server::http) fn check_all(
        &self,
        room: Option<&RoomName>,
    ) -> Result<(), ApiError> {
        match (&self.proven, room) {
            (_, Some(room)) => self.check(room),
            (Some(admin), None) => Ok(admin.principal.check_admin()?),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proven {
            Some(Admin { id, .. }) => write!(f, "{id} from {}", self.address),
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
