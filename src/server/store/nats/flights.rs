//! What this node has published and not yet heard back from the stream.

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

/// How a publish comes back.
#[derive(Debug)]
pub(super) enum Delivery {
    /// It is this entry of its room.
    Entry(Arc<Frame>),
    /// It is none: all else that nodes publish.
    Done,
}

/// One publish that is waited for. Dropping it ends the waiting.
#[derive(Debug)]
pub(super) struct PendingPublish {
    pub(super) ticket: PublishId,
    /// Comes with what the stream made of it.
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

    /// Another one.
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

    /// The stream brought what was published by `ticket`, of this node or another.
    pub(super) fn heard(&self, ticket: PublishId, echo: Delivery) {
        if ticket.node == self.node
            && let Some(waiting) = self.waiting.lock().remove(&ticket.number)
        {
            // The receiver is gone if the publish timed out.
            let _ = waiting.send(echo);
        }
    }
}

impl Drop for PendingPublish {
    fn drop(&mut self) {
        self.flights.waiting.lock().remove(&self.ticket.number);
    }
}
