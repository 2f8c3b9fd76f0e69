//! The page's files, and the names under which browsers ask for them.
//!
//! What the page loads is named by a version, a digest of all of it: such a name always means the same bytes,
//! so a browser that has them never asks again. A page that an older server rendered asks for names that this
//! one does not have, and is told so, rather than given what does not fit together.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::handler::HandlerWithoutStateExt;
use axum::http::{HeaderValue, Response, header};
use leptos::config::{Env, LeptosOptions};
use sha1::{Digest, Sha1};
use tower::ServiceBuilder;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::warn;

use crate::server::http::State;
use crate::server::http::error;

/// The folder of what cargo-leptos builds, in the site folder and in addresses.
const PKG: &str = "pkg";
/// `cargo leptos watch` says by this variable where its reload socket is.
const RELOAD_PORT_VARIABLE: &str = "LEPTOS_RELOAD_PORT";
/// Bytes of the digest that make a version: no two builds of one program share so many.
const VERSION_BYTES: usize = 8;

/// Where the page's files are.
#[derive(Clone, Debug)]
pub struct Site {
    /// The site folder, with `pkg` in it.
    root: PathBuf,
    /// What Leptos needs to know to name them.
    pub(super) leptos: LeptosOptions,
    /// Another source that the page may connect to: the reload socket of `cargo leptos watch`.
    pub(super) reload: Option<String>,
    /// What the files in `pkg` are called by; under `cargo leptos watch` they change, and have no version.
    version: Option<String>,
}

impl Site {
    /// The site in the folder `root`, of a server that listens at `listen`.
    pub fn open(root: &Path, listen: SocketAddr) -> Self {
        let reload_port = std::env::var(RELOAD_PORT_VARIABLE).ok().and_then(|port| port.parse::<u32>().ok());
        let is_watched = std::env::var_os("LEPTOS_WATCH").is_some();
        let version = (!is_watched).then(|| version(&root.join(PKG))).and_then(|version| {
            let why = "no page files here: the page will show but not come alive (--site)";
            version.inspect_err(|error| warn!(site = %root.display(), %error, "{why}")).ok()
        });
        let pkg = version.as_ref().map_or_else(|| PKG.to_owned(), |version| format!("{PKG}/{version}"));
        let leptos = LeptosOptions::builder()
            .output_name("fanfare")
            .site_root(root.to_string_lossy().into_owned())
            .site_pkg_dir(pkg)
            .site_addr(listen)
            .reload_port(reload_port.unwrap_or_default())
            .env(if is_watched { Env::DEV } else { Env::PROD })
            .build();
        // Under whatever name the page was opened.
        let reload = reload_port.filter(|_| is_watched).map(|port| format!("ws://*:{port}"));
        Self { root: root.to_owned(), leptos, reload, version }
    }

    /// Every file by its own name.
    pub(super) fn files(&self) -> Router {
        serve(self.root.clone())
    }

    /// The files that the page loads, by names that always mean the same.
    pub(super) fn versioned_files(&self) -> Router<State> {
        let Some(version) = &self.version else { return Router::new() };
        // What is not there may be there tomorrow.
        let keep = |response: &Response<_>| {
            let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
            (!response.status().is_client_error()).then_some(forever)
        };
        let kept = ServiceBuilder::new()
            .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, keep))
            .service(serve(self.root.join(PKG)));
        Router::new().nest_service(&format!("/{PKG}/{version}"), kept)
    }
}

fn serve(folder: PathBuf) -> Router {
    let files =
        ServeDir::new(folder).precompressed_br().precompressed_gzip().append_index_html_on_directories(false);
    Router::new().fallback_service(files.fallback(error::not_found.into_service()))
}

/// A digest of the files in `folder`, their names among it.
fn version(folder: &Path) -> io::Result<String> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let mut digest = Sha1::new();
    // What a browser runs or is styled by; packed forms and declarations follow from these.
    let is_loaded = |file: &&PathBuf| {
        file.extension().is_some_and(|kind| ["css", "js", "wasm"].iter().any(|loaded| kind == *loaded))
    };
    for file in files.iter().filter(is_loaded) {
        digest.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update(fs::read(file)?);
    }
    Ok(digest.finalize().iter().take(VERSION_BYTES).map(|byte| format!("{byte:02x}")).collect())
}
