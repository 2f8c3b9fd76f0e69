//! The publishes of this node that wait for their delivery by the consumer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::codec::PublishId;
use super::connection::NatsError;
use crate::server::room::Frame;

/// The timeout of the delivery of an acknowledged message.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The publishes of this node that the consumer has not delivered yet. Each publish has a [`PublishId`], by which the
/// consumer finds the task that waits for it.
#[derive(Debug)]
pub(super) struct PendingPublishes {
    node: u64,
    newest: AtomicU64,
    waiting: Mutex<HashMap<PublishId, oneshot::Sender<Option<Arc<Frame>>>>>,
}

/// A publish whose delivery is awaited. Dropping it cancels the wait.
#[derive(Debug)]
pub(super) struct PendingPublish {
    pub(super) id: PublishId,
    delivery: oneshot::Receiver<Option<Arc<Frame>>>,
    publishes: Arc<PendingPublishes>,
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
        let id = PublishId {
            node: self.node,
            number: self.newest.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let (sender, delivery) = oneshot::channel();
        self.waiting.lock().insert(id, sender);

        PendingPublish {
            id,
            delivery,
            publishes: self.clone(),
        }
    }

    /// Completes the publish `id` with its `frame`, `None` for a tombstone; does nothing if another node published it.
    pub(super) fn deliver(&self, id: PublishId, frame: Option<Arc<Frame>>) {
        if let Some(waiting) = self.waiting.lock().remove(&id) {
            // The receiver has been dropped if the publish timed out.
            let _ = waiting.send(frame);
        }
    }
}

impl PendingPublish {
    /// Waits for the delivery. A late one is reported by the consumer, so it is not recorded as a failed write.
    pub(super) async fn delivered(mut self) -> Result<Option<Arc<Frame>>, NatsError> {
        match timeout(DELIVERY_TIMEOUT, &mut self.delivery).await {
            Ok(Ok(frame)) => Ok(frame),
            _ => Err(NatsError::Unconfirmed),
        }
    }
}

impl Drop for PendingPublish {
    fn drop(&mut self) {
        self.publishes.waiting.lock().remove(&self.id);
    }
}
