//! The routes of the page's files.
//!
//! The URLs of scripts and style sheets contain a version, a digest of all of them. Such a URL always names the same
//! bytes, so browsers cache it forever. A page rendered by an older server requests URLs that this server does not have,
//! and gets 404 instead of files of different versions.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::handler::HandlerWithoutStateExt;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use leptos::config::{Env, LeptosOptions};
use tower::ServiceBuilder;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::warn;

use crate::protocol::BasePath;
use crate::server::files::{Files, PKG};
use crate::server::http::error::ApiError;
use crate::server::http::{AppState, embedded_files, error, headers};

/// The environment variable in which `cargo leptos watch` passes the port of its reload socket.
const RELOAD_PORT_VARIABLE: &str = "LEPTOS_RELOAD_PORT";

/// The page's files and their URLs.
#[derive(Clone, Debug)]
pub struct Site {
    files: Files,
    /// The path under which the server is reached.
    pub(super) base: BasePath,
    /// The options with which Leptos links the files.
    pub(super) leptos: LeptosOptions,
    /// The reload socket of `cargo leptos watch`, to which the page may connect.
    pub(super) reload: Option<String>,
    /// The version of the files in `pkg`; `None` under `cargo leptos watch`, where they change, and if there are none.
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
            version
                .inspect_err(|error| {
                    warn!(
                        site = %files,
                        %error,
                        "no page files found: the page will be shown, but its scripts will not run (--site)"
                    );
                })
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

        // The host of the page is not known here.
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

    /// Returns the URL of the page's style sheet.
    pub(super) fn styles(&self) -> String {
        let LeptosOptions {
            site_pkg_dir,
            output_name,
            ..
        } = &self.leptos;

        self.base
            .join(&format!("/{site_pkg_dir}/{output_name}.css"))
    }

    /// Returns the routes of all files by their own names.
    pub(super) fn files(&self) -> Router {
        self.serve("")
    }

    /// Returns the routes of scripts and style sheets by versioned names.
    pub(super) fn versioned_files(&self) -> Router<AppState> {
        let Some(version) = &self.version else {
            return Router::new();
        };

        // Errors are not cached.
        let cache_control = |response: &axum::http::Response<_>| {
            let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
            describes_file(response.status()).then_some(forever)
        };
        let files = ServiceBuilder::new()
            .layer(SetResponseHeaderLayer::if_not_present(
                header::CACHE_CONTROL,
                cache_control,
            ))
            .service(self.serve("pkg/"));

        Router::new().nest_service(&format!("/{PKG}/{version}"), files)
    }

    /// Returns the routes of the files in `folder`, which is empty or ends with `/`.
    fn serve(&self, folder: &'static str) -> Router {
        let files = match &self.files {
            Files::Inside(archive) => embedded_files::serve(archive.clone(), folder),
            Files::Folder(root) => {
                let files = ServeDir::new(root.join(folder))
                    .precompressed_br()
                    .precompressed_gzip()
                    .append_index_html_on_directories(false)
                    .fallback(error::not_found.into_service());
                Router::new().fallback_service(files)
            }
        };

        // On uncompressed files too, so that caches do not send one form to clients that need the other.
        files
            .layer(SetResponseHeaderLayer::overriding(
                header::VARY,
                HeaderValue::from_static("Accept-Encoding"),
            ))
            .layer(from_fn(set_policy))
            .layer(from_fn(only_get))
    }
}

/// Answers requests by other methods than `GET` and `HEAD`: with 405 if the file exists, else with 404.
async fn only_get(mut request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }

    *request.method_mut() = Method::GET;
    let response = next.run(request).await;
    if response.status() == StatusCode::NOT_FOUND {
        return response;
    }

    ([(header::ALLOW, "GET,HEAD")], ApiError::Method).into_response()
}

/// Sets the Content-Security-Policy of a file, which depends on its name. 304 gets it too: it has no content type, and its
/// headers replace those that the browser has stored (RFC 9111 section 4.3.4).
async fn set_policy(request: Request, next: Next) -> Response {
    let policy = headers::file_policy(request.uri().path());
    let mut response = next.run(request).await;

    if describes_file(response.status()) {
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }

    response
}

/// Returns true if a response with `status` describes an existing file, perhaps without its bytes.
fn describes_file(status: StatusCode) -> bool {
    !status.is_client_error() || status == StatusCode::RANGE_NOT_SATISFIABLE
}
