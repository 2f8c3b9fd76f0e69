//! How the doctor comes to a server: as whom, into which room, and how it asks there.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, Bytes, to_bytes};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use crate::cli::client::{Pass, Remote, Words, bearer, words};
use crate::protocol::RoomName;
use crate::protocol::Token;
use crate::protocol::UserId;

/// What does not answer by then does not answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longest answer that is read: metrics and lists take less than a tenth of it.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// See the [module docs](self).
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) server: Remote,
    pub(super) pass: Option<Pass>,
    /// A room of its own: what others say there would be taken for the doctor's.
    pub(super) room: RoomName,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Visit {
    /// What the doctor shows.
    pub(super) fn token(&self) -> Option<&Token> {
        self.pass.as_ref().map(|pass| &pass.token)
    }

    /// Returns the id under which it connects, unless the token has another.
    pub(super) fn id(&self) -> UserId {
        match &self.pass {
            Some(pass) => pass.id.clone(),
            None => UserId::parse("doctor").unwrap_or_else(|_| UserId::anonymous()),
        }
    }

    /// A request for `path`, with the token.
    pub(super) fn request(&self, method: Method, path: impl AsRef<str>) -> anyhow::Result<Builder> {
        let request = Request::builder().method(method).uri(path.as_ref());
        Ok(match self.token() {
            Some(token) => request.header(AUTHORIZATION, bearer(token)?),
            None => request,
        })
    }

    /// Says `text`, of the type `kind`, in the room.
    ///
    /// # Errors
    /// If there is no answer.
    pub(super) async fn publish(&self, kind: &str, text: Vec<u8>) -> anyhow::Result<Answer> {
        let path = format!("/api/v1/rooms/{}/messages", self.room);
        let request = self
            .request(Method::POST, path)?
            .header(CONTENT_TYPE, kind)
            .body(Body::from(text))?;
        read(ask(&self.server, request).await?).await
    }
}

/// `server`'s answer to `request`, as soon as it begins.
///
/// # Errors
/// If it does not begin in time.
pub(super) async fn ask(
    server: &Remote,
    request: Request<Body>,
) -> anyhow::Result<Response<Incoming>> {
    timeout(ANSWER_WITHIN, server.ask(request))
        .await
        .unwrap_or_else(|_elapsed| {
            bail!("no answer within {} s", ANSWER_WITHIN.as_secs());
        })
}

/// All of `response`.
///
/// # Errors
/// If it breaks off or does not end.
pub(super) async fn read(response: Response<Incoming>) -> anyhow::Result<Answer> {
    let (parts, body) = response.into_parts();
    let body = timeout(ANSWER_WITHIN, to_bytes(Body::new(body), MAX_ANSWER_BYTES));
    let body = body
        .await
        .context("the answer does not end")?
        .context("the answer broke off")?;
    Ok(Answer {
        status: parts.status,
        body,
    })
}

/// What `server` answers to a `GET` of `path`.
///
/// # Errors
/// If it does not.
pub(super) async fn get(server: &Remote, path: &str) -> anyhow::Result<Answer> {
    read(ask(server, Request::get(path).body(Body::empty())?).await?).await
}

impl Answer {
    /// What went wrong in a Fanfare's own words, if it was a Fanfare that answered.
    pub(super) fn words(&self) -> Option<Words> {
        words(&self.body)
    }

    /// The status, and whose it is.
    pub(super) fn told(&self) -> String {
        told(self.status, &self.body)
    }

    /// It as JSON; null if it is none.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What an answer of `status` with `body` says, and who says it.
pub(super) fn told(status: StatusCode, body: &[u8]) -> String {
    match words(body) {
        Some(words) => format!("{status}: {}", words.message),
        None => {
            format!("{status}, which is not Fanfare's answer but that of something in front of it")
        }
    }
}
