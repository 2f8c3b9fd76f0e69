//! The server: assembles the floors below, and owns nothing else.
//!
//! # Floors, lowest first
//!
//! - `memory` the bytes that clients make the process hold.
//! - `wire` RFC 6455 frames as bytes. Pure.
//! - `room` one room's log, presence, keys. Pure.
//! - `session` one connection's protocol state: heartbeat, rate, outbox. Pure.
//! - `auth` who may come in, and what for. Pure.
//! - `moderation` who is kept out, and which rooms are closed, as operators decided.
//! - `run_clock` the clock for client timeouts, which stands still while the process does not run.
//! - `metrics` what is counted.
//! - `log_writer` writes the log to standard error without blocking.
//! - `release` which program this is.
//! - `files` the page's files, in a folder or inside the program.
//! - `small_file` files of settings and keys, read with a limit.
//! - `spans` what is traced, and how that leaves the process.
//! - `store` what keeps publications: numbers them, reads them back.
//! - `hub` the registry: rooms and connections brought together. No sockets, no HTTP.
//! - `transport` open WebSockets and their kernel sockets.
//! - `http` the page, the upgrade, the API. The only floor that names `app`.
//! - `config` raw settings to checked ones.
//! - `keyring` the key file while the server runs.
//! - `capacity` how many connections the system lets us have.

pub mod memory;
pub mod wire;
pub mod room;
pub mod session;
pub mod auth;
pub mod moderation;
pub mod run_clock;
pub mod metrics;
pub mod log_writer;
pub mod release;
pub mod files;
pub mod small_file;
pub mod spans;
pub mod store;
pub mod hub;
pub mod transport;
pub mod http;
pub mod config;
mod keyring;
mod capacity;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::server::auth::Proxies;
use crate::server::config::Config;
use crate::server::http::{AcceptSettings, AppState, Site};
use crate::server::hub::{Hub, HubSettings};
use crate::server::metrics::Metrics;
use crate::server::moderation::{ClusterCommand, LoadError, Moderation, TooManyBans};
use crate::server::run_clock::RunClock;
use crate::server::session::Rate;
use crate::server::store::guard;
use crate::server::store::{Backend, Health, OpenStoreError, RuleStore, StoreError};

pub use crate::server::keyring::Keyring;
pub use crate::server::transport::Tls;

