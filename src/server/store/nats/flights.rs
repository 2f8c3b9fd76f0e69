//! What this node has published and not yet heard back from the stream.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::entry::Ticket;
use crate::server::room::Frame;

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Flights {
    node: u64,
    newest: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Echo>>>,
}

/// How a publish comes back.
#[derive(Debug)]
pub(super) enum Echo {
    /// It is this entry of its room.
    Entry(Arc<Frame>),
    /// It is none: all else that nodes publish.
    Done,
}

/// One publish that is waited for. Dropping it ends the waiting.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) ticket: Ticket,
    /// Comes with what the stream made of it.
    pub(super) heard: oneshot::Receiver<Echo>,
    flights: Arc<Flights>,
}

impl Flights {
    pub(super) fn new() -> Self {
        Self {
            node: fastrand::u64(..),
            newest: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Another one.
    pub(super) fn begin(self: &Arc<Self>) -> Flight {
        let ticket = Ticket {
            node: self.node,
            number: self.newest.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let (sender, heard) = oneshot::channel();
        self.lock().insert(ticket.number, sender);
        Flight {
            ticket,
            heard,
            flights: self.clone(),
        }
    }

    /// The stream brought what was published by `ticket`, of this node or another.
    pub(super) fn heard(&self, ticket: Ticket, echo: Echo) {
        if ticket.node == self.node
            && let Some(waiting) = self.lock().remove(&ticket.number)
        {
            // Whoever waited may have given up.
            let _late = waiting.send(echo);
        }
    }

    /// What this lock guards is consistent between statements, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Echo>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.ticket.number);
    }
}
