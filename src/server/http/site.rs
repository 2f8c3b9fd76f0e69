//! The page's files, and the names under which browsers ask for them.
//!
//! What the page loads is named by a version, a digest of all of it: such a name always means the same bytes,
//! so a browser that has them never asks again. A page that an older server rendered asks for names that this
//! one does not have, and is told so, rather than given what does not fit together.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::handler::HandlerWithoutStateExt;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get_service;
use leptos::config::{Env, LeptosOptions};
use tower::ServiceBuilder;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::warn;

use crate::protocol::BasePath;
use crate::server::files::{Files, PKG};
use crate::server::http::AppState;
use crate::server::http::{error, headers, packed};

/// `cargo leptos watch` says by this variable where its reload socket is.
const RELOAD_PORT_VARIABLE: &str = "LEPTOS_RELOAD_PORT";

/// The page's files, as browsers are given them.
#[derive(Clone, Debug)]
pub struct Site {
    files: Files,
    /// The path under which the server is reached.
    pub(super) base: BasePath,
    /// What Leptos needs to know to name them.
    pub(super) leptos: LeptosOptions,
    /// Another source that the page may connect to: the reload socket of `cargo leptos watch`.
    pub(super) reload: Option<String>,
    /// What the files in `pkg` are called by; under `cargo leptos watch` they change, and have no version.
    version: Option<String>,
}

impl Site {
    /// Returns the site of `files`, of a server that listens at `listen` and is reached under `base`.
    pub fn open(files: Files, listen: SocketAddr, base: BasePath) -> Self {
        let reload_port = std::env::var(RELOAD_PORT_VARIABLE)
            .ok()
            .and_then(|port| port.parse::<u32>().ok());
        let is_watched = std::env::var_os("LEPTOS_WATCH").is_some();
        let version = (!is_watched).then(|| files.version()).and_then(|version| {
            let why = "no page files here: the page will show but not come alive (--site)";
            version
                .inspect_err(|error| warn!(site = %files, %error, "{why}"))
                .ok()
        });
        let pkg = version
            .as_ref()
            .map_or_else(|| PKG.to_owned(), |version| format!("{PKG}/{version}"));
        let leptos = LeptosOptions::builder()
            .output_name("fanfare")
            .site_pkg_dir(pkg)
            .site_addr(listen)
            .reload_port(reload_port.unwrap_or_default())
            .env(if is_watched { Env::DEV } else { Env::PROD })
            .build();
        // Under whatever name the page was opened.
        let reload = reload_port
            .filter(|_| is_watched)
            .map(|port| format!("ws://*:{port}"));
        Self {
            files,
            base,
            leptos,
            reload,
            version,
        }
    }

    /// Returns the address of the page's style sheet.
    pub(super) fn styles(&self) -> String {
        let LeptosOptions {
            site_pkg_dir,
            output_name,
            ..
        } = &self.leptos;
        self.base
            .join(&format!("/{site_pkg_dir}/{output_name}.css"))
    }

    /// Every file by its own name.
    pub(super) fn files(&self) -> Router {
        self.serve("")
    }

    /// The files that the page loads, by names that always mean the same.
    pub(super) fn versioned_files(&self) -> Router<AppState> {
        let Some(version) = &self.version else {
            return Router::new();
        };
        // What is not there may be there tomorrow.
        let keep = |response: &axum::http::Response<_>| {
            let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
            stands_for_file(response.status()).then_some(forever)
        };
        let kept = ServiceBuilder::new()
            .layer(SetResponseHeaderLayer::if_not_present(
                header::CACHE_CONTROL,
                keep,
            ))
            .service(self.serve("pkg/"));
        Router::new().nest_service(&format!("/{PKG}/{version}"), kept)
    }

    /// Returns the routes of the files in `folder`, which is empty or ends with `/`.
    fn serve(&self, folder: &'static str) -> Router {
        let files = match &self.files {
            Files::Inside(archive) => packed::serve(archive.clone(), folder),
            Files::Folder(root) => {
                let files = ServeDir::new(root.join(folder))
                    .precompressed_br()
                    .precompressed_gzip()
                    .append_index_html_on_directories(false)
                    .fallback(error::not_found.into_service());
                let files = get_service(files).fallback(error::method_not_allowed);
                Router::new().fallback_service(files)
            }
        };

        // Compressed or not: a cache must not give one form to clients that cannot read it.
        files
            .layer(SetResponseHeaderLayer::overriding(
                header::VARY,
                HeaderValue::from_static("Accept-Encoding"),
            ))
            .layer(from_fn(set_policy))
    }
}

/// Sets the Content-Security-Policy that a file has by its name on every answer that stands for the file: also on 304,
/// which has no content type and whose headers replace those that a browser has stored (RFC 9111 section 4.3.4).
async fn set_policy(request: Request, next: Next) -> Response {
    let policy = headers::file_policy(request.uri().path());
    let mut response = next.run(request).await;

    if stands_for_file(response.status()) {
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Reports whether an answer with `status` stands for a file that is there, though perhaps without its bytes.
fn stands_for_file(status: StatusCode) -> bool {
    !status.is_client_error() || status == StatusCode::RANGE_NOT_SATISFIABLE
}
