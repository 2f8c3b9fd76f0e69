//! Calls of the admin API over HTTP/1.1, each on its own connection.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, to_bytes};
use futures::StreamExt;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::cli::client::{Server, api_error};

/// The maximum wait for a response to begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum size of a response: ten times a page of connections with long names.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The admin API of a server. All paths are relative to `/api/v1/admin`.
pub(super) struct Api {
    pub(super) server: Server,
    pub(super) token: Option<String>,
}

impl Api {
    /// Sends a GET request.
    ///
    /// # Errors
    /// If there is no response, or the server responds with an error.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> anyhow::Result<T> {
        let path = with_query(path, query)?;
        parse(self.send(Method::GET, &path, Body::empty()).await?).await
    }

    /// Sends a DELETE request.
    ///
    /// # Errors
    /// The same as [`Api::get`].
    pub(super) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> anyhow::Result<T> {
        let path = with_query(path, query)?;
        parse(self.send(Method::DELETE, &path, Body::empty()).await?).await
    }

    /// Sends a POST request with `request` as JSON.
    ///
    /// # Errors
    /// The same as [`Api::get`].
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = Body::from(serde_json::to_vec(request)?);
        parse(self.send(Method::POST, path, body).await?).await
    }

    /// Reads the lines of an endless response, until `each` returns false or the server ends it.
    ///
    /// # Errors
    /// The same as [`Api::get`].
    pub(super) async fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> bool,
    ) -> anyhow::Result<()> {
        let body = self.send(Method::GET, path, Body::empty()).await?;
        let mut chunks = body.into_data_stream();
        let mut line = Vec::new();

        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.context("the answer ended early")?;
            for part in chunk.split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(part);
                if part.ends_with(b"\n") {
                    if !each(String::from_utf8_lossy(&line).trim_end()) {
                        return Ok(());
                    }
                    line.clear();
                }
            }
        }
        Ok(())
    }

    /// Sends a request. Returns the body of a successful response as soon as it begins.
    async fn send(&self, method: Method, path: &str, body: Body) -> anyhow::Result<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/admin/{path}"))
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(body)
            .context("the token has characters that a header cannot contain")?;

        let Ok(answer) = timeout(ANSWER_TIMEOUT, self.server.ask(request)).await else {
            bail!(
                "no answer from {} within {} s",
                self.server,
                ANSWER_TIMEOUT.as_secs()
            );
        };
        let (head, body) = answer?.into_parts();
        let body = Body::new(body);
        if head.status.is_success() {
            return Ok(body);
        }

        let body = read(body).await?;
        match api_error(body.as_ref()) {
            Some(error) => bail!("{}: {}", head.status, error.message),
            None => bail!("{}: is this a Fanfare server?", head.status),
        }
    }
}

fn with_query(path: &str, query: &impl Serialize) -> anyhow::Result<String> {
    Ok(format!("{path}?{}", serde_urlencoded::to_string(query)?))
}

async fn read(body: Body) -> anyhow::Result<impl AsRef<[u8]>> {
    to_bytes(body, MAX_ANSWER_BYTES)
        .await
        .context("the answer ended early")
}

async fn parse<T: DeserializeOwned>(body: Body) -> anyhow::Result<T> {
    let body = read(body).await?;
    serde_json::from_slice(body.as_ref())
        .context("the answer is not one of the admin API: is this a Fanfare server?")
}
