//! `GET /ws`: who asks, from where, for which room; then the socket is transport's.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Query, Request, State as Shared};
use axum::http::header;
use axum::response::Response;
use serde::Deserialize;
use tracing::info;

use crate::protocol::CloseCode;
use crate::protocol::Epoch;
use crate::protocol::NameError;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::http::State;
use crate::server::http::error::ApiError;
use crate::server::hub::Resume;
use crate::server::transport::{Handshake, Opened, turn_away};

/// The query of `/ws`.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    room: Option<String>,
    id: Option<String>,
    after: Option<String>,
    epoch: Option<Epoch>,
}

impl Asked {
    fn names(&self) -> Result<(RoomName, UserId), NameError> {
        let room = self.room.as_deref().map_or_else(|| Ok(RoomName::lobby()), RoomName::parse)?;
        let id = self.id.as_deref().map_or_else(|| Ok(UserId::guest(fastrand::u64(..))), UserId::parse)?;
        Ok((room, id))
    }

    fn resume(&self) -> Result<Option<Resume>, ApiError> {
        let Some(after) = &self.after else { return Ok(None) };
        let after = after.parse().map(Offset).map_err(|_| ApiError::Position)?;
        Ok(Some(Resume { after, epoch: self.epoch.clone() }))
    }
}

pub(super) async fn open(
    Shared(state): Shared<State>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(asked): Query<Asked>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let handshake = Handshake::new(&mut request)?;
    let address = peer.ip().to_canonical();
    if !is_allowed(&state, &request) {
        info!(%address, "refused: origin not allowed");
        return Err(ApiError::Origin);
    }
    let (room, id) = match asked.names() {
        Ok(names) => names,
        Err(error) => {
            info!(%address, %error, "refused");
            return Ok(turn_away(handshake, CloseCode::BadName));
        }
    };
    let resume = asked.resume()?;
    let admission = state
        .hub
        .admit(address, &room, resume.as_ref())
        .inspect_err(|refusal| info!(%address, ?refusal, "refused"))?;
    let opened =
        Opened { admission, hub: state.hub.clone(), id, address, settings: state.connection.clone() };
    Ok(opened.spawn(handshake))
}

fn is_allowed(state: &State, request: &Request) -> bool {
    let headers = request.headers();
    // A value that is not even text is no origin of ours.
    let origins: Vec<&str> =
        headers.get_all(header::ORIGIN).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    state.origins.allows(&origins, host)
}
