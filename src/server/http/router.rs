//! Every route of the public listener on one screen, and what their handlers share.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, from_fn};
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::server::auth::{Verifier, WebPolicy};
use crate::server::http::renderer::Renderer;
use crate::server::http::site::Site;
use crate::server::http::{
    admin_page, api, base, content, cors, error, guard, headers, page, problem, socket, traced,
};
use crate::server::hub::Hub;
use crate::server::metrics::RateHistory;
use crate::server::moderation::Moderation;
use crate::server::session::{QuotaRates, Quotas};
use crate::server::spans;
use crate::server::transport::ConnectionSettings;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct AppState {
    pub(super) hub: Hub,
    /// The last minutes in figures.
    pub(super) course: RateHistory,
    pub(super) web: Arc<WebPolicy>,
    /// Who asks, by its token.
    pub(super) verifier: Verifier,
    /// Who is kept out.
    pub(super) moderation: Moderation,
    pub(super) connection: Arc<ConnectionSettings>,
    /// How fast everybody may speak.
    pub(super) quotas: Arc<Quotas>,
    /// Renders pages, apart from the threads of the runtime.
    pub(super) renderer: Renderer,
    pub(super) site: Arc<Site>,
}

impl AppState {
    /// The state of one server.
    pub fn new(
        hub: Hub,
        web: WebPolicy,
        verifier: Verifier,
        moderation: Moderation,
        connection: ConnectionSettings,
        quotas: QuotaRates,
        site: Site,
    ) -> Self {
        let renderer = Renderer::new(hub.clock().clone());
        Self {
            hub,
            course: RateHistory::default(),
            web: Arc::new(web),
            verifier,
            moderation,
            quotas: Arc::new(Quotas::new(quotas)),
            renderer,
            connection: Arc::new(connection),
            site: Arc::new(site),
        }
    }
}

/// The public routes.
pub fn router(state: AppState) -> Router {
    let (site, web) = (state.site.clone(), state.web.clone());
    let pages = Router::new()
        .route("/", get(page::lobby))
        .route("/r/{room}", get(page::room).post(page::publish_form));
    let router = Router::new()
        .merge(pages)
        .merge(admin_page::router())
        .merge(site.versioned_files())
        .route("/ws", get(socket::open))
        .merge(api::router())
        .fallback_service(site.files())
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn(content::check))
        .layer(revalidated())
        .layer(cors::layer(&web));
    let router = guarded(router, web.clone())
        .layer(middleware::from_fn_with_state(state.clone(), problem::show));
    let router = completed(router, &web);
    // Outside of the guard: what that refuses was asked too.
    let router = if spans::is_on() {
        router.layer(from_fn(traced::trace))
    } else {
        router
    };
    let base = state.site.base.clone();
    base::under(base, router.with_state(state))
}

/// What has no version in its name may change under a browser: it asks each time, and is mostly told "not modified".
pub(super) fn revalidated() -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache"),
    )
}

/// Returns `router` behind its guard.
pub(super) fn guarded<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    web: Arc<WebPolicy>,
) -> Router<S> {
    router.layer(middleware::from_fn_with_state(web, guard::check))
}

/// Returns `router`, its answers complete: those of the guard too.
pub(super) fn completed<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    web: &WebPolicy,
) -> Router<S> {
    let resource_policy = headers::resource_policy(web);
    router.layer(middleware::map_response(move |response| {
        std::future::ready(headers::complete(response, resource_policy.clone()))
    }))
}
