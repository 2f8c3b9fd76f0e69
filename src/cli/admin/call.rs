//! One call of the admin API over HTTP/1.1, on a connection of its own.

use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, to_bytes};
use clap::Arg;
use futures::StreamExt;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::cli::args::not_empty;
use crate::cli::client::{Server, api_error};

/// An answer that has not begun by then is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest answer that is read: a thousand connections with long names take less than a tenth of it.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The flag that names the listener. Not that of other commands: those talk to the public one.
pub(super) fn url_flag() -> Arg {
    Arg::new("url")
        .long("url")
        .env("FANFARE_ADMIN_URL")
        .hide_env_values(true)
        .value_name("URL")
        .value_parser(not_empty())
        .default_value("http://127.0.0.1:12346")
        .global(true)
        .help("URL of the server's ops listener, or of its public listener (needs --token)")
}

/// Where calls go, and as whom.
pub(super) struct Api {
    pub(super) server: Server,
    pub(super) token: Option<String>,
}

impl Api {
    /// Sends `method` to `path` under `/api/v1/admin`, with `query`, and gives the JSON of the answer.
    ///
    /// # Errors
    /// If there is no answer, or in the server's own words.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let response = self.open(method, path, query, body).await?;
        let (parts, body) = response.into_parts();
        let body = to_bytes(Body::new(body), MAX_ANSWER_BYTES)
            .await
            .context("the answer broke off")?;
        if !parts.status.is_success() {
            bail!("{}: {}", parts.status, said(&body));
        }
        serde_json::from_slice(&body).context("the answer is not JSON: is this a Fanfare server?")
    }

    /// Reads what `path` gives without end, and hands each line to `each` until that says no or nothing more comes.
    ///
    /// # Errors
    /// As [`Api::call`].
    pub(super) async fn follow(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> bool,
    ) -> anyhow::Result<()> {
        let (parts, body) = self.open(Method::GET, path, &[], None).await?.into_parts();
        if !parts.status.is_success() {
            let body = to_bytes(Body::new(body), MAX_ANSWER_BYTES)
                .await
                .context("the answer broke off")?;
            bail!("{}: {}", parts.status, said(&body));
        }

        let mut chunks = Body::new(body).into_data_stream();
        let mut line = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.context("the answer broke off")?;
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

    /// The same, as soon as the answer begins.
    async fn open(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Response<Incoming>> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query)
            .finish();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/admin/{path}?{query}"))
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(body.map_or_else(Body::empty, |json| Body::from(json.to_string())))
            .context("the token has characters that no token has")?;
        timeout(ANSWER_WITHIN, self.server.ask(request))
            .await
            .unwrap_or_else(|_| {
                bail!(
                    "cannot ask {}: no answer within {} s",
                    self.server,
                    ANSWER_WITHIN.as_secs()
                );
            })
    }
}

/// What an answer that is no success says.
fn said(body: &[u8]) -> String {
    api_error(body).map_or_else(
        || "is this a Fanfare server?".to_owned(),
        |words| words.message,
    )
}
