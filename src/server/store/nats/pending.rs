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

/// The outcome of a publish that NATS has acknowledged.
#[derive(Debug)]
pub(super) enum DeliveryOutcome {
    /// A new message of its room.
    Message(Arc<Frame>),
    /// A mark, a tombstone, or a message after the end of its room.
    NoMessage,
    /// A message that was removed from the stream before the consumer received it.
    Removed,
}

/// A publish whose delivery is awaited. Dropping it cancels the wait.
#[derive(Debug)]
pub(super) struct PendingPublish {
    pub(super) id: PublishId,
    delivery: oneshot::Receiver<Option<Arc<Frame>>>,
    publishes: Arc<PendingPublishes>,
}

impl From<Option<Arc<Frame>>> for DeliveryOutcome {
    fn from(frame: Option<Arc<Frame>>) -> Self {
        frame.map_or(Self::NoMessage, Self::Message)
    }
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

    /// Completes the publish `id` with its `frame`; `None` if it is not a message of its room. Does nothing if another node
    /// published it.
    pub(super) fn deliver(&self, id: PublishId, frame: Option<Arc<Frame>>) {
        if let Some(waiting) = self.waiting.lock().remove(&id) {
            // The receiver has been dropped if the publish timed out.
            let _ = waiting.send(frame);
        }
    }
}

impl PendingPublish {
    /// Waits for the delivery. `missed` completes when the consumer has missed the message or a later one. A late delivery is not
    /// recorded as a failed write, because the consumer reports the delay.
    pub(super) async fn delivered(
        mut self,
        missed: impl Future<Output = ()>,
    ) -> Result<DeliveryOutcome, NatsError> {
        let delivered = async {
            tokio::select! {
                biased;
                delivered = &mut self.delivery => match delivered {
                    Ok(frame) => Ok(DeliveryOutcome::from(frame)),
                    Err(_) => Err(NatsError::Unconfirmed),
                },
                () = missed => {
                    // Only a later message may be missing.
                    let delivered = self.delivery.try_recv();
                    Ok(delivered.map_or(DeliveryOutcome::Removed, DeliveryOutcome::from))
                }
            }
        };

        let delivered = timeout(DELIVERY_TIMEOUT, delivered).await;
        delivered.unwrap_or(Err(NatsError::Unconfirmed))
    }
}

impl Drop for PendingPublish {
    fn drop(&mut self) {
        self.publishes.waiting.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_message_that_was_removed_before_it_was_received_is_not_waited_for() {
        let publishes = Arc::new(PendingPublishes::new());
        let (received, removed) = (publishes.begin(), publishes.begin());

        publishes.deliver(received.id, None);
        let received = received.delivered(ready(())).await;
        let removed = removed.delivered(ready(())).await;

        assert!(matches!(received, Ok(DeliveryOutcome::NoMessage)));
        assert!(matches!(removed, Ok(DeliveryOutcome::Removed)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_not_received_in_time_may_be_stored() {
        let publishes = Arc::new(PendingPublishes::new());

        let delivered = publishes.begin().delivered(pending()).await;

        assert!(matches!(delivered, Err(NatsError::Unconfirmed)));
        assert!(publishes.waiting.lock().is_empty());
    }
}
