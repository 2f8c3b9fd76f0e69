//! Hooks: readers that are no connections. A hook posts the messages of its rooms to a URL, in the order of their offsets,
//! each at least once.
//!
//! # Invariants
//!
//! - A hook is a stored position. Between two attempts, nothing else of it exists: each attempt reads the messages after
//!   the position from the store, so deleted messages are not sent, and expired ones are a gap.
//! - The position moves after the receiver has answered 2xx, and is stored before the next batch is sent.
//! - Of several nodes, the one with the lease runs a hook. A node that has lost it can no longer store a position.
//! - A hook has one batch in flight. A receiver that fails delays its own hook only.
//! - URLs come from the settings, never from clients. Redirects are not followed.

mod backoff;
mod batch;
mod client;
mod control;
mod event;
mod open_hook;
mod runner;
mod settings;
mod signature;

use futures::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::error;

use crate::server::http_client::HttpTls;
use crate::server::hub::Hub;
use crate::server::metrics;

pub use control::{HookCommand, HookCommandError, HookControls};
pub use settings::{HookEvent, HookSettings, MAX_HOOK_NAME};
pub use signature::{SigningSecret, SigningSecretError};

use control::HookControl;
use runner::HookRunner;

/// All hooks of a server. See the [module docs](self).
#[derive(Debug)]
pub struct Hooks {
    runners: Vec<HookRunner>,
    controls: HookControls,
}

/// The number of commands that wait for a hook before an operator waits.
const WAITING_COMMANDS: usize = 8;

impl Hooks {
    /// Opens the hooks of `settings`. A hook that was never opened begins after the newest message of the store.
    pub async fn open(
        settings: &[HookSettings],
        hub: &Hub,
        stopping: &watch::Receiver<bool>,
    ) -> Self {
        let is_tls_needed = settings.iter().any(|hook| hook.url.is_secure());
        let tls = is_tls_needed.then(|| HttpTls::of_system("a hook"));

        let mut controls = Vec::new();
        let runners = settings.iter().map(|settings| {
            metrics::describe_hook(&settings.name);
            let (sender, commands) = mpsc::channel(WAITING_COMMANDS);
            let mut runner = HookRunner::new(
                settings.clone(),
                hub.clone(),
                tls.clone(),
                commands,
                stopping.clone(),
            );
            controls.push(HookControl {
                settings: settings.clone(),
                progress: runner.progress(),
                commands: sender,
            });
            async move {
                runner.prepare().await;
                runner
            }
        });
        let runners = join_all(runners).await;

        Self {
            runners,
            controls: HookControls::new(hub.clone(), controls),
        }
    }

    /// Returns a handle for operators.
    pub fn controls(&self) -> HookControls {
        self.controls.clone()
    }

    /// Delivers messages until the server stops.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for runner in self.runners {
            tasks.spawn(runner.run());
        }

        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                error!(%error, "a hook has failed and is stopped until the server restarts");
            }
        }
        // An error means that the server has ended.
        let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
    }
}
