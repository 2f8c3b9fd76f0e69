//! The doctor's requests to a server: user, room and token.

use std::time::Duration;

use anyhow::anyhow;
use axum::body::Body;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use tokio::time::timeout;

use crate::cli::client::{Credentials, Endpoint, HttpResponse};
use crate::protocol::{RoomName, Token, UserId};

/// The timeout of each step of a check.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// A server, and the user and room of the checks.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) server: Endpoint,
    pub(super) credentials: Option<Credentials>,
    /// A unique room, because messages of other users would be taken for the doctor's.
    pub(super) room: RoomName,
}

impl Visit {
    /// Returns the token of the user.
    pub(super) fn token(&self) -> Option<&Token> {
        self.credentials
            .as_ref()
            .map(|credentials| &credentials.token)
    }

    /// Returns the id of the user, unless the token has another.
    pub(super) fn id(&self) -> UserId {
        match &self.credentials {
            Some(credentials) => credentials.id.clone(),
            None => UserId::parse("doctor").unwrap_or_else(|_| UserId::anonymous()),
        }
    }

    /// Sends `request` with the token. Returns the response once its head has arrived.
    pub(super) async fn send(&self, request: Request<Body>) -> anyhow::Result<Response<Body>> {
        self.server.send(request, self.token(), STEP_TIMEOUT).await
    }

    /// Publishes `text` of the media type `kind` in the room.
    pub(super) async fn publish(&self, kind: &str, text: Vec<u8>) -> anyhow::Result<HttpResponse> {
        let path = format!("/api/v1/rooms/{}/messages", self.room.to_path_segment());
        let request = Request::post(path)
            .header(CONTENT_TYPE, kind)
            .body(Body::from(text))?;
        in_time(HttpResponse::read(self.send(request).await?)).await
    }
}

/// Returns the response of `server` to a `GET` of `path`.
pub(super) async fn get(server: &Endpoint, path: &str) -> anyhow::Result<HttpResponse> {
    let request = Request::get(path).body(Body::empty())?;
    let response = server.send(request, None, STEP_TIMEOUT).await?;
    in_time(HttpResponse::read(response)).await
}

/// Waits for `step`, but not longer than [`STEP_TIMEOUT`].
pub(super) async fn in_time<T, E: Into<anyhow::Error>>(
    step: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    match timeout(STEP_TIMEOUT, step).await {
        Ok(result) => result.map_err(Into::into),
        Err(_elapsed) => Err(anyhow!("no answer within {} s", STEP_TIMEOUT.as_secs())),
    }
}