/// How long the end may take: under the 10 s that supervisors commonly wait.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be taken.
    #[error("cannot listen on {address} (--{setting})")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// It is not known who is kept out.
    #[error(transparent)]
    Moderation(#[from] LoadError),
    /// Nor what other nodes say of it.
    #[error("cannot read who is banned from all nodes")]
    Rules(#[from] StoreError),
    /// One of the rules that other nodes keep is of another kind.
    #[error("cannot read a rule of other nodes, which may be newer than this one: {0}")]
    Rule(serde_json::Error),
    /// They keep out more than can be.
    #[error(transparent)]
    TooManyBans(#[from] TooManyBans),
}

/// Why a server ended that nobody stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store holds something else than it acknowledged, or can no longer work.
    #[error("stopped: the store can no longer be trusted: {0}")]
    StoreLost(String),
    /// A task that the server cannot do without has ended.
    #[error("stopped: the task {name} ended: {reason}")]
    TaskEnded {
        /// Its name.
        name: &'static str,
        /// The message of its panic.
        reason: String,
    },
}

/// Sockets that listen already, opened by whoever started us.
#[derive(Debug, Default)]
pub struct Listeners {
    /// At [`Config::listen`].
    pub public: Option<std::net::TcpListener>,
    /// At [`Config::ops_listen`].
    pub ops: Option<std::net::TcpListener>,
}

/// A server that has its store and its addresses and has not begun to answer.
pub struct Server {
    config: Config,
    backend: Backend,
    moderation: Moderation,
    public: TcpListener,
    ops: Option<TcpListener>,
}

impl Server {
    /// Opens the store and takes the addresses, those that `passed` does not hold already.
    ///
    /// # Errors
    /// If one of them cannot be had.
    pub async fn bind(config: Config, passed: Listeners) -> Result<Self, StartError> {
        let backend = config.store.open().await?;
        let moderation = match &backend.cluster {
            Some(cluster) => load_cluster_rules(&*cluster.rules, &config).await?,
            None => Moderation::open(config.moderation.clone())?,
        };
        let public = listen("listen", config.listen, passed.public).await?;
        let ops = match config.ops_listen {
            Some(address) => Some(listen("ops-listen", address, passed.ops).await?),
            None => None,
        };
        Ok(Self {
            config,
            backend,
            moderation,
            public,
            ops,
        })
    }

    /// Where the page, the WebSocket and the API are.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Where the operator's answers are, if anywhere.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ops_address(&self) -> io::Result<Option<SocketAddr>> {
        self.ops.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// The keys that tokens are checked with, if there are any.
    pub fn keyring(&self) -> Option<Keyring> {
        let file = self.config.key_file.clone()?;
        Some(Keyring::new(self.config.verifier.clone(), file))
    }

    /// What is spoken at [`address`](Self::address), if that is TLS.
    pub const fn tls(&self) -> Option<&Tls> {
        self.config.tls.as_ref()
    }

    /// Serves until `stop` ends, then drains: no new connections, every client is told 1001, and at most
    /// [`DRAIN_TIMEOUT`] passes; last the store is closed.
    ///
    /// # Errors
    /// If the store was lost, or a task that must not end did; the end is as orderly as any.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let keyring = self.keyring();
        let Self {
            config,
            backend,
            moderation,
            public,
            ops,
        } = self;
        let store = backend.store.clone();
        // Rendering spawns; without an executor Leptos panics. A second call in one process changes nothing.
        let _ = any_spawner::Executor::init_tokio();
        // Before anything is served: what is refused first is counted too.
        let metrics = Metrics::install();
        let sockets = capacity::raise(config.hub.max_connections, config.tls.is_some());
        let max_connections = config.hub.max_connections.min(sockets.connections());
        let limits = HubSettings {
            max_connections,
            ..config.hub
        };
        let site = Site::open(config.site, config.listen, config.base_path);
        let clock = RunClock::new();
        let hub = Hub::new(limits, backend, moderation.clone(), clock.clone());
        // Which names they answer to depends on who can reach them.
        let reach = |listener: &TcpListener| listener.local_addr().unwrap_or(config.listen).ip();
        let web = config.web.of_page(reach(&public));
        keyring::announce(&config.verifier, reach(&public));
        if let Some(keyring) = keyring {
            keyring.warn();
        }
        let quotas = config.quotas;
        let state = AppState::new(
            hub.clone(),
            web,
            config.verifier,
            moderation,
            config.connection,
            quotas,
            site,
        );
        let header_timeout = config.header_timeout;
        let accept = AcceptSettings {
            header_timeout,
            connect_rate: config.connect_rate,
            proxies: config.proxies,
            tls: config.tls,
            clock: clock.clone(),
            max_sockets: sockets.public,
            max_refusals: sockets.refusals,
            is_for_operators: false,
        };
        // An operator's own machines may ask as often as they like, and for themselves.
        let accept_ops = AcceptSettings {
            header_timeout,
            connect_rate: Rate::UNLIMITED,
            proxies: Proxies::default(),
            tls: None,
            clock: clock.clone(),
            max_sockets: sockets.ops,
            max_refusals: 1,
            is_for_operators: true,
        };

        let mut tasks = Tasks::default();
        tasks.spawn("of the clock", clock.run());
        tasks.spawn("that adds up metrics", metrics.clone().aggregate_samples());
        let ops = ops.map(|listener| {
            let web = config.web.of_ops(reach(&listener));
            let router = http::ops_router(state.clone(), metrics, store.health(), web);
            (listener, router)
        });

        tasks.spawn("that records rates", http::note_forever(state.clone()));
        let (stopping, stopped) = watch::channel(false);
        let serve = |listener: TcpListener, router: Router, settings: AcceptSettings| {
            http::serve(listener, router, hub.clone(), settings, stopped.clone())
        };
        let mut serving = Tasks::default();
        serving.spawn(
            "that accepts connections",
            serve(public, http::router(state), accept),
        );
        if let Some((listener, router)) = ops {
            serving.spawn(
                "that accepts connections of operators",
                serve(listener, router, accept_ops),
            );
        }
        tasks.spawn("of the hub", {
            let hub = hub.clone();
            async move { hub.run().await }
        });

        let end = tokio::select! {
            () = stop => Ok(()),
            reason = store_corrupt(store.health()) => Err(RunError::StoreLost(reason)),
            error = tasks.ended() => Err(error),
            error = serving.ended() => Err(error),
        };
        if let Err(error) = &end {
            tracing::error!(%error);
        }
        info!(connections = hub.connections().count(), "stopping");
        stopping.send_replace(true);
        let drained = futures::future::join(hub.drain(), serving.all_ended());
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            warn!(
                connections = hub.connections().count(),
                "some clients did not leave in time"
            );
        }
        drop(tasks);
        // A panic while it is closed leaves nothing to be done.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
        info!("stopped");
        end
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("public", &self.public)
            .field("ops", &self.ops)
            .finish_non_exhaustive()
    }
}

