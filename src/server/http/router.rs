//! Every route of the public listener on one screen, and what their handlers share.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::server::auth::OriginPolicy;
use crate::server::http::api::Bodies;
use crate::server::http::site::Site;
use crate::server::http::{api, error, page, socket};
use crate::server::hub::Hub;
use crate::server::session::{Host, Limiters, Rate};
use crate::server::transport::ConnectionSettings;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) hub: Hub,
    pub(super) origins: Arc<OriginPolicy>,
    pub(super) connection: Arc<ConnectionSettings>,
    /// How fast each address publishes over HTTP.
    pub(super) publishers: Arc<Mutex<Limiters<Host>>>,
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
    let site = state.site.clone();
    // What has no version in its name may change under a browser: it asks each time, and is mostly told "not
    // modified".
    let revalidate =
        SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let pages =
        Router::new().route("/", get(page::lobby)).route("/r/{room}", get(page::room).post(page::say));
    Router::new()
        .merge(pages)
        .merge(site.versioned_files())
        .route("/ws", get(socket::open))
        .merge(api::router(&state))
        .fallback_service(site.files())
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(revalidate)
        .layer(header_layer(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // Nothing for other sites. Not even to ourselves would make a browser hide the origin of the page's form.
        .layer(header_layer(header::REFERRER_POLICY, "same-origin"))
        .with_state(state)
}

fn header_layer(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
}
