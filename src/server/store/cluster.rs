//! The connections between nodes that share a store, beside the log: messages, and rules for all nodes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::server::store::StoreFuture;

/// What a store that several nodes share has beside the log.
#[derive(Clone, Debug)]
pub struct ClusterBackend {
    /// Messages between the nodes.
    pub bus: Arc<dyn Bus>,
    /// Rules for all nodes.
    pub rules: Arc<dyn RuleStore>,
}

/// Messages to all nodes that can be reached now. They are not stored.
pub trait Bus: fmt::Debug + Send + Sync {
    /// Sends `message` to all nodes that can be reached now, this one included.
    fn publish(&self, message: Vec<u8>);

    /// Returns the events from now on. There is one caller for each store.
    fn events(&self) -> UnboundedReceiver<BusEvent>;
}

/// An event of a [`Bus`].
#[derive(Clone, Debug)]
pub enum BusEvent {
    /// A node sent a message.
    Message(Bytes),
    /// The other nodes can be reached again; messages may have been missed.
    Reconnected,
}

/// Rules and commands for every node. A node that is cut off gets them when it is back.
pub trait RuleStore: fmt::Debug + Send + Sync {
    /// Returns the rules in force, the newest of each name. To be called once, before [`RuleStore::events`].
    ///
    /// # Errors
    /// If the store cannot be read.
    fn load(&self) -> StoreFuture<Vec<Bytes>>;

    /// Stores `rule` for ever, in the place of the one called `name`. Returns its version: [`RuleStore::events`] has this
    /// rule, or a later one.
    ///
    /// # Errors
    /// If the store cannot be written to.
    fn put(&self, name: &str, rule: Vec<u8>) -> StoreFuture<u64>;

    /// Sends `command` once to every node.
    ///
    /// # Errors
    /// If the store cannot be written to.
    fn send(&self, command: Vec<u8>) -> StoreFuture<()>;

    /// Returns all rules and commands from now on, those of this node included. There is one caller for each store.
    fn events(&self) -> UnboundedReceiver<RuleEvent>;
}

/// An event of a [`RuleStore`].
#[derive(Clone, Debug)]
pub enum RuleEvent {
    /// A rule is in force.
    Rule {
        /// Its version; grows with each rule.
        version: u64,
        /// The rule.
        rule: Bytes,
    },
    /// A command was sent.
    Command(Bytes),
}
