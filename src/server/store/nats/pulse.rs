//! The health of the connection to NATS. The consumer and the publisher report faults, and the server reads the
//! resulting [`Health`].
//!
//! # Invariants
//!
//! - The store is ready only while the stream is consumed and the last write succeeded. A stream can be readable and
//!   reject writes, because its disk is full or most of its replicas are offline.
//! - A corrupt store stays corrupt.

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::server::store::Health;

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct HealthTracker {
    health: watch::Sender<Health>,
    ills: Mutex<Faults>,
}

/// The current faults; a field is `None` if that part works.
#[derive(Debug, Default)]
struct Faults {
    /// The error of the consumer.
    feed: Option<String>,
    /// The error of the last write.
    writes: Option<String>,
    /// The reason why the store is corrupt, which is permanent.
    lost: Option<String>,
}

impl Faults {
    fn health(&self) -> Health {
        match (&self.lost, &self.feed, &self.writes) {
            (Some(reason), _, _) => Health::Corrupt(reason.clone()),
            (None, Some(reason), _) => Health::Unreachable(reason.clone()),
            (None, None, Some(reason)) => Health::ReadOnly(reason.clone()),
            (None, None, None) => Health::Ready,
        }
    }
}

impl HealthTracker {
    /// Creates a tracker without faults.
    pub(super) fn new() -> Self {
        Self {
            health: watch::Sender::new(Health::Ready),
            ills: Mutex::default(),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Returns the reason why writes are rejected; `None` while the store is ready.
    pub(super) fn refusal(&self) -> Option<String> {
        match &*self.health.borrow() {
            Health::Ready => None,
            Health::ReadOnly(reason) | Health::Unreachable(reason) | Health::Corrupt(reason) => {
                Some(reason.clone())
            }
        }
    }

    /// Returns the reason why reads are impossible; `None` while NATS can at least be read.
    pub(super) fn absence(&self) -> Option<String> {
        match &*self.health.borrow() {
            Health::Ready | Health::ReadOnly(_) => None,
            Health::Unreachable(reason) | Health::Corrupt(reason) => Some(reason.clone()),
        }
    }

    /// Records that the consumer works, or the error that stopped it.
    pub(super) fn feed_is(&self, state: Result<(), String>) {
        self.change(|ills| ills.feed = state.err());
    }

    /// Records the outcome of a write.
    pub(super) fn write_was(&self, state: Result<(), String>) {
        if state.is_err() || *self.health.borrow() != Health::Ready {
            self.change(|ills| ills.writes = state.err());
        }
    }

    /// Marks the store as corrupt, because the stream was replaced or has lost messages.
    pub(super) fn is_lost(&self, reason: String) {
        self.change(|ills| ills.lost = Some(reason));
    }

    fn change(&self, change: impl FnOnce(&mut Faults)) {
        let mut ills = self.ills.lock();
        change(&mut ills);

        let health = ills.health();
        // The update happens under the lock, so that receivers see the changes in order.
        self.health.send_if_modified(|now| {
            match (&*now, &health) {
                (Health::Ready, Health::Unreachable(reason)) => warn!(reason, "NATS is away"),
                (Health::Ready, Health::ReadOnly(reason)) => {
                    warn!(reason, "NATS is rejecting writes")
                }
                (Health::Unreachable(_) | Health::ReadOnly(_), Health::Ready) => {
                    info!("NATS is back")
                }
                _ => {}
            }

            let is_new = *now != health;
            *now = health;
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_well_only_when_the_stream_is_heard_and_takes_what_is_written() {
        let pulse = HealthTracker::new();
        let ill = |reason: &str| Err(reason.to_owned());
        let health = pulse.watch();

        pulse.write_was(ill("full"));
        assert_eq!(*health.borrow(), Health::ReadOnly("full".to_owned()));
        assert_eq!(pulse.absence(), None, "it can be read");

        pulse.feed_is(ill("cut off"));
        assert_eq!(*health.borrow(), Health::Unreachable("cut off".to_owned()));
        assert_eq!(pulse.absence(), Some("cut off".to_owned()));

        pulse.feed_is(Ok(()));
        assert_eq!(
            pulse.refusal(),
            Some("full".to_owned()),
            "being heard says nothing of writing"
        );
        pulse.write_was(Ok(()));

        assert_eq!((pulse.refusal(), &*health.borrow()), (None, &Health::Ready));

        pulse.is_lost("deleted".to_owned());
        pulse.feed_is(Ok(()));
        pulse.write_was(Ok(()));
        assert_eq!(*health.borrow(), Health::Corrupt("deleted".to_owned()));
    }
}
