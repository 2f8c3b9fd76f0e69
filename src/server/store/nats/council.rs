//! Rules and commands for every node.
//!
//! The second stream keeps the newest version of each rule without expiry. A command is a message of the first stream,
//! which every node consumes, so a node that was disconnected receives it later. Each rule is followed by an empty
//! command; on receiving it, every node reads the rules that it does not have yet. A node also reads them whenever it
//! starts to consume the stream again.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::FutureExt;
use sha1::{Digest, Sha1};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use tracing::warn;

use super::flights::PendingPublishes;
use super::pulse::HealthTracker;
use super::stream::Streams;
use super::{NatsError, WAIT};
use crate::server::store::{RuleEvent, RuleStore, StoreError, StoreFuture};

/// The pause before new rules are read again after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// See the [module docs](self). A cheap handle.
#[derive(Clone)]
pub(super) struct NatsCouncil(Arc<Shared>);

struct Shared {
    rolls: Arc<Streams>,
    flights: Arc<PendingPublishes>,
    pulse: Arc<HealthTracker>,
    events: OnceLock<UnboundedSender<RuleEvent>>,
    /// The sequence number of the last rule that was read, in the second stream.
    seen: Mutex<u64>,
    wake: Notify,
}

impl fmt::Debug for NatsCouncil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsCouncil").finish_non_exhaustive()
    }
}

impl NatsCouncil {
    pub(super) fn new(
        rolls: Arc<Streams>,
        flights: Arc<PendingPublishes>,
        pulse: Arc<HealthTracker>,
    ) -> Self {
        Self(Arc::new(Shared {
            rolls,
            flights,
            pulse,
            events: OnceLock::new(),
            seen: Mutex::new(0),
            wake: Notify::new(),
        }))
    }

    /// Requests a check for new rules.
    pub(super) fn look(&self) {
        self.0.wake.notify_one();
    }

    /// Processes a command from the stream; an empty one requests a check for new rules.
    pub(super) fn on_command(&self, command: &Bytes) {
        if command.is_empty() {
            self.look();
        } else if let Some(events) = self.0.events.get() {
            // The hub drops its receiver only when the process ends.
            let _ = events.send(RuleEvent::Command(command.clone()));
        }
    }

    /// Reads new rules whenever a check was requested, until dropped.
    pub(super) async fn run(&self) {
        loop {
            self.0.wake.notified().await;
            while let Err(error) = self.catch_up().await {
                warn!(%error, "new rules cannot be read now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Sends all new rules to the hub.
    async fn catch_up(&self) -> Result<(), NatsError> {
        let Some(events) = self.0.events.get() else {
            return Ok(());
        };

        let mut seen = self.0.seen.lock().await;
        while let Some(rule) = self.0.rolls.rule_after(*seen).await? {
            let (version, rule) = (rule.sequence, rule.payload);
            // The hub drops its receiver only when the process ends.
            let _ = events.send(RuleEvent::Rule { version, rule });
            *seen = version;
        }
        Ok(())
    }

    /// Publishes the payload `said` and waits until it is stored. Returns its sequence number in the stream.
    async fn publish(&self, subject: String, said: Bytes) -> Result<u64, NatsError> {
        let refused = |error: String| NatsError::Publish(error);
        let message = PublishMessage::build().payload(said);
        let sent = self.0.rolls.context.send_publish(subject, message).await;
        let ack = timeout(WAIT, sent.map_err(|error| refused(error.to_string()))?).await;
        let ack = ack
            .map_err(|_elapsed| NatsError::Unanswered)?
            .map_err(|error| refused(error.to_string()))?;
        Ok(ack.sequence)
    }

    /// Sends the command `order` to all nodes.
    pub(super) async fn tell(&self, order: Bytes) -> Result<(), NatsError> {
        // The subject is unique, so no later command replaces this one.
        let name = self.0.flights.begin().ticket.to_string();
        self.publish(self.0.rolls.subjects.order(&name), order)
            .await?;
        Ok(())
    }

    fn refusal(&self) -> Result<(), StoreError> {
        self.0
            .pulse
            .refusal()
            .map_or(Ok(()), |reason| Err(StoreError::Unavailable(reason)))
    }
}

impl RuleStore for NatsCouncil {
    fn load(&self) -> StoreFuture<Vec<Bytes>> {
        let this = self.clone();
        async move {
            let mut seen = this.0.seen.lock().await;
            let mut rules = Vec::new();
            while let Some(rule) = this.0.rolls.rule_after(*seen).await? {
                rules.push(rule.payload);
                *seen = rule.sequence;
            }
            Ok(rules)
        }
        .boxed()
    }

    fn put(&self, name: &str, rule: Vec<u8>) -> StoreFuture<u64> {
        let (this, name) = (self.clone(), token(name));
        async move {
            this.refusal()?;
            let subject = this.0.rolls.subjects.rule(&name);
            let version = this.publish(subject, rule.into()).await?;

            this.tell(Bytes::new()).await?;
            this.catch_up().await?;
            Ok(version)
        }
        .boxed()
    }

    fn send(&self, order: Vec<u8>) -> StoreFuture<()> {
        let this = self.clone();
        async move {
            this.refusal()?;
            Ok(this.tell(order.into()).await?)
        }
        .boxed()
    }

    fn events(&self) -> UnboundedReceiver<RuleEvent> {
        let (sender, events) = mpsc::unbounded_channel();
        // If there is a hub already, the channel of the second one is closed.
        let _ = self.0.events.set(sender);
        self.look();
        events
    }
}

/// Returns a digest of `name` that is a valid token of a subject; `name` may contain any characters.
fn token(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha1::digest(name))
}
