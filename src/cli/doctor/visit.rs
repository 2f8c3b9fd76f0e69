//! The doctor's requests to a server: user, room and token.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, Bytes, to_bytes};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use crate::cli::client::{ApiErrorBody, Credentials, Server, api_error, bearer};
use crate::protocol::{RoomName, Token, UserId};

/// The timeout of a request.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum size of a response. Metrics and lists need less than a tenth of it.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// A server, and the user and room of the checks.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) server: Server,
    pub(super) credentials: Option<Credentials>,
    /// A unique room, because messages of other users would be taken for the doctor's.
    pub(super) room: RoomName,
}

/// A complete response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
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

    /// Returns a request for `path` with the token.
    pub(super) fn request(&self, method: Method, path: impl AsRef<str>) -> anyhow::Result<Builder> {
        let request = Request::builder().method(method).uri(path.as_ref());
        Ok(match self.token() {
            Some(token) => request.header(AUTHORIZATION, bearer(token)?),
            None => request,
        })
    }

    /// Publishes `text` of the media type `kind` in the room.
    ///
    /// # Errors
    /// If there is no response.
    pub(super) async fn publish(&self, kind: &str, text: Vec<u8>) -> anyhow::Result<Answer> {
        let path = format!("/api/v1/rooms/{}/messages", self.room.to_path_segment());
        let request = self
            .request(Method::POST, path)?
            .header(CONTENT_TYPE, kind)
            .body(Body::from(text))?;
        read(ask(&self.server, request).await?).await
    }
}

/// Sends `request` to `server`, and returns the response once its head has arrived.
///
/// # Errors
/// If no response arrives in time.
pub(super) async fn ask(
    server: &Server,
    request: Request<Body>,
) -> anyhow::Result<Response<Incoming>> {
    timeout(ANSWER_TIMEOUT, server.ask(request))
        .await
        .unwrap_or_else(|_elapsed| {
            bail!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
        })
}

/// Reads `response` to its end.
///
/// # Errors
/// If it ends early or too late.
pub(super) async fn read(response: Response<Incoming>) -> anyhow::Result<Answer> {
    let (parts, body) = response.into_parts();
    let body = timeout(ANSWER_TIMEOUT, to_bytes(Body::new(body), MAX_ANSWER_BYTES));
    let body = body
        .await
        .context("the answer does not end")?
        .context("the answer broke off")?;
    Ok(Answer {
        status: parts.status,
        body,
    })
}

/// Returns the response of `server` to a `GET` of `path`.
///
/// # Errors
/// If there is none.
pub(super) async fn get(server: &Server, path: &str) -> anyhow::Result<Answer> {
    read(ask(server, Request::get(path).body(Body::empty())?).await?).await
}

impl Answer {
    /// Returns the API error, if the response has one.
    pub(super) fn error(&self) -> Option<ApiErrorBody> {
        api_error(&self.body)
    }

    /// Describes the status and its origin.
    pub(super) fn describe(&self) -> String {
        describe(self.status, &self.body)
    }

    /// Returns the body as JSON; null if it is not JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Describes a response with `status` and `body`, and its origin.
pub(super) fn describe(status: StatusCode, body: &[u8]) -> String {
    match api_error(body) {
        Some(error) => format!("{status}: {}", error.message),
        None => {
            format!("{status}, from a proxy in front of Fanfare")
        }
    }
}
