//! Operators, and the rooms that they administer.
//!
//! Bans apply to operators too. Otherwise they could lift their own bans. On the ops listener operators have no id
//! that a ban could apply to.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, header};

use crate::protocol::{RoomName, RoomPattern, RoomSelector, UserId};
use crate::server::auth::{Grants, Principal, Right};
use crate::server::http::AppState;
use crate::server::http::client_address::ClientAddress;
use crate::server::http::error::{AdminError, ApiError};
use crate::server::http::middleware::authenticated;
use crate::server::moderation::{Denied, Moderation};

/// The marker of requests on the ops listener.
#[derive(Clone, Copy, Debug)]
pub(in crate::server::http) struct OnOps;

/// The operator that sent a request. Its text is the name in the log.
#[derive(Clone, Debug)]
pub(in crate::server::http) struct Operator {
    address: IpAddr,
    /// The id and the grants; `None` on the ops listener, where every client administers every room.
    token: Option<Admin>,
}

/// An operator with a token.
#[derive(Clone, Debug)]
struct Admin {
    id: UserId,
    principal: Arc<Principal>,
    moderation: Moderation,
}

impl Operator {
    /// Returns the operator that sent a request. On the public listener, the token in the header determines it.
    ///
    /// # Errors
    /// If there is no token, it is not an operator's, or the operator is banned in all rooms.
    pub(in crate::server::http) async fn of(
        parts: &Parts,
        state: &AppState,
    ) -> Result<Self, ApiError> {
        // A layer around all routes adds the address to every request.
        let ClientAddress(address) = parts
            .extensions
            .get()
            .copied()
            .ok_or(AdminError::NoOperator)?;

        if parts.extensions.get::<OnOps>().is_some() {
            return Ok(Self {
                address,
                token: None,
            });
        }

        let principal = authenticated::header_principal(state, &parts.headers).await?;
        match principal.user_id(None)? {
            Some(id) if principal.may_anywhere(Right::Admin) => {
                let moderation = state.moderation.clone();
                moderation.admit_admin(&id, address, None)?;
                let token = Some(Admin {
                    id,
                    principal,
                    moderation,
                });
                Ok(Self { address, token })
            }
            _ => Err(AdminError::NoOperator.into()),
        }
    }

    /// Returns true if the operator sent a token, which implies the public listener.
    pub(in crate::server::http) const fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Returns the grants of the operator; `None` for every room.
    pub(super) fn within(&self) -> Option<Grants> {
        self.token
            .as_ref()
            .map(|admin| admin.principal.grants().clone())
    }

    /// Returns true if the operator administers every room.
    pub(in crate::server::http) fn administers_all(&self) -> bool {
        let grants = self.within();
        grants.is_none_or(|grants| grants.covers(Right::Admin, &RoomPattern::every_room()))
    }

    /// Returns true if the operator administers `room`.
    pub(in crate::server::http) fn administers(&self, room: &RoomName) -> bool {
        self.check(room).is_ok()
    }

    /// Returns true if the operator administers the room, or every room that the pattern matches.
    pub(in crate::server::http) fn administers_all_of(&self, rooms: &RoomSelector) -> bool {
        match rooms {
            RoomSelector::Room(room) => self.administers(room),
            RoomSelector::Pattern(pattern) => {
                let grants = self.within();
                grants.is_none_or(|grants| grants.covers(Right::Admin, pattern))
            }
        }
    }

    /// Checks that the operator administers `room`.
    ///
    /// # Errors
    /// If its token does not grant that, or it is banned there.
    pub(in crate::server::http) fn check(&self, room: &RoomName) -> Result<(), ApiError> {
        if let Some(admin) = &self.token {
            admin.principal.check(Right::Admin, room)?;
        }
        Ok(self.check_bans(room)?)
    }

    /// Checks that the operator is not banned in `room`.
    ///
    /// # Errors
    /// If it is banned.
    pub(super) fn check_bans(&self, room: &RoomName) -> Result<(), Denied> {
        self.token.as_ref().map_or(Ok(()), |admin| {
            admin
                .moderation
                .admit_admin(&admin.id, self.address, Some(room))
        })
    }

    /// Checks that the operator administers `room`, or every present and future room if it is `None`.
    ///
    /// # Errors
    /// The same as [`Operator::check`].
    pub(in crate::server::http) fn check_all(
        &self,
        room: Option<&RoomName>,
    ) -> Result<(), ApiError> {
        match (&self.token, room) {
            (_, Some(room)) => self.check(room),
            (Some(admin), None) => Ok(admin.principal.check_admin()?),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.token {
            Some(Admin { id, .. }) => write!(f, "{id} from {}", self.address),
            None => write!(f, "ops from {}", self.address),
        }
    }
}

impl FromRequestParts<AppState> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if parts.extensions.get::<OnOps>().is_some() {
            reject_forms(parts)?;
        }
        Self::of(parts, state).await
    }
}

/// Rejects requests that a form could send. No token is needed on the ops listener, so a page that an operator visits
/// must not be able to act on its behalf. Requests from other origins were rejected before; forms can send neither
/// JSON nor `DELETE`.
fn reject_forms(parts: &Parts) -> Result<(), ApiError> {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()?.split(';').next());
    let is_json = kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));

    if parts.method == Method::POST && !is_json {
        Err(AdminError::NotJson.into())
    } else {
        Ok(())
    }
}
