//! Every route of the public listener on one screen, and what their handlers share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::routing::get;
use leptos::config::LeptosOptions;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::server::auth::OriginPolicy;
use crate::server::http::api::Bodies;
use crate::server::http::{api, error, page, socket};
use crate::server::hub::Hub;
use crate::server::session::{Limiters, Rate};
use crate::server::transport::ConnectionSettings;

/// Where the page's files are.
#[derive(Clone, Debug)]
pub struct Site {
    /// The site folder, with `pkg` in it.
    pub root: PathBuf,
    /// What Leptos needs to know to name them.
    pub leptos: LeptosOptions,
    /// Another source that the page may connect to: the reload socket of `cargo leptos watch`.
    pub reload: Option<String>,
}

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) hub: Hub,
    pub(super) origins: Arc<OriginPolicy>,
    pub(super) connection: Arc<ConnectionSettings>,
    /// How fast each address publishes over HTTP.
    pub(super) publishers: Arc<Mutex<Limiters>>,
    pub(super) bodies: Bodies,
    pub(super) site: Arc<Site>,
}

impl State {
    /// The state of one server.
    pub fn new(
        hub: Hub,
        origins: OriginPolicy,
        connection: ConnectionSettings,
        publish_rate: Rate,
        site: Site,
    ) -> Self {
        Self {
            hub,
            origins: Arc::new(origins),
            publishers: Arc::new(Mutex::new(Limiters::new(publish_rate))),
            bodies: Bodies::new(),
            connection: Arc::new(connection),
            site: Arc::new(site),
        }
    }
}

/// The public routes.
pub fn router(state: State) -> Router {
    let site = state.site.root.clone();
    // Without hashes in their names the files may change under a browser: it asks each time, and is mostly
    // told "not modified".
    let revalidate =
        SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let files =
        ServeDir::new(site).precompressed_br().precompressed_gzip().append_index_html_on_directories(false);
    let pages = Router::new().route("/", get(page::lobby)).route("/r/{room}", get(page::room));
    Router::new()
        .merge(pages)
        .route("/ws", get(socket::open))
        .merge(api::router(&state))
        .fallback_service(
            files.fallback(axum::handler::HandlerWithoutStateExt::into_service(error::not_found)),
        )
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(revalidate)
        .layer(header_layer(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header_layer(header::REFERRER_POLICY, "no-referrer"))
        .with_state(state)
}

fn header_layer(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
}
