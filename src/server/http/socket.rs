//! `GET /ws`: who asks, from where, for which room; then the socket is transport's.

use axum::Extension;
use axum::extract::{Request, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use tracing::info;

use crate::protocol::CloseCode;
use crate::protocol::Epoch;
use crate::protocol::NameError;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::http::State;
use crate::server::http::client::Client;
use crate::server::http::error::ApiError;
use crate::server::http::extract::{self, Query};
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
}

pub(super) async fn open(
    Shared(state): Shared<State>,
    Extension(Client(address)): Extension<Client>,
    Query(asked): Query<Asked>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let handshake = Handshake::new(&mut request)?;
    let (room, id) = match asked.names() {
        Ok(names) => names,
        Err(error) => {
            info!(%address, %error, "refused");
            return Ok(turn_away(handshake, CloseCode::BadName));
        }
    };
    let resume = extract::resume(asked.after.as_deref(), asked.epoch)?;
    let admission = state
        .hub
        .admit(address, &room, resume.as_ref())
        .await
        .inspect_err(|refusal| info!(%address, ?refusal, "refused"))?;
    let opened =
        Opened { admission, hub: state.hub.clone(), id, address, settings: state.connection.clone() };
    Ok(opened.spawn(handshake))
}
