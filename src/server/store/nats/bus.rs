//! Messages between the nodes over core NATS. Every connected node receives them; they are stored nowhere.
//!
//! Messages are dropped while NATS cannot be reached. After a reconnect the hub receives [`BusEvent::Reconnected`] and
//! requests the state of the other nodes again.

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

    /// Publishes the messages from `outgoing` and forwards those of the nodes, until dropped.
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
                // The hub drops its receiver only when the process ends.
                let _ = events.send(event);
            }
        };

        loop {
            tokio::select! {
                Some(note) = outgoing.recv() => {
                    // While NATS cannot be reached, messages are dropped; see the module docs.
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

/// The subject of the messages between nodes, with a subscription to it.
pub(super) struct BusSubscription {
    client: Client,
    subject: String,
    notes: Subscriber,
}

impl BusSubscription {
    /// Subscribes to the node messages of the service whose stream is `stream`.
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
        // Sending fails only after the store is closed, when no node needs the message.
        let _ = self.outgoing.send(message.into());
    }

    fn events(&self) -> UnboundedReceiver<BusEvent> {
        let (sender, events) = mpsc::unbounded_channel();
        // If there is a hub already, the channel of the second one is closed.
        let _ = self.events.set(sender);
        events
    }
}
