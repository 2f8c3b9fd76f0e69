//! The publishes of this node that the consumer has not delivered yet.
//!
//! Each publish carries a [`PublishId`]. When the consumer delivers a message with that id, the waiting task receives
//! the result.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::entry::PublishId;
use crate::server::room::Frame;

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct PendingPublishes {
    node: u64,
    newest: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Delivery>>>,
}

/// The result of a publish, as the consumer delivers it.
#[derive(Debug)]
pub(super) enum Delivery {
    /// A message that was appended to its room.
    Entry(Arc<Frame>),
    /// Anything else that nodes publish, such as a tombstone or a command.
    Done,
}

/// A publish whose delivery is awaited. Dropping it cancels the wait.
#[derive(Debug)]
pub(super) struct PendingPublish {
    pub(super) ticket: PublishId,
    /// Resolves to the result of the publish.
    pub(super) heard: oneshot::Receiver<Delivery>,
    flights: Arc<PendingPublishes>,
}

impl PendingPublishes {
    pub(super) fn new() -> Self {
        Self {
            node: fastrand::u64(..),
            newest: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Registers a new publish and returns it.
    pub(super) fn begin(self: &Arc<Self>) -> PendingPublish {
        let ticket = PublishId {
            node: self.node,
            number: self.newest.fetch_add(1, Ordering::Relaxed) + 1,
        };

        let (sender, heard) = oneshot::channel();
        self.waiting.lock().insert(ticket.number, sender);

        PendingPublish {
            ticket,
            heard,
            flights: self.clone(),
        }
    }

    /// Completes the publish with the id `ticket`; does nothing if another node published it.
    pub(super) fn heard(&self, ticket: PublishId, echo: Delivery) {
        if ticket.node == self.node
            && let Some(waiting) = self.waiting.lock().remove(&ticket.number)
        {
            // The receiver has been dropped if the publish timed out.
            let _ = waiting.send(echo);
        }
    }
}

impl Drop for PendingPublish {
    fn drop(&mut self) {
        self.flights.waiting.lock().remove(&self.ticket.number);
    }
}
