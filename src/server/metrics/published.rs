//! Counters of published messages, by result. They are atomics of our own, because the admin page reads them and
//! counters of the `metrics` crate can only be written.

use std::sync::atomic::{AtomicU64, Ordering};

/// The result of publishing one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishResult {
    /// The message was appended to the log.
    Stored,
    /// A message with the same key was stored before.
    Duplicate,
    /// The store rejected the message.
    Refused,
}

impl PublishResult {
    const ALL: [Self; 3] = [Self::Stored, Self::Duplicate, Self::Refused];

    const fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
        }
    }

    /// Returns the counter of this result.
    fn counter(self) -> &'static AtomicU64 {
        static STORED: AtomicU64 = AtomicU64::new(0);
        static DUPLICATE: AtomicU64 = AtomicU64::new(0);
        static REFUSED: AtomicU64 = AtomicU64::new(0);

        match self {
            Self::Stored => &STORED,
            Self::Duplicate => &DUPLICATE,
            Self::Refused => &REFUSED,
        }
    }
}

/// Counts `messages` with this result.
pub fn count_published(messages: usize, result: PublishResult) {
    result
        .counter()
        .fetch_add(messages as u64, Ordering::Relaxed);
}

/// Returns the number of messages stored since the start.
pub fn stored_messages() -> u64 {
    PublishResult::Stored.counter().load(Ordering::Relaxed)
}

/// Returns the number of messages since the start, by the label of each result.
pub(super) fn publish_counts() -> [(&'static str, u64); 3] {
    PublishResult::ALL.map(|result| (result.label(), result.counter().load(Ordering::Relaxed)))
}
