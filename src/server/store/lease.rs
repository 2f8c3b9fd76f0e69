//! A lease: of several nodes with the same store, one runs a hook, or writes joins and leaves.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::server::store::Store;

/// The time between two renewals.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// The longest time that a renewal may take.
const RENEW_TIMEOUT: Duration = Duration::from_secs(2);
/// The time for which a lease holds after a renewal began: less than that after which another node takes it over.
const VALID_FOR: Duration = Duration::from_secs(7);

/// A lease, which is renewed until it is dropped.
#[derive(Debug)]
pub struct Lease {
    /// The time at which the last renewal began; `None` if another node has the lease. The sender is gone if the store has
    /// a single node.
    renewed: watch::Receiver<Option<Instant>>,
    renewing: Option<JoinHandle<()>>,
}

impl Lease {
    /// Creates the lease `name`, and begins to take it. On a store with a single node, it always holds.
    pub fn start(store: Arc<dyn Store>, name: &str) -> Self {
        let (sender, renewed) = watch::channel(None);
        let renewing = store
            .has_leases()
            .then(|| tokio::spawn(renew(store, name.into(), sender)));
        Self { renewed, renewing }
    }

    /// Returns true if this node has the lease now.
    pub fn is_held(&self) -> bool {
        self.renewing.is_none()
            || self
                .renewed
                .borrow()
                .is_some_and(|renewed| renewed.elapsed() < VALID_FOR)
    }

    /// Waits until the lease is held.
    pub async fn held(&mut self) {
        while !self.is_held() {
            // The task renews for ever.
            if self.renewed.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Waits until the lease is no longer held.
    pub async fn lost(&self) {
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

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(renewing) = &self.renewing {
            renewing.abort();
        }
    }
}

/// Takes or renews the lease `name` at intervals, until the future is dropped.
async fn renew(store: Arc<dyn Store>, name: Box<str>, renewed: watch::Sender<Option<Instant>>) {
    loop {
        let began = Instant::now();
        match timeout(RENEW_TIMEOUT, store.hold_lease(&name)).await {
            Ok(Ok(is_held)) => {
                renewed.send_replace(is_held.then_some(began));
            }
            // It holds for a while without renewals.
            Ok(Err(error)) => debug!(lease = &*name, %error, "cannot renew the lease"),
            Err(_elapsed) => debug!(lease = &*name, "the lease was not renewed in time"),
        }
        sleep(RENEW_EVERY).await;
    }
}
