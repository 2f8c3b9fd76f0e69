//! Whether NATS is there: said by those who notice, told to all who ask.

use tokio::sync::watch;
use tracing::{info, warn};

use crate::server::store::Health;

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Pulse(watch::Sender<Health>);

impl Pulse {
    /// All is well.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Health::Ready))
    }

    pub(super) fn watch(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }

    /// Why nothing is taken now; `None` while all is well.
    pub(super) fn refusal(&self) -> Option<String> {
        match &*self.0.borrow() {
            Health::Ready => None,
            Health::Refusing(reason) | Health::Away(reason) | Health::Lost(reason) => Some(reason.clone()),
        }
    }

    /// The stream is followed.
    pub(super) fn is_well(&self) {
        if self.change(Health::Ready) {
            info!("NATS is back");
        }
    }

    /// The stream cannot be followed, for now.
    pub(super) fn is_ill(&self, reason: String) {
        if self.0.borrow().eq(&Health::Ready) {
            warn!(reason, "NATS is away");
        }
        self.change(Health::Away(reason));
    }

    /// What the stream holds is not what it held.
    pub(super) fn is_lost(&self, reason: String) {
        self.0.send_replace(Health::Lost(reason));
    }

    /// Whether it was of another kind before; what is lost stays so.
    fn change(&self, health: Health) -> bool {
        self.0.send_if_modified(|now| {
            let is_new = *now != health && !matches!(now, Health::Lost(_));
            if is_new {
                *now = health;
            }
            is_new
        })
    }
}
