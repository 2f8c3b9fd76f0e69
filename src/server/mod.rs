//! The server: assembles the floors below.
//!
//! # Floors, lowest first
//!
//! - `memory` counts the bytes that the process holds for clients.
//! - `small_file` reads files of settings and keys with a limit.
//! - `room_rules` the rules for rooms, by name and prefix. Pure.
//! - `wire` RFC 6455 frames as bytes. Pure.
//! - `room` a room's log, presence and deduplication keys. Pure.
//! - `session` a connection's protocol state: heartbeat, rate limits, send buffer. Pure.
//! - `auth` tokens, rights and allowed origins. Pure.
//! - `jwks` the keys at a URL, and the verifier of tokens that fetches them.
//! - `moderation` bans and closed rooms.
//! - `run_clock` the clock for client timeouts, which stands still while the process does not run.
//! - `metrics` Prometheus metrics.
//! - `log_writer` writes the log to standard error without blocking.
//! - `version` the version of the program.
//! - `files` the page's files, in a folder or inside the program.
//! - `spans` OpenTelemetry spans and their export.
//! - `store` stores messages, assigns their offsets and reads them back.
//! - `hub` the registry of rooms and connections, and the fan-out. No sockets, no HTTP.
//! - `transport` WebSockets, event streams and their sockets.
//! - `hooks` posts the messages of rooms to URLs.
//! - `http` the page, the upgrade and the API. The only floor that names `app`.
//! - `config` raw settings to checked ones.
//! - `keyring` reloads the key file.
//! - `fd_limit` the number of sockets that the file limit allows.

pub mod memory;
pub mod small_file;
pub mod room_rules;
pub mod wire;
pub mod room;
pub mod session;
pub mod auth;
pub mod http_client;
pub mod jwks;
pub mod moderation;
pub mod run_clock;
pub mod metrics;
pub mod log_writer;
pub mod version;
pub mod files;
pub mod spans;
pub mod store;
pub mod hub;
pub mod transport;
pub mod hooks;
pub mod http;
pub mod config;
mod keyring;
mod fd_limit;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::server::auth::Proxies;
use crate::server::config::Config;
use crate::server::hooks::Hooks;
use crate::server::http::{AppState, ListenerSettings, Site};
use crate::server::hub::{Hub, HubSettings};
use crate::server::jwks::Authenticator;
use crate::server::metrics::Metrics;
use crate::server::moderation::{ClusterCommand, LoadError, Moderation, TooManyBans};
use crate::server::run_clock::RunClock;
use crate::server::session::Rate;
use crate::server::store::panic_guard;
use crate::server::store::{Backend, Health, OpenStoreError, RuleStore, StoreError};

pub use crate::server::keyring::Keyring;
pub use crate::server::transport::Tls;

/// The longest time for which connections are drained: less than the 10 s after which supervisors commonly kill.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// An error that prevents the server from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server could not listen on an address.
    #[error("cannot listen on {address} (--{setting})")]
    Listen {
        /// The setting of the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The file of bans and closed rooms could not be read.
    #[error(transparent)]
    Moderation(#[from] LoadError),
    /// The cluster's bans and closed rooms could not be read.
    #[error("cannot read the bans and closed rooms of the cluster")]
    Rules(#[from] StoreError),
    /// A rule of the cluster could not be parsed.
    #[error(
        "cannot parse a rule of the cluster; a node with a newer version may have written it: {0}"
    )]
    Rule(serde_json::Error),
    /// The cluster has more bans than the server can hold.
    #[error(transparent)]
    TooManyBans(#[from] TooManyBans),
}

/// An error that ends a running server.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store lost acknowledged messages, or can no longer work.
    #[error("stopped: the store can no longer be trusted: {0}")]
    StoreLost(String),
    /// A task that must run as long as the server has ended.
    #[error("stopped: the task {name} ended: {reason}")]
    TaskEnded {
        /// The name of the task.
        name: &'static str,
        /// The message of its panic.
        reason: String,
    },
}

/// Listening sockets that were passed to the process.
#[derive(Debug, Default)]
pub struct Listeners {
    /// The socket for [`Config::listen`].
    pub public: Option<std::net::TcpListener>,
    /// The socket for [`Config::ops_listen`].
    pub ops: Option<std::net::TcpListener>,
}

/// A server with an open store and open listeners that does not accept connections yet.
pub struct Server {
    config: Config,
    backend: Backend,
    moderation: Moderation,
    public: TcpListener,
    ops: Option<TcpListener>,
}

impl Server {
    /// Opens the store, and listens on the addresses for which no socket was `passed`.
    ///
    /// # Errors
    /// Returns an error if the store or a listener cannot be opened, or the bans cannot be read.
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

