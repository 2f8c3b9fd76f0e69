//! Messages between the nodes, and rules and commands for every node.
//!
//! Messages between the nodes are sent over core NATS to every connected node and are stored nowhere. They are dropped
//! while NATS cannot be reached. After a reconnect the hub receives [`BusEvent::Reconnected`] and requests the state
//! of the other nodes again. Signals have a subject and bounded queues of their own, so any number of them delays no other
//! message.
//!
//! The second stream keeps the newest version of each rule without expiry. A command is a message of the first stream,
//! which every node consumes, so a node that was disconnected receives it later. Each rule is followed by an empty
//! command; on receiving it, every node reads the rules that it does not have yet. A node also reads them each time it
//! starts to consume the stream again.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::message::StreamMessage;
use async_nats::{Client, Subscriber};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use sha1::{Digest, Sha1};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tracing::warn;

use super::connection::{NatsConnection, NatsError};
use super::streams::Streams;
use super::subjects::Subjects;
use crate::server::store::{Bus, BusEvent, RuleEvent, RuleStore, StoreFuture};

/// The pause before new rules are read again after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The number of signals that wait to be sent, or to be processed here, before further ones are dropped.
const MAX_SIGNALS: usize = 1024;

/// The channel to the other nodes. See the [module docs](self).
#[derive(Debug)]
pub(super) struct NatsBus {
    outgoing: UnboundedSender<Bytes>,
    outgoing_signals: mpsc::Sender<Bytes>,
    events: OnceLock<UnboundedSender<BusEvent>>,
    signals: OnceLock<mpsc::Sender<Bytes>>,
}

impl NatsBus {
    /// Subscribes to the messages and signals of the service whose stream is `stream`. The returned tasks send and receive
    /// messages and signals until they are dropped.
    pub(super) async fn subscribe(
        connection: &NatsConnection,
        stream: &str,
    ) -> Result<
        (
            Arc<Self>,
            impl Future<Output = ()> + use<>,
            impl Future<Output = ()> + use<>,
        ),
        NatsError,
    > {
        let NatsConnection { client, connected } = connection.clone();
        let messages = Channel::subscribe(&client, Subjects::new(stream).nodes()).await?;
        let signals = Channel::subscribe(&client, Subjects::new(stream).signals()).await?;

        let (outgoing, queue) = mpsc::unbounded_channel();
        let (outgoing_signals, signal_queue) = mpsc::channel(MAX_SIGNALS);
        let bus = Arc::new(Self {
            outgoing,
            outgoing_signals,
            events: OnceLock::new(),
            signals: OnceLock::new(),
        });
        let message_task = bus.clone().run(messages, queue, connected);
        let signal_task = bus.clone().run_signals(signals, signal_queue);
        Ok((bus, message_task, signal_task))
    }

    async fn run(
        self: Arc<Self>,
        mut channel: Channel,
        mut outgoing: UnboundedReceiver<Bytes>,
        mut connected: watch::Receiver<u64>,
    ) {
        loop {
            tokio::select! {
                Some(message) = outgoing.recv() => channel.send(message).await,
                Some(message) = channel.incoming.next() => {
                    send_event(&self.events, BusEvent::Message(message.payload));
                }
                Ok(()) = connected.changed() => send_event(&self.events, BusEvent::Reconnected),
                else => return,
            }
        }
    }

    async fn run_signals(self: Arc<Self>, mut channel: Channel, mut outgoing: Receiver<Bytes>) {
        loop {
            tokio::select! {
                Some(signal) = outgoing.recv() => channel.send(signal).await,
                Some(signal) = channel.incoming.next() => {
                    if let Some(signals) = self.signals.get() {
                        // Dropped if the queue is full.
                        let _ = signals.try_send(signal.payload);
                    }
                }
                else => return,
            }
        }
    }
}

impl Bus for NatsBus {
    fn publish(&self, message: Vec<u8>) {
        // Sending fails only after the store is closed, when no node needs the message.
        let _ = self.outgoing.send(message.into());
    }

    fn publish_signal(&self, message: Vec<u8>) {
        // Dropped if the queue is full.
        let _ = self.outgoing_signals.try_send(message.into());
    }

    fn events(&self) -> UnboundedReceiver<BusEvent> {
        subscribe(&self.events)
    }

    fn signals(&self) -> Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(MAX_SIGNALS);
        // If there already is a subscriber, the new channel is closed.
        let _ = self.signals.set(sender);
        receiver
    }
}

/// A subject over which the nodes exchange messages that are not stored.
struct Channel {
    client: Client,
    subject: String,
    incoming: Subscriber,
}

