//! The routes of the public listener, their layers, and the state that their handlers share.

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::protocol::RoomName;
use crate::server::auth::WebPolicy;
use crate::server::hooks::HookControls;
use crate::server::http::api::MAX_SEARCHES;
use crate::server::http::middleware::{origin_check, trace};
use crate::server::http::renderer::Renderer;
use crate::server::http::site::Site;
use crate::server::http::{
    admin_page, api, base_path, compression, cors, error, error_page, headers, page, qr_code,
    request_content, socket, streams,
};
use crate::server::hub::Hub;
use crate::server::jwks::Authenticator;
use crate::server::metrics::RateHistory;
use crate::server::moderation::Moderation;
use crate::server::room_rules::RoomRules;
use crate::server::session::{QuotaRates, Quotas};
use crate::server::spans;
use crate::server::transport::ConnectionSettings;

/// A handle to the state of a server that its handlers share, cheap to clone: each request does so several times.
#[derive(Clone, Debug)]
pub struct AppState(Arc<SharedState>);

/// The content of [`AppState`].
#[derive(Debug)]
pub struct SharedState {
    pub(super) hub: Hub,
    /// Message rates of the last minutes, for the admin page.
    pub(super) rates: RateHistory,
    /// The allowed hosts, origins and frames.
    pub(super) web: Arc<WebPolicy>,
    /// Verifies tokens.
    pub(super) authenticator: Arc<Authenticator>,
    /// Bans and closed rooms.
    pub(super) moderation: Moderation,
    /// The limits and timeouts of connections.
    pub(super) connection: Arc<ConnectionSettings>,
    /// The rate limits shared by connections and requests.
    pub(super) quotas: Arc<Quotas>,
    /// Renders pages outside the threads of the runtime.
    pub(super) renderer: Renderer,
    /// The permits of the searches that run at the same time.
    pub(super) searches: Semaphore,
    /// The page's files.
    pub(super) site: Site,
    /// The hooks, for operators.
    pub(super) hooks: HookControls,
}

impl AppState {
    /// Creates the state of a server.
    #[expect(clippy::too_many_arguments, reason = "each is one part of the state")]
    pub fn new(
        hub: Hub,
        hooks: HookControls,
        web: WebPolicy,
        authenticator: Arc<Authenticator>,
        moderation: Moderation,
        connection: ConnectionSettings,
        quotas: QuotaRates,
        site: Site,
    ) -> Self {
        let renderer = Renderer::new(hub.clock().clone());

        Self(Arc::new(SharedState {
            hub,
            hooks,
            rates: RateHistory::default(),
            web: Arc::new(web),
            authenticator,
            moderation,
            quotas: Arc::new(Quotas::new(quotas)),
            renderer,
            connection: Arc::new(connection),
            searches: Semaphore::new(MAX_SEARCHES),
            site,
        }))
    }

    /// Returns the settings of `room`.
    pub(super) fn rules(&self, room: &RoomName) -> &RoomRules {
        self.hub.rules().of(room)
    }
}

impl Deref for AppState {
    type Target = SharedState;

    fn deref(&self) -> &SharedState {
        &self.0
    }
}

/// Returns the public routes.
pub fn router(state: AppState) -> Router {
    let base = state.site.base.clone();
    let web = &state.web;

    // From the client inwards. All in one `layer`, because axum boxes the result of each.
    let layers = |error_page| {
        ServiceBuilder::new()
            // Outside of the origin check, so that requests refused there have spans too.
            .option_layer(spans::is_on().then(|| from_fn(trace::trace)))
            .layer(headers::security_layer(web))
            .option_layer(error_page)
            .layer(origin_check::layer(web.clone()))
            .layer(cors::layer(web))
            .layer(no_cache())
            .layer(request_content::layer())
    };
    let error_page = from_fn_with_state(state.clone(), error_page::show);

    let for_programs = Router::new()
        .route("/ws", get(socket::open))
        .merge(api::router())
        .merge(streams::router())
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(layers(None));
    let for_browsers = Router::new()
        .route("/", get(page::lobby).layer(compression::layer()))
        .route(
            "/r/{*room}",
            get(page::room)
                .layer(compression::layer())
                .post(page::publish_form),
        )
        .route("/qr.svg", get(qr_code::qr_code))
        .merge(admin_page::router())
        .merge(state.site.versioned_files())
        .fallback_service(state.site.files())
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(layers(Some(error_page)));

    let router = for_programs.merge(for_browsers).with_state(state);
    base_path::under(base, router)
}

/// Returns a layer that makes browsers revalidate responses without a `Cache-Control` of their own. They are those without
/// a version in their URL, and usually answered with 304.
pub(super) fn no_cache() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache"),
    )
}
