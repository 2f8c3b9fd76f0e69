//! What became of the messages that were published. Counted here and not by the library, whose counters can only be
//! written: the operator's page reads it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of one message that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is in the log.
    Stored,
    /// It was before.
    Duplicate,
    /// The store did not take it.
    Refused,
}

impl Published {
    const ALL: [Self; 3] = [Self::Stored, Self::Duplicate, Self::Refused];

    const fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
        }
    }

    /// How many so far.
    fn tally(self) -> &'static AtomicU64 {
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
pub fn published(messages: usize, result: Published) {
    result.tally().fetch_add(messages as u64, Ordering::Relaxed);
}

/// Messages stored so far.
pub fn stored() -> u64 {
    Published::Stored.tally().load(Ordering::Relaxed)
}

/// Messages so far, by the label of each result.
pub(super) fn so_far() -> [(&'static str, u64); 3] {
    Published::ALL.map(|result| (result.label(), result.tally().load(Ordering::Relaxed)))
}