impl Channel {
    async fn subscribe(client: &Client, subject: String) -> Result<Self, NatsError> {
        let incoming = client.subscribe(subject.clone()).await;
        Ok(Self {
            client: client.clone(),
            incoming: incoming.map_err(NatsError::request)?,
            subject,
        })
    }

    /// Sends `message` to the other nodes, if NATS is reachable.
    async fn send(&self, message: Bytes) {
        if self.client.connection_state() == State::Connected {
            // An error means that the connection was lost; see the module docs.
            let _ = self.client.publish(self.subject.clone(), message).await;
        }
    }
}

/// The rules and commands for every node. See the [module docs](self). A cheap handle.
#[derive(Clone, Debug)]
pub(super) struct NatsRuleStore {
    streams: Arc<Streams>,
    /// The channel to [`NatsRuleStore::run`].
    commands: UnboundedSender<Bytes>,
    events: Arc<OnceLock<UnboundedSender<RuleEvent>>>,
    /// The sequence number of the last rule that was read, in the second stream.
    newest: Arc<Mutex<u64>>,
}

impl NatsRuleStore {
    /// Creates a rule store; the receiver of `commands` is an argument of [`NatsRuleStore::run`].
    pub(super) fn new(streams: Arc<Streams>, commands: UnboundedSender<Bytes>) -> Self {
        Self {
            streams,
            commands,
            events: Arc::default(),
            newest: Arc::default(),
        }
    }

    /// Forwards `commands` of the stream to the hub, and reads new rules on an empty one, until dropped.
    pub(super) async fn run(self, mut commands: UnboundedReceiver<Bytes>) {
        let mut is_behind = false;
        loop {
            let command = tokio::select! {
                Some(command) = commands.recv() => command,
                () = tokio::time::sleep(PAUSE), if is_behind => Bytes::new(),
            };
            if !command.is_empty() {
                send_event(&self.events, RuleEvent::Command(command));
                continue;
            }

            let read = self.send_new_rules().await;
            is_behind = read.is_err();
            if let Err(error) = read {
                warn!(%error, "could not read new rules; trying again in {} s", PAUSE.as_secs());
            }
        }
    }

    /// Sends all new rules to the hub.
    async fn send_new_rules(&self) -> Result<(), NatsError> {
        if self.events.get().is_none() {
            return Ok(());
        }
        self.read_new_rules(|rule| {
            let (version, rule) = (rule.sequence, rule.payload);
            send_event(&self.events, RuleEvent::Rule { version, rule });
        })
        .await
    }

    /// Calls `process` with each rule that was not read before.
    async fn read_new_rules(
        &self,
        mut process: impl FnMut(StreamMessage),
    ) -> Result<(), NatsError> {
        let mut newest = self.newest.lock().await;
        while let Some(rule) = self.streams.heads.rule_after(*newest).await? {
            *newest = rule.sequence;
            process(rule);
        }
        Ok(())
    }
}

impl RuleStore for NatsRuleStore {
    fn load(&self) -> StoreFuture<Vec<Bytes>> {
        let this = self.clone();
        async move {
            let mut rules = Vec::new();
            this.read_new_rules(|rule| rules.push(rule.payload)).await?;
            Ok(rules)
        }
        .boxed()
    }

    fn put(&self, name: &str, rule: Vec<u8>) -> StoreFuture<u64> {
        let (this, name) = (self.clone(), token(name));
        async move {
            let streams = &this.streams;
            streams.health.check_writable()?;
            let version = streams.heads.publish_rule(&name, rule.into()).await?;
            streams.publish_command(Bytes::new()).await?;
            this.send_new_rules().await?;
            Ok(version)
        }
        .boxed()
    }

    fn send(&self, command: Vec<u8>) -> StoreFuture<()> {
        let streams = self.streams.clone();
        async move {
            streams.health.check_writable()?;
            Ok(streams.publish_command(command.into()).await?)
        }
        .boxed()
    }

    fn events(&self) -> UnboundedReceiver<RuleEvent> {
        let events = subscribe(&self.events);
        // Sending fails only after the store is closed.
        let _ = self.commands.send(Bytes::new());
        events
    }
}

/// Returns all events from now on. Only the first caller receives any: a store has one hub.
fn subscribe<T>(events: &OnceLock<UnboundedSender<T>>) -> UnboundedReceiver<T> {
    let (sender, receiver) = mpsc::unbounded_channel();
    // If there already is a subscriber, the new channel is closed.
    let _ = events.set(sender);
    receiver
}

fn send_event<T>(events: &OnceLock<UnboundedSender<T>>, event: T) {
    if let Some(events) = events.get() {
        // The hub drops its receiver only when the process ends.
        let _ = events.send(event);
    }
}

/// Returns a digest of `name` that is a valid token of a subject; `name` may contain any characters.
fn token(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha1::digest(name))
}
