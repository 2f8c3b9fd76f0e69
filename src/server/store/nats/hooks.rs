//! The states of hooks, and leases: one decides which node runs a hook.
//!
//! Both are messages of the second stream. Each is replaced only if its number is the expected one, so of two nodes that
//! write at the same time, one fails. A node renews the leases that it has. A lease whose number does not change
//! for [`LEASE_TIMEOUT`], by the clock of the observer, is taken over: clocks of different nodes are never compared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::connection::NatsError;
use super::streams::Streams;
use crate::protocol::{Epoch, Offset, Position};
use crate::server::store::{HookState, HookStatus, StoreError};

/// The time after which a lease that is not renewed is taken over.
const LEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// The states and leases of hooks. See the [module docs](self).
#[derive(Debug)]
pub(super) struct NatsHooks {
    streams: Arc<Streams>,
    /// The name of this node in leases.
    node: String,
    hooks: Mutex<HashMap<String, KnownHook>>,
}

/// The newest messages about a hook that this node knows.
#[derive(Clone, Copy, Debug, Default)]
struct KnownHook {
    /// The number of its state; 0 if there is none.
    state: u64,
    /// The number of its lease, and the time when this node first saw it.
    lease: Option<(u64, Instant)>,
}

/// A state as the stream has it.
#[derive(Debug, Serialize, Deserialize)]
struct StoredHook {
    epoch: Epoch,
    offset: Offset,
    status: String,
}

impl NatsHooks {
    pub(super) fn new(streams: Arc<Streams>) -> Self {
        Self {
            streams,
            node: format!("{:016x}", fastrand::u64(..)),
            hooks: Mutex::default(),
        }
    }

    /// Returns the state of the hook `name`; `None` if it was never stored.
    pub(super) async fn load(&self, name: &str) -> Result<Option<HookState>, StoreError> {
        let found = self.streams.heads.hook(&state_of(name)).await?;
        let number = found.as_ref().map_or(0, |found| found.sequence);
        self.update(name, |known| known.state = number);

        let Some(found) = found else {
            return Ok(None);
        };
        let stored: StoredHook = serde_json::from_slice(&found.payload).map_err(|error| {
            StoreError::Unavailable(format!("the state of the hook cannot be parsed: {error}"))
        })?;
        Ok(Some(HookState {
            position: Position {
                epoch: stored.epoch,
                offset: stored.offset,
            },
            status: HookStatus::named(&stored.status),
        }))
    }

    /// Stores the state of the hook `name`, unless another node has stored one since this node has loaded it.
    pub(super) async fn save(&self, name: &str, state: HookState) -> Result<(), StoreError> {
        let stored = StoredHook {
            epoch: state.position.epoch,
            offset: state.position.offset,
            status: state.status.as_str().to_owned(),
        };
        let stored = serde_json::to_vec(&stored);
        let stored = stored.map_err(|error| StoreError::Unavailable(error.to_string()))?;

        let (message, expected) = (state_of(name), self.known(name).state);
        let sent = self
            .streams
            .heads
            .replace_hook(&message, stored.into(), expected);
        match sent.await {
            Ok(number) => {
                self.update(name, |known| known.state = number);
                Ok(())
            }
            Err(NatsError::Conflict) => Err(StoreError::HookMoved),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns true if another node has stored a state of the hook `name` since this node has loaded or stored it.
    pub(super) async fn has_moved(&self, name: &str) -> Result<bool, StoreError> {
        let found = self.streams.heads.hook(&state_of(name)).await?;
        Ok(found.map_or(0, |found| found.sequence) != self.known(name).state)
    }

    /// Takes or renews the lease `name`. Returns true if this node has it.
    pub(super) async fn hold(&self, name: &str) -> Result<bool, StoreError> {
        let subject = lease_of(name);
        let found = self.streams.heads.hook(&subject).await?;
        let number = found.as_ref().map_or(0, |found| found.sequence);
        let holder = found.map_or(Bytes::new(), |found| found.payload);

        let seen_at = self.see_lease(name, number);
        let is_free = holder.is_empty() || seen_at.elapsed() >= LEASE_TIMEOUT;
        if holder != self.node.as_bytes() && !is_free {
            return Ok(false);
        }

        let node = Bytes::from(self.node.clone());
        match self
            .streams
            .heads
            .replace_hook(&subject, node, number)
            .await
        {
            Ok(number) => {
                self.see_lease(name, number);
                Ok(true)
            }
            Err(NatsError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives up the lease `name`, if this node has it, so that another node takes it at once.
    pub(super) async fn release(&self, name: &str) -> Result<(), StoreError> {
        let subject = lease_of(name);
        let found = self.streams.heads.hook(&subject).await?;
        let Some(found) = found.filter(|found| found.payload == self.node.as_bytes()) else {
            return Ok(());
        };

        let released = self
            .streams
            .heads
            .replace_hook(&subject, Bytes::new(), found.sequence);
        match released.await {
            Ok(_) | Err(NatsError::Conflict) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Records that the lease of `name` has this number. Returns the time when this node first saw it.
    fn see_lease(&self, name: &str, number: u64) -> Instant {
        let mut hooks = self.hooks.lock();
        let known = hooks.entry(name.to_owned()).or_default();
        match known.lease {
            Some((seen, at)) if seen == number => at,
            _ => {
                let now = Instant::now();
                known.lease = Some((number, now));
                now
            }
        }
    }

    fn known(&self, name: &str) -> KnownHook {
        self.hooks.lock().get(name).copied().unwrap_or_default()
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut KnownHook)) {
        change(self.hooks.lock().entry(name.to_owned()).or_default());
    }
}

/// Returns the name of the message with the state of the hook `name`.
fn state_of(name: &str) -> String {
    format!("{name}.state")
}

/// Returns the name of the message with the lease `name`.
fn lease_of(name: &str) -> String {
    format!("{name}.lease")
}