    /// Returns the address of the public listener.
    ///
    /// # Errors
    /// Returns the error of getsockname(2).
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Returns the address of the ops listener; `None` without `--ops-listen`.
    ///
    /// # Errors
    /// Returns the error of getsockname(2).
    pub fn ops_address(&self) -> io::Result<Option<SocketAddr>> {
        self.ops.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Returns the keys that verify tokens; `None` without `--auth-key-file`.
    pub fn keyring(&self) -> Option<Keyring> {
        let file = self.config.key_file.clone()?;
        Some(Keyring::new(self.config.verifier.clone(), file))
    }

    /// Returns the TLS settings of the public listener; `None` without `--tls-cert`.
    pub const fn tls(&self) -> Option<&Tls> {
        self.config.tls.as_ref()
    }

    /// Serves until `stop` completes. Then accepts no more connections, closes the open ones with 1001, waits for them
    /// for at most [`DRAIN_TIMEOUT`], and closes the store.
    ///
    /// # Errors
    /// Returns an error if the store is corrupt or a task has ended. Connections are drained in that case too.
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

        // Leptos spawns tasks while it renders. Fails only if another server of this process did the same.
        let _ = any_spawner::Executor::init_tokio();

        // Installed first, so that every connection is counted.
        let metrics = Metrics::install();

        let sockets = fd_limit::raise(config.hub.max_connections);
        let limits = HubSettings {
            max_connections: config.hub.max_connections.min(sockets.connections()),
            ..config.hub
        };
        let clock = RunClock::new();
        let hub = Hub::new(limits, backend, moderation.clone(), clock.clone());

        // The allowed host names depend on which machines can reach the address.
        let ip = |listener: &TcpListener| listener.local_addr().unwrap_or(config.listen).ip();
        keyring::log_exposure(&config.verifier, ip(&public));
        let authenticator = Arc::new(Authenticator::new(config.verifier, config.jwks));
        if let Some(keyring) = keyring {
            keyring.warn_if_readable();
        }

        let (stopping, stopped) = watch::channel(false);
        let hooks = Hooks::open(&config.hooks, &hub, &stopped).await;

        let state = AppState::new(
            hub.clone(),
            hooks.controls(),
            config.web.of_page(ip(&public)),
            authenticator.clone(),
            moderation,
            config.connection,
            config.quotas,
            Site::open(config.site, config.listen, config.base_path),
        );

        let public_settings = ListenerSettings {
            header_timeout: config.header_timeout,
            connect_rate: config.connect_rate,
            proxies: config.proxies,
            tls: config.tls,
            clock: clock.clone(),
            max_sockets: sockets.public,
            max_refusals: sockets.refusals,
            is_for_operators: false,
        };
        // Operators' own machines connect without a rate limit and without a proxy.
        let ops_settings = ListenerSettings {
            header_timeout: config.header_timeout,
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
        tasks.spawn(
            "that fetches keys",
            async move { authenticator.run().await },
        );
        tasks.spawn(
            "that aggregates metrics",
            metrics.clone().aggregate_samples(),
        );
        tasks.spawn("that records rates", http::record_samples(state.clone()));
        tasks.spawn("of the hub", {
            let hub = hub.clone();
            async move { hub.run().await }
        });

        let serve = |listener: TcpListener, router: Router, settings: ListenerSettings| {
            http::serve(listener, router, hub.clone(), settings, stopped.clone())
        };
        let mut serving = Tasks::default();
        if let Some(listener) = ops {
            let web = config.web.of_ops(ip(&listener));
            let router = http::ops_router(state.clone(), metrics, store.health(), web);
            serving.spawn(
                "that accepts connections of operators",
                serve(listener, router, ops_settings),
            );
        }
        serving.spawn("of the hooks", hooks.run(stopped.clone()));
        serving.spawn(
            "that accepts connections",
            serve(public, http::router(state), public_settings),
        );

        let result = tokio::select! {
            () = stop => Ok(()),
            reason = store_corrupt(store.health()) => Err(RunError::StoreLost(reason)),
            error = tasks.ended() => Err(error),
            error = serving.ended() => Err(error),
        };
        if let Err(error) = &result {
            tracing::error!(%error);
        }

        info!(connections = hub.connections().count(), "stopping");

        stopping.send_replace(true);
        let drained = futures::future::join(hub.drain(), serving.all_ended());
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            warn!(
                connections = hub.connections().count(),
                "some clients did not disconnect within {} s",
                DRAIN_TIMEOUT.as_secs()
            );
        }

        drop(tasks);

        // Fails only if the store panics, and then nothing is left to close.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
        info!("stopped");

        result
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

/// Loads the cluster's bans and closed rooms.
async fn load_cluster_rules(
    rules: &dyn RuleStore,
    config: &Config,
) -> Result<Moderation, StartError> {
    if config.moderation.exists() {
        let file = config.moderation.display();
        warn!(%file, "ignored: with NATS, bans and closed rooms are stored in the cluster");
    }

    let mut changes = Vec::new();
    for rule in rules.load().await? {
        match serde_json::from_slice(&rule).map_err(StartError::Rule)? {
            ClusterCommand::Change(change) => changes.push(change),
            ClusterCommand::Kick(_) => {}
        }
    }

    Ok(Moderation::from_cluster(changes)?)
}

/// Tasks that must run as long as the server. They are aborted when this is dropped.
#[derive(Default)]
struct Tasks(JoinSet<RunError>);

impl Tasks {
    /// Spawns the task `name`.
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            let reason = match panic_guard::run_task(task).await {
                Ok(()) => "it returned".to_owned(),
                Err(panic) => format!("it panicked: {panic}"),
            };
            RunError::TaskEnded { name, reason }
        });
    }

    /// Waits until a task ends, and returns its name and the reason as an error.
    async fn ended(&mut self) -> RunError {
        match self.0.join_next().await {
            Some(Ok(error)) => error,
            // Impossible: panics are caught, and tasks are aborted only on drop.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// Waits until all tasks have ended.
    async fn all_ended(mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

/// Waits until the store is corrupt, and returns the reason.
async fn store_corrupt(mut health: watch::Receiver<Health>) -> String {
    loop {
        if let Health::Corrupt(reason) = &*health.borrow_and_update() {
            return reason.clone();
        }
        if health.changed().await.is_err() {
            // The sender is gone, so the state does not change any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Returns the `passed` socket, or listens on `address`.
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
    async fn the_error_of_a_task_that_panics_has_its_name_and_message() {
        let mut tasks = Tasks::default();
        tasks.spawn("that runs on", std::future::pending());
        tasks.spawn("of the hub", async { panic!("a fault") });

        let error = tasks.ended().await;

        assert_eq!(
            error.to_string(),
            "stopped: the task of the hub ended: it panicked: a fault"
        );
    }
}
