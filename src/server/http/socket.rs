//! `GET /ws`: who asks, from where, for which room; then the socket is transport's.

use std::net::IpAddr;

use axum::Extension;
use axum::extract::{Request, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use tracing::info;

use crate::protocol::CloseCode;
use crate::protocol::Epoch;
use crate::protocol::ErrorCode;
use crate::protocol::NameError;
use crate::protocol::Push;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::auth::{AuthError, Principal, Right};
use crate::server::http::client::ClientAddress;
use crate::server::http::error::ApiError;
use crate::server::http::extract::{self, Query};
use crate::server::http::{AppState, caller};
use crate::server::moderation::{AccessRequest, Denied, Moderation};
use crate::server::session::{IpBucket, RateLimit};
use crate::server::transport::{Handshake, PendingConnection, permissions, reject};

/// The query of `/ws`.
#[derive(Debug, Deserialize)]
pub(super) struct ConnectParams {
    room: Option<String>,
    id: Option<String>,
    #[serde(default, deserialize_with = "extract::non_empty")]
    after: Option<String>,
    #[serde(default, deserialize_with = "extract::non_empty")]
    epoch: Option<Epoch>,
}

/// Why a socket is opened only to be closed, so that a page sees the reason.
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

    /// What a client of `fanfare.v1` is told before that, where it is more than the code says.
    fn push(&self) -> Option<Push> {
        let Self::Denied(denied) = self else {
            return None;
        };
        let code = ErrorCode::NotAllowed;
        Some(Push::Error {
            code,
            message: denied.to_string(),
            retry: code.invites_retry(),
            key: None,
        })
    }
}

impl ConnectParams {
    /// The room, and as whom `principal` comes into it from `address`.
    fn place(
        &self,
        principal: &Principal,
        address: IpAddr,
        moderation: &Moderation,
    ) -> Result<(RoomName, UserId), ConnectRejection> {
        let room = self
            .room
            .as_deref()
            .map_or_else(|| Ok(RoomName::lobby()), RoomName::parse)?;
        let id = self.id.as_deref().map(UserId::parse).transpose()?;
        principal.check(Right::Read, &room)?;
        let id = principal
            .user_id(id)?
            .unwrap_or_else(|| UserId::guest(fastrand::u64(..)));
        moderation.admit(&AccessRequest::new(
            principal.proven_or(Some(&id)),
            address,
            &room,
        ))?;
        Ok((room, id))
    }
}

pub(super) async fn open(
    Shared(state): Shared<AppState>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    Query(asked): Query<ConnectParams>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let handshake = Handshake::new(&mut request, state.connection.compression)?;
    let admitted = caller::principal(&state, request.headers(), request.uri())
        .map_err(|error| ConnectRejection::Auth(error.into()))
        .and_then(|principal| {
            Ok((
                asked.place(&principal, address, &state.moderation)?,
                principal,
            ))
        });
    let ((room, id), principal) = match admitted {
        Ok(admitted) => admitted,
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
    let resume = extract::resume(asked.after.as_deref(), asked.epoch)?;
    let admission = state
        .hub
        .admit(address, &room, resume.as_ref())
        .await
        .inspect_err(|refusal| info!(%address, ?refusal, "refused"))?;
    let host = IpBucket::of(address);
    let speaker = caller::speaker(&principal, id.clone(), host);
    let pace = RateLimit::new(
        state.connection.rate,
        state.quotas.clone(),
        speaker,
        host,
        state.hub.now(),
    );
    let lease = permissions(&principal, admission.room());
    let opened = PendingConnection {
        admission,
        hub: state.hub.clone(),
        id,
        proven: principal.proven().cloned(),
        pace,
        lease,
        verifier: state.verifier.clone(),
        address,
        settings: state.connection.clone(),
    };
    Ok(opened.spawn(handshake))
}
