//! Rules and orders for every node.
//!
//! A rule is kept in the second stream, the newest of each name, for ever. An order is a message of the first one,
//! which every node follows: so a node that was cut off hears it too. Beside each rule goes an empty order, at which
//! all look for rules that they do not have yet; they look too whenever they begin to follow the stream anew.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use sha1::{Digest, Sha1};
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use tracing::warn;

use super::flights::PendingPublishes;
use super::pulse::HealthTracker;
use super::stream::Streams;
use super::{NatsError, WAIT};
use crate::server::store::{Council, Heeding, StoreError};

/// The pause before rules are looked for again, when that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// See the [module docs](self). A cheap handle.
#[derive(Clone)]
pub(super) struct NatsCouncil(Arc<Shared>);

struct Shared {
    rolls: Arc<Streams>,
    flights: Arc<PendingPublishes>,
    pulse: Arc<HealthTracker>,
    listener: OnceLock<Heeding>,
    /// The number of the last rule that was told, in the second stream.
    seen: Mutex<u64>,
    wake: Notify,
}

impl NatsCouncil {
    pub(super) fn new(
        rolls: Arc<Streams>,
        flights: Arc<PendingPublishes>,
        pulse: Arc<HealthTracker>,
    ) -> Self {
        let (listener, seen, wake) = (OnceLock::new(), Mutex::new(0), Notify::new());
        Self(Arc::new(Shared {
            rolls,
            flights,
            pulse,
            listener,
            seen,
            wake,
        }))
    }

    /// There may be new rules.
    pub(super) fn look(&self) {
        self.0.wake.notify_one();
    }

    /// The stream brings an order.
    pub(super) fn hear(&self, order: &[u8]) {
        if order.is_empty() {
            self.look();
        } else if let Some(listener) = self.0.listener.get() {
            listener(order);
        }
    }

    /// Looks for new rules whenever there may be some, until dropped.
    pub(super) async fn run(&self) {
        loop {
            self.0.wake.notified().await;
            while let Err(error) = self.catch_up().await {
                warn!(%error, "new rules cannot be read now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Tells all rules that are new.
    async fn catch_up(&self) -> Result<(), NatsError> {
        let Some(listener) = self.0.listener.get() else {
            return Ok(());
        };
        let mut seen = self.0.seen.lock().await;
        while let Some(rule) = self.0.rolls.rule_after(*seen).await? {
            listener(&rule.payload);
            *seen = rule.sequence;
        }
        Ok(())
    }

    /// Publishes `said` and waits until it is stored.
    async fn publish(&self, subject: String, said: Bytes) -> Result<(), NatsError> {
        let refused = |error: String| NatsError::Publish(error);
        let message = PublishMessage::build().payload(said);
        let sent = self.0.rolls.context.send_publish(subject, message).await;
        let ack = timeout(WAIT, sent.map_err(|error| refused(error.to_string()))?).await;
        ack.map_err(|_elapsed| NatsError::Unanswered)?
            .map_err(|error| refused(error.to_string()))?;
        Ok(())
    }

    /// Says `order` to all.
    pub(super) async fn tell(&self, order: Bytes) -> Result<(), NatsError> {
        // A subject of its own, so that no later one takes its place.
        let name = self.0.flights.begin().ticket.to_string();
        self.publish(self.0.rolls.subjects.order(&name), order)
            .await
    }

    fn refusal(&self) -> Result<(), StoreError> {
        self.0
            .pulse
            .refusal()
            .map_or(Ok(()), |reason| Err(StoreError::Unavailable(reason)))
    }
}

impl Council for NatsCouncil {
    fn in_force(&self) -> BoxFuture<'static, Result<Vec<Vec<u8>>, StoreError>> {
        let this = self.clone();
        async move {
            let mut seen = this.0.seen.lock().await;
            let mut rules = Vec::new();
            while let Some(rule) = this.0.rolls.rule_after(*seen).await? {
                rules.push(rule.payload.to_vec());
                *seen = rule.sequence;
            }
            Ok(rules)
        }
        .boxed()
    }

    fn keep(&self, name: &str, rule: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>> {
        let (this, name) = (self.clone(), token(name));
        async move {
            this.refusal()?;
            this.publish(this.0.rolls.subjects.rule(&name), rule.into())
                .await?;
            this.tell(Bytes::new()).await?;
            Ok(this.catch_up().await?)
        }
        .boxed()
    }

    fn order(&self, order: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>> {
        let this = self.clone();
        async move {
            this.refusal()?;
            Ok(this.tell(order.into()).await?)
        }
        .boxed()
    }

    fn heed(&self, listener: Heeding) {
        // There is one Hub to a store.
        let _second = self.0.listener.set(listener);
        self.look();
    }
}

/// `name` as one token of a subject: whatever it is made of.
fn token(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha1::digest(name))
}
