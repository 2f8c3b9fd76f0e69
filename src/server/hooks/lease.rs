//! The lease of a hook: of several nodes with the same hook, one runs it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::server::hub::Hub;

/// The time between two renewals.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// The longest time that a renewal may take.
const RENEW_TIMEOUT: Duration = Duration::from_secs(2);
/// The time for which a lease holds after a renewal began: less than that after which another node takes it over.
const VALID_FOR: Duration = Duration::from_secs(7);

/// The lease of one hook, which is renewed until it is dropped.
#[derive(Debug)]
pub(super) struct HookLease {
    /// The time at which the last renewal began; `None` if another node has the lease. The sender is gone if the store has
    /// a single node.
    renewed: watch::Receiver<Option<Instant>>,
    renewing: Option<JoinHandle<()>>,
}

impl HookLease {
    /// Creates a lease of the hook `name`. On a store with a single node, it always holds.
    pub(super) fn start(hub: &Hub, name: &str) -> Self {
        let (sender, renewed) = watch::channel(None);
        let renewing = hub.store().has_hook_leases().then(|| {
            let (hub, name) = (hub.clone(), Arc::<str>::from(name));
            tokio::spawn(renew(hub, name, sender))
        });
        Self { renewed, renewing }
    }

    /// Returns true if this node may run the hook now.
    pub(super) fn is_held(&self) -> bool {
        self.renewing.is_none()
            || self
                .renewed
                .borrow()
                .is_some_and(|renewed| renewed.elapsed() < VALID_FOR)
    }

    /// Waits until the lease is held.
    pub(super) async fn held(&mut self) {
        while !self.is_held() {
            // The task renews for ever.
            if self.renewed.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Waits until the lease is no longer held.
    pub(super) async fn lost(&self) {
        if self.renewing.is_none() {
            std::future::pending().await
        }

        let mut renewed = self.renewed.clone();
        while self.is_held() {
            tokio::select! {
                _ = renewed.changed() => {}
                () = sleep(RENEW_EVERY) => {}
            }
        }
    }
}

impl Drop for HookLease {
    fn drop(&mut self) {
        if let Some(renewing) = &self.renewing {
            renewing.abort();
        }
    }
}

/// Takes or renews the lease of the hook `name` at intervals, until the future is dropped.
async fn renew(hub: Hub, name: Arc<str>, renewed: watch::Sender<Option<Instant>>) {
    loop {
        let began = Instant::now();
        match timeout(RENEW_TIMEOUT, hub.store().hold_hook(&name)).await {
            Ok(Ok(is_held)) => {
                renewed.send_replace(is_held.then_some(began));
            }
            // It holds for a while without renewals.
            Ok(Err(error)) => debug!(hook = &*name, %error, "cannot renew the lease of the hook"),
            Err(_elapsed) => debug!(
                hook = &*name,
                "the lease of the hook was not renewed in time"
            ),
        }
        sleep(RENEW_EVERY).await;
    }
}
