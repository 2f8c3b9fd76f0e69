//! What nodes that share a store say to each other beside the log.

use futures::future::BoxFuture;

use crate::server::store::StoreError;

/// Talk: to all other nodes that can be reached now, kept nowhere.
pub trait Bus: Send + Sync {
    /// Says `note` to all other nodes that can be reached now. It comes back to this one too.
    fn say(&self, note: Vec<u8>);

    /// From now on `listener` is told what nodes say.
    fn listen(&self, listener: Box<dyn Fn(Overheard<'_>) + Send + Sync>);
}

/// What a node hears of others.
#[derive(Clone, Copy, Debug)]
pub enum Overheard<'a> {
    /// A note.
    Said(&'a [u8]),
    /// The others can be reached again: notes may have been missed.
    Again,
}

/// What is told each rule and each order.
pub type Heeding = Box<dyn Fn(&[u8]) + Send + Sync>;

/// What is decided for every node: also for one that is cut off, which hears of it when it is back.
pub trait Council: Send + Sync {
    /// The rules that are in force, each the last of its name. To be asked once, before [`Council::heed`].
    fn in_force(&self) -> BoxFuture<'static, Result<Vec<Vec<u8>>, StoreError>>;

    /// Keeps `rule` for ever, in the place of what was kept under `name`. Done when this node has heard it too.
    fn keep(&self, name: &str, rule: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Says `order` once to every node that is there. Done when that is certain.
    fn order(&self, order: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// From now on `listener` is told each rule that is new, and each order; those of this node too.
    fn heed(&self, listener: Heeding);
}
