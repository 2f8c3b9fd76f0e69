//! What nodes say to each other beside the log, over core NATS: to all who are there, kept nowhere.

use std::sync::OnceLock;

use async_nats::connection::State;
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

use super::NatsError;
use crate::server::store::{Bus, Overheard};

/// What is told what others say.
type Listener = Box<dyn Fn(Overheard<'_>) + Send + Sync>;

/// See the [module docs](self).
pub(super) struct NatsBus {
    said: UnboundedSender<Bytes>,
    listener: OnceLock<Listener>,
}

impl NatsBus {
    pub(super) const fn new(said: UnboundedSender<Bytes>) -> Self {
        Self {
            said,
            listener: OnceLock::new(),
        }
    }

    /// Carries what comes from `said` to the others and back, until dropped.
    pub(super) async fn run(
        &self,
        wire: BusSubscription,
        mut said: UnboundedReceiver<Bytes>,
        mut connected: watch::Receiver<u64>,
    ) {
        let BusSubscription {
            client,
            subject,
            mut notes,
        } = wire;
        let tell = |overheard: Overheard<'_>| {
            if let Some(listener) = self.listener.get() {
                listener(overheard);
            }
        };
        loop {
            tokio::select! {
                Some(note) = said.recv() => {
                    // While NATS is away nobody listens; when it is back all is asked anew.
                    if client.connection_state() == State::Connected {
                        let _unsent = client.publish(subject.clone(), note).await;
                    }
                }
                Some(note) = notes.next() => tell(Overheard::Said(&note.payload)),
                Ok(()) = connected.changed() => tell(Overheard::Again),
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
    fn say(&self, note: Vec<u8>) {
        // It ends with the store.
        let _ended = self.said.send(note.into());
    }

    fn listen(&self, listener: Listener) {
        // There is one Hub to a store.
        let _second = self.listener.set(listener);
    }
}