/// Who is kept out of all nodes.
async fn load_cluster_rules(
    rules: &dyn RuleStore,
    config: &Config,
) -> Result<Moderation, StartError> {
    if config.moderation.exists() {
        let file = config.moderation.display();
        warn!(%file, "not read: with NATS the rules of all nodes are kept there");
    }
    let mut changes = Vec::new();
    for rule in rules.load().await? {
        match serde_json::from_slice(&rule).map_err(StartError::Rule)? {
            ClusterCommand::Change(change) => changes.push(change),
            ClusterCommand::Kick(_) => {}
        }
    }
    Ok(Moderation::kept_elsewhere(changes)?)
}

/// Tasks that the server cannot do without. Dropping it ends them.
#[derive(Default)]
struct Tasks(JoinSet<RunError>);

impl Tasks {
    /// Spawns the task `name`.
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            let reason = match guard::run_task(task).await {
                Ok(()) => "it returned".to_owned(),
                Err(panic) => format!("it panicked: {panic}"),
            };
            RunError::TaskEnded { name, reason }
        });
    }

    /// Waits until one of them ends, and returns which and why.
    async fn ended(&mut self) -> RunError {
        match self.0.join_next().await {
            Some(Ok(error)) => error,
            // Its panic is caught, and nothing else ends it.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// Waits until all of them have ended.
    async fn all_ended(mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

/// Waits until the store is lost, and returns why.
async fn store_corrupt(mut health: watch::Receiver<Health>) -> String {
    loop {
        if let Health::Corrupt(reason) = &*health.borrow_and_update() {
            return reason.clone();
        }
        if health.changed().await.is_err() {
            // Closed: it changes no more.
            std::future::pending::<()>().await;
        }
    }
}

/// `passed`, or a socket of our own at `address`.
async fn listen(
    setting: &'static str,
    address: SocketAddr,
    passed: Option<std::net::TcpListener>,
) -> Result<TcpListener, StartError> {
    let listener = match passed {
        Some(passed) => passed
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(passed)),
        None => TcpListener::bind(address).await,
    };
    listener.map_err(|source| StartError::Listen {
        setting,
        address,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_named_with_its_message_while_the_others_run() {
        let mut tasks = Tasks::default();
        tasks.spawn("that goes on", std::future::pending());
        tasks.spawn("of the hub", async { panic!("a fault") });

        let error = tasks.ended().await;

        assert_eq!(
            error.to_string(),
            "stopped: the task of the hub ended: it panicked: a fault"
        );
    }
}
