//! `GET /ws`: checks a WebSocket request, and passes its socket to the transport.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::{Request, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use tracing::info;

use crate::protocol::{CloseCode, Epoch, ErrorCode, NameError, Push, RoomName, UserId};
use crate::server::auth::{AuthError, Principal, Right};
use crate::server::http::AppState;
use crate::server::http::client_address::ClientAddress;
use crate::server::http::error::ApiError;
use crate::server::http::extract::{self, Query};
use crate::server::http::middleware::authenticated;
use crate::server::hub::Refusal;
use crate::server::moderation::{AccessRequest, Denied, Moderation};
use crate::server::room::Dialect;
use crate::server::session::{ConnectionLimiter, IpBucket};
use crate::server::transport::{FrameSender, Handshake, PendingConnection, Permissions, reject};

/// The query parameters of `/ws`.
#[derive(Debug, Deserialize)]
pub(super) struct ConnectParams {
    room: Option<String>,
    id: Option<String>,
    #[serde(default, deserialize_with = "extract::non_empty")]
    after: Option<String>,
    #[serde(default, deserialize_with = "extract::non_empty")]
    epoch: Option<Epoch>,
}

/// A reason to close a WebSocket right after its handshake. Unlike a refused handshake, a page can read the close code.
#[derive(Debug, thiserror::Error)]
enum ConnectRejection {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl ConnectRejection {
    const fn close_code(&self) -> CloseCode {
        match self {
            Self::Name(_) => CloseCode::BadName,
            Self::Auth(error) => error.close_code(),
            Self::Denied(_) => CloseCode::NotAllowed,
        }
    }

    /// Returns the error frame before the Close frame, if it has more information than the close code.
    fn push(&self) -> Option<Push> {
        let Self::Denied(denied) = self else {
            return None;
        };

        Some(Push::error(ErrorCode::NotAllowed, denied.to_string()))
    }
}

impl ConnectParams {
    /// Returns the room, if the client names one, and the id of `principal`. Checks its right to read and the bans of
    /// `address`. Clients of the plain dialect are in the lobby if they name no room.
    fn authorize(
        &self,
        dialect: Dialect,
        principal: &Principal,
        address: IpAddr,
        moderation: &Moderation,
    ) -> Result<(Option<RoomName>, UserId), ConnectRejection> {
        let room = match self.room.as_deref() {
            Some(room) => Some(RoomName::parse(room)?),
            None => (dialect == Dialect::Plain).then(RoomName::lobby),
        };
        let id = self.id.as_deref().map(UserId::parse).transpose()?;

        match &room {
            Some(room) => principal.check(Right::Read, room)?,
            None => principal.check_any()?,
        }
        let id = principal
            .user_id(id)?
            .unwrap_or_else(|| UserId::guest(fastrand::u64(..)));
        let account = principal.ban_id(Some(&id));
        moderation.admit(&match &room {
            Some(room) => AccessRequest::new(account, address, room),
            None => AccessRequest::anywhere(account, address),
        })?;

        Ok((room, id))
    }
}

/// Answers the handshake of a WebSocket.
pub(super) async fn open(
    Shared(state): Shared<AppState>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    Query(params): Query<ConnectParams>,
    request: Request,
) -> Result<Response, ApiError> {
    let handshake = Handshake::new(&request, state.connection.compression)?;

    let authorized = authenticated::principal(
        &state,
        request.headers(),
        request.uri(),
        request.extensions(),
    )
    .await
    .map_err(|error| ConnectRejection::Auth(error.into()))
    .and_then(|principal| {
        let dialect = handshake.format().dialect();
        let (room, id) = params.authorize(dialect, &principal, address, &state.moderation)?;
        Ok((principal, room, id))
    });
    let (principal, room, id) = match authorized {
        Ok(authorized) => authorized,
        Err(error) => {
            info!(%address, %error, "refused");
            return Ok(reject(
                handshake,
                error.push().as_ref(),
                error.close_code(),
                state.hub.clock().clone(),
            ));
        }
    };

    let resume = extract::resume(params.after.as_deref(), params.epoch)?;
    let refused = |refusal: &Refusal| info!(%address, ?refusal, "refused");
    let admission = state.hub.admit(address).inspect_err(refused)?;
    let mut subscriptions = Vec::new();
    if let Some(room) = &room {
        let subscription = state.hub.enter(room, resume.as_ref()).await;
        subscriptions.push(subscription.inspect_err(refused)?);
    }

    let host = IpBucket::of(address);
    let rate_limit = ConnectionLimiter::new(
        state.connection.rate,
        state.quotas.clone(),
        authenticated::rate_limit_key(&principal, id.clone(), host),
        host,
        state.hub.now(),
    );
    let sender = FrameSender {
        id: id.clone(),
        rate_limit,
        authenticator: state.authenticator.clone(),
    };
    let pending = PendingConnection {
        admission,
        subscriptions,
        id: Some(id),
        permissions: Permissions::new(principal),
        settings: state.connection.clone(),
    };

    Ok(pending.open_websocket(handshake, sender))
}
