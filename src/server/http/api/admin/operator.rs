//! Who administers, and which rooms.

use std::fmt;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, header};

use crate::protocol::RoomName;
use crate::server::http::State;
use crate::server::http::client::Client;
use crate::server::http::error::{AdminError, ApiError};

/// Marks requests that came to the ops listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnOps;

/// See the [module docs](self). As text, what the log calls it.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    address: IpAddr,
}

impl Operator {
    /// Whether `room` is among its rooms.
    #[expect(clippy::unused_self, reason = "whoever reaches the ops listener administers every room")]
    pub(super) const fn administers(&self, _room: &RoomName) -> bool {
        true
    }

    /// That `room` is among its rooms.
    pub(super) fn check(&self, room: &RoomName) -> Result<(), ApiError> {
        if self.administers(room) { Ok(()) } else { Err(AdminError::NoOperator.into()) }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ops from {}", self.address)
    }
}

impl FromRequestParts<State> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &State) -> Result<Self, ApiError> {
        if parts.extensions.get::<OnOps>().is_none() {
            return Err(AdminError::NoOperator.into());
        }
        refuse_forms(parts)?;
        // Every request has one: the entrance put it there.
        let Client(address) = parts.extensions.get().copied().ok_or(AdminError::NoOperator)?;
        Ok(Self { address })
    }
}

/// Where no token is asked for, a page that an operator happens to look at must not act in its name. Those of other
/// origins are refused by the guard before this; a form, whoever shows it, can send neither JSON nor `DELETE`.
fn refuse_forms(parts: &Parts) -> Result<(), ApiError> {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    let is_json = kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    if parts.method == Method::POST && !is_json { Err(AdminError::NotJson.into()) } else { Ok(()) }
}
