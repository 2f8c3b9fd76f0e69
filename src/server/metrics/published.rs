//! What became of the messages that were published. Counted here and not by the library, whose counters can only be
//! written: the operator's page reads it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of one message that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishResult {
    /// It is in the log.
    Stored,
    /// It was before.
    Duplicate,
    /// The store did not take it.
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

    /// How many so far.
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

/// So many messages were published, with this result.
pub fn count_published(messages: usize, result: PublishResult) {
    result
        .counter()
        .fetch_add(messages as u64, Ordering::Relaxed);
}

/// Messages stored so far.
pub fn stored_messages() -> u64 {
    PublishResult::Stored.counter().load(Ordering::Relaxed)
}

/// Messages so far, by the label of each result.
pub(super) fn publish_counts() -> [(&'static str, u64); 3] {
    PublishResult::ALL.map(|result| (result.label(), result.counter().load(Ordering::Relaxed)))
}
