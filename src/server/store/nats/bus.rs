//! Messages between the nodes over core NATS: to all that are connected, stored nowhere.

use std::sync::OnceLock;

use async_nats::connection::State;
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

use super::NatsError;
use crate::server::store::{Bus, BusEvent};

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct NatsBus {
    outgoing: UnboundedSender<Bytes>,
    events: OnceLock<UnboundedSender<BusEvent>>,
}

impl NatsBus {
    pub(super) const fn new(outgoing: UnboundedSender<Bytes>) -> Self {
        Self {
            outgoing,
            events: OnceLock::new(),
        }
    }

    /// Sends what comes from `outgoing`, and passes on what nodes send, until dropped.
    pub(super) async fn run(
        &self,
        wire: BusSubscription,
        mut outgoing: UnboundedReceiver<Bytes>,
        mut connected: watch::Receiver<u64>,
    ) {
        let BusSubscription {
            client,
            subject,
            mut notes,
        } = wire;
        let pass_on = |event: BusEvent| {
            if let Some(events) = self.events.get() {
                // The hub is gone only when the process ends.
                let _ = events.send(event);
            }
        };

        loop {
            tokio::select! {
                Some(note) = outgoing.recv() => {
                    // While NATS cannot be reached, messages are dropped. Then everything is requested again.
                    if client.connection_state() == State::Connected {
                        let _unsent = client.publish(subject.clone(), note).await;
                    }
                }
                Some(note) = notes.next() => pass_on(BusEvent::Message(note.payload)),
                Ok(()) = connected.changed() => pass_on(BusEvent::Reconnected),
                else => return,
            }
        }
    }
}

/// Where notes come from and go to.
pub(super) struct BusSubscription {
    client: Client,
    subject: String,
    notes: Subscriber,
}

impl BusSubscription {
    /// Notes of the service whose stream is `stream`.
    pub(super) async fn open(client: Client, stream: &str) -> Result<Self, NatsError> {
        let subject = format!("{stream}.nodes");
        let notes = client.subscribe(subject.clone()).await;
        let notes = notes.map_err(|error| NatsError::Stream(error.to_string()))?;
        Ok(Self {
            client,
            subject,
            notes,
        })
    }
}

impl Bus for NatsBus {
    fn publish(&self, message: Vec<u8>) {
        // It fails when the store is closed, and then no node needs it.
        let _ = self.outgoing.send(message.into());
    }

    fn events(&self) -> UnboundedReceiver<BusEvent> {
        let (sender, events) = mpsc::unbounded_channel();
        // If there is a hub already, the second one's channel is closed.
        let _ = self.events.set(sender);
        events
    }
}
