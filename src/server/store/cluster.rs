//! The services that nodes with a shared store use in addition to the log. A [`Bus`] carries messages that are not
//! stored, such as presence. A [`RuleStore`] keeps moderation rules for all nodes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};

use crate::server::store::StoreFuture;

/// The services of a shared store in addition to the log.
#[derive(Clone, Debug)]
pub struct ClusterBackend {
    /// Messages between the nodes.
    pub bus: Arc<dyn Bus>,
    /// Rules for all nodes.
    pub rules: Arc<dyn RuleStore>,
}

/// A broadcast channel to all nodes that are reachable now. Messages are not stored.
pub trait Bus: fmt::Debug + Send + Sync {
    /// Sends `message` to all nodes that are reachable now, this one included.
    fn publish(&self, message: Vec<u8>);

    /// Sends `message` to the receivers of [`Bus::signals`]. Drops it if many such messages wait to be sent, so that it delays
    /// no other message.
    fn publish_signal(&self, message: Vec<u8>);

    /// Returns the events from now on. Each store has one caller.
    fn events(&self) -> UnboundedReceiver<BusEvent>;

    /// Returns the signals of all nodes from now on. If many of them wait, further ones are dropped. Each store has one
    /// caller.
    fn signals(&self) -> Receiver<Bytes>;
}

/// An event of a [`Bus`].
#[derive(Clone, Debug)]
pub enum BusEvent {
    /// A message from a node.
    Message(Bytes),
    /// The connection to the other nodes was restored; messages may have been missed.
    Reconnected,
}

/// Rules and commands for every node. A node that was disconnected gets them when it reconnects.
pub trait RuleStore: fmt::Debug + Send + Sync {
    /// Returns the rules in force, the newest of each name. Call this once, before [`RuleStore::events`].
    ///
    /// # Errors
    /// If the store cannot be read.
    fn load(&self) -> StoreFuture<Vec<Bytes>>;

    /// Stores `rule` permanently and replaces the rule called `name`. Returns its version: [`RuleStore::events`]
    /// sends this rule or a later one.
    ///
    /// # Errors
    /// If the store cannot be written to.
    fn put(&self, name: &str, rule: Vec<u8>) -> StoreFuture<u64>;

    /// Sends `command` once to every node.
    ///
    /// # Errors
    /// If the store cannot be written to.
    fn send(&self, command: Vec<u8>) -> StoreFuture<()>;

    /// Returns all rules and commands from now on, those of this node included. Each store has one caller.
    fn events(&self) -> UnboundedReceiver<RuleEvent>;
}

/// An event of a [`RuleStore`].
#[derive(Clone, Debug)]
pub enum RuleEvent {
    /// A rule that is now in force.
    Rule {
        /// The version, which increases with each rule.
        version: u64,
        /// The rule.
        rule: Bytes,
    },
    /// A command for every node.
    Command(Bytes),
}
