//! Calls of the admin API over HTTP/1.1, each on its own connection.

use std::io;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Body;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::client::{Endpoint, HttpResponse};
use crate::protocol::Token;

/// The maximum wait for a response to begin.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The admin API of a server. All paths are relative to `/api/v1/admin`.
pub(super) struct Api {
    pub(super) server: Endpoint,
    pub(super) token: Option<Token>,
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
        self.call_with_query(Method::GET, path, query).await
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
        self.call_with_query(Method::DELETE, path, query).await
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
        self.call(Method::POST, path, body).await
    }

    /// Sends a PATCH request with `request` as JSON.
    ///
    /// # Errors
    /// The same as [`Api::get`].
    pub(super) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = Body::from(serde_json::to_vec(request)?);
        self.call(Method::PATCH, path, body).await
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
        let response = self.send(Method::GET, path, Body::empty()).await?;
        let chunks = response.into_body().into_data_stream();
        let chunks = chunks.map_err(io::Error::other);
        let mut lines = chunks.into_async_read().lines();

        while let Some(line) = lines.next().await {
            if !each(&line.context("the answer ended early")?) {
                break;
            }
        }
        Ok(())
    }

    async fn call_with_query<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &impl Serialize,
    ) -> anyhow::Result<T> {
        let path = format!("{path}?{}", serde_urlencoded::to_string(query)?);
        self.call(method, &path, Body::empty()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> anyhow::Result<T> {
        let answer = HttpResponse::read(self.send(method, path, body).await?).await?;
        serde_json::from_slice(&answer.body)
            .context("the answer is not one of the admin API: is this a Fanfare server?")
    }

    /// Sends a request. Returns a successful response as soon as it begins.
    async fn send(&self, method: Method, path: &str, body: Body) -> anyhow::Result<Response<Body>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/admin/{path}"))
            .header(CONTENT_TYPE, "application/json")
            .body(body)?;

        let response = self
            .server
            .send(request, self.token.as_ref(), ANSWER_TIMEOUT)
            .await?;
        if response.status().is_success() {
            return Ok(response);
        }

        let answer = HttpResponse::read(response).await?;
        match answer.error() {
            Some(_) => bail!("{answer}"),
            None => bail!("{answer}: is this a Fanfare server?"),
        }
    }
}
